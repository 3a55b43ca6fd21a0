"""What only looks changes nothing: neither in the engine, nor in the server, nor in the directory of the spec."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.proxy import recorded_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment
    from support.program import Ran

READS = re.compile(r"(SET TRANSACTION READ ONLY; (SET LOCAL \w+ = '\w+'; )*)? *(SELECT|SHOW) [^;]*$", re.IGNORECASE)


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """An environment that was applied, whose server logs every statement and does nothing of itself."""
    made = shared().migrations("userdata", "orders")
    made.server(settings={"log_statement": "all", "autovacuum": False, "shared_buffers": "256MB"})
    made.apply()
    return made


def unchanged(environment: Environment, act: Callable[[], Ran]) -> Ran:
    """Act, and see that no trace of it is left."""
    snapshot = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    files, before = environment.files(), environment.query(snapshot)
    lines, events = len(environment.log()), environment.engine.record(environment.name)
    ran = act()
    assert events.seen() == []
    assert [each for each in environment.statements(skip=lines) if not READS.match(each)] == []
    assert environment.query(snapshot) == before, "a transaction has written"
    assert environment.files() == files
    return ran


def test_a_second_apply_has_nothing_to_do(running: Environment) -> None:
    assert "nothing to do" in unchanged(running, running.apply).out


def test_a_second_apply_asks_little(running: Environment) -> None:
    """Each question to the engine and to the server is one more round trip, in the run that people do most often."""
    lines = len(running.log())
    with tempfile.TemporaryDirectory() as directory, recorded_engine(Path(directory)) as (url, requests):
        running.apply(DOCKER_HOST=url)
    assert [each.partition("?")[0] for each in requests] == [
        "GET /volumes",
        "GET /images/postgres:17/json",
        f"GET /containers/{running.name}/json",
        "GET /containers/json",
    ]
    statements = running.statements(skip=lines)
    assert all(each.startswith("SET TRANSACTION READ ONLY; ") for each in statements)
    about = ("FROM pg_settings", "FROM pg_file_settings", "datcollversion", "to_regclass", 'FROM "alembic_version"')
    assert len(statements) == len(about)
    assert [word for word, each in zip(about, statements, strict=True) if word.strip() not in each] == []


def test_a_second_apply_says_so_in_json(running: Environment) -> None:
    document = unchanged(running, lambda: running.run("apply", "--json")).json()
    assert (document["changed"], document["steps"]) == (False, [])


@pytest.mark.parametrize(
    "words", ["plan --diff", "plan --json -v", "status", "status --json", "validate", "apply --check", "url", "logs"]
)
def test_what_looks_changes_nothing(running: Environment, words: str) -> None:
    unchanged(running, lambda: running.run(*words.split()))


@pytest.mark.parametrize("words", ["plan --diff -v", "plan --json", "status", "validate", "apply --check --diff"])
def test_what_looks_changes_nothing_when_everything_differs(running: Environment, words: str) -> None:
    declared = running.document
    try:
        running.migrations("userdata", "orders", "parcels")
        running.declare(server={"max_connections": 50, "settings": {"work_mem": "8MB"}, "stop_timeout": "5s"})
        ran = unchanged(running, lambda: running.run(*words.split()))
        if not words.startswith("validate"):
            assert "container" in ran.out
    finally:
        running.document = declared
        running.declare()
        (running.directory / "migrations" / "versions" / "r3.py").unlink()


@pytest.mark.parametrize("words", ["plan", "apply --check", "status", "validate"])
def test_looking_at_nothing_makes_nothing(environment: Environment, words: str) -> None:
    before, events = environment.files(), environment.engine.record(environment.name)
    environment.run(*words.split())
    assert environment.files() == before
    assert events.seen() == []
    assert environment.engine.containers(environment.name) == []


def test_the_second_apply_sees_spellings_as_equal(running: Environment) -> None:
    for spelling in ("262144kB", "32768", "0.25GB"):
        running.server(settings={"shared_buffers": spelling})
        actions = running.actions()
        assert actions == [], spelling
    running.server(settings={"shared_buffers": "256MB"})
