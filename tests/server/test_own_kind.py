"""A kind is one module and one row in the table: one that only this test knows goes through everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from provision.environment import Environment
from provision.kinds import table
from provision.model import UNKNOWN, Action, Address, Change, Plan, State, Step
from provision.model.effects import RunSql
from provision.model.sql import identifier, literal
from provision.model.value import dataclass
from provision.report import documents

if TYPE_CHECKING:
    from support.embedded import Embedded

    from provision.kinds import Look

KIND = "comment"
TEXT = "it's the test's"


@dataclass(frozen=True)
class Comment(State):
    text: str


def wanted(spec: Any, _inputs: Any, _files: Any) -> dict[Address, State]:
    return {Address(KIND, spec.server.database): Comment(TEXT)}


def _comments(look: Look) -> list[tuple[Any, ...]]:
    return look.rows("SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database")


def seen(look: Look) -> dict[Address, State]:
    return {Address(KIND, name): Comment(text) for name, text in look.once(_comments) if text and name == look.database}


def steps(address: Address, before: Any, after: Any, _scene: Any) -> Plan:
    if before in (after, UNKNOWN) or not isinstance(after, Comment):
        return Plan()
    statement = f"COMMENT ON DATABASE {identifier(address.name)} IS {literal(after.text)}"
    effects, action = (RunSql(address.name, (statement,)),), Action.UPDATE
    why = (Change("text", before.text if isinstance(before, Comment) else None, after.text),)
    return Plan((Step(address, action, before, after, effects, why),), remarks=("comments are for people",))


@pytest.fixture
def own(environment: Embedded, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment of a program that has one kind more."""
    row = SimpleNamespace(KIND=KIND, wanted=wanted, seen=seen, steps=steps)
    monkeypatch.setattr(table, "INSIDE", (*table.INSIDE, row))
    return Environment(environment.spec, environ=environment.environ)


def test_a_kind_of_its_own_goes_through_everything(environment: Embedded, own: Environment) -> None:
    address = Address(KIND, own.spec.server.database)
    done = own.apply()
    assert [each.step.address for each in done.outcomes][-1] == address, "after everything else in the server"
    assert own.plan().is_empty
    assert own.verify().is_clean

    environment.query(f"COMMENT ON DATABASE {identifier(address.name)} IS 'another'")
    drift = own.survey()
    assert drift.plan.remarks == ("comments are for people",)
    (step,) = documents.plan(drift)["steps"]
    assert step["address"] == f"comment/{address.name}"
    assert step["why"] == [{"field": "text", "before": "another", "after": TEXT, "text": f"text: another → {TEXT}"}]
    assert step["effects"] == [f"SQL in {address.name}: 1 statement"]
    (difference,) = own.verify().differences
    assert (difference.address, difference.declared, difference.real) == (address, TEXT, "another")

    assert [each.step.address for each in own.apply().outcomes] == [address]
    assert own.apply().outcomes == ()
    own.stop()
    stopped = own.survey()
    assert stopped.observed[address] is UNKNOWN, "it is not absent"
    assert address not in [each.address for each in stopped.plan.steps]
    own.destroy(data=True)
