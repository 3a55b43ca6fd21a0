"""Clones: databases that are made as the spec says and then copied, each for one test or one program.

A template is made once for each set of revisions, in the server of the environment, as ``apply`` would make the
declared database from nothing: the rows of the declared one are not in it. Nothing ever connects to a template, so that
a copy is never refused because of a session.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple, Self

from provision.clones import pool, runs, template
from provision.errors import ProvisionError, RefusedError, UsageError, command
from provision.model import CLONE, MAINTENANCE, Endpoint, Progress
from provision.model.value import dataclass, replace
from provision.observe import logins, outside
from provision.observe.logins import Choice
from provision.spec.derived import place_of
from provision.spec.model import Spec
from provision.system import database_copy
from provision.system.postgres import connect, rows
from provision.system.read_only import ReadOnlyQuery

_NAME = r"[a-z0-9_]{1,40}"
_TAKEN = ("42P04", "23505")
"""A database of this name is there: it was before, or another run has made it meanwhile."""
_LIST = """
SELECT datname::text, pg_database_size(oid), coalesce(shobj_description(oid, 'pg_database'), ''),
    (SELECT count(*) FROM pg_stat_activity AS a WHERE a.datid = d.oid)
FROM pg_database AS d WHERE starts_with(datname, %s) ORDER BY oid
"""


class Listed(NamedTuple):
    """A clone that is there: its size in bytes, the database that it is a clone of, and how many are connected.

    ``database``, ``made`` (ISO 8601) and ``place``, that of the spec, are empty where the clone does not say it.
    """

    name: str
    size: int
    database: str
    made: str
    clients: int
    place: str


@dataclass(frozen=True)
class Clone:
    """A database of its own, made as the spec says. It goes away with :meth:`drop`, or at the end of a ``with`` block.

    ``endpoint`` is where it is reached, ``server`` how the login that made it reaches the server.
    """

    endpoint: Endpoint
    server: Endpoint

    @property
    def name(self) -> str:
        """The name of the database."""
        return self.endpoint.database

    @property
    def url(self) -> str:
        """The connection URL with its password."""
        return self.endpoint.url()

    def drop(self) -> None:
        """Drop the database and end the sessions in it; nothing happens where it is gone.

        Raises:
            ProvisionError: the server refuses it, or cannot be reached.
        """
        database_copy.drop(self.server, self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()


def clone(spec: Spec, name: str | None, choice: Choice, progress: Progress) -> Clone:
    """Make a clone of a declared database, and first its template where there is none yet.

    Raises:
        UsageError: the name cannot be one, or the spec has no such database or role.
        RefusedError: there is a clone of this name.
        UnavailableError: no server runs.
    """
    full = CLONE + _checked(name)
    world = outside.world(spec)
    login = logins.chosen(world, choice)
    server, source = template.of(world, login.database, progress)
    with closing(connect(server, read_only=False)) as connection:
        if rows(connection, "SELECT 1 FROM pg_database WHERE datname = %s", (full,)):
            raise _taken(full)
    said = json.dumps({"database": login.database, "made": template.now(), "place": place_of(spec)})
    try:
        database_copy.copy(server, source, database_copy.New(full, comment=said))
    except ProvisionError as error:
        if getattr(error.__cause__, "pgcode", None) in _TAKEN:
            raise _taken(full) from error
        raise
    return Clone(replace(login, database=full), server)


def _taken(full: str) -> RefusedError:
    return RefusedError(
        f"there is a clone {full!r} already",
        next_step=command("clone", f"--drop {full.removeprefix(CLONE)}") + "; or choose another name",
    )


def _checked(name: str | None) -> str:
    if name is None:
        return secrets.token_hex(4)
    plain = name.removeprefix(CLONE)
    if not re.fullmatch(_NAME, plain) or re.match(r"test[0-9]+_", plain):
        raise UsageError(
            f"{name!r} cannot be the name of a clone: it has up to 40 of a-z, 0-9 and _, and does not begin like "
            "`test1_`, as the clones of tests do",
            next_step="choose another name, or none: then one is made up",
        )
    return plain


def listed(spec: Spec) -> tuple[Listed, ...]:
    """Return the clones that the environment's server has, the oldest first; none where there is no data yet.

    Raises:
        UnavailableError: there is data, and no server runs.
    """
    server = outside.endpoint_unless_new(spec)
    if server is None:
        return ()
    with closing(ReadOnlyQuery(server, named=server.is_ours)) as query:  # a pooler may be between
        found = query.rows(_LIST, (CLONE,), database=MAINTENANCE)
    return tuple([_listed(*each) for each in found])


def _listed(name: str, size: int, comment: str, clients: int) -> Listed:
    try:
        said = json.loads(comment)
        return Listed(name, size, str(said["database"]), str(said["made"]), clients, str(said.get("place", "")))
    except (ValueError, KeyError, TypeError):
        return Listed(name, size, "", "", clients, "")


def drop(spec: Spec, names: Sequence[str]) -> tuple[str, ...]:
    """Drop clones by their names, with or without the prefix.

    Raises:
        UsageError: there is no clone of such a name; none was dropped then.
        UnavailableError: no server runs.
    """
    server = replace(outside.world(spec).endpoint(), database=MAINTENANCE)
    there = [each.name for each in listed(spec)]
    chosen = [CLONE + each.removeprefix(CLONE) for each in names]
    if missing := [each for each in chosen if each not in there]:
        raise UsageError(f"there is no clone {missing[0]!r}", evidence=there, next_step=command("clone", "--list"))
    for each in chosen:
        database_copy.drop(server, each)
    return tuple(chosen)


def drop_all(spec: Spec) -> tuple[str, ...]:
    """Drop all clones and their templates, and what test runs have left or kept.

    In a server that others run, all are those of this spec, and of its test runs those of runs that are over.

    Raises:
        UnavailableError: there is data, and no server runs, so that only what test runs have kept was dropped.
    """
    kept = runs.kept(spec, remove=True)
    server = outside.endpoint_unless_new(spec, *(f"dropped: {each}, which a test run has kept" for each in kept))
    return (*kept, *(_drop_all(spec, replace(server, database=MAINTENANCE)) if server is not None else ()))


def _drop_all(spec: Spec, server: Endpoint) -> tuple[str, ...]:
    is_ours = outside.world(spec).site.is_ours
    chosen = [each.name for each in listed(spec) if is_ours or each.place == place_of(spec)]
    for each in chosen:
        database_copy.drop(server, each)
    template.drop_all(server, None if is_ours else spec)
    if not is_ours:
        with closing(connect(server, read_only=False)) as connection:
            chosen += pool.sweep(connection, pool.guard(spec, ""))
    return tuple(chosen)
