"""What is put between ``env.py`` and Alembic: our defaults, the proof of place, and what each connection may do.

A connection of ``env.py`` has to see the lock that our parent holds: only a connection to the same database of the same
server can, so nothing else is ever migrated by mistake. Its statements wait for a lock no longer than the spec says, so
that no session queues behind a migration that waits. ``CONCURRENTLY`` is exempt: while it waits it blocks none, and
giving up would leave an INVALID index.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

from .channel import Progress, ReportedError
from .config import load_revisions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .protocol import Online, Request, Table

COMMITS = re.compile(r"(?is)(^|;)\s*(commit|end|rollback|abort|prepare\s+transaction)\b\s*(;|$|work|transaction|and)")
_ROLLBACK = re.compile(r"(?is)(^|;)\s*(rollback|abort)\b\s*(work|transaction)?\s*(and\s+(no\s+)?chain)?\s*;?\s*$")
_CONCURRENTLY = re.compile(r"(?i)\bconcurrently\b")
_READS_FILES = re.compile(
    r"(?is)\bcopy\b[^;]*?\bfrom\s+(?:program\s+)?[eu]?&?['$%]|\b(file_fdw|pg_(?:read|stat)_\w*file|pg_ls_\w+|lo_import)\b"
)
_READS = re.compile(r"(?is)\s*(?:select|set|show|savepoint|release|begin|explain|lock|fetch|declare|close|values)\b")
_LEDGER = "provision"
"""The schema that is ours: it belongs to no model, and is never compared."""
_LIMIT, _LIMIT_OF_EACH = "provision: lock_timeout", "provision: lock_timeout of each transaction"
_MIGRATES = "provision: migrates"
_WAITS = "provision: its commits wait for the disk"
_IN_TRANSACTION, _IN_SESSION = "in a transaction", "in a session"
"""Where it is set that they need not: once in each transaction, or once in the session."""
_LONGEST = 200

_SEES_LOCK = """EXISTS (
    SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND granted AND pg_locks.pid = {pid}
      AND classid = {classid} AND objid = {objid} AND datname = current_database())"""
SEES_LOCK = f"SELECT {_SEES_LOCK}"
# The version table as the ledger names it, with casts that every driver understands.
_PLACE = f"""
SELECT {_SEES_LOCK}, (SELECT setting = reset_val FROM pg_settings WHERE name = 'lock_timeout'),
    current_setting('synchronous_commit') = 'on' AND current_setting('fsync') = 'on'
        AND current_setting('synchronous_standby_names') = '',
    pg_backend_pid(), current_database(), CAST(current_user AS text), coalesce(
    (pg_identify_object(CAST('pg_catalog.pg_class' AS regclass),
        to_regclass(coalesce(quote_ident(CAST(:schema AS text)) || '.', '') || quote_ident(:name)), 0)).identity,
    quote_ident(coalesce(CAST(:schema AS text), CAST(current_schema() AS text))) || '.' || quote_ident(:name))
"""  # noqa: S608  # nothing in it comes from elsewhere


def set_sessions(request: Request, progress: Progress) -> None:
    """Have each session that logs in as we say begin with the role, name and path it is to have, whatever opens it.

    Another login, or database, of the project stays as it is. A URL cannot say it: ``env.py`` may exchange its driver,
    and SQLAlchemy hands no ``options`` to asyncpg.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    is_first, progress.request = progress.request is None, request

    def connecting(dialect: Any, _record: Any, arguments: Any, given: dict[str, Any]) -> Any:
        asked = progress.request or request
        place = given.get("user"), given.get("dbname") or given.get("database")
        if place != (asked["user"], asked["database"]):
            return None
        if asked["pooled"]:
            is_plain = asked["role"] is None and asked["session"][1] is None
            return None if is_plain else _become(dialect, dialect.connect(*arguments, **given), asked)
        _add_settings(dialect.driver, asked, given)
        _go_directly(dialect.driver, asked, given)
        return None

    if is_first:
        event.listen(Engine, "do_connect", connecting)


def _add_settings(driver: str, request: Request, given: dict[str, Any]) -> None:
    """Add to the arguments of a connection what its session is to have; a ``search_path`` of ``env.py`` wins."""
    (name, path), role = request["session"], request["role"]
    if driver == "asyncpg":
        own, ours = {"application_name": name, "search_path": path}, {"role": role}
        settings = {**_given(own), **(given.get("server_settings") or {}), **_given(ours)}
        given.update({"server_settings": settings} if settings else {})
    elif driver.startswith("psycopg"):
        if name is not None:  # as an option it would give way to PGAPPNAME
            given.setdefault("application_name", name)
        parts = (_option("search_path", path), given.get("options"), _option("role", role))
        options = " ".join(filter(None, parts))
        given.update({"options": options} if options else {})


def _go_directly(driver: str, request: Request, given: dict[str, Any]) -> None:
    """Lead a connection to our address past the engine's proxy, unless a certificate or a file goes by the host's name.

    The driver shows the other host with the other port, so what connects again as it says reaches the same server.
    """
    place = given.get("host"), str(given.get("port"))
    is_plain = driver.startswith("psycopg") and "hostaddr" not in given and "PGHOSTADDR" not in os.environ
    by_name = not given.get("password") or given.get("sslmode", os.environ.get("PGSSLMODE", "")).startswith("verify")
    if request["direct"] and is_plain and not by_name and place == (request["host"], str(request["port"])):
        given["host"], given["port"] = request["direct"]


def _given(settings: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if value is not None}


def _option(name: str, value: str | None) -> str:
    return "" if value is None else f"-c {name}=" + re.sub(r"([\s\\])", r"\\\1", str(value))


def _become(dialect: Any, connection: Any, request: Request) -> Any:
    """Set what a session is to have whose pooler takes no options at the login."""
    (_, path), role = request["session"], request["role"]
    cursor = connection.cursor()
    if path is not None:
        cursor.execute("SET search_path TO " + path)
    if role is not None:
        cursor.execute("SET ROLE " + dialect.identifier_preparer.quote(role))
    cursor.close()
    connection.commit()
    return connection


def clean_sessions(request: Request, progress: Progress) -> None:
    """Have each session that is closed leave nothing on the backend of a pooler, whatever that does with it."""
    if not request["pooled"] or progress.has_settled:  # in a process that serves several, the first has asked for it
        return
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    def closing(connection: Any, _record: Any) -> None:
        with contextlib.suppress(Exception):  # it is gone, and nothing of it is left
            connection.rollback()
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute("DISCARD ALL")
            cursor.close()

    event.listen(Pool, "close", closing)


def environment(config: Any, script: Any, request: Request, steps: Callable[..., Any], **more: Any) -> Any:
    """Return Alembic's environment, in which ``env.py`` runs; ``steps`` yields what there is to run."""
    from alembic.runtime.environment import EnvironmentContext

    table, schema = request["version_table"], request["version_table_schema"]
    given = {"as_sql": False, "starting_rev": None, "tag": None, "version_table": table, "version_table_schema": schema}
    return EnvironmentContext(config, script, fn=steps, **{**given, **more})


def bind(environment: Any, request: Online, progress: Progress, instead: Callable[[Any], None] | None = None) -> None:
    """Add our defaults to ``context.configure``, and the proof of place to ``context.run_migrations``.

    ``instead`` is called with the context in place of running migrations.
    """
    configure, run_migrations = environment.configure, environment.run_migrations

    def configure_with_defaults(*args: Any, **kw: Any) -> None:
        set_transactions(request, kw)
        # What reflection calls the schema of a table without one.
        dialect = getattr(args[0] if args else kw.get("connection"), "dialect", None)
        default = getattr(dialect, "default_schema_name", None) or "public"
        kw["include_name"] = _without_ours(kw, request["others"], default)
        configure(*args, **kw)

    def run_in_our_database(**kw: Any) -> None:
        context = environment.get_context()
        _prove_place(context, request, progress)
        schema, declared = context.version_table_schema, request["version_table_schema"]
        is_named = context.version_table == request["version_table"] and (declared or schema in {None, "public"})
        if request["session"][1] is not None:  # its name says nothing in a schema of many
            is_named = False
        if not is_named and request["declared_table"] not in progress.tables:
            name, more = (f"{schema}.", f", version_table_schema: {schema}") if schema else ("", "")
            way = f"version_table: {context.version_table}{more}"
            raise ReportedError("table", f"{name}{context.version_table}\n{way}")
        load_revisions(environment.script, progress)
        if instead is None:
            run_migrations(**kw)
        else:
            instead(context)

    environment.configure = configure_with_defaults
    environment.run_migrations = run_in_our_database


def set_transactions(request: Request, given: dict[str, Any]) -> None:
    """Set in the options of ``context.configure`` whether each revision has a transaction of its own."""
    if request["transaction_per_revision"]:
        given.setdefault("transaction_per_migration", True)
    else:
        given["transaction_per_migration"] = False


def _without_ours(given: dict[str, Any], others: Sequence[Table], default: str) -> Callable[[Any, str, Any], bool]:
    """Return the filter of names of ``env.py``, which never gets to see what is no model's.

    That is our own schema, unless the models use it, and the ``others``.
    """
    include_name, metadata = given.get("include_name"), given.get("target_metadata")
    several = metadata if isinstance(metadata, (list, tuple)) else [metadata]
    tables = [table for each in several if each is not None for table in each.tables.values()]
    theirs = {(table.schema or default, table.name) for table in tables}
    hidden = {(schema or default, name) for schema, name in others} - theirs

    def include(name: Any, kind: str, parents: Any) -> bool:
        if kind == "schema" and name == _LEDGER and not any(schema == _LEDGER for schema, _ in theirs):
            return False
        if kind == "table":
            schema = parents.get("schema_name")
            if (schema or default, name) in hidden or (schema == _LEDGER and (schema, name) not in theirs):
                return False
        return True if include_name is None else bool(include_name(name, kind, parents))

    return include


def _prove_place(context: Any, request: Online, progress: Progress) -> None:
    """Make sure that ``env.py`` is connected to the database whose lock our parent holds, and bound its waits.

    A limit that ``env.py`` has set in its session is kept.
    """
    from sqlalchemy import text

    connection, lock = context.connection, request["lock"]
    if connection is None or lock is None:
        raise ReportedError("elsewhere", "env.py runs in offline mode")
    url = connection.engine.url
    if connection.dialect.name != "postgresql":
        raise ReportedError("elsewhere", f"env.py connected to {connection.dialect.name} ({url.database})")
    began = connection.in_transaction()
    names = {"schema": context.version_table_schema, "name": context.version_table}
    found = connection.execute(text(_PLACE.format(**lock)), names).fetchone()
    if found[0] and request["role"] not in (None, found[5]):  # a driver, or an engine, that no option reaches
        connection.execute(text("SET ROLE " + connection.dialect.identifier_preparer.quote(request["role"])))
        found = connection.execute(text(_PLACE.format(**lock)), names).fetchone()
    same, is_default, waits, pid, database, _, table = found
    fairy = connection.connection
    is_session = pid == _backend_of(getattr(fairy, "dbapi_connection", None) or fairy.connection)
    connection.info[_WAITS] = (_IN_SESSION if is_session else _IN_TRANSACTION) if waits else None
    if same and is_default:
        limit = round(request["lock_timeout"] * 1000)
        connection.info[_LIMIT if is_session else _LIMIT_OF_EACH] = limit
        if is_session:
            connection.execute(text(f"SET lock_timeout = {limit}"))
    if not began and connection.in_transaction():
        connection.commit()  # leave no transaction behind that env.py did not begin
    if not same:
        place = f"{url.host or 'the local socket'}:{url.port or 5432}, database {url.database}"
        raise ReportedError("elsewhere", f"env.py connected to {place}")
    connection.info[_MIGRATES] = True
    progress.tables.append(table)
    progress.channel.say({"event": "connected", "pid": pid, "database": database, "table": table})


def tell_sessions(request: Request, progress: Progress) -> None:
    """Report the backend of each connection that any engine of this process opens; a pooler's number is made up."""
    if request["pooled"]:
        return
    import weakref

    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    def connected(connection: Any, record: Any) -> None:
        progress.sessions.append(weakref.ref(record))
        pid = _backend_of(connection)
        if pid is not None:
            progress.channel.say({"event": "session", "pid": pid})

    event.listen(Pool, "connect", connected)


def _backend_of(connection: Any) -> int | None:
    """Return the backend of a driver's connection as its login said it: a pooler says a number that is made up.

    ``env.py`` can have the address of a pooler that the spec does not name.
    """
    driver = getattr(connection, "driver_connection", connection)  # SQLAlchemy wraps asynchronous ones
    if hasattr(driver, "info"):  # psycopg, and psycopg2
        return int(driver.info.backend_pid)
    return int(driver.get_server_pid()) if hasattr(driver, "get_server_pid") else None  # asyncpg


def watch(progress: Progress) -> None:
    """Count what is committed by any engine of this process, and lift the limit where waiting blocks no session."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def committed(_connection: Any) -> None:
        progress.commits += 1

    def rolled_back(connection: Any) -> None:
        progress.is_undone = progress.is_undone or _MIGRATES in connection.info

    def before(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        ends = COMMITS.search(statement) is not None
        if _MIGRATES in connection.info:
            progress.is_undone = ends and _ROLLBACK.search(statement) is not None
        progress.commits += ends
        if found := _READS_FILES.search(statement):
            progress.on_server.add(found.group(1) or "COPY FROM a file")
        if _CONCURRENTLY.search(statement) and _LIMIT in connection.info:
            cursor.execute("SET lock_timeout = 0")

    def after(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if _CONCURRENTLY.search(statement) and _LIMIT in connection.info:
            cursor.execute(f"SET lock_timeout = {connection.info[_LIMIT]}")

    event.listen(Engine, "commit", committed)
    event.listen(Engine, "rollback", rolled_back)
    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)


def around_function(step: Any, progress: Progress, connection: Any, place: tuple[int, int]) -> None:
    """Have a step fail that ends with a rollback of its own: Alembic would write down that it was applied.

    Meanwhile ``progress`` knows that the revision's own function runs. ``place`` is the step's number, and of how many:
    only the commit of the last one waits for the disk, and with it for what was committed before. A version table never
    says more than the schema has. Where a standby has to confirm each commit, all of them wait for it.
    https://www.postgresql.org/docs/current/wal-async-commit.html
    """
    run = step.migration_fn

    def run_and_check(**options: Any) -> None:
        for each in _before_step(connection, *place):
            connection.exec_driver_sql(each)
        progress.in_function = True
        try:
            run(**options)
        finally:
            progress.in_function = False
        if progress.is_undone:
            raise ReportedError("rolled-back")

    step.migration_fn = run_and_check


def _before_step(connection: Any, number: int, count: int) -> Iterator[str]:
    """Yield the statements that set for a step what is not set for the session yet.

    Behind a pooler, another client gets the session after each transaction.
    """
    waits, limit = connection.info.get(_WAITS), connection.info.get(_LIMIT_OF_EACH)
    if limit is not None:
        yield f"SET LOCAL lock_timeout = {limit}"
    local = "LOCAL " if waits == _IN_TRANSACTION else ""
    if local or (waits and count > 1 and number in (1, count)):
        yield f"SET {local}synchronous_commit = {'on' if number == count else 'off'}"


class Committed:
    """Reports each statement that a revision commits while it still runs: in its own session, or by a COMMIT.

    Alembic writes a revision's row and commits it with the revision's statements. What was committed before that stays
    when the revision fails, and when all revisions share a transaction that is rolled back.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pending: dict[int, list[str]] = {}

    def listen(self) -> None:
        """Listen to every engine of this process."""
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "commit", self._commit)
        event.listen(Engine, "rollback", self._forget)

    def _after(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not self._progress.in_function:
            return
        if COMMITS.search(statement):
            (self._forget if _ROLLBACK.search(statement) else self._commit)(connection)
        elif not _READS.match(statement):
            text = " ".join(statement.split())
            line = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
            self._pending.setdefault(id(_driver(connection)), []).append(line)
            if getattr(_driver(connection), "autocommit", False):
                self._commit(connection)

    def _commit(self, connection: Any) -> None:
        for statement in self._pending.pop(id(_driver(connection)), ()):
            if self._progress.in_function:
                revision = self._progress.revision
                self._progress.channel.say({"event": "committed", "revision": revision, "statement": statement})

    def _forget(self, connection: Any) -> None:
        self._pending.pop(id(_driver(connection)), None)


def _driver(connection: Any) -> Any:
    return connection.connection.dbapi_connection
