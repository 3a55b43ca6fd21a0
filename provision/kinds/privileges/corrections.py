"""What is to be done about differences of privileges: the statements, and in words what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from provision.alembic import Revisions, address
from provision.errors import NotRunError, RefusedError
from provision.kinds import Look, catalog, migrations
from provision.kinds.catalog import Contents
from provision.kinds.privileges import granting, unmet, wording
from provision.kinds.privileges.access import Access, Change, Work, grant_title, to_whom, trees
from provision.kinds.privileges.differing import Absent, Difference, Future, Verdict
from provision.kinds.privileges.policy import Declared, Pair, on_words
from provision.model.value import replace
from provision.model.words import count, some_of
from provision.spec.access import Database, Grant, Grantee

_SHARED = ("database", "parameter")
_LISTED = 5
_COLUMNS = """SELECT n.nspname::text, quote_ident(c.relname), quote_ident(a.attname)
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE (n.nspname::text, quote_ident(c.relname)) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
    AND a.attnum > 0 AND NOT a.attisdropped"""


class Corrections:
    """Turns the verdicts on one database into states; it has to know all of them."""

    def __init__(self, look: Look, database: Database, contents: Contents, verdicts: Mapping[Pair, Verdict]) -> None:
        self._look, self._database, self._contents, self._verdicts = look, database, contents, verdicts
        self._cluster = look.once(catalog.cluster)
        self._owner = self._cluster.databases[database.name].owner
        self._find_columns()

    def _find_columns(self) -> None:
        """Ask whether columns are there on which something is missing, and count the others as unknown."""
        asked = [each.part for each in self._differences if each.part.column and each.missing]
        if not asked:
            return
        schemas, tables = [each.schema for each in asked], [each.names[0] for each in asked]
        there = set(self._look.rows(_COLUMNS, (schemas, tables), database=self._database.name))
        for (on, grantee), verdict in self._verdicts.items():
            for each in [each for each in verdict.differences if each.part.column and each.missing]:
                if (each.part.schema, each.names[0], each.part.column) not in there:
                    verdict.differences.remove(each)
                    verdict.unknown.append(Absent(self._grant_of(on, grantee, each.part.column), each.part.column))

    def _grant_of(self, on: str, grantee: Grantee, column: str | None) -> Grant:
        found = [each for each in self._database.grants if (on_words(each.on), each.to) == (on, grantee)]
        return next(each for each in found if column in each.on.columns)

    def present(self, state: Access, said: Declared, verdict: Verdict) -> Access:
        """Return a pair with what differs on objects that exist."""
        missing = [each for each in verdict.differences if each.missing]
        surplus = [each for each in verdict.differences if each.surplus]
        if not (missing or surplus or verdict.unknown):
            return state
        about = wording.objects([each for each in surplus if said.has_future or each.part.column], with_schema=True)
        lacks = [f"{each}, which is not there" for each in verdict.unknown]
        return replace(
            state,
            missing=frozenset([*wording.edges(missing, surplus=False), *lacks]),
            surplus=frozenset(wording.edges(surplus, surplus=True)),
            work=Work(
                self._database.name,
                is_shared=any(each.part.kind in _SHARED for each in verdict.differences),
                grant=self._change(
                    granting.grants(missing), _owners(missing), grant_title(state), self._about(missing, said, verdict)
                ),
                revoke=self._change(
                    self._revoking.statements(surplus) if surplus else (),
                    self._losing(surplus),
                    _taken(state, surplus),
                    about,
                    self._cuts_off(surplus),
                ),
                waits=self._waits if verdict.unknown else "",
                refusal=self._refusal(verdict),
            ),
        )

    def _about(self, missing: Sequence[Difference], said: Declared, verdict: Verdict) -> str:
        """Return what is given on, in words; a single target is in the title."""
        if not said.has_future:
            return ""
        more = "" if verdict.futures else self._pending
        return " and ".join([each for each in (wording.objects(missing), more) if each])

    def future(self, state: Access, verdict: Verdict) -> Access:
        """Return a pair with what differs on objects that will be created."""
        missing = [each for each in verdict.futures if each.missing]
        surplus = [each for each in verdict.futures if each.surplus]
        if not (missing or surplus):
            return state
        about = " and ".join([each for each in (self._pending, wording.creators(missing)) if each])
        return replace(
            state,
            missing=frozenset(wording.future_edges(missing, surplus=False)),
            surplus=frozenset(wording.future_edges(surplus, surplus=True)),
            work=Work(
                self._database.name,
                grant=self._change(granting.future_grants(missing), _owners(missing), grant_title(state), about),
                revoke=self._change(
                    granting.future_revokes(surplus),
                    _owners(surplus),
                    _taken(state, surplus),
                    wording.creators(surplus),
                ),
            ),
        )

    def _change(
        self, statements: tuple[str, ...], owners: frozenset[str], title: str, detail: str, cuts_off: str = ""
    ) -> Change:
        is_late = any(each not in self._cluster.roles for each in owners)
        return Change(statements, title, (detail,) if detail else (), cuts_off, tuple(sorted(owners)), is_late)

    @property
    def _differences(self) -> list[Difference]:
        return [each for verdict in self._verdicts.values() for each in verdict.differences]

    @cached_property
    def _revoking(self) -> granting.Revoking:
        return granting.Revoking(self._cluster, self._contents, self._differences)

    @cached_property
    def _losers(self) -> wording.Losers:
        return wording.Losers(self._cluster, self._owner, self._differences)

    def _cuts_off(self, surplus: Sequence[Difference]) -> str:
        """Say whom a revoke cuts off, and from what they may not expect."""
        names = self._losers.of(surplus) if surplus else []
        found = [f"cuts off {some_of(names, most=_LISTED)}" if names else "", wording.of_extensions(surplus)]
        return "; ".join([each for each in found if each])

    def _refusal(self, verdict: Verdict) -> RefusedError | None:
        """Return why nothing of a pair can be done: an object is missing for good."""
        if verdict.unknown and not self._waits:
            unknown = [each for found in self._verdicts.values() for each in found.unknown]
            return unmet.unknown(self._database.name, self._contents, unknown)
        return None

    def _losing(self, surplus: Sequence[Difference]) -> frozenset[str]:
        """Return for whom privileges are taken: superusers too, where roles inherit nothing meanwhile."""
        looped = any(self._revoking.looped(each.part, lost) for each in surplus for lost in each.surplus)
        superusers = {name for name, role in self._cluster.roles.items() if role.oid == catalog.FIRST_SUPERUSER}
        return _owners(surplus) | (superusers if looped else set())

    @cached_property
    def _waits(self) -> str:
        """Say for what an object that is not there waits; empty where nothing will make it."""
        schemas = [each.name for each in self._database.schemas.values() if not each.is_absent]
        extensions = [each.name for each in self._database.extensions if not each.is_absent]
        is_new = {*schemas} - self._contents.schemas.keys() or {*extensions} - self._contents.extensions.keys()
        return self._pending or ("what this apply will make" if is_new else "")

    @cached_property
    def _pending(self) -> str:
        """Say what pending revisions will make, empty where there are none."""
        pending = 0
        for tree in trees(self._look.spec, self._database.name):
            try:
                graph = self._look.inputs.graphs[tree.name]
            except NotRunError:
                return "what revisions will make"
            applied, target = self._look.once(migrations.applied, tree.name), self._look.wanted.get(address(tree))
            if isinstance(target, Revisions) and isinstance(applied, Revisions) and not graph.unknown(applied.rows):
                pending += len(graph.pending(applied.rows, target.rows))
        return f"what {count(pending, 'revision')} will make" if pending else ""


def _owners(found: Iterable[Difference | Future]) -> frozenset[str]:
    return frozenset([each.creator if isinstance(each, Future) else each.part.owner for each in found])


def _taken(state: Access, surplus: Sequence[Difference | Future]) -> str:
    """Return what a revoke is about, in words."""
    return f"{wording.privileges([each.surplus for each in surplus])} on {state.on} from {to_whom(state)}"
