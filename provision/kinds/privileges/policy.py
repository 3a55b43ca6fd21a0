"""What a spec declares about privileges in one database: what each object should give to each grantee.

A pair is a grantee and what ``on`` names: a schema (``access``, ``public``) or the target of a grant. All that is
declared for one grantee in one schema adds up, and is a scope.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from provision.kinds.privileges import words
from provision.kinds.privileges.words import KEYWORDS, Rights, joined
from provision.model.sql import identifier
from provision.spec.access import PUBLIC, Database, Grant, Grantee, Target
from provision.spec.object_names import parse, split

Pair = tuple[str, Grantee]
"""What ``on`` names, in words, and the grantee."""

_IN_SCHEMA = ("table", "sequence", "routine", "type", "domain")
_ALL_OF = {"table": "tables", "sequence": "sequences", "routine": "routines"}


def on_words(target: Target) -> str:
    """Return a target in words: ``table shop.customers``, ``tables audit.*``; columns are not told apart."""
    if target.schema is None:
        return f"{target.kind} {target.name}"
    return f"{_ALL_OF.get(target.kind, target.kind)} {target.schema}.*"


class Declared(NamedTuple):
    """What is declared for a pair, in words: ``read``, or ``select (id, country)``."""

    word: str
    has_future: bool
    """Whether it is also about objects that do not exist yet."""


def pairs(declared: Database) -> dict[Pair, Declared]:
    """Return every pair with what is declared for it."""
    found: dict[Pair, list[str]] = defaultdict(list)
    of_all = set()
    for schema, grantee, word in _by_word(declared):
        found[schema, grantee].append(word)
        of_all.add((schema, grantee))
    for grant in declared.grants:
        pair = on_words(grant.on), grant.to
        found[pair].append(_in_words(grant))
        if grant.on.schema is not None:
            of_all.add(pair)
    return {pair: Declared(", ".join(dict.fromkeys(each)), pair in of_all) for pair, each in found.items()}


def _by_word(declared: Database) -> Iterator[tuple[str, Grantee, str]]:
    for schema in declared.schemas.values():
        for grantee, word in ((PUBLIC, schema.public), *schema.access.items()):
            if word is not None and not schema.is_absent:
                yield schema.name, grantee, word


def _in_words(grant: Grant) -> str:
    columns = f" ({', '.join(grant.on.columns)})" if grant.on.columns else ""
    option = " with grant option" if grant.grantable else ""
    return (", ".join(grant.privileges).lower() or "none") + columns + option


class Wish:
    """What the entries of ``grants`` with the same target and grantee say. ``rights`` None: only of columns."""

    def __init__(self, on: str) -> None:
        self.on = on
        self.rights: Rights | None = None
        self.columns: dict[str, Rights] = {}
        self.grants: list[Grant] = []

    def add(self, grant: Grant, major: int) -> None:
        """Add what an entry declares."""
        rights = words.of_grant(grant, major)
        self.grants.append(grant)
        for each in grant.on.columns:
            self.columns[each] = joined(self.columns.get(each, {}), rights)
        if not grant.on.columns:
            self.rights = joined(self.rights or {}, rights)


class Scope:
    """What is declared for one grantee in one schema: by a word, for all objects of a kind, for single objects.

    What is said of fewer objects counts. ``wide`` has a keyword as its key, ``single`` a keyword, and then the name of
    an object without its schema.
    """

    def __init__(self, schema: str, grantee: Grantee, major: int, word: str | None = None) -> None:
        self.schema, self.grantee, self.major, self.word = schema, grantee, major, word
        self.wide: dict[str, Wish] = {}
        self.single: defaultdict[str, dict[str, Wish]] = defaultdict(dict)

    def rights(self, keyword: str) -> Rights | None:
        """Return what every object of a keyword should give; None: that is not declared."""
        if keyword in self.wide:
            return self.wide[keyword].rights
        if self.word is None:
            return None
        is_public = self.grantee is PUBLIC
        return words.of_public(self.word, keyword) if is_public else words.of_word(self.word, keyword, self.major)

    def on(self, keyword: str) -> str:
        """Return the first half of the pair that a difference of such objects belongs to."""
        return self.wide[keyword].on if keyword in self.wide else self.schema


def place(target: Target) -> tuple[str | None, str]:
    """Return the schema of a target, None for what is in none, and its name there: empty for all of a kind.

    A schema is in itself, under its quoted name.
    """
    if target.schema is not None:
        return target.schema, ""
    if target.kind == "schema":
        (schema,) = parse(target.name).parts
        return schema, identifier(schema)
    return split(target.name) if target.kind in _IN_SCHEMA else (None, target.name)


def scopes(declared: Database, major: int) -> tuple[list[Scope], dict[Pair, Wish]]:
    """Return what is declared in schemas, and by pair what is declared for objects that are in no schema."""
    found: dict[tuple[str, Grantee], Scope] = {}
    elsewhere: dict[Pair, Wish] = {}
    for schema, grantee, word in _by_word(declared):
        found[schema, grantee] = Scope(schema, grantee, major, word)
    for grant in declared.grants:
        on, keyword, (at, name) = on_words(grant.on), KEYWORDS[grant.on.kind], place(grant.on)
        if at is None:
            elsewhere.setdefault((on, grant.to), Wish(on)).add(grant, major)
            continue
        scope = found.setdefault((at, grant.to), Scope(at, grant.to, major))
        wishes = scope.single[keyword] if name else scope.wide
        wishes.setdefault(name or keyword, Wish(on)).add(grant, major)
    return list(found.values()), elsewhere
