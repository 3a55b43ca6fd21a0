"""Templates: the declared database as ``apply`` makes it from nothing, under a name of its own, for copies only."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from provision import observe
from provision.apply import converge
from provision.errors import APPLIED, CONTINUES, LockedError, ProvisionError
from provision.golden.trees import is_hidden
from provision.model import MAINTENANCE, TEMPLATE
from provision.model.sql import identifier, literal
from provision.model.value import fields, is_dataclass, replace
from provision.spec.derived import for_template, place_of
from provision.system import database_copy, files, secrets
from provision.system.postgres import connect, execute, rows
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg2.extensions

    from provision.model import Endpoint, Progress
    from provision.observe.outside import World
    from provision.spec.model import Spec

_FORMAT = 1
_BUILDING = "provisioning_"
"""How a template is called while it is made: as a database that is declared, which those of ours are not."""
_CLASS_ID = 0x746D706C  # "tmpl"; the other half of the key is the name's checksum
_PATIENCE = 600.0
_KEPT = 3
"""So many templates of one database stay: going back to another branch costs nothing."""
_EXISTS = "SELECT 1 FROM pg_database WHERE datname = %s"
_ALL = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database WHERE starts_with(datname, %s)"
_OLDER = """
SELECT datname::text FROM pg_database
WHERE starts_with(datname, %s) AND shobj_description(oid, 'pg_database')::text = %s ORDER BY oid DESC OFFSET %s
"""


def of(world: World, source: str, progress: Progress) -> tuple[Endpoint, str]:
    """Return how to reach the server, and the template of a declared database, which is made first where there is none.

    Raises:
        ProvisionError: the database cannot be made as the spec says, for example because a revision fails.
        LockedError: another run makes it, and did not end within ten minutes.
    """
    server = replace(world.endpoint(), database=MAINTENANCE)
    known = {name: each for name, each in world.inputs.passwords.items() if secrets.is_known(world.spec, name)}
    name = _key(world, source)
    building = _BUILDING + name.removeprefix(TEMPLATE)
    with closing(connect(server, read_only=False)) as connection:
        if rows(connection, _EXISTS, (name,)):
            return server, name
        with _only_one(connection, name):
            if not rows(connection, _EXISTS, (name,)):
                drop(server, building)  # a run that was killed has left it
                try:
                    _make(for_template(world.spec, source, building, server, known), progress)
                except BaseException:
                    with suppress(ProvisionError):
                        drop(server, building)
                    raise
                said = literal(_whose(world.spec, source))
                publish(server, building, name, f"COMMENT ON DATABASE {identifier(building)} IS {said}")
                for (old,) in rows(connection, _OLDER, (TEMPLATE, _whose(world.spec, source), _KEPT)):
                    drop(server, old)
    return server, name


@contextmanager
def from_nothing() -> Iterator[None]:
    """Have errors say that another run begins from nothing: what a failed migration has applied is removed."""
    try:
        yield
    except ProvisionError as error:
        error.evidence = tuple([line for line in error.evidence if not line.startswith(APPLIED)])
        error.next_step = error.next_step and error.next_step.replaced(CONTINUES, "")
        raise


def _make(spec: Spec, progress: Progress) -> None:
    try:
        with from_nothing():
            converge(observe.survey(spec), progress=progress)
    finally:
        with suppress(ProvisionError):
            files.remove(spec.home)  # caches, and nothing else


def publish(server: Endpoint, building: str, name: str, *more: str) -> None:
    """Close a database, and let it be found: the last statement is what makes it a template."""
    here = identifier(building)
    closing_it = f"ALTER DATABASE {here} ALLOW_CONNECTIONS false IS_TEMPLATE true"
    execute(server, MAINTENANCE, (closing_it, *more, f"ALTER DATABASE {here} RENAME TO {identifier(name)}"))


def _whose(spec: Spec, source: str) -> str:
    return json.dumps({"environment": spec.name, "database": source, "place": place_of(spec)})


def now() -> str:
    """Return the time as comments have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def drop_all(server: Endpoint, spec: Spec | None) -> None:
    """Drop every template, or only those that are made for a spec."""
    with closing(connect(server, MAINTENANCE, read_only=True)) as connection:
        found = rows(connection, _ALL, (TEMPLATE,))
    mine = {_whose(spec, each) for each in (spec.server.database, *spec.databases)} if spec is not None else None
    for name in [name for name, whose in found if mine is None or whose in mine]:
        drop(server, name)


def drop(server: Endpoint, name: str) -> None:
    """Drop a database that may be marked as a template, where there is one."""
    with closing(connect(server, read_only=False)) as connection:
        if rows(connection, "SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate", (name,)):
            execute(server, MAINTENANCE, (f"ALTER DATABASE {identifier(name)} IS_TEMPLATE false",))
        database_copy.drop_in(connection, name)


@contextmanager
def _only_one(connection: psycopg2.extensions.connection, name: str) -> Iterator[None]:
    """Hold an advisory lock, which dies with the connection; whoever waits asks again and again.

    Raises:
        LockedError: it is still held after ten minutes.
    """
    key = (_CLASS_ID, zlib.crc32(name.encode()) - (1 << 31))
    for _ in attempts(_PATIENCE, 0.1):
        if rows(connection, "SELECT pg_try_advisory_lock(%s, %s)", key) == [(True,)]:
            break
    else:
        raise LockedError(
            f"another run makes the template {name!r}, and did not end within {_PATIENCE:g} s",
            next_step="wait for it, and run the same command again",
        )
    try:
        yield
    finally:
        rows(connection, "SELECT pg_advisory_unlock(%s, %s)", key)


def _key(world: World, source: str) -> str:
    """Return the name of the template: a digest of what the spec declares, and of the files of its revisions."""
    spec = world.spec
    trees = [tree for tree in spec.migrations if spec.database_of(tree) == source]
    made_of = [
        _FORMAT,
        spec.name,
        str(spec.directory),
        source,
        _plain(spec.databases.get(source)),
        [_plain(each) for each in spec.roles.values()],
        [[_plain(replace(tree, target_place="")), _files(world, tree.name)] for tree in trees],
    ]
    return named(json.dumps(made_of, sort_keys=True))


def named(made_of: str) -> str:
    """Return the name of the template that is made of something."""
    return TEMPLATE + hashlib.sha256(made_of.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _files(world: World, tree: str) -> dict[str, str]:
    """Return a digest of every file of a tree: its revisions, ``env.py`` and what lies beside them."""
    location = world.trees.location(tree)
    places: list[Path] = [location.script, *location.versions]
    found = {
        path
        for place in places
        for path in place.rglob("*")
        if path.is_file() and not any(is_hidden(each) for each in path.relative_to(place).parts)
    }
    return {str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted(found)}


def _plain(value: Any) -> Any:
    """Return what is declared as JSON has it; a secret is a mask, and where something is written does not count."""
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value) if each.compare}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(str(each) for each in value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
