"""Waiting for a server: until it answers a login over TCP from here, or until it is clear that it will not.

The image's temporary server, which runs while the data is initialised, listens on a socket only, so whoever answers
over TCP is the final one. It asks for a password, which is answer enough: a server that is not ready refuses before
that, and `provision start` works without the password.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from provision.errors import ProvisionError, StepFailedError
from provision.model import UNREAD
from provision.system.login_errors import diagnosed, is_worth_waiting
from provision.system.postgres import Login, LoginError, connect
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.model import Endpoint
    from provision.runtimes import Watch

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
_TELL_EVERY = 0.5
_ANSWERS = (Login.OK, Login.NO_DATABASE, Login.REFUSED, Login.FULL, Login.CLOSED)


def wait(
    endpoint: Endpoint, timeout: float, *, database: str, watch: Watch, tell: Callable[[str], None], log_command: str
) -> None:
    """Wait up to ``timeout`` seconds; a server that was shut down meanwhile is not waited for.

    The login is to ``database``, one that every server has: the declared one may have to be made yet. ``tell`` gets the
    last line of the server's log now and then.

    Raises:
        StepFailedError: the server ended by itself, or did not answer in time.
    """
    reported, without_password = 0.0, replace(endpoint, password=UNREAD)
    for waited in attempts(timeout, _SHORTEST_PAUSE, longest=_LONGEST_PAUSE):
        refused = _attempt(without_password, database)
        if refused is None:
            return
        last = refused
        found = watch()
        if found is not None and found.orderly:
            return  # whoever asked looks again, and starts it
        if found is not None:
            raise StepFailedError(found.sentence, evidence=found.evidence, next_step=found.next_step or log_command)
        if waited - reported > _TELL_EVERY:
            reported = waited
            with suppress(ProvisionError):  # the next look at the server says what is wrong with it
                tell(watch.last_line())
    raise _too_late(last, timeout, log_command)


def _too_late(last: LoginError, timeout: float, log_command: str) -> StepFailedError:
    """Return the error for a server that was given all of its time; one that answers says what it is doing."""
    if last.login is Login.STARTING:
        return StepFailedError(
            f"the server is there, and does not take logins after {timeout:g} s (`ready_timeout`)",
            evidence=last.evidence,
            next_step=log_command + "   # what it is doing; then the same command again, it goes on waiting",
        )
    return StepFailedError(
        f"the server did not answer within {timeout:g} s (`ready_timeout`)",
        evidence=last.evidence or (last.sentence,),
        next_step=log_command,
    )


def wait_for_foreign(endpoint: Endpoint, timeout: float) -> None:
    """Wait up to ``timeout`` seconds for a server that somebody else starts, as long as there is hope.

    Raises:
        UnavailableError: it did not answer in time, or cannot be reached this way.
    """
    for _ in attempts(timeout, _SHORTEST_PAUSE, longest=_LONGEST_PAUSE):
        refused = _attempt(endpoint, endpoint.database)
        if refused is None:
            return
        last = refused
        if not is_worth_waiting(last):
            break
    raise diagnosed(last, endpoint)


def _attempt(endpoint: Endpoint, database: str) -> LoginError | None:
    """Return why a server gives no answer."""
    try:
        connect(endpoint, database, read_only=True).close()
    except LoginError as error:
        return None if error.login in _ANSWERS else error
    return None
