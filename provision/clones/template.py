"""Templates: the declared database as ``apply`` makes it from nothing, under a name of its own, for copies only."""

from __future__ import annotations

import json
import zlib
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from provision import observe
from provision.apply import converge
from provision.clones import made_of
from provision.errors import APPLIED, CONTINUES, LockedError, ProvisionError
from provision.model import MAINTENANCE, TEMPLATE, Endpoint, Progress
from provision.model.sql import identifier, literal
from provision.model.value import replace
from provision.spec.derived import for_template, place_of
from provision.system import database_copy, files, secrets
from provision.system.postgres import connect, refuse_pooler, rows
from provision.system.statements import execute
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg2.extensions

    from provision.alembic import Read
    from provision.observe.outside import World
    from provision.spec.model import Spec

_BUILDING = "provisioning_"
"""How a template is called while it is made: as a database that is declared, which those of ours are not."""
_CLASS_ID = 0x746D706C  # "tmpl"; the other half of the key is the name's checksum
_PATIENCE = 600.0
_KEPT = 3
"""So many templates of one database stay: going back to another branch costs nothing."""
_IN_USE = timedelta(hours=1)
"""One that is younger stays, too: a test run may make its clones of it."""
_UNKNOWN = timedelta(minutes=1)
"""One of which it is not known what its code has read is used again for so long: by the processes of a test run."""
_EXISTS = "SELECT 1 FROM pg_database WHERE datname = %s"
_ALL = """
SELECT datname::text, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database
WHERE starts_with(datname, %s) ORDER BY oid DESC
"""


def of(world: World, source: str, progress: Progress) -> tuple[Endpoint, str]:
    """Return how to reach the server, and the template of a declared database, which is made first where there is none.

    Raises:
        ProvisionError: the database cannot be made as the spec says, for example because a revision fails.
        LockedError: another run makes it, and did not end within ten minutes.
    """
    server = replace(world.endpoint(), database=MAINTENANCE)
    begins, _ = made_of.name(world, source)
    with closing(connect(server, read_only=False)) as connection:
        refuse_pooler(server, database_copy.KEEPS_OPEN)
        if found := _found(connection, world.spec, begins):
            return server, found
        _lock(connection, begins)
        if found := _found(connection, world.spec, begins):
            return server, found
        name = _made(connection, world, source, begins, progress)
        mine = [each for each in rows(connection, _ALL, (TEMPLATE,)) if _is_of(each[1], world.spec, source)]
        for old, comment in mine[_KEPT:]:
            if not _is_younger(comment, _IN_USE):
                _drop_whole(server, old)
    return server, name


def _made(
    connection: psycopg2.extensions.connection, world: World, source: str, begins: str, progress: Progress
) -> str:
    """Make a template whose name begins so, and return the name."""
    spec, server = world.spec, replace(world.endpoint(), database=MAINTENANCE)
    known = {name: each for name, each in world.inputs.passwords.items() if secrets.is_known(spec, name)}
    building = _BUILDING + begins.removeprefix(TEMPLATE)
    drop(server, building)  # a run that was killed has left it
    try:
        reads = _make(for_template(spec, source, building, server, known), progress)
        rest, unknown = made_of.record(world, source, begins, reads)
        said = json.dumps({**_whose(spec, source), "made": now(), "unknown": unknown})
        if not rows(connection, _EXISTS, (begins + rest,)):
            publish(server, building, begins + rest, f"COMMENT ON DATABASE {identifier(building)} IS {literal(said)}")
    finally:
        with suppress(ProvisionError):
            drop(server, building)  # it failed, or there is the same, of which nothing was kept
    return begins + rest


def _found(connection: psycopg2.extensions.connection, spec: Spec, begins: str) -> str:
    """Return the newest template with such a name whose code would read now what it has read; empty: none."""
    for name, comment in rows(connection, _ALL, (f"{begins}_",)):
        is_known = not _said(comment).get("unknown")
        if made_of.is_current(spec, name) if is_known else _is_younger(comment, _UNKNOWN):
            return str(name)
    return ""


@contextmanager
def from_nothing() -> Iterator[None]:
    """Have errors say that another run begins from nothing: what a failed migration has applied is removed."""
    try:
        yield
    except ProvisionError as error:
        error.evidence = tuple([line for line in error.evidence if not line.startswith(APPLIED)])
        error.next_step = error.next_step and error.next_step.replaced(CONTINUES, "")
        raise


def _make(spec: Spec, progress: Progress) -> Mapping[str, Read | None]:
    """Make the database, and return what the code of its trees has read."""
    try:
        with from_nothing():
            return converge(observe.survey(spec), progress=progress).reads
    finally:
        with suppress(ProvisionError):
            files.remove(spec.home)  # caches, and nothing else


def publish(server: Endpoint, building: str, name: str, *more: str) -> None:
    """Close a database, and let it be found: the last statement is what makes it a template."""
    here = identifier(building)
    closing_it = f"ALTER DATABASE {here} ALLOW_CONNECTIONS false IS_TEMPLATE true"
    execute(server, MAINTENANCE, (closing_it, *more, f"ALTER DATABASE {here} RENAME TO {identifier(name)}"))


def _whose(spec: Spec, source: str) -> dict[str, str]:
    return {"environment": spec.name, "database": source, "place": place_of(spec)}


def _is_of(comment: str, spec: Spec, source: str) -> bool:
    return _whose(spec, source).items() <= _said(comment).items()


def _said(comment: str) -> dict[str, str]:
    """Return what a comment of ours says; nothing where somebody else has written it."""
    with suppress(ValueError):
        found = json.loads(comment)
        if isinstance(found, dict):
            return {str(key): str(value) for key, value in found.items()}
    return {}


def _is_younger(comment: str, age: timedelta) -> bool:
    with suppress(ValueError, TypeError):
        return datetime.now(UTC) - datetime.fromisoformat(_said(comment).get("made", "")) < age
    return False


def now() -> str:
    """Return the time as comments have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def drop_all(server: Endpoint, spec: Spec | None) -> None:
    """Drop every template, or only those that are made for a spec."""
    with closing(connect(server, MAINTENANCE, read_only=True)) as connection:
        found = rows(connection, _ALL, (TEMPLATE,))
    names = (spec.server.database, *spec.databases) if spec is not None else ()
    for name, comment in found:
        if spec is None or any(_is_of(comment, spec, each) for each in names):
            _drop_whole(server, name)


def _drop_whole(server: Endpoint, name: str) -> None:
    drop(server, name)
    made_of.forget(name)


def drop(server: Endpoint, name: str) -> None:
    """Drop a database that may be marked as a template, where there is one."""
    with closing(connect(server, read_only=False)) as connection:
        if rows(connection, "SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate", (name,)):
            execute(server, MAINTENANCE, (f"ALTER DATABASE {identifier(name)} IS_TEMPLATE false",))
        database_copy.drop_in(connection, name)


def _lock(connection: psycopg2.extensions.connection, name: str) -> None:
    """Take an advisory lock, which ends with the connection; whoever waits asks again and again.

    Raises:
        LockedError: it is still held after ten minutes.
    """
    key = (_CLASS_ID, zlib.crc32(name.encode()) - (1 << 31))
    for _ in attempts(_PATIENCE, 0.1):
        if rows(connection, "SELECT pg_try_advisory_lock(%s, %s)", key) == [(True,)]:
            return
    raise LockedError(
        f"another run makes the template {name!r}, and did not end within {_PATIENCE:g} s",
        next_step="wait for it, and run the same command again",
    )
