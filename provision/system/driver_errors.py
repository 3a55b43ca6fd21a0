"""What an error of a driver means: the server, or its connection, went away, or the statement is to blame.

Drivers have words of their own for a socket that was closed, and no SQLSTATE.
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.errors import StepFailedError, command

if TYPE_CHECKING:
    import psycopg2

_STATES = r"08...|57P0[1-5]"
_CLOSED = (
    r"(?i)server closed the connection|server terminated abnormally"
    r"|terminating connection (?:because|due to administrator)"
    r"|connection (?:is |was |has been )?(?:already )?(?:closed|lost|reset)|no connection to the server"
    r"|connection not open|could not (?:receive data from|send data to) server|SSL SYSCALL error|Broken pipe"
    r"|network error on|the database system is (?:in recovery mode|shutting down|starting up|not yet accepting)"
)
_REFUSED = r"(?i)Connection refused|Connect call failed|is the server running"


def is_lost(sqlstate: str | None, message: str) -> bool:
    """Whether a connection that worked was lost; ``message`` is the driver's.

    >>> is_lost("57P01", ""), is_lost("25P03", "terminating connection due to idle-in-transaction timeout")
    (True, False)
    >>> is_lost(None, "connection was closed in the middle of operation")
    True
    """
    return bool(re.fullmatch(_STATES, sqlstate)) if sqlstate else bool(re.search(_CLOSED, message))


def is_refused(message: str) -> bool:
    """Whether nothing listens where a driver wanted to connect: no server, or another address."""
    return bool(re.search(_REFUSED, message))


def failure(error: Exception) -> StepFailedError | None:
    """Return our error for one that the driver raised; None: it is not the driver's."""
    import psycopg2

    return failed_statement(error) if isinstance(error, psycopg2.Error) else None


def failed_statement(error: psycopg2.Error, statement: str = "") -> StepFailedError:
    """Return our error for a ``statement`` that the server refused, or did not get to answer."""
    if is_lost(error.pgcode, str(error)):
        return gone(error, f"the server ran: {statement}" if statement else "it was asked for something")
    lines = [each for each in (statement, *str(error).splitlines()) if each]
    return StepFailedError("the server refused a statement", evidence=lines)


def gone(error: BaseException, doing: str) -> StepFailedError:
    """Return the error for a connection that was lost in the middle of something."""
    failure = StepFailedError(
        f"the connection to the server was lost while {doing}",
        evidence=str(error).splitlines(),
        next_step=command("status") + "   # whether it runs; then the same command again",
    )
    failure.server_is_gone = True
    return failure
