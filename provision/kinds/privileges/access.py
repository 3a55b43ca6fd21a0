"""What a grantee may do on a schema or on a target of ``grants``, as a state: as declared, and what differs from that.

:mod:`provision.kinds.privilege` is about objects that exist, and about those that will be created.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from provision.errors import RefusedError
from provision.kinds import Before
from provision.kinds.privileges.policy import Declared, Pair, pairs
from provision.model import MAINTENANCE, Action, Address, Plan, Stage, State, Step
from provision.model.effects import RunInTransaction
from provision.model.value import dataclass, field
from provision.spec.access import Database, Grantee
from provision.spec.model import Migrations, Spec
from provision.spec.role_names import EVERYBODY


class Change(NamedTuple):
    """One half of what is to be done for a pair: the statements, and in words what they are about.

    ``owners`` are the roles whose objects, or future ones, it is about; ``is_late``: one of them is still to be made.
    """

    statements: tuple[str, ...] = ()
    title: str = ""
    details: tuple[str, ...] = ()
    cuts_off: str = ""
    owners: tuple[str, ...] = ()
    is_late: bool = False


NO_CHANGE = Change()


class Work(NamedTuple):
    """What a look shows to be done for a pair, and what is in the way.

    ``is_shared``: it changes what all databases share. ``waits`` says for what it waits.
    """

    database: str = ""
    is_shared: bool = False
    grant: Change = NO_CHANGE
    revoke: Change = NO_CHANGE
    waits: str = ""
    refusal: RefusedError | None = None
    remarks: tuple[str, ...] = ()


NO_WORK = Work()


@dataclass(frozen=True)
class Access(State):
    """What ``to`` may do on ``on``: ``word`` is what is declared, and each privilege that differs is in words."""

    to: str
    on: str
    word: str
    missing: frozenset[str] = frozenset()
    surplus: frozenset[str] = frozenset()
    work: Work = field(default=NO_WORK, compare=False, repr=False)


def declared(spec: Spec, *, is_future: bool) -> Iterator[tuple[Database, Pair, Declared]]:
    """Yield the pairs of each database; where ``is_future``, those that are also about future objects."""
    for database in spec.databases.values():
        for pair, each in () if database.is_absent else pairs(database).items():
            if each.has_future or not is_future:
                yield database, pair, each


def trees(spec: Spec, database: str) -> list[Migrations]:
    """Return the migrations that go to a database."""
    return [each for each in spec.migrations if spec.database_of(each) == database]


def as_declared(pair: Pair, said: Declared) -> Access:
    """Return the state of a pair where nothing differs."""
    return Access(named(pair[1]), pair[0], said.word)


def address(kind: str, database: Database, pair: Pair) -> Address:
    """Return the address of a pair."""
    return Address(kind, f"{database.name}/{pair[0]}/{named(pair[1])}")


def named(grantee: Grantee) -> str:
    """Return a grantee as people and addresses have it; no role can be called ``public``."""
    return "public" if grantee is None else grantee


def steps(address: Address, before: Before, after: State | None) -> Plan:
    """Return what takes the surplus, what gives what is missing, and what waits.

    Raises:
        RefusedError: the spec names what is not there.
    """
    if not isinstance(after, Access):
        return Plan()
    if not isinstance(before, Access):
        return Plan((_later(address, before, after),) if after.word != "none" else ())
    work = before.work
    if work.refusal is not None:
        raise work.refusal
    found = []
    for change, action, stage in (
        (work.revoke, Action.REVOKE, Stage.CHANGE if work.revoke.is_late else Stage.REVOKE),
        (work.grant, Action.GRANT, Stage.CHANGE),
    ):
        if change.statements:
            database = MAINTENANCE if work.is_shared else work.database
            effect = RunInTransaction(database, change.statements, work.is_shared, acts_for=change.owners)
            why, title = change.details, change.title
            found.append(
                Step(address, action, before, after, (effect,), why, change.cuts_off, stage=stage, title=title)
            )
    if work.waits:
        found.append(_later(address, before, after, work.waits))
    return Plan(tuple(found), remarks=work.remarks)


def grant_title(state: Access) -> str:
    """Return what a grant is about, in words."""
    return f"{state.word} on {state.on} to {to_whom(state)}"


def to_whom(state: Access) -> str:
    """Return who has a privilege, in words: ``PUBLIC`` is everybody, as ``public`` is mostly a schema."""
    return state.to.upper() if state.to == EVERYBODY else state.to


def _later(address: Address, before: Before, after: Access, why: str = "") -> Step:
    return Step(address, Action.GRANT, before, after, (), (why,) if why else (), title=grant_title(after))
