"""Steps that share a transaction: all of them happen, or none, also where another session does the same at once."""

from __future__ import annotations

import threading
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from provision.apply import transactions
from provision.environment import Environment
from provision.errors import LockedError, ProvisionError, RacedError
from provision.kinds import table
from provision.model import MAINTENANCE, Action, Address, Plan, Progress, Secret, Stage, State, Step
from provision.model.effects import VERIFIER, RunInTransaction, RunSql
from provision.model.sql import identifier
from provision.model.value import dataclass

if TYPE_CHECKING:
    from support.embedded import Embedded

    from provision.kinds import Look
    from provision.model import Outcome

KIND = "group"
FORBIDDEN = "pg_forbidden"  # the server makes no role of this name


@dataclass(frozen=True)
class Group(State):
    name: str


def step(
    name: str, database: str = MAINTENANCE, *, shared: bool = True, stage: Stage = Stage.CHANGE, reveals: bool = False
) -> Step:
    effect = RunInTransaction(database, (f"CREATE ROLE {identifier(name)}",), shared)
    return Step(Address(KIND, name), Action.CREATE, None, Group(name), (effect,), reveals=reveals, stage=stage)


def alone(name: str) -> Step:
    return Step(Address("database", name), Action.CREATE, None, Group(name), (RunSql(MAINTENANCE, ("SELECT 1",)),))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], ""),
        ([step("a"), step("b")], "ab"),
        ([step("a"), alone("b"), step("c"), step("d")], "a b cd"),
        ([alone("a"), alone("b")], "a b"),
        ([step("a"), step("b", "shop", shared=False), step("c", "shop", shared=False)], "a bc"),
        ([step("a", stage=Stage.REVOKE), step("b"), step("c", stage=Stage.DROP)], "a b c"),
        ([step("a"), step("b", reveals=True), step("c")], "ab c"),
    ],
)
def test_neighbours_that_change_the_same_database_share_a_transaction(steps: list[Step], expected: str) -> None:
    assert " ".join("".join(each.address.name for each in group) for group in transactions.groups(steps)) == expected


class Recorder(Progress):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ended: list[Outcome] = []
        self.noted = threading.Event()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.noted.set()

    def finished(self, outcome: Outcome) -> None:
        self.ended.append(outcome)


@pytest.fixture
def grouped(environment: Embedded, monkeypatch: pytest.MonkeyPatch) -> Grouped:
    """An environment with a kind of its own: roles whose names are in the list ``wanted``."""
    return Grouped(environment, monkeypatch)


class Grouped:
    def __init__(self, environment: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
        environment.apply()
        self.environment = environment
        self.names: list[str] = []
        self.extra: tuple[str, ...] = ()
        row = SimpleNamespace(KIND=KIND, wanted=self.wanted, seen=self.seen, steps=self.steps)
        monkeypatch.setattr(table, "INSIDE", (*table.INSIDE, row))
        self.own = Environment(environment.spec, environ=environment.environ)

    def wanted(self, *_: Any) -> dict[Address, State]:
        return {Address(KIND, name): Group(name) for name in self.names}

    def seen(self, look: Look) -> dict[Address, State]:
        rows = look.rows("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user")
        return {Address(KIND, name): Group(name) for (name,) in rows}

    def steps(self, address: Address, before: Any, after: Any, _scene: Any) -> Plan:
        if before is not None or after is None:
            return Plan()
        made = step(address.name)
        effect = RunInTransaction(MAINTENANCE, (*made.effects[0].lines[1:], *self.extra), shared=True)
        return Plan((Step(address, Action.CREATE, None, after, (effect,)),))

    @property
    def roles(self) -> list[str]:
        rows = self.environment.query("SELECT rolname FROM pg_roles WHERE rolname ~ '^t_' ORDER BY 1")
        return [name for (name,) in rows]


def test_one_statement_that_fails_takes_all_back(grouped: Grouped) -> None:
    grouped.names = ["t_a", "t_b", FORBIDDEN, "t_c"]
    seen = Recorder()
    with pytest.raises(ProvisionError, match="refused a statement") as failure:
        grouped.own.apply(progress=seen)
    assert failure.value.evidence[0] == f'CREATE ROLE "{FORBIDDEN}"'
    assert [(each.step.address.name, each.error is None) for each in seen.ended] == [(FORBIDDEN, False)]
    assert grouped.roles == []
    grouped.names.remove(FORBIDDEN)
    assert [each.step.address.name for each in grouped.own.apply().outcomes] == ["t_a", "t_b", "t_c"]
    assert grouped.roles == ["t_a", "t_b", "t_c"]


def test_what_another_session_does_at_once_is_looked_at_again(grouped: Grouped) -> None:
    grouped.names = ["t_a", "t_b"]
    seen = Recorder()
    with closing(grouped.environment.connection()) as other, other.cursor() as cursor:
        cursor.execute("CREATE ROLE t_b")  # not committed: our statement waits for it, then fails
        done: list[Any] = []
        run = threading.Thread(target=lambda: done.append(grouped.own.apply(progress=seen)))
        run.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'provision' AND wait_event_type = 'Lock'"
        while not grouped.environment.query(waiting):
            assert run.is_alive()
        other.commit()
    run.join()
    (result,) = done
    assert [each.step.address.name for each in result.outcomes] == ["t_a"]
    assert grouped.roles == ["t_a", "t_b"]
    assert any("another session came between" in note for note in seen.notes)


def test_a_race_that_never_ends_is_an_error(grouped: Grouped) -> None:
    grouped.names, grouped.extra = ["t_a"], ("CREATE ROLE t_a",)
    with pytest.raises(RacedError, match="refused a statement"):
        grouped.own.apply()
    assert grouped.roles == []


def test_one_run_at_a_time_changes_what_databases_share(grouped: Grouped, monkeypatch: pytest.MonkeyPatch) -> None:
    grouped.names = ["t_a"]
    seen = Recorder()
    with closing(grouped.environment.connection(database=MAINTENANCE)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (transactions.CLASS_ID, transactions.OBJECT_ID))
        other.commit()
        monkeypatch.setattr(transactions, "_PATIENCE", 0.1)
        with pytest.raises(LockedError, match="another run changes roles or databases"):
            grouped.own.apply()
        monkeypatch.setattr(transactions, "_PATIENCE", 60.0)
        run = threading.Thread(target=lambda: grouped.own.apply(progress=seen))
        run.start()
        assert seen.noted.wait(60)
        assert grouped.roles == []
    run.join()
    assert grouped.roles == ["t_a"]
    assert "waiting for another run that changes roles or databases of this server" in seen.notes


def test_a_verifier_is_in_no_log_and_no_error(grouped: Grouped) -> None:
    grouped.environment.server(settings={"log_statement": "all", "log_min_duration_statement": "0"}).apply()
    password = Secret("hidden-4711")

    def perform(*statements: str) -> None:
        effect = RunInTransaction(MAINTENANCE, statements, shared=True, password=password)
        with transactions.transaction(grouped.own.endpoint, effect, lambda _: None) as run:
            run(effect)

    perform("CREATE ROLE t_a LOGIN", f"ALTER ROLE t_a PASSWORD '{VERIFIER}'", "ALTER ROLE t_a CONNECTION LIMIT 4")
    with pytest.raises(ProvisionError) as failure:
        perform(f"ALTER ROLE t_missing PASSWORD '{VERIFIER}'")
    assert "SCRAM" not in "".join(failure.value.evidence)
    log = "\n".join(grouped.environment.log())
    assert "CONNECTION LIMIT 4" in log, "what has no secret in it is logged as the settings say"
    assert "SCRAM" not in log
    assert "hidden" not in log
