"""Whether an error means that the server, or its connection, went away: then the statement is not to blame.

https://www.postgresql.org/docs/current/errcodes-appendix.html ; drivers have words of their own for a socket that was
closed, and no SQLSTATE.
"""

from __future__ import annotations

import re

_STATES = re.compile(r"08...|57P0[1-5]")
_CLOSED = re.compile(
    r"server closed the connection|server terminated abnormally|terminating connection (?:because|due to administrator)"
    r"|connection (?:is |was |has been )?(?:already )?(?:closed|lost|reset)|no connection to the server"
    r"|connection not open|could not (?:receive data from|send data to) server|SSL SYSCALL error|Broken pipe"
    r"|network error on|the database system is (?:in recovery mode|shutting down|starting up|not yet accepting)",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"Connection refused|Connect call failed|is the server running", re.IGNORECASE)


def is_lost(sqlstate: str | None, message: str) -> bool:
    """Tell whether a connection that worked was lost; ``message`` is the driver's.

    >>> is_lost("57P01", ""), is_lost("25P03", "terminating connection due to idle-in-transaction timeout")
    (True, False)
    >>> is_lost(None, "connection was closed in the middle of operation")
    True
    """
    return bool(_STATES.fullmatch(sqlstate)) if sqlstate else bool(_CLOSED.search(message))


def is_refused(message: str) -> bool:
    """Tell whether nothing listens where a driver wanted to connect: no server, or another address."""
    return bool(_REFUSED.search(message))
