"""What a server's roles may do, and its roles and databases as a spec declares them. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from provision.errors import UsageError, command
from provision.insight.reach import PUBLIC, Reach, Thing, reaches, things, word
from provision.kinds import Look, catalog
from provision.model.value import dataclass

_MOST_NEAR = 3


@dataclass(frozen=True)
class Access:
    """Who can use what in some databases: what was asked for, the things that it is about, and who reaches them."""

    databases: tuple[str, ...]
    role: str | None
    on: str | None
    things: tuple[Thing, ...]
    reaches: tuple[Reach, ...]
    missing: tuple[str, ...] = ()
    """The databases that the spec declares and the server does not have."""


def databases(look: Look) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the declared databases, those that the server has and those that it lacks."""
    spec = look.spec
    declared = dict.fromkeys([each.name for each in spec.databases.values() if not each.is_absent])
    declared = {spec.server.database: None, **declared}
    there = look.once(catalog.cluster).databases
    return tuple([each for each in declared if each in there]), tuple([each for each in declared if each not in there])


def access(look: Look, *, role: str | None = None, on: str | None = None) -> Access:
    """Say who can use what, and through what.

    Raises:
        UsageError: the server has no such role, or no such object.
        UnseenError: the server cannot be asked.
    """
    there, missing = databases(look)
    cluster = look.once(catalog.cluster)
    if role is not None and role.upper() == PUBLIC and role not in cluster.roles:
        role = PUBLIC
    elif role is not None and role not in cluster.roles:
        raise _unknown(f"the server has no role {role!r}", role, {each: each for each in cluster.roles})
    found: list[Thing] = []
    reached: list[Reach] = []
    known: dict[str, str] = {}
    for database in there:
        every = things(cluster, look.once(catalog.contents, database), database)
        chosen = every if on is None else [each for thing in every for each in _named(thing, on)]
        known |= _known(every, f"{word(database)}." if there[1:] else "")
        found += chosen
        reached += reaches(look, database, chosen, role) if chosen else ()
    if on is not None and not found:
        where = " and ".join(map(repr, there)) or "the server"
        raise _unknown(f"there is no {on!r} in {where}", on, known)
    return Access(there, role, on, tuple(found), tuple(reached), missing)


def _known(every: Iterable[Thing], before: str) -> dict[str, str]:
    """Return the full names of objects by what one may call them."""
    found: dict[str, str] = {}
    for thing in every:
        place = (
            f"{before}{word(thing.schema or '')}." if _is_inside(thing) else "" if thing.kind == "database" else before
        )
        for name in thing.names:
            found |= dict.fromkeys(_spellings(thing, (name,)), f"{place}{name}")
    return found


def _unknown(sentence: str, name: str, known: Mapping[str, str]) -> UsageError:
    """Return the error for a name; ``known`` are the names that there are, each by what one may call it."""
    found = get_close_matches(name.replace('"', ""), known, n=3 * _MOST_NEAR)
    near = list(dict.fromkeys(known[each] for each in found))[:_MOST_NEAR]
    return UsageError(
        f"{sentence}; did you mean {near[0]}?" if near else sentence,
        evidence=near[1:],
        next_step=command("access") + "   (lists who can use what)",
    )


def _named(thing: Thing, text: str) -> Sequence[Thing]:
    """Return what of a thing a text names: a table as ``customers``, ``shop.customers`` or ``db.shop.customers``."""
    plain = text.replace('"', "")
    schema = f"{thing.schema}.*".replace('"', "")
    if thing.schema is not None and plain in (schema, f"{thing.database}.{schema}"):
        return [thing]
    names = tuple([name for name in thing.names if plain in _spellings(thing, (name,))])
    return [thing.only(names)] if names else []


def _spellings(thing: Thing, names: Iterable[str]) -> list[str]:
    """Return what one may call objects, without quotes; the arguments of a routine may be left out."""
    found = []
    places = ["", *([f"{thing.schema}.", f"{thing.database}.{thing.schema}."] if _is_inside(thing) else [])]
    for name in names:
        found += [f"{place}{each}" for place in places for each in dict.fromkeys((name, name.split("(")[0]))]
    return [each.replace('"', "") for each in found]


def _is_inside(thing: Thing) -> bool:
    return thing.kind not in ("database", "schema")
