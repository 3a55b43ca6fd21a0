"""What a server keeps of its databases: snapshots, and what a restore or a reset has replaced.

Each is a database of its own, closed, and its comment says what it is. One whose name begins like theirs and that has
no such comment is what a run has left that was killed: it counts for nothing, and the next run removes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from provision.errors import RefusedError, command
from provision.model import LEFT_COPIES, REPLACED, SNAPSHOT, Endpoint
from provision.model.words import size
from provision.system.database_copy import maintenance
from provision.system.read_only import ReadOnlyQuery

T = TypeVar("T")

_FORMAT = 1
_RESERVE = 64 << 20
"""Bytes that stay free: for the WAL, and for what others write meanwhile."""
_KEY = "provision"
_DATABASES = f"""
SELECT datname, pg_database_size(oid), pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), datallowconn,
    (SELECT rolcreatedb AND NOT rolsuper FROM pg_roles WHERE pg_roles.oid = datdba),
    (SELECT count(*) FROM pg_stat_activity AS a WHERE a.datid = d.oid
     AND backend_type = 'client backend' AND application_name <> 'provision'),
    ARRAY(SELECT format('it has the replication slot %%I', slot_name) FROM pg_replication_slots WHERE database = datname
          UNION ALL SELECT format('it has the subscription %%I', subname) FROM pg_subscription WHERE subdbid = d.oid
          UNION ALL SELECT format('it has the prepared transaction %%L', gid) FROM pg_prepared_xacts
          WHERE database = datname),
    {LEFT_COPIES}, datistemplate
FROM pg_database AS d WHERE datname = ANY (%s) OR datname ~ '^({SNAPSHOT}|{REPLACED})' ORDER BY 1
"""  # noqa: S608  # from constants only
_ROLES = "SELECT rolname::text FROM pg_roles"


class Database(NamedTuple):
    """A database as it is: its size in bytes, how many clients are connected, and why it cannot be copied or renamed.

    ``comment`` is what it has, whatever it says. ``is_made_by_owner``: its owner may make databases, and is no
    superuser, so that the name and the comment of one that is not declared may be the owner's own. ``is_left``: a run
    that was killed has left it.
    """

    name: str
    size: int
    owner: str
    comment: str
    connects: bool
    is_made_by_owner: bool
    clients: int
    hindrances: tuple[str, ...] = ()
    is_left: bool = False
    is_template: bool = False


class Kept(NamedTuple):
    """A database that is kept: of which one, since when (ISO 8601), at which revisions (tree → rows).

    ``name`` is the snapshot's, or the verb that has replaced it: restore, reset, undo. ``owner`` and ``comment`` are
    those of the database that it was. ``is_automatic``: an apply has saved it. ``there`` is where it is.
    """

    database: str
    name: str
    at: str
    revisions: Mapping[str, Sequence[str]]
    owner: str
    comment: str = ""
    is_automatic: bool = False
    is_replaced: bool = False
    there: Database | None = None

    @property
    def size(self) -> int:
        """The size in bytes; 0 before it is there."""
        return self.there.size if self.there else 0

    @property
    def copy(self) -> Database:
        """The database that keeps it."""
        assert self.there is not None  # noqa: S101  # only what is there has a place
        return self.there

    @property
    def place(self) -> str:
        """The name of the database that keeps it."""
        return self.copy.name

    @property
    def moment(self) -> str:
        """Since when it is kept, as people read it."""
        return moment(self.at)

    def text(self) -> str:
        """Return the comment that says all of this."""
        return written(self._asdict(), but="there")


class Server(NamedTuple):
    """The databases of a server: the declared ones, and what is kept, the newest first."""

    at: Endpoint
    databases: Mapping[str, Database]
    snapshots: tuple[Kept, ...]
    replaced: tuple[Kept, ...]
    left: tuple[Database, ...]
    roles: frozenset[str]


def moment(at: str) -> str:
    """Return a time as people read it.

    >>> moment("2026-11-29T22:16:00+00:00")
    '2026-11-29 22:16:00 UTC'
    """
    return f"{at[:19].replace('T', ' ')} UTC"


def by(verb: str) -> str:
    """Return a verb with its article.

    >>> by("restore"), by("undo")
    ('a restore', 'an undo')
    """
    return f"an {verb}" if verb[0] in "aeiou" else f"a {verb}"


def now() -> str:
    """Return the time as it is kept: two that follow each other are in their order."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def check_room(needed: int, free: int | None, where: str = "") -> None:
    """Refuse a copy of so many bytes where fewer are ``free``; None: that is not known.

    Raises:
        RefusedError: with what to do.
    """
    if free is not None and free < needed + _RESERVE:
        raise RefusedError(
            f"the copy needs {size(needed)}, and {where}{size(free)} are free",
            evidence=[f"{size(_RESERVE)} of it stay free, for the server itself"],
            next_step="make room, or remove a snapshot: " + command("snapshot list"),
        )


def ask(at: Endpoint, declared: Iterable[str]) -> Server:
    """Ask a server for its databases.

    Raises:
        UnavailableError: it does not answer.
    """
    names = list(declared)
    query = ReadOnlyQuery(at, named=True)
    try:
        inside = maintenance(*names)
        rows = query.rows(_DATABASES, (names,), database=inside)
        roles = frozenset(name for (name,) in query.rows(_ROLES, database=inside))
    finally:
        query.close()
    found = [_database(row) for row in rows]
    own = [each for each in found if each.name.startswith((SNAPSHOT, REPLACED))]
    owners = {each.name: each.owner for each in found}
    kept = [each for one in own if (each := read(one)) is not None and _is_trusted(one, owners.get(each.database))]
    kept.sort(key=lambda each: each.at, reverse=True)
    return Server(
        at,
        {each.name: each for each in found if each not in own},
        tuple([each for each in kept if not each.is_replaced]),
        tuple([each for each in kept if each.is_replaced]),
        tuple([each for each in own if each.is_left]),
        roles,
    )


def read(there: Database) -> Kept | None:
    """Return what the comment of a database says; None where it is not ours."""
    return said(Kept, there.comment, there=there)


def written(fields: Mapping[str, Any], *, but: str) -> str:
    """Return the text that says what is kept; ``but`` is the field that says where it was found."""
    said = {name: value for name, value in fields.items() if name != but}
    return json.dumps({_KEY: _FORMAT, **said}, ensure_ascii=False)


def said(kind: Callable[..., T], text: str | None, **found: Any) -> T | None:
    """Return what such a text says; None where it says nothing that we know."""
    try:
        fields = json.loads(text or "")
        return kind(**fields, **found) if fields.pop(_KEY) == _FORMAT else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_trusted(kept: Database, owner: str | None) -> bool:
    """Whether no role can have planted this database, whose rows would be taken for those of another one's owner."""
    return not kept.is_made_by_owner or kept.owner == owner


def _database(row: tuple[Any, ...]) -> Database:
    name, size, owner, comment, connects, may_make, clients, hindrances, *more = row
    return Database(name, size, owner, comment or "", connects, may_make, clients, tuple(hindrances), *more)
