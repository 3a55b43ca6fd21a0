"""Laws of privileges on real servers: from any drift to any policy, and then everybody may do what is declared.

A failure names its server and seed, as in ``pytest -k "17-3"``, and shows what led to it.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import random_access
from support.foreign import PASSWORD
from support.random_access import Place, Policy

from provision import plan as planner
from provision.apply import transactions
from provision.kinds import Inputs, Look, Scene, catalog, privilege
from provision.model import Endpoint, Plan, Secret, Wishes
from provision.spec.load import read
from provision.system.read_only import ReadOnlyQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.foreign import Foreign

    from provision.kinds.catalog import Contents

MAJORS = (14, 16, 17, 18)
EVERY_DAY, LONG = 25, 150
KINDS: tuple[Any, ...] = (privilege.FUTURE, privilege.EXISTING)
MUTANT_ROUNDS = 5
MOST_LOOKS = 3
"""Two that find something, and one that finds nothing."""
SERVER = "runtime: external, image: 'postgres:17', host: localhost, port: 1, credentials: {password: x}"
SPEC = read(Path("/nowhere/spec.yml"), f"version: 1\nname: shop\nserver: {{{SERVER}}}\n".encode(), {})
NONE: Any = None


class Applied:
    """What an apply does with the two kinds, without anything around them."""

    def __init__(self, endpoint: Endpoint, policy: Policy, spoil: Callable[[Contents], Contents] | None) -> None:
        database = policy.database()
        self._name, self._spoil = database.name, spoil
        self._spec = replace(SPEC, databases={database.name: database})
        self._endpoint, self._inputs = endpoint, Inputs("external", {}, 0, Secret(""))

    def plan(self, query: ReadOnlyQuery) -> Plan:
        """Look, and plan."""
        wanted = {at: state for kind in KINDS for at, state in kind.wanted(self._spec, self._inputs, {}).items()}
        look = Look(self._spec, self._inputs, wanted, "", NONE, NONE, has_database=True, session=query)
        if self._spoil is not None:
            there = self._spoil(look.once(catalog.contents, self._name))
            look._answers[catalog.contents, (self._name,)] = there
        seen = {at: state for kind in KINDS for at, state in kind.seen(look).items()}
        scene = Scene(self._spec, self._inputs, NONE, Wishes())
        return planner._staged(planner._of(KINDS, wanted, seen, scene))

    def act(self, plan: Plan) -> None:
        """Do the steps, as an apply does."""
        for steps in transactions.groups(plan.steps):
            effects = [each for step in steps for each in transactions.parts(step)]
            with transactions.transaction(self._endpoint, effects[0], print) as run:
                for each in effects:
                    run(each)

    def converge(self, most: int = MOST_LOOKS) -> list[Plan]:
        """Look and act until nothing is left, and no more often than that may take."""
        plans: list[Plan] = []
        query = ReadOnlyQuery(self._endpoint)
        try:
            while len(plans) < most and not (plans and plans[-1].is_empty):
                plans.append(self.plan(query))
                self.act(plans[-1])
        finally:
            query.close()
        return plans


@pytest.fixture(scope="module")
def places(servers: Callable[[int], Foreign]) -> Iterator[Callable[[int], Place]]:
    """Return the scratch database of a server, made when it is first asked for."""
    made: dict[int, Place] = {}

    def of(major: int) -> Place:
        if major not in made:
            at = servers(major)
            made[major] = Place(Endpoint("127.0.0.1", at.port, "postgres", Secret(PASSWORD), "ap access"))
        return made[major]

    yield of
    for each in made.values():
        each.close()


class Round:
    """Something happens, something is declared; what has to come of it is known before the apply."""

    def __init__(self, place: Place, seed: int) -> None:
        chance = random.Random(f"{place.major}-{seed}")  # noqa: S311  # it has to be the same in every run
        self.place = place
        place.renew(chance)
        random_access.drift(place, place.objects(), chance)
        self.objects = place.objects()
        self.policy = random_access.policy(place, self.objects, chance)
        self.expected = place.expected(self.policy, self.objects)
        self.undeclared = place.undeclared(self.policy, self.objects)
        self.history = [*place.said, "", f"declared: {self.policy}", ""]

    def apply(self, most: int = MOST_LOOKS, spoil: Callable[[Contents], Contents] | None = None) -> list[Plan]:
        """Apply it, and remember how; ``spoil`` changes what is seen in the database."""
        plans = Applied(self.place.endpoint, self.policy, spoil).converge(most)
        self.history += [line for each in plans for step in each.steps for line in step.effects[0].lines]
        return plans

    def wrong(self) -> list[str]:
        """Return what is not as declared, of what there is and of what will be created."""
        found = random_access.differing(self.expected, self.place.matrix(self.objects))
        if self.place.undeclared(self.policy, self.objects) != self.undeclared:
            found.append("what is not declared has changed")
        for schema, creator in self._creators():
            found += [
                f"{each}, created by {creator}"
                for each in random_access.futures(self.place, self.policy, schema, creator)
            ]
        return found

    def _creators(self) -> Iterator[tuple[str, str]]:
        owners = {each.name.strip('"').replace('""', '"'): each.owner for each in self.objects if each.kind == "schema"}
        for schema in random_access.SCHEMAS:
            names = self.policy.defaults_for.get(schema)
            yield from [(schema, each) for each in ((owners[schema],) if names is None else names)]


def holds(place: Place, seed: int) -> None:
    """Fail where a law is broken, and say what led to it."""
    found = Round(place, seed)
    plans = found.apply()
    wrong = [] if plans[-1].is_empty else [f"left after {len(plans)} looks: {each.title}" for each in plans[-1].steps]
    wrong += found.wrong()
    assert not wrong, "\n".join([*wrong[:20], "", *found.history])


def rounds(*seeds: int) -> list[Any]:
    return [pytest.param(major, seed, id=f"{major}-{seed}") for major in MAJORS for seed in seeds]


@pytest.mark.parametrize(("major", "seed"), rounds(*range(EVERY_DAY)))
def test_who_may_do_what_is_what_is_declared(places: Callable[[int], Place], major: int, seed: int) -> None:
    holds(places(major), seed)


@pytest.mark.long
@pytest.mark.parametrize(("major", "seed"), rounds(*range(EVERY_DAY, LONG)))
def test_so_it_is_in_many_more_rounds(places: Callable[[int], Place], major: int, seed: int) -> None:
    holds(places(major), seed)


# --- that the laws see a planner that is wrong ---


def without_columns(there: Contents) -> Contents:
    return replace(there, columns={})


def null_is_nothing(there: Contents) -> Contents:
    """Take an ACL that was never touched for one that gives nothing to anybody."""
    found = [each._replace(acl=frozenset()) if each.is_default else each for each in there.objects]
    return replace(there, objects=tuple(found))


@pytest.mark.parametrize("spoil", [without_columns, null_is_nothing])
def test_a_planner_that_misreads_the_catalogs_ends_with_another_matrix(
    places: Callable[[int], Place], spoil: Callable[[Contents], Contents]
) -> None:
    place, wrong = places(18), []
    for seed in range(MUTANT_ROUNDS):
        found = Round(place, seed)
        found.apply(spoil=spoil)
        wrong += random_access.differing(found.expected, place.matrix(found.objects))
    assert wrong


def test_a_planner_that_looks_once_leaves_something(places: Callable[[int], Place]) -> None:
    assert not all(Round(places(18), seed).apply(most=1)[-1].is_empty for seed in range(MUTANT_ROUNDS))
