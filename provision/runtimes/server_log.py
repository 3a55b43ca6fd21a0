"""What a server's log tells: what it does before it answers, and why it ended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from provision.errors import command
from provision.runtimes import Trouble

_TELLING = r"(?i)terminated by signal|out of memory|PANIC:|shutdown request|was interrupted|not properly shut down"
_SHOWN = 4
_MOMENT = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (?:UTC|GMT|Etc/UTC)\b"
_KILLED = r"terminated by signal 9\b"
KILLED = 137
"""The exit code of a container whose first process was ended by SIGKILL: 128 + 9."""
MORE_MEMORY = "give the server more memory (`server.resources.memory`, or the machine), then: " + command("apply")
_AGAIN = command("status") + "   # whether it runs; then repeat the same command, which continues where this one ended"


def end_of_server(lines: Sequence[str], since: float) -> Trouble:
    """Return what the last lines of a server's log tell of its end; those from before ``since`` (Unix time) are old."""
    found = [line for line in lines if re.search(_TELLING, line) and not _is_older(line, since)][-_SHOWN:]
    if not any(re.search(_KILLED, line) for line in found):
        return Trouble("", tuple(found), next_step=_AGAIN)
    why = "a process of the server was killed (signal 9): the kernel does that for lack of memory"
    return Trouble("", (why, *found), next_step=MORE_MEMORY)


def _is_older(line: str, since: float) -> bool:
    """Tell whether a line is from before a moment, as far as it begins as PostgreSQL's own ``%m`` and in UTC."""
    found = re.match(_MOMENT, line)
    return found is not None and datetime.fromisoformat(f"{found[1]}+00:00").timestamp() < since


def end_of_container(name: str, seen: Mapping[str, Any] | None, lines: Sequence[str], since: float) -> Trouble:
    """Return what the engine and the log tell of a container."""
    if seen is None:
        return Trouble("", (f"the container {name!r} is gone",), next_step=command("apply"))
    state, logged = seen["State"], end_of_server(lines, since)
    said, next_step = "", logged.next_step
    if is_killed(state):
        said, next_step = killed(state), MORE_MEMORY
    elif not state["Running"]:
        said = f"is {state['Status']}, with exit code {state['ExitCode']}"
    elif seen.get("RestartCount"):
        said = "ended, and the engine started it again"
    return Trouble("", (*([f"the container {name!r} {said}"] if said else []), *logged.evidence), next_step=next_step)


def is_killed(state: Mapping[str, Any]) -> bool:
    """Tell whether a container was killed."""
    return bool(state.get("OOMKilled") or (state["ExitCode"] == KILLED and not state["Running"]))


def killed(state: Mapping[str, Any]) -> str:
    """Say that a container was killed, and why, as far as the engine knows."""
    if state.get("OOMKilled"):
        return "was killed for lack of memory"
    return f"was killed (exit code {KILLED}): by the kernel for lack of memory, or by a SIGKILL from outside"


# --- startup

# initdb's own lines, the official image's, and PostgreSQL's; the first that fits counts.
_PHASES: Final = (
    (r"docker-entrypoint-initdb\.d/", "running the init scripts"),
    (
        (
            r"^(?:The files belonging to|The data(?:base cluster will| is on the disk)|The default (?:database|text)"
            r"|Data page checksums"
            r"|(?:fixing|creating|selecting|running bootstrap|performing post-bootstrap|syncing data|initdb:) ?)"
        ),
        "initialising the data directory",
    ),
    (r"PostgreSQL init process complete|Skipping initialization", "starting"),
    (r"LOG: .*(?:redo |not properly shut down|recovery|syncing data directory)", "recovering from a crash"),
    (r"LOG: .*(?:shutting down|shutdown request|system is shut down)", "shutting down"),
    (r"LOG: ", "starting"),
)
_LOG_PREFIX: Final = r"^.*?\b(?:LOG|HINT|DETAIL|WARNING|NOTICE|FATAL|ERROR): +"


def startup_phase(line: str) -> str:
    """Return the phase, and what the log says of it.

    >>> startup_phase("performing post-bootstrap initialization ... ok")
    'initialising the data directory: performing post-bootstrap initialization ... ok'
    >>> startup_phase("2026-11-29 12:28:36.604 UTC [21692] LOG:  redo starts at 0/15A3B28")
    'recovering from a crash: redo starts at 0/15A3B28'
    """
    phase = next((name for pattern, name in _PHASES if re.search(pattern, line)), "")
    said = re.sub(_LOG_PREFIX, "", line).strip()
    return f"{phase}: {said}" if phase and said else phase or said
