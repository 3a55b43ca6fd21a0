"""What a server is doing before it answers, by the last line of its log."""

from __future__ import annotations

import re
from typing import Final

# initdb's own lines, the official image's, and PostgreSQL's; the first that fits counts.
_PHASES: Final = (
    (re.compile(r"docker-entrypoint-initdb\.d/"), "running the init scripts"),
    (
        re.compile(
            r"^(?:The files belonging to|The database cluster will|The default (?:database|text)|Data page checksums"
            r"|(?:fixing|creating|selecting|running bootstrap|performing post-bootstrap|syncing data|initdb:) ?)"
        ),
        "initialising the data directory",
    ),
    (re.compile(r"PostgreSQL init process complete|Skipping initialization"), "starting"),
    (re.compile(r"LOG: .*(?:redo |not properly shut down|recovery|syncing data directory)"), "recovering from a crash"),
    (re.compile(r"LOG: .*(?:shutting down|shutdown request|system is shut down)"), "shutting down"),
    (re.compile(r"LOG: "), "starting"),
)
_PREFIX: Final = re.compile(r"^.*?\b(?:LOG|HINT|DETAIL|WARNING|NOTICE|FATAL|ERROR): +")


def words(line: str) -> str:
    """Return the phase, and what the log says of it.

    >>> words("performing post-bootstrap initialization ... ok")
    'initialising the data directory: performing post-bootstrap initialization ... ok'
    >>> words("2026-11-29 12:28:36.604 UTC [21692] LOG:  redo starts at 0/15A3B28")
    'recovering from a crash: redo starts at 0/15A3B28'
    """
    phase = next((name for pattern, name in _PHASES if pattern.search(line)), "")
    said = _PREFIX.sub("", line).strip()
    return f"{phase}: {said}" if phase and said else phase or said
