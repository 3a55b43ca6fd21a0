"""What the words of ``access`` and ``public`` mean: which privileges, on which kinds of objects.

Kinds that have the same privileges share the keyword that a GRANT names them with.
https://www.postgresql.org/docs/current/ddl-priv.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from provision.spec.access import Grant
from provision.spec.grants import ALL, OF_COLUMNS, PRIVILEGES

Rights = Mapping[str, bool]
"""Privileges, and whether each has the grant option."""

MAINTAIN, MAINTAIN_SINCE = "MAINTAIN", 17

KEYWORDS: Final = {
    "table": "TABLE",
    "foreign table": "TABLE",
    "view": "TABLE",
    "materialized view": "TABLE",
    "column": "TABLE",
    "sequence": "SEQUENCE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "routine": "ROUTINE",
    "type": "TYPE",
    "domain": "TYPE",
    "schema": "SCHEMA",
    "database": "DATABASE",
    "language": "LANGUAGE",
    "fdw": "FOREIGN DATA WRAPPER",
    "server": "FOREIGN SERVER",
    "large_object": "LARGE OBJECT",
    "parameter": "PARAMETER",
}
"""By the kind of an object, as the catalog queries and the spec call it."""

LETTERS: Final = {"TABLE": "r", "SEQUENCE": "S", "ROUTINE": "f", "TYPE": "T"}
"""The letter in ``pg_default_acl``, by keyword: what can be given before an object exists."""

_USAGE: Final = ("USAGE",)
_READ: Final = ("SELECT",)
_WRITE: Final = (*_READ, "INSERT", "UPDATE", "DELETE")
_MAINTAIN: Final = (*_WRITE, "TRUNCATE", MAINTAIN)
_WORDS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "SCHEMA": dict.fromkeys(("usage", "read", "write", "maintain"), _USAGE),
    "TABLE": {"read": _READ, "write": _WRITE, "maintain": _MAINTAIN},
    "SEQUENCE": {"read": _READ, "write": (*_READ, "USAGE"), "maintain": (*_READ, "USAGE")},
}
_PUBLIC: Final[Mapping[str, tuple[str, ...]]] = {"none": (), "usage": _USAGE, "create": (*_USAGE, "CREATE")}
_ORDER: Final = tuple(dict.fromkeys([*_USAGE, *_MAINTAIN, *[each for all_ in PRIVILEGES.values() for each in all_]]))


def of_word(word: str, keyword: str, major: int) -> Rights:
    """Return what a role with a word of ``access`` is granted on a schema, or on an object in it.

    >>> of_word("read", "TABLE", 17), of_word("read", "ROUTINE", 17)
    ({'SELECT': False}, {})
    """
    return dict.fromkeys(_known(_WORDS.get(keyword, {}).get(word, ()), major), False)


def of_public(word: str, keyword: str) -> Rights | None:
    """Return what PUBLIC is granted by its word; None where that leaves it alone.

    PostgreSQL lets PUBLIC use all types, and routines: these are taken only by ``none``.
    """
    if keyword == "SCHEMA":
        return dict.fromkeys(_PUBLIC[word], False)
    if keyword == "TYPE" or (keyword == "ROUTINE" and word != "none"):
        return None
    return {}


def of_grant(grant: Grant, major: int) -> Rights:
    """Return what an entry of ``grants`` declares; ``all`` is what the server's version has."""
    privileges = grant.privileges
    if privileges == ALL:
        privileges = OF_COLUMNS if grant.on.columns else PRIVILEGES[grant.on.kind]
    return dict.fromkeys(_known(privileges, major), grant.grantable)


def joined(*rights: Rights) -> Rights:
    """Return what several rights come to.

    >>> joined({"SELECT": False}, {"SELECT": True, "INSERT": False})
    {'SELECT': True, 'INSERT': False}
    """
    found: dict[str, bool] = {}
    for each in rights:
        for privilege, grantable in each.items():
            found[privilege] = grantable or found.get(privilege, False)
    return found


def ordered(privileges: Iterable[str]) -> list[str]:
    """Return privileges in the order in which people know them: what reads first.

    >>> ordered({"INSERT", "SELECT", "USAGE"})
    ['USAGE', 'SELECT', 'INSERT']
    """
    return sorted(privileges, key=_ORDER.index)


def _known(privileges: Iterable[str], major: int) -> list[str]:
    return [each for each in privileges if each != MAINTAIN or major >= MAINTAIN_SINCE]
