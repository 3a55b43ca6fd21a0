"""Waiting for a server: until it answers a login over TCP from here, or until it is clear that it will not.

The image's temporary server, which runs while the data is initialised, listens on a socket only, so whoever answers
over TCP is the final one. A login that is refused is an answer too: what is wrong with it is somebody else's question.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.errors import StepFailedError
from provision.system.login_errors import diagnosed, is_worth_waiting
from provision.system.postgres import Login, LoginError, connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.model import Endpoint
    from provision.system.engine import EngineReader

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
_LOG_LINES = 15
_ANSWERS = (Login.OK, Login.NO_DATABASE, Login.REFUSED)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a server will not come up, in words, with the lines that show it."""

    sentence: str
    evidence: tuple[str, ...]


def wait(endpoint: Endpoint, timeout: float, *, trouble: Callable[[], Trouble | None], log_command: str) -> None:
    """Wait up to ``timeout`` seconds.

    Raises:
        StepFailedError: the server ended, or did not answer in time.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        last = _attempt(endpoint)
        if last is None:
            return
        found = trouble()
        if found is not None:
            raise StepFailedError(found.sentence, evidence=found.evidence, next_step=log_command)
        if time.monotonic() + pause > deadline:
            raise StepFailedError(
                f"the server did not answer within {timeout:g} s (`ready_timeout`)",
                evidence=last.evidence or (last.sentence,),
                next_step=log_command,
            )
        time.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE)


def wait_for_foreign(endpoint: Endpoint, timeout: float) -> None:
    """Wait up to ``timeout`` seconds for a server that somebody else starts, as long as there is hope.

    Raises:
        UnavailableError: it did not answer in time, or cannot be reached this way.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while (last := _attempt(endpoint)) is not None:
        if not is_worth_waiting(last) or time.monotonic() + pause > deadline:
            raise diagnosed(last, endpoint)
        time.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE)


def _attempt(endpoint: Endpoint) -> LoginError | None:
    try:
        connect(endpoint, read_only=True).close()
    except LoginError as error:
        return None if error.login in _ANSWERS else error
    return None


class ContainerWatch:
    """Tells whether a container has ended, or ends again and again."""

    def __init__(self, reader: EngineReader, name: str) -> None:
        self._reader = reader
        self._name = name
        self._restarts: int | None = None

    def __call__(self) -> Trouble | None:
        """Look once."""
        seen = self._reader.get(f"/containers/{self._name}/json")
        if seen is None:
            return Trouble(f"the container {self._name!r} is gone", ())
        state, restarts = seen["State"], seen["RestartCount"]
        first, self._restarts = self._restarts is None, self._restarts if self._restarts is not None else restarts
        crashed = state["Status"] in ("exited", "dead", "restarting") or (not first and restarts > self._restarts)
        if not crashed and state["Status"] != "paused":
            return None
        if state["Status"] == "paused":
            return Trouble(f"the container {self._name!r} is paused", ())
        why = "was killed for lack of memory" if state["OOMKilled"] else f"ended with exit code {state['ExitCode']}"
        sentence = f"the server in the container {self._name!r} {why} while it should become ready"
        lines = self._reader.logs(self._name, _LOG_LINES)
        return Trouble(sentence, (*([state["Error"]] if state["Error"] else []), *lines))
