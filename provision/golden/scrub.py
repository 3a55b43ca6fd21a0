"""What is taken out of a copy before it is kept: every password and verifier, and where older ones may still be read.

The server runs alone on the copy (``postgres --single``), so nobody connects to it:
https://www.postgresql.org/docs/current/app-postgres.html#id-1.9.5.14.6.7. A changed row leaves its old version behind
until its table is written anew, statistics hold values of columns, and the write-ahead log has all of it once more.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Any

from provision.errors import StepFailedError
from provision.golden import control
from provision.kinds.login import converge_login, with_verifier
from provision.model import MAINTENANCE, Secret
from provision.observe.history import TABLE as HISTORY

SUPERUSER = "postgres"
"""The name that the superuser has in every golden."""
OPTIONS = ("-F", "-j", "-c", "track_activities=off", "-c", "archive_mode=off", "-c", "lc_messages=C")
"""Options of the server: without waiting for the disk, and without a trace of what it does here."""
_KEPT_DIRECTORIES = ("base", "global", "pg_")
_KEPT_FILES = ("PG_VERSION", "pg_hba.conf", "pg_ident.conf", "postgresql.conf", "postgresql.auto.conf")
_EMPTIED = (
    *("pg_notify/", "pg_stat_tmp/", "pg_replslot/", "pg_tblspc/", "pg_twophase/", "pg_dynshmem/", "pg_snapshots/"),
    *("pg_logical/snapshots/", "pg_logical/mappings/", "pg_wal/archive_status/", "pg_wal/summaries/"),
    *("base/pgsql_tmp/", "global/pg_internal.init"),
)
"""What the server makes again when it starts, or what only a server with slots, tablespaces and the like needs."""
_COUNTERS = ("pgstat.stat", "global.stat", "db_")
_DROPPED = ("postmaster.", "current_logfiles", "log", "pg_log", "provision.", ".provision", "postgresql.auto.conf.tmp")
"""What is left out and missed by nobody: of a server that ran, and records of ours."""

_VERIFIERS = rb"SCRAM-SHA-256\$\d+:[\w+/=]+\$[\w+/=]{8}"

# Logins keep what they may do: only what proves who they are is replaced.
_LOGINS = """DO $provision$
DECLARE
    login name;
BEGIN
    FOR login IN SELECT rolname FROM pg_catalog.pg_authid WHERE rolpassword IS NOT NULL LOOP
        EXECUTE format('ALTER ROLE %I PASSWORD %L', login, '@verifier@');
    END LOOP;
END
$provision$;
"""
_SHARED = ("VACUUM FULL pg_catalog.pg_authid;", "VACUUM FULL pg_catalog.pg_db_role_setting;")
SEQUENCES = """
SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(coalesce(pg_catalog.string_agg(
    pg_catalog.format('%I.%I %s', schemaname, sequencename, last_value), ' ' ORDER BY schemaname, sequencename
), ''), 'UTF8')), 'hex') AS sequences FROM pg_catalog.pg_sequences;
"""
"""Says in one word what the sequences of a database have given: the server alone prints ``sequences = "…"``."""
_EACH = (
    SEQUENCES,
    f"DROP TABLE IF EXISTS {HISTORY};",
    "DELETE FROM pg_catalog.pg_statistic WHERE starelid = 1260;",
    "VACUUM FULL pg_catalog.pg_statistic;",
)


def script(database: str, password: str = "") -> Secret:
    """Return what runs in a database of the copy, as ``postgres --single -j`` reads it.

    Logins get ``password``, or a random one. That of :data:`MAINTENANCE` is the last: it has also what is about all
    databases, and ends the log of all that.
    """
    lines: tuple[str, ...] = _EACH
    if database == MAINTENANCE:
        lines = (converge_login(SUPERUSER), _LOGINS, *_SHARED, *_EACH, "SELECT pg_catalog.pg_switch_wal();")
    text = "".join(f"{each.strip()}\n\n" for each in lines)
    return with_verifier(text, Secret(password or secrets.token_urlsafe(32)))


def order(databases: Iterable[str]) -> tuple[str, ...]:
    """Return the databases of a copy in the order in which the scripts run.

    >>> order(["postgres", "shop", "template1"])
    ('shop', 'template1', 'postgres')
    """
    return (*[each for each in dict.fromkeys(databases) if each != MAINTENANCE], MAINTENANCE)


def said(database: str, text: str, *, failed: bool = False) -> str:
    """Return what the server said that ran alone on a copy.

    Raises:
        StepFailedError: it failed.
    """
    errors = [line for line in text.splitlines() if re.search("(ERROR|FATAL|PANIC):", line)]
    if failed or errors:
        raise StepFailedError(f"the secrets cannot be taken out of the copy ({database})", evidence=errors[-3:])
    return text


def check(text: Any) -> None:
    """Refuse what has another verifier in it than the one that all logins of a copy have.

    Raises:
        StepFailedError: something else has left one, or not even that one is found.
    """
    found = set(re.findall(_VERIFIERS, text))
    if len(found) > 1:
        raise StepFailedError("a verifier of a password is left in the copy")
    if not found:
        raise StepFailedError("the verifiers of passwords in the copy cannot be searched for")


def leaves(name: str) -> bool:
    """Tell whether a path in a data directory is left out of a golden, but for the write-ahead log.

    >>> [leaves(each) for each in ("base/1/1259", "postmaster.pid", "pg_notify/0000", "pg_stat/statements.stat")]
    [False, True, True, True]
    """
    top, _, below = name.partition("/")
    if not (top in _KEPT_FILES or top.startswith(_KEPT_DIRECTORIES)) or top == "pg_log":
        return True
    if top == "pg_stat":
        return bool(below) and not below.startswith(_COUNTERS)
    return name.startswith(_EMPTIED) or name.endswith("/pg_internal.init")


def strange(names: Iterable[str]) -> str:
    """Return the first name at the top of a data directory that a golden would lack; empty: there is none.

    >>> strange(["base", "base/1", "PG_VERSION", "postmaster.opts", "server.key"]), strange(["pg_wal", "log/a.log"])
    ('server.key', '')
    """
    tops = dict.fromkeys(each.partition("/")[0] for each in names)
    return next((each for each in tops if leaves(each) and not each.startswith(_DROPPED)), "")


def is_old_log(name: str, checkpoint: str) -> bool:
    """Tell whether a path is a WAL file but the one with the last checkpoint.

    >>> [is_old_log(each, "000000010000000000000003") for each in ("pg_wal/000000010000000000000002", "pg_wal", "base")]
    [True, False, False]
    """
    top, _, file = name.partition("/")
    return top == "pg_wal" and "/" not in file and file not in ("", checkpoint, "archive_status", "summaries")


def control_of(content: bytes) -> control.Control:
    """Return the control data of a server that was shut down.

    Raises:
        StepFailedError: it was not.
    """
    found = control.read(content)
    if found is None or not found.is_shut_down:
        raise StepFailedError("its control data does not say that the server was shut down")
    return found
