"""Verdicts on the privileges of one database, as states: each with its statements, and with words for people."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from provision.alembic import Revisions, address
from provision.errors import NotRunError
from provision.kinds import catalog, granting, migrations, rights, unmet, wording
from provision.kinds.access import Access, Change, Work, as_declared, grant_title
from provision.kinds.differing import Judge, Makers
from provision.kinds.policy import on_words, pairs
from provision.model.words import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.errors import RefusedError
    from provision.kinds import Look
    from provision.kinds.catalog import Contents
    from provision.kinds.differing import Difference, Future, Verdict
    from provision.kinds.policy import Declared, Pair
    from provision.spec.access import Database
    from provision.spec.model import Migrations

_OWNER_OF_DATABASE = "pg_database_owner"
_SHARED = ("database", "parameter")
MANY = 50
"""So many grantees of one object are worth a remark."""
_ADVICE = "{}; grant to groups, and make logins their members: an ACL has to fit into one row"


class Judged(NamedTuple):
    """The pairs of one database as a look shows them: on objects that exist, and on future ones."""

    present: Mapping[Pair, Access]
    future: Mapping[Pair, Access]


def judge(look: Look, database: str) -> Judged | None:
    """Compare all pairs of a database with what is there; None where it cannot be entered.

    Raises:
        UnseenError: the server cannot be asked.
    """
    contents = rights.contents(look, database)
    return _Judgement(look, look.spec.databases[database], contents).judged() if contents else None


class _Judgement:
    def __init__(self, look: Look, database: Database, contents: Contents) -> None:
        self._look, self._database, self._contents = look, database, contents
        self._cluster = look.once(catalog.cluster)
        self._owner = self._cluster.databases[database.name].owner
        self._judge = Judge(database, self._cluster, contents, self._makers)
        self._verdicts = self._judge.verdicts

    def judged(self) -> Judged:
        """Return the states of all pairs."""
        present, future = {}, {}
        for pair, said in pairs(self._database).items():
            verdict, state = self._verdicts.get(pair), as_declared(pair, said)
            present[pair] = self._present(state, said, verdict) if verdict else state
            if said.has_future:
                future[pair] = self._future(state, verdict) if verdict else state
        if present and (crowded := tuple(map(_ADVICE.format, wording.crowded(self._judge.parts, MANY)))):
            first = next(iter(present))
            present[first] = replace(present[first], work=replace(present[first].work, remarks=crowded))
        return Judged(present, future)

    def _present(self, state: Access, said: Declared, verdict: Verdict) -> Access:
        """Return a pair with what differs on objects that exist."""
        missing = [each for each in verdict.differences if each.missing]
        surplus = [each for each in verdict.differences if each.surplus]
        if not (missing or surplus or verdict.unknown):
            return state
        grants, revokes = granting.grants(missing), self._revoking.statements(surplus) if surplus else ()
        work = Work(
            self._database.name,
            is_shared=any(each.part.kind in _SHARED for each in verdict.differences),
            grant=Change(grants, grant_title(state), self._about(missing, said, verdict)),
            revoke=Change(
                revokes,
                f"{wording.privileges([each.surplus for each in surplus])} on {state.on} from {state.to}",
                wording.objects([each for each in surplus if said.has_future or each.part.column], with_schema=True),
                self._cuts_off(surplus),
            ),
            waits=self._waits if verdict.unknown else "",
            refusal=self._refusal(verdict),
        )
        lacks = [f"{on_words(each.on)}, which is not there" for each in verdict.unknown]
        return replace(
            state,
            missing=frozenset([*wording.edges(missing, surplus=False), *lacks]),
            surplus=frozenset(wording.edges(surplus, surplus=True)),
            work=work,
        )

    def _about(self, missing: Sequence[Difference], said: Declared, verdict: Verdict) -> str:
        """Return what is given on, in words; a single target is in the title."""
        if not said.has_future:
            return ""
        more = "" if verdict.futures else self._pending
        return " and ".join([each for each in (wording.objects(missing), more) if each])

    def _future(self, state: Access, verdict: Verdict) -> Access:
        """Return a pair with what differs on objects that will be created."""
        missing = [each for each in verdict.futures if each.missing]
        surplus = [each for each in verdict.futures if each.surplus]
        if not (missing or surplus):
            return state
        grant = Change(
            granting.future_grants(missing),
            grant_title(state),
            " and ".join([each for each in (self._pending, wording.creators(missing)) if each]),
        )
        revoke = Change(
            granting.future_revokes(surplus),
            f"{wording.privileges([each.surplus for each in surplus])} on {state.on} from {state.to}",
            wording.creators(surplus),
        )
        return replace(
            state,
            missing=frozenset(wording.future_edges(missing, surplus=False)),
            surplus=frozenset(wording.future_edges(surplus, surplus=True)),
            work=Work(self._database.name, grant=grant, revoke=revoke, refusal=self._barred_futures(verdict.futures)),
        )

    @cached_property
    def _differences(self) -> list[Difference]:
        return [each for verdict in self._verdicts.values() for each in verdict.differences]

    @cached_property
    def _revoking(self) -> granting.Revoking:
        return granting.Revoking(self._cluster, self._contents, self._differences)

    @cached_property
    def _losers(self) -> wording.Losers:
        return wording.Losers(self._cluster, self._owner, self._differences)

    def _cuts_off(self, surplus: Sequence[Difference]) -> str:
        names = self._losers.of(surplus) if surplus else []
        return f"cuts off {wording.listed(names)}" if names else ""

    def _refusal(self, verdict: Verdict) -> RefusedError | None:
        """Return why nothing of a pair can be done: an object is missing for good, or another role is its owner."""
        if verdict.unknown and not self._waits:
            unknown = {on: each.unknown for (on, _), each in self._verdicts.items() if each.unknown}
            return unmet.unknown(self._database.name, self._contents, unknown)
        by_owner: dict[str, list[Difference]] = defaultdict(list)
        for each in verdict.differences:
            by_owner[each.part.owner].append(each)
        return self._barred({owner: self._statements(some) for owner, some in by_owner.items()})

    def _statements(self, differences: Sequence[Difference]) -> tuple[str, ...]:
        return (*self._revoking.statements(differences), *granting.grants(differences))

    def _barred_futures(self, futures: Sequence[Future]) -> RefusedError | None:
        return self._barred(
            {each.creator: (*granting.future_revokes([each]), *granting.future_grants([each])) for each in futures}
        )

    def _barred(self, statements: Mapping[str, Sequence[str]]) -> RefusedError | None:
        barred = unmet.out_of_reach(self._cluster, statements)
        if not barred:
            return None
        some = {owner: lines for owner, lines in statements.items() if owner in barred}
        return unmet.barred(self._cluster, self._database.name, some)

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
        for tree in self._trees:
            try:
                graph = self._look.inputs.graphs[tree.name]
            except NotRunError:
                return "what revisions will make"
            applied, target = self._look.once(migrations.applied, tree.name), self._look.wanted.get(address(tree))
            if isinstance(target, Revisions) and isinstance(applied, Revisions) and not graph.unknown(applied.rows):
                pending += len(graph.pending(applied.rows, target.rows))
        return f"what {count(pending, 'revision')} will make" if pending else ""

    @property
    def _trees(self) -> list[Migrations]:
        """The migrations that go to this database."""
        spec = self._look.spec
        return [each for each in spec.migrations if spec.database_of(each) == self._database.name]

    def _makers(self, schema: str) -> Makers:
        """Return who owns a schema, or will, and who creates objects in it."""
        declared, there = self._database.schemas.get(schema), self._contents.schemas.get(schema)
        of_database = self._database.owner or self._owner
        owner = (declared.owner if declared else None) or (there.owner if there else of_database)
        if declared and declared.defaults_for is not None:
            return Makers(owner, declared.defaults_for, is_declared=True)
        creators = [of_database if owner == _OWNER_OF_DATABASE else owner]
        for tree in self._trees:
            creators += [each for each in (tree.login, tree.role) if each] or [self._cluster.login]
        beyond = unmet.out_of_reach(self._cluster, creators)
        return Makers(owner, tuple(dict.fromkeys([each for each in creators if each not in beyond])), is_declared=False)
