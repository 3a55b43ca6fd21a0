"""Tells whether a container has failed while its server should become ready, with what it said last."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from provision.runtimes import Trouble, Watch, server_log
from provision.runtimes.docker import containers, scripts
from provision.system.look import Look

_LOG_LINES = 40
_SHOWN = 12
_BEFORE = 6
# Between the two halves of a restart, which the engine finishes whoever asked for it and is gone, in seconds.
_RESTART_GAP = 2.0
_LISTENS = "listening on IP"
_FATAL = r"\b(FATAL|PANIC):"
_NEXT_LIFE = "Skipping initialization"
_EARLIER_LIFE = rf"database system is shut down|{_NEXT_LIFE}|\b(FATAL|PANIC):"
# https://github.com/docker-library/postgres/issues/891: a first start that is killed leaves a data directory that looks
# initialised, and is not.
_HALF_MADE = "could not find the database system"
_ADVICE = (
    "the data is incomplete; if no server ever ran on it, the next provision apply initialises it again;"
    " otherwise restore a backup: provision destroy --data removes what is left"
)


def telling(lines: Sequence[str]) -> list[str]:
    """Return what a server that ended said last: its last fatal complaint, and what led to it since it was started.

    https://www.postgresql.org/docs/current/runtime-config-logging.html#RUNTIME-CONFIG-SEVERITY-LEVELS
    """
    fatal = [at for at, line in enumerate(lines) if re.search(_FATAL, line)]
    if not fatal:
        return list(lines[-_SHOWN:])
    before = [at + 1 for at in range(fatal[-1]) if re.search(_EARLIER_LIFE, lines[at])]
    first = max([fatal[-1] - _BEFORE, 0, *before[-1:]])
    after = [at for at in range(fatal[-1], len(lines)) if _NEXT_LIFE in lines[at]]
    return list(lines[first : min([first + _SHOWN, *after[:1]])])


class ContainerWatch(Watch):
    """Tells whether a container has ended, or ends again and again."""

    def __init__(self, look: Look, name: str) -> None:
        self._look = look
        self._name = name
        self._restarts: int | None = None
        self._stopped: float | None = None
        self._listens: float | None = None

    def last_line(self) -> str:
        """Return the last line of the container's log."""
        return "".join(self._look.reader.logs(self._name, 1))

    def _unforwarded(self, seen: Mapping[str, Any]) -> Trouble | None:
        """Return what is wrong where a server listens, and only the socket of its engine was forwarded to this host."""
        if not any(_LISTENS in line for line in self._look.reader.logs(self._name, _LOG_LINES)):
            return None
        self._listens = self._listens or time.monotonic()
        if time.monotonic() - self._listens < _RESTART_GAP:
            return None
        ports = [f"{each['HostIp']}:{each['HostPort']}" for each in chain(*seen["HostConfig"]["PortBindings"].values())]
        return Trouble(
            f"ssh forwards the engine's socket from another host, and not the port {', '.join(ports)} of the server",
            (f"the server in the container {self._name!r} listens there, and cannot be reached from here",),
            next_step="name the engine itself: DOCKER_HOST=ssh://HOST   (a tunnel then leads to the port)",
        )

    def __call__(self) -> Trouble | None:
        """Look once."""
        seen = containers.inspect(self._look, self._name)
        if seen is None:
            return Trouble(f"the container {self._name!r} is gone", ())
        state, status = seen["State"], seen["State"]["Status"]
        self._restarts = seen["RestartCount"] if self._restarts is None else self._restarts
        if status == "paused":
            return Trouble(f"the container {self._name!r} is paused", ())
        if status not in ("exited", "dead", "restarting") and seen["RestartCount"] <= self._restarts:
            return self._unforwarded(seen) if status == "running" and self._look.address.is_forwarded else None
        if status == "exited" and not state["ExitCode"] and not state["OOMKilled"]:
            self._stopped = self._stopped or time.monotonic()
            is_between = time.monotonic() - self._stopped < _RESTART_GAP
            return None if is_between else Trouble(f"the container {self._name!r} was stopped", (), orderly=True)
        why, next_step = f"ended with exit code {state['ExitCode']}", ""
        if server_log.is_killed(state):
            why, next_step = server_log.killed(state), server_log.MORE_MEMORY
        elif state["Running"] and not state["Restarting"]:
            why = "ended, was started again by the engine,"
        sentence = f"the server in the container {self._name!r} {why} while it should become ready"
        said = self._look.reader.logs(self._name, _LOG_LINES)
        lines = telling(said)
        evidence = [state["Error"], *lines, _ADVICE if any(_HALF_MADE in line for line in lines) else ""]
        next_step = scripts.AGAIN if scripts.has_failed(said) else next_step
        return Trouble(sentence, tuple(filter(None, evidence)), next_step=next_step)
