"""Who may do what in a database, as ``access``, ``public`` and ``grants`` say it in the fewest entries.

Each candidate is judged as a plan is: it counts where there is nothing to do. A word of ``access`` stands for existing
and future objects; what differs from it on single objects is a grant beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from provision.insight.reach import word
from provision.kinds import catalog
from provision.kinds.catalog import Acl, Cluster, Contents, Default
from provision.kinds.privileges import words
from provision.kinds.privileges.differing import BUILT_IN, Judge, Makers, Part, held
from provision.kinds.privileges.words import LETTERS, Rights
from provision.model.value import dataclass, replace
from provision.spec.access import PUBLIC, AccessWord, Database, Grant, Grantee, ObjectKind, PublicWord, Schema, Target
from provision.spec.model import Spec
from provision.spec.object_names import quote

Base = Callable[[str], Rights | None]
"""What all objects of a keyword give to a grantee; None: that is not declared."""

_WORDS: tuple[AccessWord, ...] = ("maintain", "write", "read", "usage")
_PUBLIC_WORDS: tuple[PublicWord, ...] = ("create", "usage", "none")
_OWNER_OF_DATABASE, _OWNER_SINCE = "pg_database_owner", 15
_ALL_OF: Mapping[str, ObjectKind] = {"TABLE": "table", "SEQUENCE": "sequence", "ROUTINE": "routine"}
_LOSES_FUTURE = 1000
"""What it costs in entries to leave out privileges on future objects."""
_KINDS: Mapping[str, ObjectKind] = {
    "function": "routine",
    "procedure": "routine",
    "foreign table": "table",
    "view": "table",
    "materialized view": "table",
}


@dataclass(frozen=True)
class _Candidate:
    """What could be declared for one grantee in one schema. ``cost`` is the number of grants that it takes."""

    word: str | None
    grants: tuple[Grant, ...]
    cost: int
    has_future: bool = True


def owner_of_public(cluster: Cluster) -> str:
    """Return who owns the schema ``public`` of a new database."""
    if cluster.major >= _OWNER_SINCE:
        return _OWNER_OF_DATABASE
    return next((name for name, role in cluster.roles.items() if role.oid == catalog.FIRST_SUPERUSER), "")


def able(privilege: str, there: catalog.Database) -> tuple[Grantee, ...] | None:
    """Return who has a privilege on a database, beside its owner; None where that is as on a new one."""
    edges = [each for each in there.acl if each.privilege == privilege and each.grantee != there.owner]
    found = {each.grantee for each in edges}
    if found == {PUBLIC} or any(each.grantable for each in edges):
        return None
    return tuple(sorted(found, key=lambda each: (each is PUBLIC, each or "")))


def with_access(
    spec: Spec, database: Database, cluster: Cluster, contents: Contents
) -> tuple[Database, tuple[str, ...]]:
    """Return a database with what each grantee may do in it, and what a spec cannot say of that."""
    return _Access(spec, database, cluster, contents).all()


class _Access:
    def __init__(self, spec: Spec, database: Database, cluster: Cluster, contents: Contents) -> None:
        self._spec, self._database, self._cluster, self._contents = spec, database, cluster, contents
        self._there = cluster.databases[database.name]
        self._left: list[str] = []

    def all(self) -> tuple[Database, tuple[str, ...]]:
        """Go through the schemas, and then through what is in none."""
        schemas, grants = dict(self._database.schemas), list[Grant]()
        for name in sorted(self._contents.schemas):
            if name in schemas:
                schemas[name], more = self._schema(schemas[name])
                grants += more
        grants += [*self._elsewhere()]
        self._left += self._unsaid_futures(schemas)
        return replace(self._database, schemas=schemas, grants=tuple(grants)), tuple(self._left)

    # --- One schema --------------------------------------------------------------------------------------------------

    def _schema(self, schema: Schema) -> tuple[Schema, list[Grant]]:
        """Return a schema with its words, and the grants beside them; the creators are those that need the fewest."""
        parts = list(self._parts(schema.name))
        grantees = self._grantees(schema.name, parts)
        found = [
            (made, {grantee: self._cheapest(made, grantee, parts) for grantee in grantees})
            for made in [replace(schema, defaults_for=creators) for creators in self._creators(schema)]
        ]
        made, chosen = min(found, key=lambda each: sum(one.cost for one in each[1].values()))
        self._left += [
            f"default privileges of {_who(grantee)} in the schema {word(schema.name)} of {word(self._database.name)}"
            for grantee, each in chosen.items()
            if not each.has_future
        ]
        return self._worded(made, chosen), sorted(
            [grant for each in chosen.values() for grant in each.grants], key=_order
        )

    def _worded(self, schema: Schema, found: Mapping[Grantee, _Candidate], *, every: bool = False) -> Schema:
        """Return a schema with its words, and without ``defaults_for`` where that says nothing, or what is usual."""
        access: dict[str, AccessWord] = {}
        public: PublicWord | None = None
        for grantee, each in found.items():
            if each.word is not None and grantee is not PUBLIC:
                access[grantee] = each.word  # type: ignore[assignment]  # one of _WORDS
            elif each.word is not None:
                public = each.word  # type: ignore[assignment]  # one of _PUBLIC_WORDS
        made = replace(schema, access=access, public=public)
        if every:
            return made
        grants = [grant for each in found.values() for grant in each.grants]
        plain = replace(made, defaults_for=None)
        return plain if self._is_done(plain, grants) else made

    def _parts(self, schema: str) -> Iterator[Part]:
        there = self._contents.schemas[schema]
        yield Part("schema", None, there.owner, there.acl, (schema,))
        for each in self._contents.objects:
            if each.schema == schema:
                yield Part(each.kind, schema, each.owner, each.acl, each.names, is_of_extension=each.is_of_extension)

    def _grantees(self, schema: str, parts: Sequence[Part]) -> list[Grantee]:
        acls = [(each.owner, each.acl) for each in parts]
        acls += [
            ("", acl)
            for (where, _), columns in self._contents.columns.items()
            if where == schema
            for acl in columns.values()
        ]
        acls += [(each.creator, each.acl) for each in self._contents.defaults if each.schema == schema]
        found = {edge.grantee for owner, acl in acls for edge in acl if edge.grantee != owner}
        return [*sorted(each for each in found if each is not None), PUBLIC]

    def _creators(self, schema: Schema) -> list[tuple[str, ...]]:
        """Return who ``defaults_for`` could name: who usually creates there, who has default privileges, no role."""
        usual = self._usual_creators(schema)
        rows = [each for each in self._contents.defaults if each.schema == schema.name]
        by_grantee: dict[Grantee, set[str]] = {}
        for row in rows:
            for edge in row.acl:
                if edge.grantee != row.creator:
                    by_grantee.setdefault(edge.grantee, set()).add(row.creator)
        sets = [tuple(sorted(each)) for each in by_grantee.values()]
        return [*dict.fromkeys([usual, *sorted(sets), ()])]

    def _usual_creators(self, schema: Schema) -> tuple[str, ...]:
        owner = self._contents.schemas[schema.name].owner
        found = [self._there.owner if owner == _OWNER_OF_DATABASE else owner]
        for tree in self._spec.migrations:
            if (tree.database or self._spec.server.database) == self._database.name:
                found += [each for each in (tree.login, tree.role) if each] or [self._cluster.login]
        return tuple(dict.fromkeys(found))

    def _cheapest(self, schema: Schema, grantee: Grantee, parts: Sequence[Part]) -> _Candidate:
        """Return what declares all that a grantee has in a schema, in the fewest entries; single grants always do."""
        single = self._single(schema, grantee, parts)
        others = [*self._wide(schema, grantee, parts), *self._words(schema, grantee, parts)]
        closes = ("none",) if self._is_closed(schema) else ()
        liked = closes if grantee is PUBLIC else _WORDS  # a word is read more easily than one grant
        cheaper = [each for each in others if each.cost < single.cost + (each.word in liked)]
        for each in sorted(cheaper, key=lambda each: each.cost):
            if self._is_done(self._worded(schema, {grantee: each}, every=True), each.grants):
                return each
        return single

    def _is_closed(self, schema: Schema) -> bool:
        """Tell whether all who create in a schema give PUBLIC nothing on their routines, as ``public: none`` has it."""
        creators = self._usual_creators(schema) if schema.defaults_for is None else schema.defaults_for
        closed = {
            each.creator
            for each in self._contents.defaults
            if each.schema is None and each.kind == LETTERS["ROUTINE"] and not held(each.acl, PUBLIC)
        }
        return bool(creators) and closed.issuperset(creators)

    def _words(self, schema: Schema, grantee: Grantee, parts: Sequence[Part]) -> Iterator[_Candidate]:
        for each in _PUBLIC_WORDS if grantee is PUBLIC else _WORDS:
            grants = self._beside(schema.name, grantee, parts, partial(self._of_word, grantee, each))
            if grants is not None:
                yield self._candidate(schema, grantee, each, grants, partial(self._of_word, grantee, each))

    def _of_word(self, grantee: Grantee, each: str, keyword: str) -> Rights | None:
        if grantee is PUBLIC:
            return words.of_public(each, keyword)
        return words.of_word(each, keyword, self._cluster.major)

    def _single(self, schema: Schema, grantee: Grantee, parts: Sequence[Part]) -> _Candidate:
        """Return the grants of each object alone; what an extension itself gives on its objects is left out."""
        is_extensions = grantee is PUBLIC or grantee.startswith("pg_")
        some = [each for each in parts if not (is_extensions and each.is_of_extension)]
        usual = partial(self._usual, schema.name, grantee)
        grants = tuple(self._grants(schema.name, grantee, some, usual))
        return self._candidate(schema, grantee, None, grants, _undeclared)

    def _candidate(
        self, schema: Schema, grantee: Grantee, each: str | None, grants: tuple[Grant, ...], base: Base
    ) -> _Candidate:
        """Return a candidate with its cost; privileges on future objects are lost where ``base`` declares none."""
        has_future = True
        for keyword in LETTERS:
            usual = BUILT_IN.get(keyword, {}) if grantee is PUBLIC else {}
            rows = [self._default(row, schema.name, grantee, keyword) for row in self._contents.defaults]
            has_future = has_future and (base(keyword) is not None or all(row.items() <= usual.items() for row in rows))
        return _Candidate(each, grants, len(grants) + (0 if has_future else _LOSES_FUTURE), has_future)

    def _usual(self, schema: str, grantee: Grantee, keyword: str) -> Rights:
        """Return what a grantee has on what nothing was granted on."""
        if grantee is not PUBLIC:
            return {}
        if keyword != "SCHEMA":
            return BUILT_IN.get(keyword, {})
        if schema != "public":
            return {}
        return {"USAGE": False} if self._cluster.major >= _OWNER_SINCE else {"USAGE": False, "CREATE": False}

    def _wide(self, schema: Schema, grantee: Grantee, parts: Sequence[Part]) -> Iterator[_Candidate]:
        """Yield grants on all objects of a kind, which stand for future ones too, with those of single ones beside."""
        wide = {keyword: rights for keyword in _ALL_OF if (rights := self._of_all(schema, grantee, keyword, parts))}
        for each in (None, "usage") if wide and grantee is not PUBLIC else (None,):
            of_word: Base = partial(self._of_word, grantee, each) if each else _undeclared
            base = partial(_joined, of_word, wide)
            beside = self._beside(schema.name, grantee, parts, base) if wide else None
            if beside is not None:
                grants = [
                    Grant(grantee, Target(_ALL_OF[keyword], "", schema.name), *some)
                    for keyword, rights in wide.items()
                    for some in _by_option(rights)
                ]
                yield self._candidate(schema, grantee, each, (*grants, *beside), base)

    def _of_all(self, schema: Schema, grantee: Grantee, keyword: str, parts: Sequence[Part]) -> Rights:
        """Return what future objects of a kind give to a grantee; where no role creates any, what most of them give."""
        rows = [self._default(each, schema.name, grantee, keyword) for each in self._contents.defaults]
        given = [each for each in rows if each]
        if schema.defaults_for:
            is_same = len(given) == len(schema.defaults_for) and all(each == given[0] for each in given)
            return given[0] if is_same else {}
        if given:
            return {}
        found: Counter[tuple[tuple[str, bool], ...]] = Counter()
        for part in parts:
            if part.keyword == keyword and part.owner != grantee:
                found[tuple(sorted(held(part.acl, grantee).items()))] += len(part.names)
        usual = self._usual(schema.name, grantee, keyword)
        most = dict(found.most_common(1)[0][0]) if found else usual
        return {} if most == usual else most

    def _default(self, row: Default, schema: str, grantee: Grantee, keyword: str | None = None) -> Rights:
        """Return what a row of default privileges gives to a grantee."""
        is_meant = row.schema == schema and keyword in (None, *[key for key, at in LETTERS.items() if at == row.kind])
        return held(row.acl, grantee) if is_meant and row.creator != grantee else {}

    def _beside(self, schema: str, grantee: Grantee, parts: Sequence[Part], base: Base) -> tuple[Grant, ...] | None:
        """Return the grants that single objects need beside what all give; None where one gives less than that."""
        for part in parts:
            has, given = held(part.acl, grantee), base(part.keyword)
            if part.owner == grantee or given is None or has == given:
                continue
            if part.kind == "schema" and (grantee is PUBLIC or words.joined(has, given) != has):
                return None  # a grant on the schema would contradict the word
            if has and words.joined(has, given) != has:
                return None
        return tuple(
            self._grants(schema, grantee, parts, lambda keyword: base(keyword) or self._usual("", grantee, keyword))
        )

    def _grants(self, schema: str, grantee: Grantee, parts: Sequence[Part], base: Base) -> Iterator[Grant]:
        """Yield grants for the objects that give something else than ``base``, and for columns."""
        place = quote(schema, self._cluster.major)
        for part in parts:
            has, usual = held(part.acl, grantee), base(part.keyword)
            for name in self._differing(schema, part, is_other=has != usual) if part.owner != grantee else ():
                columns = self._contents.columns.get((schema, name), {}) if part.keyword == "TABLE" else {}
                kind = _KINDS.get(part.kind, part.kind)
                target = Target(kind, place if kind == "schema" else f"{place}.{name}")  # type: ignore[arg-type]  # the others are the spec's own
                if has != usual:
                    yield from (Grant(grantee, target, *each) for each in _by_option(has))
                yield from self._of_columns(grantee, target, columns)

    def _differing(self, schema: str, part: Part, *, is_other: bool) -> Iterable[str]:
        """Return the objects of a part that may need a grant: all, or those whose columns have privileges."""
        if is_other:
            return part.names
        return [name for where, name in self._contents.columns if where == schema and name in part.names]

    def _of_columns(self, grantee: Grantee, target: Target, columns: Mapping[str, Acl]) -> Iterator[Grant]:
        alike: dict[tuple[tuple[str, bool], ...], list[str]] = {}
        for column, acl in sorted(columns.items()):
            if rights := held(acl, grantee):
                alike.setdefault(tuple(sorted(rights.items())), []).append(column)
        for pairs, names in alike.items():
            on = replace(target, columns=tuple(names))
            yield from (Grant(grantee, on, *each) for each in _by_option(dict(pairs)))

    def _is_done(self, schema: Schema, grants: Iterable[Grant]) -> bool:
        """Tell whether a plan would have nothing to do."""
        owner = self._contents.schemas[schema.name].owner
        usual = self._usual_creators(schema)
        creators = usual if schema.defaults_for is None else schema.defaults_for
        makers = Makers(owner, creators, is_declared=schema.defaults_for not in (None, usual))
        declared = replace(self._database, schemas={schema.name: schema}, grants=tuple(grants))
        judge = Judge(declared, self._cluster, self._contents, lambda _: makers, {})
        return not any(each.differences or each.futures or each.unknown for each in judge.verdicts.values())

    # --- What is in no schema ----------------------------------------------------------------------------------------

    def _elsewhere(self) -> Iterator[Grant]:
        """Yield grants on the database, on languages, wrappers and servers, and on large objects."""
        name, there = self._database.name, self._there
        hidden = {each for each in ("CONNECT", "TEMPORARY") if getattr(self._database, each.lower()) is not None}
        usual = {"CONNECT": False, "TEMPORARY": False}
        for grantee in _others(there.owner, there.acl):
            has = held(there.acl, grantee)
            plain = {each: option for each, option in has.items() if each not in hidden}
            if plain != {each: option for each, option in usual.items() if grantee is PUBLIC and each not in hidden}:
                target = Target("database", quote(name, self._cluster.major))
                yield from (Grant(grantee, target, *each) for each in _by_option(has))
        for (kind, name), (owner, acl) in sorted(self._contents.others.items()):
            yield from self._of_other(Target(kind, name), owner, acl)  # type: ignore[arg-type]  # the kinds of the query
        if self._database.name == self._spec.server.database:
            for name, acl in sorted(self._cluster.parameters.items()):
                yield from self._of_other(Target("parameter", name), "", acl)

    def _of_other(self, target: Target, owner: str, acl: Acl) -> Iterator[Grant]:
        usual: Rights = {"USAGE": False} if target.kind == "language" else {}
        for grantee in _others(owner, acl):
            has = held(acl, grantee)
            role = self._cluster.roles.get(grantee or "")
            is_owner = target.kind == "parameter" and role is not None and role.oid == catalog.FIRST_SUPERUSER
            if has != (usual if grantee is PUBLIC else {}) and not is_owner:
                yield from (Grant(grantee, target, *each) for each in _by_option(has))

    def _unsaid_futures(self, schemas: Mapping[str, Schema]) -> Iterator[str]:
        """Name default privileges that are about every schema; of these only ``public: none`` takes EXECUTE away."""
        closed = [each for each in schemas.values() if each.public == "none"]
        closers = {name for each in closed for name in each.defaults_for or self._usual_creators(each)}
        for row in self._contents.defaults:
            keyword = next((key for key, letter in LETTERS.items() if letter == row.kind), "SCHEMA")
            usual = BUILT_IN.get(keyword, {})
            odd = [each for each in _others(row.creator, row.acl) if each or held(row.acl, each) != usual]
            is_said = odd == [PUBLIC] and keyword == "ROUTINE" and row.creator in closers
            if row.schema is None and odd and not is_said:
                where = f"in every schema of {word(self._database.name)}"
                yield f"default privileges for {word(row.creator)} {where}, to {', '.join(map(_who, odd))}"


def _order(grant: Grant) -> tuple[object, ...]:
    on = grant.on
    return grant.to is PUBLIC, grant.to or "", on.schema is None, on.kind, on.name, on.columns, grant.grantable


def _undeclared(_keyword: str) -> Rights | None:
    return None


def _joined(of_word: Base, wide: Mapping[str, Rights], keyword: str) -> Rights | None:
    """Return what a word and a grant on all objects of a kind give together."""
    by_word = of_word(keyword)
    return words.joined(by_word or {}, wide[keyword]) if keyword in wide else by_word


def _others(owner: str, acl: Acl) -> list[Grantee]:
    """Return the grantees beside the owner; PUBLIC always, because what it lacks counts."""
    found = {each.grantee for each in acl if each.grantee not in (owner, PUBLIC)}
    return [*sorted(found, key=str), PUBLIC]


def _by_option(rights: Rights) -> list[tuple[tuple[str, ...], bool]]:
    """Return the privileges without and with the grant option; none at all is an entry too."""
    found = [
        (words.ordered([each for each, has in rights.items() if has is option]), option) for option in (False, True)
    ]
    return [(tuple(privileges), option) for privileges, option in found if privileges] or [((), False)]


def _who(grantee: Grantee) -> str:
    return "PUBLIC" if grantee is PUBLIC else word(grantee)
