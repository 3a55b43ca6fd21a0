"""Differences of privileges in words: grouped for people, and exact, an edge each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from provision.kinds.catalog import Cluster
from provision.kinds.privileges.differing import Difference, Future, Names, Part
from provision.kinds.privileges.words import Rights, ordered
from provision.kinds.rights import inherited
from provision.model.words import count
from provision.spec.access import PUBLIC, Grantee

_NAMED = 3
_KINDS = ("table", "view", "materialized view", "foreign table", "sequence", "function", "procedure", "type")
_OTHERS = {"fdw": "foreign data wrapper", "server": "foreign server", "large_object": "large object"}
_OWNER_OF_DATABASE = "pg_database_owner"
_OF_ALL: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "pg_read_all_data": {"TABLE": ("SELECT",), "SEQUENCE": ("SELECT",), "SCHEMA": ("USAGE",)},
    "pg_write_all_data": {
        "TABLE": ("INSERT", "UPDATE", "DELETE"),
        "SEQUENCE": ("USAGE", "UPDATE"),
        "SCHEMA": ("USAGE",),
    },
}
"""What roles of the server may do without being granted it."""


def objects(differences: Sequence[Difference], *, with_schema: bool = False) -> str:
    """Return what differences are about: the names of a few objects, the number of many.

    Without ``with_schema``, the schema counts only where nothing else does.
    """
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for each in differences:
        kind = each.part.kind
        column = each.part.column
        names = each.names if column is None else [f"{name}.{column}" for name in each.names]
        found[_OTHERS.get(kind, kind)] |= dict.fromkeys(names)
    schema = ["the schema"] if found.pop("schema", None) and (with_schema or not found) else []
    is_short = sum(map(len, found.values())) <= _NAMED
    return ", ".join(
        [
            *schema,
            *[
                _called(kind, sorted(found[kind])) if is_short else count(len(found[kind]), kind)
                for kind in sorted(found, key=_rank)
            ],
        ]
    )


def of_extensions(surplus: Iterable[Difference]) -> str:
    """Say how many routines of extensions are taken from everybody: types and operators may need them."""
    number = sum(
        len(each.names)
        for each in surplus
        if each.part.is_of_extension and each.part.keyword == "ROUTINE" and each.grantee is PUBLIC
    )
    return f"takes {count(number, 'routine')} of extensions from everybody; operators may need them" if number else ""


def _called(kind: str, names: Sequence[str]) -> str:
    return f"{kind if len(names) == 1 else f'{kind}s'} {', '.join(names)}"


def _rank(kind: str) -> tuple[int, str]:
    return (_KINDS.index(kind) if kind in _KINDS else len(_KINDS)), kind


def creators(futures: Sequence[Future]) -> str:
    """Return whose future objects differences are about: ``future ones by shop_owner``."""
    found: dict[tuple[str, bool], dict[str, None]] = defaultdict(dict)
    for each in futures:
        kind = "ones" if each.missing else f"{each.keyword.lower()}s"
        found[kind, each.schema is None][each.creator] = None
    return "; ".join(
        [
            f"future {kind} by {', '.join(names)}{' in every schema' if is_everywhere else ''}"
            for (kind, is_everywhere), names in found.items()
        ]
    )


def privileges(rights: Iterable[Rights]) -> str:
    """Return what is taken, in one line: ``insert, update``; the grant option alone is said."""
    taken = {each for found in rights for each in whole(found)}
    options = {each for found in rights for each in found} - taken
    said = [each.lower() for each in ordered(taken)]
    if options:
        said.append("the grant option of " + ", ".join([each.lower() for each in ordered(options)]))
    return ", ".join(said)


def edges(differences: Iterable[Difference], *, surplus: bool) -> Iterator[str]:
    """Yield each privilege on each object: ``select on table shop.orders``."""
    for part, names, _, missing, beyond in differences:
        where = "" if part.schema is None else f"{part.schema}."
        column = "" if part.column is None else f" ({part.column})"
        kind = part.kind if part.column is None else "table"
        for privilege, option in (beyond if surplus else missing).items():
            said = f"{privilege.lower()}{column} on {kind} "
            end = (" (only the grant option)" if surplus else " with grant option") if option else ""
            yield from (f"{said}{where}{name}{end}" for name in names)


def future_edges(futures: Iterable[Future], *, surplus: bool) -> Iterator[str]:
    """Yield each privilege on what will be created: ``select on future tables in shop by shop_owner``."""
    for creator, schema, keyword, _, missing, beyond in futures:
        where = "in every schema" if schema is None else f"in {schema}"
        for privilege, option in (beyond if surplus else missing).items():
            end = (" (only the grant option)" if surplus else " with grant option") if option else ""
            yield f"{privilege.lower()} on future {keyword.lower()}s {where} by {creator}{end}"


class Losers:
    """Knows which logins lose what is taken, because nothing else gives it to them: no group, PUBLIC, or ownership.

    ``owner`` is that of the database, in whose name the server lets ``pg_database_owner`` act.
    """

    def __init__(self, cluster: Cluster, owner: str, differences: Iterable[Difference]) -> None:
        self._logins: dict[str, frozenset[str]] = {}
        for name, role in cluster.roles.items():
            if role.login and not role.superuser:
                roles = inherited(cluster, name)
                self._logins[name] = roles | {_OWNER_OF_DATABASE} if owner in roles else roles
        self._moved: dict[object, list[tuple[Grantee, Names, bool]]] = defaultdict(list)
        for part, names, grantee, missing, surplus in differences:
            for privilege in missing:
                self._moved[_key(part), privilege].append((grantee, names, True))
            for privilege in whole(surplus):
                self._moved[_key(part), privilege].append((grantee, names, False))

    def of(self, differences: Iterable[Difference]) -> list[str]:
        """Return the logins that lose something by some of the differences."""
        return sorted(
            {
                login
                for part, names, grantee, _, surplus in differences
                for privilege in whole(surplus)
                for login in self._losing(part, names, grantee, privilege)
            }
        )

    def _losing(self, part: Part, names: Names, grantee: Grantee, privilege: str) -> Iterator[str]:
        """Yield who had a privilege by a grantee, and does not keep it on all names."""
        kept = {edge.grantee: set(names) for edge in part.acl if edge.privilege == privilege}
        for each, some, is_given in self._moved.get((_key(part), privilege), ()):
            change = set.update if is_given else set.difference_update
            change(kept.setdefault(each, set()), some)
        for login, roles in self._logins.items():
            by_server = [each for each in roles & _OF_ALL.keys() if privilege in _OF_ALL[each].get(part.keyword, ())]
            if (grantee is None or grantee in roles) and part.owner not in roles and not by_server:
                covered = set().union(*[some for each, some in kept.items() if each is None or each in roles])
                if not covered.issuperset(names):
                    yield login


def whole(surplus: Rights) -> list[str]:
    """Return the privileges that go, without those of which only the grant option does."""
    return [each for each, only in surplus.items() if not only]


def _key(part: Part) -> object:
    return id(part) if part.column is None else (part.schema, part.names, part.column)
