"""Who can use what, and through what, as a table for people and as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from provision.insight import Access
from provision.insight.paths import Path
from provision.insight.reach import PUBLIC, Reach, Right, Thing, word
from provision.model.value import replace
from provision.model.words import count
from provision.report.console import Paint
from provision.report.words import clean, fields, head, seconds
from provision.spec.model import Spec

Document = dict[str, Any]
Row = tuple[str, ...]
Place = tuple[str, str | None, str]
"""Database, schema, and the noun for a kind of objects."""

WIDTH: Final = 80
"""The columns of a table that no terminal shows."""
_NARROWEST: Final = 16
_MOST_NAMES: Final = 3
_READ: Final = frozenset({"SELECT"})
_WRITE: Final = _READ | {"INSERT", "UPDATE", "DELETE"}
_MAINTAIN: Final = _WRITE | {"TRUNCATE"}
_ALL: Final = _MAINTAIN | {"REFERENCES", "TRIGGER"}
_ORDER: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
_NOUNS: Final = {"foreign table": "table", "materialized view": "view", "procedure": "function", "domain": "type"}
_NOUN_ORDER: Final = ("table", "view", "sequence", "function", "type")
_ON_TABLES: Final = {
    _READ: "read",
    _WRITE: "write",
    _MAINTAIN: "maintain",
    _MAINTAIN | {"MAINTAIN"}: "maintain",
    _ALL: "all on",
    _ALL | {"MAINTAIN"}: "all on",
}
_WORDS: Final[Mapping[str, Mapping[frozenset[str], str]]] = {
    "table": _ON_TABLES,
    "view": _ON_TABLES,
    "sequence": {_READ: "read", _READ | {"USAGE"}: "write", _READ | {"USAGE", "UPDATE"}: "all on"},
    "function": {frozenset({"EXECUTE"}): "execute"},
    "type": {frozenset({"USAGE"}): "use"},
}
"""What privileges come to, by the kind of object: the words of ``access`` in a spec, where they fit."""


def heading(found: Access, spec: Spec, took: float, paint: Paint) -> str:
    """Return the line above the table: what was asked, and where."""
    where = " and ".join(f"the database {word(each)}" for each in found.databases) or "no database"
    if found.on is None:
        who = f"what {_name(found.role)} can do" if found.role else "who can do what"
        what = f"{who} in {where}"
    else:
        who = f"what {_name(found.role)} can do with" if found.role else "who can use"
        what = f"{who} {_subject(found.things)}"
    return f"{paint('bold', spec.name)}: {clean(what)}  {seconds(took)}"


def lines(found: Access, paint: Paint, width: int = WIDTH, *, every: bool = False) -> Iterator[str]:
    """Yield a table; with ``every``, each way, and also what a role can do only as PUBLIC can."""
    is_one = found.on is not None and len(found.things) == 1 and len(found.things[0].names) == 1
    rows = list((_of_one if is_one else _overview)(found, every=every))
    if rows:
        yield from table(("who", *(() if is_one else ("where",)), "may", "through"), rows, width, paint)
    else:
        yield "  no role has a privilege there"
    yield from (f"  {paint('yellow', '!')} the database {word(each)} does not exist yet" for each in found.missing)


def _subject(things: Sequence[Thing]) -> str:
    names = [f"{_full(each, name)} ({each.kind})" for each in things for name in each.names]
    return names[0] if len(names) == 1 else f"{count(len(names), 'object')}: {', '.join(names[:_MOST_NAMES])}, …"


def _full(thing: Thing, name: str) -> str:
    return name if thing.kind in ("database", "schema") else f"{word(thing.schema or '')}.{name}"


def table(head: Row, rows: Sequence[Row], width: int, paint: Paint) -> Iterator[str]:
    """Yield rows as lines of so many columns; the last two columns are wrapped for that, and a name never is."""
    from textwrap import wrap

    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    while sum(widths) + 2 * len(widths) > width and max(widths[-2:]) > _NARROWEST:
        widths[-1 if widths[-1] >= widths[-2] else -2] -= 1
    yield paint("dim", _line(head, widths))
    who = ""
    for row in rows:
        cells = [[each] for each in row[:-2]]
        for text, room in zip(row[-2:], widths[-2:], strict=True):
            cells.append(wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""])
        if row[0] == who:
            cells[0] = [""]
        who = row[0]
        for number in range(max(map(len, cells))):
            line = _line([each[number] if number < len(each) else "" for each in cells], widths)
            yield line.replace(who, paint("bold", who), 1) if number == 0 and cells[0] == [who] else line


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"  {'  '.join(f'{cell:<{width}}' for cell, width in zip(cells, widths, strict=True))}".rstrip()


def _of_one(found: Access, *, every: bool) -> Iterator[Row]:
    """Yield who can use the one thing that was asked for: who, may, and through what."""
    for each in _shown(found, every=every):
        by_way: dict[str, list[Right]] = {}
        for right in each.rights:
            by_way.setdefault("".join(_ways(each, [right], every=False)), []).append(right)
        for rights in by_way.values():
            whole = {right.privilege for right in rights if not right.columns}
            may = "all" if whole >= _ALL else ", ".join(map(_lower, sorted(rights, key=_rank)))
            yield _who(each), may, _joined(_ways(each, rights, every=every), each.lacks)


def _lower(right: Right) -> str:
    return right.privilege.lower() + (f" ({', '.join(right.columns)})" if right.columns else "")


def _rank(right: Right) -> int:
    return _ORDER.index(right.privilege) if right.privilege in _ORDER else len(_ORDER)


def _who(each: Reach) -> str:
    if each.role is None:
        return PUBLIC
    return clean(word(each.role)) + ("" if each.login else " (group)")


def _name(role: str) -> str:
    return role if role == PUBLIC else word(role)


def _shown(found: Access, *, every: bool) -> Iterator[Reach]:
    """Yield what is worth a line, by role: logins first; what PUBLIC can use is not repeated for each role."""
    public = {id(each.thing) for each in found.reaches if each.role is None and not each.lacks}
    for each in sorted(found.reaches, key=lambda each: (each.role is None, not each.login, each.role or "")):
        if every or found.role is not None:
            yield each
        elif each.role is None:
            yield from [each] if id(each.thing) in public else []
        elif id(each.thing) in public:
            own = tuple([right for right in each.rights if {path.how for path in right.paths} != {"public"}])
            yield from [replace(each, rights=own)] if own else []
        elif not (each.is_public and each.lacks):
            yield each


def _overview(found: Access, *, every: bool) -> Iterator[Row]:
    """Yield who can do what, schema by schema: who, where, may, and through what."""
    places: dict[tuple[str, str | None, str, str | None], list[Reach]] = {}
    totals: Counter[Place] = Counter()
    for thing in found.things:
        totals[_place(thing)] += len(thing.names)
    for each in _shown(found, every=every):
        places.setdefault((_who(each), each.after, each.thing.database, each.thing.schema), []).append(each)
    above: set[str] = set()
    for (who, *_), reached in places.items():
        if any(path.how == "superuser" for right in reached[0].rights for path in right.paths):
            if who not in above:
                above.add(who)
                yield who, "everywhere", "everything", "superuser"
            continue
        thing = reached[0].thing
        where = "(database)" if thing.schema is None else word(thing.schema)
        if len(found.databases) > 1:
            where = f"{word(thing.database)}{'' if thing.schema is None else f'.{where}'}"
        yield who, clean(where), _may(reached, totals), _ways_of_all(reached, every=every)


def _place(thing: Thing) -> Place:
    return thing.database, thing.schema, _noun(thing)


def _noun(thing: Thing) -> str:
    return _NOUNS.get(thing.kind, thing.kind)


def _may(reached: Sequence[Reach], totals: Mapping[Place, int]) -> str:
    """Say what privileges on a schema, or on a database, and on what is in it come to."""
    around: list[str] = []
    inside: dict[str, dict[Place, list[str]]] = {}
    for each in reached:
        if each.thing.kind in ("database", "schema"):
            around += [_lower(right) for right in each.rights]
            continue
        for phrase in _phrases(each):
            inside.setdefault(phrase, {}).setdefault(_place(each.thing), []).extend(each.thing.names)
    parts = [", ".join(each for each in around if each != "usage" or not inside)]
    for phrase, nouns in sorted(inside.items(), key=lambda each: min(map(_noun_rank, each[1]))):
        counted = [_counted(nouns[place], totals[place], place[-1]) for place in sorted(nouns, key=_noun_rank)]
        parts.append(f"{phrase} {', '.join(counted)}")
    return "; ".join(filter(None, parts))


def _noun_rank(place: Place) -> int:
    return _NOUN_ORDER.index(place[-1])


def _phrases(each: Reach) -> Iterator[str]:
    whole = frozenset([right.privilege for right in each.rights if not right.columns])
    if whole:
        listed = ", ".join(_lower(right) for right in sorted(each.rights, key=_rank) if not right.columns)
        yield _WORDS.get(_noun(each.thing), {}).get(whole, f"{listed} on")
    for right in each.rights:
        if right.columns:
            yield f"{right.privilege.lower()} columns of"


def _counted(names: Sequence[str], total: int, noun: str) -> str:
    if len(names) == total:
        return count(total, noun)
    shown = f" ({clean(', '.join(sorted(names)))})" if len(names) <= _MOST_NAMES else ""
    return f"{len(names)} of {count(total, noun)}{shown}"


def _ways_of_all(reached: Iterable[Reach], *, every: bool) -> str:
    ways = [way for each in reached for way in _ways(each, each.rights, every=every)]
    return _joined(ways, [lack for each in reached for lack in each.lacks])


def _ways(each: Reach, rights: Iterable[Right], *, every: bool) -> list[str]:
    """Return through what a role has rights; each in its shortest way only, without ``every``."""
    if each.role is None:
        return [""]
    if each.after is not None:
        return [f"SET ROLE {clean(word(each.after))}"]
    return [_way(path) for right in rights for path in (right.paths if every else right.paths[:1])]


def _joined(ways: Iterable[str], lacks: Iterable[str]) -> str:
    lacking = ", ".join(dict.fromkeys(map(clean, lacks)))
    return "; ".join(dict.fromkeys([*ways, *([f"but lacks {lacking}"] if lacking else [])]))


def _way(path: Path) -> str:
    groups = clean(" → ".join(map(word, path.roles)))
    if path.how == "owner":
        return f"{groups}, the owner" if groups else "owner"
    if path.how in ("grant", "predefined"):
        return groups or ("granted" if path.how == "grant" else "predefined role")
    return "PUBLIC" if path.how == "public" else path.how


def document(found: Access, spec: Spec, took: float) -> Document:
    """Return the document: the things that were asked about by number, and who reaches each."""
    number = {id(each): at for at, each in enumerate(found.things)}
    return {
        **head("access", spec),
        **fields(found, "databases missing role on"),
        "seconds": round(took, 3),
        "objects": [
            {"id": at, **fields(each, "database kind schema names owner")} for at, each in enumerate(found.things)
        ],
        "access": [_reach(number[id(each.thing)], each) for each in found.reaches],
    }


def _reach(number: int, each: Reach) -> Document:
    return {
        "object": number,
        **fields(each, "role login"),
        "set_role": each.after,
        "lacks": list(each.lacks),
        "privileges": [
            {**fields(right, "privilege columns"), "through": [fields(path, "how roles") for path in right.paths]}
            for right in each.rights
        ],
    }
