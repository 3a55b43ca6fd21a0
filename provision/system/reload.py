"""Having the server read its configuration again, and seeing that it did.

A file that was just replaced may not be visible to the server yet (shared folders of virtual machines), and one with an
error is dropped as a whole at a reload. So the server is asked first what it makes of the file.
https://www.postgresql.org/docs/current/view-pg-file-settings.html
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from provision.errors import StepFailedError, command
from provision.system.postgres import connect
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Endpoint

_TIMEOUT = 10.0
_PAUSE = 0.02
_FILE = """
SELECT name, setting, sourceline, error FROM pg_file_settings
WHERE sourcefile = current_setting('config_file') ORDER BY seqno
"""
_NEEDS_RESTART = "setting could not be applied"


def reload(endpoint: Endpoint, database: str, expected: Mapping[str, str] | None) -> None:
    """Wait until the server sees ``expected`` (name → raw value) in its file, if that is given, then have it read it.

    Raises:
        StepFailedError: the server finds an error in the file, or does not see it.
    """
    with closing(connect(endpoint, database, read_only=False)) as connection, connection.cursor() as cursor:
        if expected is not None:
            _await_file(cursor, {name.casefold(): value for name, value in expected.items()})
        cursor.execute("SELECT pg_conf_load_time()::text")
        before = cursor.fetchone()
        cursor.execute("SELECT pg_reload_conf()")
    for _ in attempts(_TIMEOUT, _PAUSE):
        with closing(connect(endpoint, database, read_only=True)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_conf_load_time()::text")
            if cursor.fetchone() != before:
                return
    raise StepFailedError(
        f"the server did not read its configuration again within {_TIMEOUT:g} s", next_step=command("logs")
    )


def _await_file(cursor: Any, wanted: Mapping[str, str]) -> None:
    for _ in attempts(_TIMEOUT, _PAUSE):
        cursor.execute(_FILE)
        rows = cursor.fetchall()
        errors = [
            f"line {line}: {name}: {error}" for name, _, line, error in rows if error not in (None, _NEEDS_RESTART)
        ]
        seen = {name.casefold(): value for name, value, _, _ in rows if name is not None}
        if seen == dict(wanted):
            if errors:
                raise StepFailedError(
                    "the server refuses the new postgresql.conf", evidence=errors, next_step=command("logs")
                )
            return
    raise StepFailedError(
        f"the server does not see the new postgresql.conf after {_TIMEOUT:g} s",
        evidence=[f"it sees {name} = {seen.get(name)}, not {value}" for name, value in wanted.items()
                  if seen.get(name) != value][:5],
        next_step=command("logs"),
    )  # fmt: skip
