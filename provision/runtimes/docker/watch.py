"""Tells whether a container has failed while its server should become ready, with what it said last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.runtimes import Trouble

if TYPE_CHECKING:
    from provision.runtimes import Look

_LOG_LINES = 15


class ContainerWatch:
    """Tells whether a container has ended, or ends again and again."""

    def __init__(self, look: Look, name: str) -> None:
        self._look = look
        self._name = name
        self._restarts: int | None = None

    def __call__(self) -> Trouble | None:
        """Look once."""
        seen = self._look.engine(f"/containers/{self._name}/json")
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
        lines = self._look.container_lines(self._name, _LOG_LINES)
        return Trouble(sentence, (*([state["Error"]] if state["Error"] else []), *lines))
