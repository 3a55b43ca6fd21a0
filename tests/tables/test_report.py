"""Plans, results and states as people and programs read them: one expected file per case.

To see what a change of wording does, run with ``UPDATE_EXPECTED=1`` and read the difference in git.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import jsonschema
import pytest

from provision.errors import Problem, RefusedError, SpecError
from provision.model import (
    Action,
    Address,
    Change,
    Endpoint,
    File,
    Outcome,
    Plan,
    Result,
    Secret,
    Size,
    State,
    Status,
    Step,
    Wishes,
    changes,
)
from provision.model.effects import (
    CopyPath,
    EngineCall,
    MakeDirectory,
    Migrate,
    ReloadSettings,
    RemovePath,
    RunLocalSql,
    RunSql,
    ServerCall,
    WaitReady,
    WriteFile,
)
from provision.model.value import dataclass, field, replace
from provision.report import documents, plan as text, survey, words
from provision.report.console import PLAIN

HERE = Path(__file__).parent
EXPECTED = HERE / "report" / "expected"
SCHEMAS = HERE.parent.parent / "docs" / "schema"
PASSWORD = "p@ss/wörd %"
TREES = (
    SimpleNamespace(name="app", target="head", allow_downgrade=False, tenants=None),
    SimpleNamespace(name="audit", target="b1", allow_downgrade=False, tenants=None),
)
SERVER = SimpleNamespace(database="shop")
SHOP = SimpleNamespace(
    base=None,
    overrides=(),
    name="shop-dev",
    path=Path("/srv/shop/specs/dev.yml"),
    directory=Path("/srv/shop/specs"),
    migrations=TREES,
    server=SERVER,
    database_of=lambda _: "shop",
)


class Graphs(dict[str, Any]):
    """Trees that have every revision."""

    revisions: ClassVar[dict[str, Any]] = {}

    def __missing__(self, name: str) -> Any:
        return SimpleNamespace(sha256="0" * 64) if name not in ("app", "audit") else Graphs()


HOME = Path("/srv/shop/specs/.provision/shop-dev")
ENDPOINT = Endpoint("127.0.0.1", 5432, "postgres", Secret(PASSWORD), "shop")


RUNNING = Status(
    "running",
    "",
    image="postgres:17",
    container="shop-dev",
    version="17.6",
    started="2026-01-02T03:04:05+00:00",
    revisions={"app": ("0006_status",)},
    data="volume shop-dev-data",
)
ABSENT = Status("absent")


@dataclass(frozen=True)
class Survey:
    plan: Plan = field(default_factory=lambda: Plan(()))
    status: Status = RUNNING
    endpoint: Endpoint | None = ENDPOINT
    spec: Any = field(default_factory=lambda: SHOP)
    runtime: str = "docker"
    reason: str = "an engine answers at unix:///var/run/docker.sock"
    refusal: Any = None
    obstacle: Any = None
    begun: Any = None
    world: Any = SimpleNamespace(
        inputs=SimpleNamespace(templates={"postgresql.conf.j2": ""}, seeds=None), trees=Graphs()
    )
    wishes: Any = field(default_factory=Wishes)

    @property
    def login(self) -> Endpoint | None:
        return self.endpoint


def step(address: str, action: Action, *effects: Any, why: tuple[Any, ...] = (), **more: Any) -> Step:
    return Step(Address(*address.split("/", 1)), action, None, None, effects, why, **more)


COMPOSE = WriteFile(HOME / "docker-compose.yml", "services:\n  db:\n    image: postgres:17\n")
CONF = WriteFile(HOME / "conf/postgresql.conf", "max_connections = 200\nlisten_addresses = '*'\n")
PASSWORD_FILE = WriteFile(HOME / "secrets/password", Secret(PASSWORD), 0o600)
FRESH = Plan(
    (
        step("files/shop-dev", Action.CREATE, COMPOSE, CONF, PASSWORD_FILE, why=("they are not there yet",)),
        step("volume/shop-dev-data", Action.CREATE, EngineCall("create_volume", "shop-dev-data")),
        step(
            "container/shop-dev",
            Action.CREATE,
            EngineCall("create_container", "shop-dev", {"Env": [f"X={PASSWORD}"]}),
            WaitReady(60),
            why=(Change("image", None, "postgres:17"), Change("port", None, "127.0.0.1:5432")),
            reveals=True,
        ),
        step("migrations/app", Action.MIGRATE, why=("0001 create userdata", "0002 add index")),
    )
)
LOGIN = Plan((step("login/postgres", Action.UPDATE, RunSql("shop", ("ALTER",))), FRESH.steps[-1]))
RESTART = Plan(
    (
        step(
            "settings/shop-dev",
            Action.RESTART,
            CONF,
            EngineCall("restart_container", "shop-dev"),
            why=(Change("max_connections", "100", "200"), Change("work_mem", "8MB", None)),
            consequence="the server restarts: open sessions are ended",
        ),
    )
)
MANY = Plan(
    (
        step(
            "migrations/app",
            Action.MIGRATE,
            Migrate("app", ("0500",)),
            why=tuple(f"{number:04} a change" for number in range(1, 501)),
        ),
    )
)
DESTRUCTION = Plan(
    (
        step("container/shop-dev", Action.REMOVE, EngineCall("remove_container", "shop-dev")),
        step(
            "volume/shop-dev-data",
            Action.REMOVE,
            EngineCall("remove_volume", "shop-dev-data"),
            consequence="every row of shop-dev is gone for good",
            destroys=True,
        ),
    )
)
EVERY_EFFECT = Plan(
    (
        step(
            "everything/at-once",
            Action.RECREATE,
            COMPOSE,
            PASSWORD_FILE,
            MakeDirectory(HOME),
            RemovePath(HOME),
            CopyPath(HOME / "golden", HOME / "data"),
            ServerCall("initialise", HOME / "data", ("initdb",)),
            RunSql("shop", (f"SELECT '{PASSWORD}'",)),
            RunLocalSql("DO $$…$$", Secret(PASSWORD), "postgres"),
            ReloadSettings({"work_mem": "8MB"}),
            WaitReady(90),
            Migrate("app", ()),
            why=(Change("port", "5432", "5433"),),
            consequence="the container is made anew; the data stays",
        ),
    )
)
FILES = tuple(
    Step(
        Address("file", str(path.relative_to(HOME))),
        action,
        None,
        File(path, text, 0o644),
        (WriteFile(path, text),),
        why=("content differs",) if action is Action.UPDATE else (),
    )
    for path, text, action in (
        (HOME / ".gitignore", "*\n", Action.CREATE),
        (HOME / "docker-compose.yml", "x", Action.CREATE),
        (HOME / "config/postgresql.conf", "x", Action.UPDATE),
        (HOME / "config/pg_hba.conf", "x", Action.UPDATE),
        (HOME / "secrets/password", "x", Action.CREATE),
    )
)
REVISIONS = (("0004", Path("0004.py")), ("0005", Path("0005.py")), ("0006", Path("0006.py")))
MOVES = (
    step(
        "migrations/app", Action.MIGRATE, Migrate("app", ("0006",), revisions=REVISIONS), why=("0004", "0005", "0006")
    ),
    step(
        "migrations/audit", Action.MIGRATE, Migrate("audit", (), "downgrade", REVISIONS[:1]), Migrate("audit", ("b1",))
    ),
)
START = step("process/shop-dev", Action.START, WaitReady(60))
GROUPED = Plan((*FILES, START, *MOVES))
GROUPED_DONE = Result(tuple(Outcome(each, 0.5) for each in GROUPED.steps), 3.214)
BEHIND = replace(RUNNING, revisions={"app": ("0003",), "audit": ("b2",)})
DONE = Result(tuple(Outcome(each, 0.5 * number) for number, each in enumerate(FRESH.steps)), 3.214, endpoint=ENDPOINT)
FAILED = Result((Outcome(FRESH.steps[0], 0.01), Outcome(FRESH.steps[3], 75, "0007 failed: relation exists")), 75.2)
DOWN = Status("stopped", "it was stopped 3 minutes ago", "postgres:17", "shop-dev", data="volume shop-dev-data")
TWO_TREES = replace(RUNNING, revisions={"app": ("0006_status",), "audit": ("a1", "b2"), "new": ()})
OLD_FILES = {COMPOSE.path: "services:\n  db:\n    image: postgres:16\n"}
WRONG = SpecError([Problem(SHOP.path, 3, 5, "  pasword: x", "unknown key `pasword`", "did you mean `password`?")])

TEXTS: dict[str, list[str]] = {
    "plan-fresh": [survey.heading(Survey(FRESH), PLAIN), *text.lines(FRESH, PLAIN)],
    "plan-fresh-verbose": list(text.lines(FRESH, PLAIN, verbose=True)),
    "plan-login": list(text.lines(LOGIN, PLAIN)),
    "unfinished": list(text.unfinished(FRESH.steps, FAILED.outcomes)),
    "unfinished-undone": list(text.unfinished(FRESH.steps, FAILED.outcomes, ("files/shop-dev",))),
    "plan-restart": [survey.heading(Survey(RESTART), PLAIN), *text.lines(RESTART, PLAIN)],
    "plan-500-revisions": list(text.lines(MANY, PLAIN)),
    "plan-destruction": list(text.lines(DESTRUCTION, PLAIN)),
    "plan-every-effect": list(text.lines(EVERY_EFFECT, PLAIN, verbose=True)),
    "plan-nothing": [survey.nothing_to_do(Survey(), 0.2134, PLAIN)],
    "plan-nothing-two-trees": [survey.nothing_to_do(Survey(status=TWO_TREES), 0.2134, PLAIN)],
    "diff": list(text.diff(FRESH, PLAIN, OLD_FILES.get)),
    "plan-grouped": list(text.lines(GROUPED, PLAIN)),
    "plan-grouped-verbose": list(text.lines(GROUPED, PLAIN, verbose=True)),
    "heading-counted": [survey.heading(Survey(GROUPED), PLAIN), f"  {text.total(GROUPED)}"],
    "status-absent-grouped": list(survey.status(Survey(GROUPED, ABSENT, None), PLAIN)),
    "status-behind": list(survey.status(Survey(Plan(MOVES), BEHIND), PLAIN)),
    "recap-grouped": list(text.recap("shop-dev", GROUPED_DONE, PLAIN)),
    "recap-done": list(text.recap("shop-dev", DONE, PLAIN)),
    "recap-failed": list(text.recap("shop-dev", FAILED, PLAIN)),
    "status-running": list(survey.status(Survey(), PLAIN)),
    "status-two-trees": list(survey.status(Survey(RESTART, TWO_TREES), PLAIN)),
    "status-stopped": list(survey.status(Survey(FRESH, DOWN), PLAIN)),
    "status-absent": list(survey.status(Survey(FRESH, ABSENT, None), PLAIN)),
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "plan": documents.plan(Survey(FRESH)),
    "plan-nothing": documents.plan(Survey()),
    "plan-diff": documents.plan(Survey(FRESH, endpoint=None), read=OLD_FILES.get),
    "plan-every-effect": documents.plan(Survey(EVERY_EFFECT)),
    "result-done": documents.result(Survey(), DONE),
    "result-failed": documents.result(Survey(), FAILED),
    "status": documents.status(Survey(RESTART, TWO_TREES)),
    "status-absent": documents.status(Survey(FRESH, ABSENT, None)),
    "validation": documents.validation(
        [
            documents.validated("specs/dev.yml", "shop-dev"),
            documents.validated("specs/ci.yml", None, WRONG.problems),
        ]
    ),
    "error": documents.failure(
        RefusedError("no", evidence=["line 1\nline 2"], next_step="provision apply"), 1, FAILED.outcomes
    ),
    "error-spec": documents.failure(WRONG, 65),
}


def compare(name: str, found: str) -> None:
    path = EXPECTED / name
    if os.environ.get("UPDATE_EXPECTED"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", TEXTS)
def test_text_is_as_expected(case: str) -> None:
    compare(f"{case}.txt", "\n".join(TEXTS[case]) + "\n")


@pytest.mark.parametrize("case", DOCUMENTS)
def test_document_is_as_expected_and_follows_its_schema(case: str) -> None:
    document = DOCUMENTS[case]
    compare(f"{case}.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    name = document["schema"].split("/")[1]
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)


@pytest.mark.parametrize("case", [*TEXTS, *DOCUMENTS])
def test_no_report_holds_the_password(case: str) -> None:
    shown = "\n".join(TEXTS[case]) if case in TEXTS else json.dumps(DOCUMENTS[case], ensure_ascii=False)
    assert PASSWORD not in shown
    assert ENDPOINT.url().split(":")[2].split("@")[0] not in shown


def test_every_schema_and_every_field_is_documented() -> None:
    page = (HERE.parent.parent / "docs" / "json.md").read_text(encoding="utf-8")
    for path in SCHEMAS.glob("*.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        assert f"provision/{path.stem}/1" in page
        assert all("description" in field for field in schema["properties"].values()), path


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (ENDPOINT, "postgresql://postgres:p%40ss%2Fw%C3%B6rd%20%25@127.0.0.1:5432/shop"),
        (Endpoint("::1", 5433, "a b", Secret("x"), "d/b"), "postgresql://a%20b:x@[::1]:5433/d%2Fb"),
    ],
)
def test_url_is_whole_and_percent_encoded(endpoint: Endpoint, expected: str) -> None:
    assert endpoint.url() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.2134, "0.21 s"),
        (9.994, "9.99 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (125, "2 min 05 s"),
    ],
)
def test_durations_read_well(value: float, expected: str) -> None:
    assert words.seconds(value) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (256 << 20, 300 << 20, "shm size: 256m → 300m"),
        (0, 1 << 30, "shm size: none → 1g"),
        (1 << 40, (1 << 20) + 1, "shm size: 1024g → 1048577b"),
    ],
)
def test_sizes_read_as_they_are_written_in_a_spec(before: int, after: int, expected: str) -> None:
    @dataclass(frozen=True)
    class Container(State):
        shm_size: Size

    (change,) = changes(Container(Size(before)), Container(Size(after)))
    assert str(change) == expected
    assert (change.before, change.after) == (str(before), str(after))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("config old", "config new", "mounts: old → new"),
        ("config", "config one two", "mounts: absent → one, two"),
        ("config old", "config", "mounts: old → absent"),
    ],
)
def test_of_two_sets_the_difference_is_shown(before: str, after: str, expected: str) -> None:
    @dataclass(frozen=True)
    class Container(State):
        mounts: frozenset[str]

    (change,) = changes(Container(frozenset(before.split())), Container(frozenset(after.split())))
    assert str(change) == expected


@pytest.mark.parametrize(
    ("name", "shown", "key"),
    [
        ("shop", "directory/shop", "directory/shop"),
        ("/srv/shop/data", "directory /srv/shop/data", "directory/srv/shop/data"),
    ],
)
def test_an_address_that_is_a_path_does_not_read_as_another(name: str, shown: str, key: str) -> None:
    address = Address("directory", name)
    assert address.key == key
    assert str(address) == shown
