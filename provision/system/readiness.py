"""Waiting for a server: until it answers a login over TCP from here, or until it is clear that it will not.

The image's temporary server, which runs while the data is initialised, listens on a socket only, so whoever answers
over TCP is the final one. It asks for a password, which is answer enough: a server that is not ready refuses before
that, and `provision start` works without the password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any

from provision.errors import ProvisionError, StepFailedError, command
from provision.model import UNREAD, Endpoint
from provision.model.value import replace
from provision.runtimes import Watch
from provision.system.login_errors import diagnosed, is_worth_waiting
from provision.system.postgres import Login, LoginError, connect, log_in, rows
from provision.system.waiting import attempts

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
_WATCH_EVERY, _TELL_EVERY = 0.1, 0.5
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
    reported, watched, without_password = 0.0, 0.0, replace(endpoint, password=UNREAD)
    for waited in attempts(timeout, _SHORTEST_PAUSE, longest=_LONGEST_PAUSE):
        refused = _attempt(without_password, database)
        if refused is None:
            return
        last = refused
        if 0 < waited < watched + _WATCH_EVERY:
            continue
        watched, found = waited, watch()
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
            next_step=log_command + "   # what it is doing; then run the same command again: it continues to wait",
        )
    return StepFailedError(
        f"the server did not answer within {timeout:g} s (`ready_timeout`)",
        evidence=last.evidence or (last.sentence,),
        next_step=log_command,
    )


def wait_for_foreign(endpoint: Endpoint, timeout: float) -> None:
    """Wait up to ``timeout`` seconds for a server that others start, as long as there is hope.

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
        log_in(endpoint, database)
    except LoginError as error:
        return None if error.login in _ANSWERS else error
    return None


# Having the server read its configuration again, and seeing that it did.
#
# A file that was just replaced may not be visible to the server yet (shared folders of virtual machines), and one
# with an error is dropped as a whole at a reload. So the server is asked first what it makes of the file.
# https://www.postgresql.org/docs/current/view-pg-file-settings.html


_RELOAD_TIMEOUT = 10.0
_PAUSE = 0.02
_FILE = """
SELECT name, setting, sourceline, error FROM pg_file_settings
WHERE sourcefile = current_setting('config_file') ORDER BY seqno
"""
_LOADED = "SELECT pg_conf_load_time()::text"
_NEEDS_RESTART = "setting could not be applied"


def reload(endpoint: Endpoint, database: str, expected: Mapping[str, str] | None) -> None:
    """Wait until the server sees ``expected`` (name → raw value) in its file, if that is given, then have it read it.

    Raises:
        StepFailedError: the server finds an error in the file, or does not see it.
    """
    with closing(connect(endpoint, database, read_only=False)) as connection:
        if expected is not None:
            _await_file(connection, {name.casefold(): value for name, value in expected.items()})
        before = rows(connection, _LOADED)
        rows(connection, "SELECT pg_reload_conf()")
    for _ in attempts(_RELOAD_TIMEOUT, _PAUSE):
        with closing(connect(endpoint, database, read_only=True)) as connection:
            if rows(connection, _LOADED) != before:
                return
    raise StepFailedError(
        f"the server did not read its configuration again within {_RELOAD_TIMEOUT:g} s", next_step=command("logs")
    )


def _await_file(connection: Any, wanted: Mapping[str, str]) -> None:
    for _ in attempts(_RELOAD_TIMEOUT, _PAUSE):
        found = rows(connection, _FILE)
        errors = [
            f"line {line}: {name}: {error}" for name, _, line, error in found if error not in (None, _NEEDS_RESTART)
        ]
        seen = {name.casefold(): value for name, value, _, _ in found if name is not None}
        if seen == dict(wanted):
            if errors:
                raise StepFailedError(
                    "the server refuses the new postgresql.conf", evidence=errors, next_step=command("logs")
                )
            return
    raise StepFailedError(
        f"the server does not see the new postgresql.conf after {_RELOAD_TIMEOUT:g} s",
        evidence=[f"it sees {name} = {seen.get(name)}, not {value}" for name, value in wanted.items()
                  if seen.get(name) != value][:5],
        next_step=command("logs"),
    )  # fmt: skip
