"""Databases that are copied, or put in the place of another, inside one server, while clients come and go.

While a statement holds the lock of a database, or waits for it, the server lets no session in: logins wait. So sessions
are ended once the statement has asked for its lock, and none comes back before it is done. ``ALLOW_CONNECTIONS false``
would have to be committed, and a run that is killed would leave the database closed.
https://www.postgresql.org/docs/current/sql-createdatabase.html
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from provision.errors import ProvisionError, RefusedError, StepFailedError, UsageError, command
from provision.model import MAINTENANCE, Endpoint
from provision.model.sql import identifier, literal
from provision.system import database_properties
from provision.system.database_properties import asked, execute
from provision.system.driver_errors import failure
from provision.system.poolers import wait
from provision.system.postgres import connect, refuse_pooler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import psycopg2.extensions


LONGEST = 63
"""The bytes of a name; the server cuts off what is longer, without an error."""
PATIENCE = 30.0
"""How long sessions may take to end, and others to give back a lock of the database, in seconds."""
_POLL = 0.02
_SMALL = 64 << 20
"""Bytes up to which a copy through the WAL is cheaper than two checkpoints and an fsync of each file."""
_SMALL_SHARED = 16 << 20
"""The same where files share blocks: on XFS an empty database takes 46 and 125 ms, one of 30 MB 122 and 90 ms."""
_SHARES = """cd {} || exit; mkdir -p base/pgsql_tmp; f=base/pgsql_tmp/pgsql_tmp_clone_$$; head -c 4096 /dev/zero > $f
cp --reflink=always $f $f.2 2> /dev/null; echo shared $?; rm -f $f $f.2"""
"""Tries it in the directory that the server empties when it starts."""
_CLONE, _COPY = "SET file_copy_method = clone", "SET file_copy_method = copy"
_REFUSED = ("58", "XX", "42501")
"""How the codes begin of what the system says, where it cannot clone a file."""
_WITH_STRATEGIES = 150000
_WATCHED, _WITH_WATCH = "SET client_connection_check_interval = 500", 140000
"""The server gives up what it does for a run that was killed."""
_NAMED = 8
_IN_USE, _NO_LOCK, _DEADLOCK = "55006", "55P03", "40P01"
_ALONE = (
    "SET LOCAL lock_timeout = 100; LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.1); "
)
"""What lets no session look up the name of a database: one that has, and waits for it, is refused after a rename.

A login that has looked it up just before takes the lock of the database next, and no view shows it between the two: the
pause is for those.
"""
_ALONE_WITHIN = 3.0
"""How long a rename asks for that, in seconds: a transaction that has read the catalogue may hold it for long."""
_INSTEAD = {"postgres": "template1"}
_TIMEOUTS = (
    "statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout",
)  # fmt: skip

_WAY = """
SELECT pg_database_size(oid), current_setting('server_version_num')::int, current_setting('fsync') = 'on',
    EXISTS (SELECT FROM pg_settings WHERE name = 'file_copy_method' AND 'clone' = ANY (enumvals))
FROM pg_database WHERE datname = %s
"""
_ASKED = """EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = %(pid)s AND l.locktype = 'object'
    AND l.classid = 'pg_database'::regclass AND l.objid = a.datid)"""
_END = f"""
SELECT pid, backend_type = 'client backend' AND application_name <> 'provision',
    concat(coalesce(nullif(application_name, ''), 'a client'), ' of ', pg_get_userbyid(usesysid),
        ' from ' || host(client_addr), ', process ', pid), pg_terminate_backend(pid)
FROM pg_stat_get_activity(NULL) AS a WHERE pid <> pg_backend_pid() AND pid <> %(pid)s AND {_ASKED}
    AND (%(superuser)s OR pg_has_role(usesysid, 'USAGE'))
"""  # noqa: S608  # from constants only
"""The view ``pg_stat_activity`` would wait for the lock of ``_ALONE``."""
_LEFT = """
SELECT concat(coalesce(nullif(application_name, ''), backend_type, 'a session'), ' of ' || usename,
    ' from ' || host(client_addr), ', process ', pid) FROM pg_stat_activity
WHERE datname = ANY (%s) AND pid <> pg_backend_pid() AND application_name <> 'provision'
UNION ALL SELECT format('the prepared transaction %%L', gid) FROM pg_prepared_xacts WHERE database = ANY (%s)
"""
_OF = """
SELECT pg_get_userbyid(datdba)::text, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s
"""


class Way(NamedTuple):
    """How a database is copied: the ``STRATEGY`` (empty: the server knows only one), and what is set before.

    ``size`` is that of the source, in bytes.
    """

    strategy: str
    settings: tuple[str, ...]
    size: int


class New(NamedTuple):
    """A copy to be made; ``owner`` and ``comment`` are those of the source where they are None.

    One that is ``closed`` lets no session in.
    """

    name: str
    owner: str | None = None
    comment: str | None = None
    closed: bool = False


class Copied(NamedTuple):
    """What a copy took: the sessions that were ended, in words, and what could not be copied."""

    sessions: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def new_name(prefix: str, whose: str) -> str:
    """Return a name that no database has: the prefix, whose it is as far as there is room, and a random end."""
    end = secrets.token_hex(4)
    plain = re.sub(r"[^a-z0-9]+", "_", whose.lower()).strip("_")
    return f"{prefix}{plain[: LONGEST - len(prefix) - len(end) - 1]}_{end}"


def way(connection: psycopg2.extensions.connection, source: str) -> Way:
    """Choose how to copy a database: as its size, ``fsync`` and the version ask.

    Up to 14 the server only copies files. ``clone`` shares the blocks where the file system can, and copies inside of
    the kernel where it cannot: https://www.postgresql.org/docs/18/runtime-config-resource.html

    Raises:
        StepFailedError: there is no such database.
    """
    found = asked(connection, _WAY, (source,))
    if not found:
        raise StepFailedError(f"there is no database {source!r}", next_step=command("status"))
    ((size, version, fsync, clones),) = found
    if version < _WITH_STRATEGIES:
        return Way("", (), size)
    if fsync and size <= _SMALL and not (clones and size > _SMALL_SHARED and _shares_blocks(connection)):
        return Way("WAL_LOG", (), size)
    return Way("FILE_COPY", (_CLONE,) if clones else (), size)


def _shares_blocks(connection: psycopg2.extensions.connection) -> bool:
    """Whether the server's data is where files can share blocks; the server tries it, which takes a superuser."""
    return _said(connection, _SHARES)[-1:] == ["shared 0"]


def _is_refused(error: Exception, way: Way) -> bool:
    """Tell whether a copy failed in a way in which one without shared blocks may not."""
    code = getattr(error.__cause__, "pgcode", None) or ""
    return bool(way.settings) and code.startswith(_REFUSED)


def statement(new: New, source: str, way: Way) -> str:
    """Return the statement that copies a database.

    Raises:
        UsageError: the name is longer than 63 bytes.
    """
    if (length := len(new.name.encode())) > LONGEST:
        raise UsageError(
            f"the name of a database has at most {LONGEST} bytes, and {new.name!r} has {length}",
            next_step="choose a shorter name",
        )
    words = [f"CREATE DATABASE {identifier(new.name)} TEMPLATE {identifier(source)}"]
    words += [f"OWNER {identifier(new.owner)}"] if new.owner is not None else []
    words += [f"STRATEGY {way.strategy}"] if way.strategy else []
    words += ["ALLOW_CONNECTIONS false"] if new.closed else []
    return " ".join(words)


def copy(endpoint: Endpoint, source: str, new: New, *, patience: float = PATIENCE) -> Copied:
    """Copy a database, and give the copy what a template copy leaves out: settings, privileges, limit and comment.

    All but the files is one transaction, so that a missing comment tells a copy that was not completed.

    Raises:
        RefusedError: our role may not copy it.
        StepFailedError: sessions of the source do not end, or the server refuses the copy for another reason.
    """
    with closing(_connect(endpoint, source)) as connection:
        chosen = way(connection, source)
        ((owned, said),) = asked(connection, _OF, (source,))
        making = statement(new._replace(owner=new.owner or owned), source, chosen)
        try:
            ended = _run(endpoint, connection, (source,), (*chosen.settings, making), patience)
        except ProvisionError as error:
            if not _is_refused(error, chosen):
                raise
            ended = _run(endpoint, connection, (source,), (_COPY, making), patience)
        properties, comment = database_properties.read(connection, source), said if new.comment is None else new.comment
        return Copied(ended, database_properties.give(connection, properties, new.name, comment))


class Copies:
    """Many copies of a database that no session can be in, over one connection in autocommit mode.

    ``way`` is how they are copied.

    Raises:
        StepFailedError: there is no such database, or the server refuses a statement.
    """

    def __init__(self, connection: psycopg2.extensions.connection, source: str) -> None:
        self._connection, self._source = connection, source
        self.way = way(connection, source)
        ((self._owner, _),) = asked(connection, _OF, (source,))
        self._properties = database_properties.read(connection, source)
        known = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY (%s)"
        asked(connection, known, (list(_TIMEOUTS),))
        for each in self.way.settings:
            execute(connection, each)

    def make(self, name: str) -> None:
        """Make a copy, with the owner, the privileges and the settings of the source, and no comment."""
        making = statement(New(name, self._owner), self._source, self.way)
        try:
            execute(self._connection, making)
        except ProvisionError as error:
            if not _is_refused(error, self.way):
                raise
            self.way = self.way._replace(settings=())
            execute(self._connection, _COPY)
            execute(self._connection, making)
        if not self._properties.is_plain:
            database_properties.give(self._connection, self._properties, name, None)


def rename(endpoint: Endpoint, renames: Sequence[tuple[str, str]], *more: str) -> tuple[str, ...]:
    """Give databases other names, one after the other, all or nothing; return the sessions that were ended.

    ``more`` are statements of the same transaction, in which the databases have their new names.

    Raises:
        StepFailedError: sessions do not end, or the server refuses a statement.
    """
    names = [old for old, _ in renames]
    statements = [f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)}" for old, new in renames]
    with closing(_connect(endpoint, *names)) as connection:
        first = _ALONE if _is_superuser(connection) else ""
        return _run(endpoint, connection, names, ("; ".join([*statements, *more]),), PATIENCE, first=first)


def free(endpoint: Endpoint) -> int | None:
    """Return the bytes that are free where the server keeps its databases; None: it could not find out.

    The server itself runs ``df``, which takes a superuser: its data may be in a container, on another machine.
    """
    with closing(_connect(endpoint)) as connection:
        for line in _said(connection, "df -Pk {}"):
            if (found := re.search(r" (\d+) +\d+% ", line)) is not None:
                return int(found[1]) << 10
    return None


def _said(connection: psycopg2.extensions.connection, program: str) -> list[str]:
    """Return what a program of the server prints, with its data directory in the words; nothing where that fails."""
    from psycopg2 import Error

    with connection.cursor() as cursor, suppress(Error):
        cursor.execute("SELECT current_setting('data_directory')")
        ((directory,),) = cursor.fetchall()
        cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS provision_said (line text)")
        cursor.execute("TRUNCATE provision_said")
        cursor.execute(f"COPY provision_said FROM PROGRAM {literal(program.format(shlex.quote(directory)))}")
        cursor.execute("SELECT line FROM provision_said")
        return [line for (line,) in cursor.fetchall()]
    return []


def drop(endpoint: Endpoint, name: str) -> None:
    """Drop a database, also one in use, and one whose dropping was interrupted.

    Raises:
        StepFailedError: the server refuses it.
    """
    with closing(_connect(endpoint, name)) as connection:
        drop_in(connection, name)


def drop_in(connection: psycopg2.extensions.connection, name: str) -> None:
    """Do the same over a connection that is open, in autocommit mode."""
    execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


def maintenance(*names: str) -> str:
    """Return the database to be in while these are copied or renamed."""
    return _INSTEAD[MAINTENANCE] if MAINTENANCE in names else MAINTENANCE


KEEPS_OPEN = "keeps sessions open in the databases, so none can be copied or renamed"


def _connect(endpoint: Endpoint, *names: str) -> psycopg2.extensions.connection:
    connection = connect(endpoint, maintenance(*names), read_only=False)
    try:
        refuse_pooler(endpoint, KEEPS_OPEN)
    except BaseException:
        connection.close()
        raise
    known = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY (%s)"
    asked(connection, known, (list(_TIMEOUTS),))
    return connection


def _run(
    endpoint: Endpoint,
    connection: psycopg2.extensions.connection,
    databases: Sequence[str],
    statements: Iterable[str],
    patience: float,
    *,
    first: str = "",
) -> tuple[str, ...]:
    """Run statements, and end the sessions in their way; ``connection`` is another one, of the same login.

    ``first`` comes before each of them, for as long as it may take.
    """
    from psycopg2 import Error

    ended: dict[int, str] = {}
    deadline = time.monotonic() + patience
    until = time.monotonic() + _ALONE_WITHIN
    with closing(connect(endpoint, maintenance(*databases), read_only=False, is_async=True)) as acting:
        wait(acting, patience)
        at = {"pid": acting.info.backend_pid, "superuser": _is_superuser(connection)}
        limits = [f"SET lock_timeout = {int(patience * 1000)}", *(f"SET {each} = 0" for each in _known(connection))]
        limits += [_WATCHED] if connection.server_version >= _WITH_WATCH else []
        for each in limits:
            _awaited(acting, each, lambda: None)
        for each in statements:
            while True:
                before = first if time.monotonic() < until else ""
                try:
                    _awaited(acting, before + each, lambda: ended.update(_end(connection, at)))
                    break
                except Error as error:
                    passes = error.pgcode in (_IN_USE, _DEADLOCK) or (before and error.pgcode == _NO_LOCK)
                    if not passes or time.monotonic() > deadline:
                        raise _explained(connection, error, databases) from error
    return tuple(ended.values())


def _awaited(acting: psycopg2.extensions.connection, statement: str, meanwhile: Callable[[], object]) -> None:
    """Run a statement on a connection that does not block, and call ``meanwhile`` until it is done.

    What interrupts this cancels the statement.
    """
    with acting.cursor() as cursor:
        cursor.execute(statement)
        try:
            while not wait(acting, _POLL):
                meanwhile()
        except (KeyboardInterrupt, SystemExit):
            with suppress(Exception):
                acting.cancel()
            raise


def _end(connection: psycopg2.extensions.connection, at: dict[str, Any]) -> dict[int, str]:
    """End the sessions that are in the way of a statement that has asked for its lock; return those of clients."""
    found = asked(connection, _END, at)
    return {pid: words for pid, is_client, words, _ in found if is_client}


def _explained(connection: psycopg2.extensions.connection, error: Any, databases: Sequence[str]) -> Exception:
    from psycopg2.errors import InsufficientPrivilege

    at = list(databases)
    if isinstance(error, InsufficientPrivilege):
        return RefusedError(
            f"the role {connection.info.user!r} may not do this to the database {databases[0]!r}",
            evidence=str(error).splitlines(),
            next_step="use the login of the server: its superuser, or a role that owns the database and has CREATEDB",
        )
    if error.pgcode not in (_IN_USE, _NO_LOCK):
        return failure(error) or error
    left = [line for (line,) in asked(connection, _LEFT, (at, at))]
    more = [f"and {len(left) - _NAMED} more"] if len(left) > _NAMED else []
    return StepFailedError(
        f"the database {databases[0]!r} is in use, and its sessions do not end",
        evidence=[*str(error).splitlines(), *left[:_NAMED], *more],
        next_step="end what is named above, and run the same command again",
    )


def _is_superuser(connection: psycopg2.extensions.connection) -> bool:
    return connection.info.parameter_status("is_superuser") == "on"


def _known(connection: psycopg2.extensions.connection) -> list[str]:
    found = asked(connection, "SELECT name FROM pg_settings WHERE name = ANY (%s)", (list(_TIMEOUTS),))
    return [name for (name,) in found]
