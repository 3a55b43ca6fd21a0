"""Declared privileges against what is there: a verdict for each pair of a policy.

Privileges are compared object by object, as sets of (grantee, privilege, grant option), effective, and never by
grantor. Objects that have kind, owner and ACL in common are compared together. What an object's owner has is its own:
it is never taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from provision.kinds.catalog import FIRST_SUPERUSER, Acl, Cluster, Contents
from provision.kinds.privileges import policy
from provision.kinds.privileges.policy import Pair, Scope, Wish
from provision.kinds.privileges.words import KEYWORDS, LETTERS, Rights
from provision.model.sql import identifier
from provision.spec.access import PUBLIC, Database, Grant, Grantee, Target

Names = tuple[str, ...]

_NOTHING: Mapping[str, bool] = {}
BUILT_IN: Mapping[str, Rights] = {"ROUTINE": {"EXECUTE": False}, "TYPE": {"USAGE": False}}
"""What PUBLIC gets on new objects where no default was changed."""


class Part(NamedTuple):
    """Objects that are compared together; ``names`` are as SQL writes them. ``column`` is set for a column of tables.

    ``schema`` is None for what is in none, and for a schema itself.
    """

    kind: str
    schema: str | None
    owner: str
    acl: Acl
    names: Names
    column: str | None = None
    is_of_extension: bool = False

    @property
    def keyword(self) -> str:
        """What a GRANT names the objects with."""
        return KEYWORDS[self.kind]


class Difference(NamedTuple):
    """What a grantee lacks on some names of a part, and what it has beyond what is declared.

    ``missing`` tells for each privilege whether it comes with the grant option; ``surplus`` whether only that goes.
    """

    part: Part
    names: Names
    grantee: Grantee
    missing: Rights
    surplus: Rights


class Future(NamedTuple):
    """The same for what a role will create; ``schema`` None: in every schema of the database."""

    creator: str
    schema: str | None
    keyword: str
    grantee: Grantee
    missing: Rights
    surplus: Rights


class Absent(NamedTuple):
    """A grant on an object, or on a ``column`` of it, that is not there."""

    grant: Grant
    column: str | None = None

    def __str__(self) -> str:
        on = policy.on_words(self.grant.on)
        return on if self.column is None else f"column {self.column} of {on}"


class Verdict:
    """What differs for one pair, and what is not there."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.futures: list[Future] = []
        self.unknown: list[Absent] = []


class Makers(NamedTuple):
    """A schema's owner, who creates objects in it, and whether the spec names these."""

    owner: str
    creators: Names
    is_declared: bool


def compared(held: Rights, wanted: Rights, *, is_owner: bool = False) -> tuple[Rights, Rights]:
    """Return what is missing and what is surplus: see :class:`Difference`.

    >>> compared({"SELECT": True, "INSERT": False}, {"SELECT": False, "DELETE": False})
    ({'DELETE': False}, {'SELECT': True, 'INSERT': False})
    """
    if held == wanted:
        return _NOTHING, _NOTHING
    if is_owner:  # who can grant everything anyway
        return {each: False for each in wanted if each not in held}, _NOTHING
    missing = {each: option for each, option in wanted.items() if each not in held or (option and not held[each])}
    surplus = {each: each in wanted for each, option in held.items() if each not in wanted or option > wanted[each]}
    return missing, surplus


def held(acl: Acl, grantee: Grantee) -> Rights:
    """Return what an ACL gives to a grantee, whoever gave it."""
    found: dict[str, bool] = {}
    for edge in acl:
        if edge.grantee == grantee:
            found[edge.privilege] = edge.grantable or found.get(edge.privilege, False)
    return found


class Judge:
    """Compares the policy of one database; ``makers`` tells those of each schema that it names.

    ``renames`` has the present names of roles that are to be renamed: what such a role has too much goes afterwards.
    """

    def __init__(
        self,
        declared: Database,
        cluster: Cluster,
        contents: Contents,
        makers: Callable[[str], Makers],
        renames: Mapping[str, str],
    ) -> None:
        self.verdicts: defaultdict[Pair, Verdict] = defaultdict(Verdict)
        self._declared, self._cluster, self._contents, self._renames = declared, cluster, contents, renames
        self._everywhere = {(each.creator, each.kind): each.acl for each in contents.defaults if each.schema is None}
        self._said: set[tuple[object, ...]] = set()
        scopes, elsewhere = policy.scopes(declared, cluster.major)
        self._makers = {each.schema: makers(each.schema) for each in scopes}
        self._by_schema = self._found_in({each.schema for each in scopes})
        for scope in scopes:
            self._objects(scope)
            self._columns(scope)
            self._futures(scope)
        for (_, grantee), wish in elsewhere.items():
            self._elsewhere(wish, grantee)

    @property
    def parts(self) -> Iterator[Part]:
        """All that was compared in schemas."""
        return chain.from_iterable(self._by_schema.values())

    def _found_in(self, schemas: Iterable[str]) -> dict[str, list[Part]]:
        """Return the parts of each schema, itself first; one that is still to be made has nothing but its owner."""
        found: dict[str, list[Part]] = {}
        for name in schemas:
            there = self._contents.schemas.get(name)
            owner, acl = (there.owner, there.acl) if there else (self._makers[name].owner, frozenset())
            found[name] = [Part("schema", None, owner, acl, (identifier(name),))]
        for each in self._contents.objects:
            if each.schema in found:
                part = Part(each.kind, each.schema, each.owner, each.acl, each.names, None, each.is_of_extension)
                found[each.schema].append(part)
        return {name: sorted(parts, key=_order) for name, parts in found.items()}

    def _compare(self, on: str, part: Part, names: Names, grantee: Grantee, wanted: Rights) -> None:
        now = grantee if grantee is PUBLIC else self._renames.get(grantee, grantee)
        missing, surplus = compared(held(part.acl, now), wanted, is_owner=now == part.owner)
        surplus = surplus if now == grantee else _NOTHING
        if missing or surplus:
            verdict = self.verdicts[on, grantee]
            verdict.differences.append(Difference(part, names, grantee, missing, surplus))

    def _objects(self, scope: Scope) -> None:
        """Compare what all objects of a schema should give, and where single ones are declared, what these should."""
        left = {(keyword, name) for keyword, wishes in scope.single.items() for name in wishes}
        for part in self._by_schema[scope.schema]:
            base, wishes, names = scope.rights(part.keyword), scope.single.get(part.keyword), part.names
            if wishes:
                there = {name: wishes[name] for name in names if name in wishes}
                left -= {(part.keyword, name) for name in there}
                own = {name: wish for name, wish in there.items() if wish.rights is not None or base is None}
                for name, wish in own.items():
                    self._compare(wish.on, part, (name,), scope.grantee, wish.rights or _NOTHING)
                names = tuple([each for each in names if each not in own])
            if base is not None and names:
                self._compare(scope.on(part.keyword), part, names, scope.grantee, base)
        missing = [scope.single[keyword][name] for keyword, name in sorted(left)]
        if scope.wide and scope.schema not in {*self._contents.schemas, *self._declared.schemas}:
            missing += scope.wide.values()
        for wish in missing:
            self.verdicts[wish.on, scope.grantee].unknown += map(Absent, wish.grants)

    def _columns(self, scope: Scope) -> None:
        """Compare the privileges of columns, where all that a table gives to the grantee is declared."""
        wishes = scope.single.get("TABLE", {})
        tables = dict.fromkeys([name for name, wish in wishes.items() if wish.columns])
        if scope.rights("TABLE") is not None or wishes:
            tables |= dict.fromkeys([table for schema, table in self._contents.columns if schema == scope.schema])
        for table in tables:
            wish = wishes.get(table)
            whole = next(
                (each for each in self._by_schema[scope.schema] if is_table(each) and table in each.names), None
            )
            if whole is None or (wish is None and scope.rights("TABLE") is None):
                continue
            acls, wanted = self._contents.columns.get((scope.schema, table), {}), wish.columns if wish else {}
            for column in {**acls, **wanted}:
                part = Part("column", scope.schema, whole.owner, acls.get(column, frozenset()), (table,), column)
                on = wish.on if wish else scope.on("TABLE")
                self._compare(on, part, (table,), scope.grantee, wanted.get(column, _NOTHING))

    def _futures(self, scope: Scope) -> None:
        """Compare what objects that do not exist yet will give: too much by any role, too little by the creators."""
        creators = self._makers[scope.schema].creators
        for keyword, letter in LETTERS.items():
            wanted = scope.rights(keyword)
            if wanted is None:
                continue
            rows = {
                each.creator: held(each.acl, scope.grantee)
                for each in self._contents.defaults
                if (each.schema, each.kind) == (scope.schema, letter)
            }
            for creator in dict.fromkeys((*creators, *rows)):
                missing, surplus = compared(rows.get(creator, _NOTHING), wanted)
                missing = missing if creator in creators else _NOTHING
                self._future(scope.on(keyword), Future(creator, scope.schema, keyword, scope.grantee, missing, surplus))
            for creator in creators:
                row = self._everywhere.get((creator, letter))
                _, surplus = compared(self._given(row, creator, keyword, scope), wanted)
                self._future(scope.on(keyword), Future(creator, None, keyword, scope.grantee, _NOTHING, surplus))
                if (
                    surplus
                    and row is not None
                    and scope.grantee is PUBLIC
                    and {each.grantee for each in row} <= {PUBLIC}
                ):
                    own = Future(creator, None, keyword, creator, surplus, _NOTHING)  # a row of nothing counts as none
                    self.verdicts[scope.on(keyword), PUBLIC].futures.append(own)

    def _given(self, row: Acl | None, creator: str, keyword: str, scope: Scope) -> Rights:
        """Return what a grantee gets on what a role creates in any schema, as far as that may be taken.

        A superuser makes the routines of extensions, without which types and operators fail: the spec has to name it.
        """
        is_public, role = scope.grantee is PUBLIC, self._cluster.roles.get(creator)
        is_superuser = role is not None and role.superuser
        if is_public and keyword == "ROUTINE" and is_superuser and not self._makers[scope.schema].is_declared:
            return _NOTHING
        if row:
            return held(row, scope.grantee)
        return BUILT_IN.get(keyword, _NOTHING) if is_public else _NOTHING

    def _future(self, on: str, found: Future) -> None:
        """Note a difference, unless another schema has said the same of all schemas."""
        if found.schema is None:
            about = (found.creator, found.keyword, found.grantee)
            found = found._replace(
                surplus={each: option for each, option in found.surplus.items() if (*about, each) not in self._said}
            )
            self._said |= {(*about, each) for each, option in found.surplus.items() if not option}
        if found.creator != found.grantee and (found.missing or found.surplus):
            self.verdicts[on, found.grantee].futures.append(found)

    def _elsewhere(self, wish: Wish, grantee: Grantee) -> None:
        """Compare an object that is in no schema; lists of ``connect`` and ``temporary`` are a database's own keys."""
        part = self._found(wish.grants[0].on)
        if part is None:
            self.verdicts[wish.on, grantee].unknown += map(Absent, wish.grants)
            return
        own = {"CONNECT": self._declared.connect, "TEMPORARY": self._declared.temporary}
        hidden = {each for each, names in own.items() if names is not None and part.kind == "database"}
        acl = frozenset([edge for edge in part.acl if edge.privilege not in hidden])
        wanted = {each: option for each, option in (wish.rights or {}).items() if each not in hidden}
        self._compare(wish.on, Part(part.kind, None, part.owner, acl, part.names), part.names, grantee, wanted)

    def _found(self, target: Target) -> Part | None:
        names, kind = (target.name,), target.kind
        if kind == "database":
            there = self._cluster.databases[self._declared.name]
            return Part(kind, None, there.owner, there.acl, (identifier(self._declared.name),))
        if kind == "parameter":
            owner = next((name for name, role in self._cluster.roles.items() if role.oid == FIRST_SUPERUSER), "")
            return Part(kind, None, owner, self._cluster.parameters.get(target.name.lower(), frozenset()), names)
        other = self._contents.others.get((kind, target.name))
        return other and Part(kind, None, *other, names)


def _order(part: Part) -> tuple[bool, int, Names]:
    """Return where a part comes, whatever order the server gives: the schema first."""
    return part.schema is not None, list(KEYWORDS).index(part.kind), part.names


def is_table(part: Part) -> bool:
    """Tell whether a part is of tables or views, and not of their columns."""
    return part.keyword == "TABLE" and part.column is None


def crowded(parts: Iterable[Part], limit: int) -> Iterator[str]:
    """Yield the objects whose ACL has as many grantees as ``limit``, with their number."""
    for each in parts:
        if len(each.acl) >= limit and (number := len({edge.grantee for edge in each.acl})) >= limit:
            where = "" if each.schema is None else f"{each.schema}."
            more = f" and {len(each.names) - 1} more" if each.names[1:] else ""
            yield f"{each.kind} {where}{each.names[0]}{more}: {number} grantees"
