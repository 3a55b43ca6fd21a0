"""Settings: the smallest change that gets there, proved in the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment


@pytest.fixture(scope="module")
def applied(shared: Callable[[], Environment]) -> Environment:
    """An environment that was applied."""
    return shared().server(max_connections=100, settings={"shared_buffers": "64MB"}).keep()


@pytest.fixture
def running(applied: Environment) -> Environment:
    """The same, as it was in the beginning."""
    applied.back()
    return applied


def changes(environment: Environment) -> dict[str, tuple[str | None, str | None]]:
    """Return what the plan changes in the server's settings: name → (before, after). Nothing else may be in it."""
    steps = [each for each in environment.steps() if not each["address"].startswith("file/")]
    (step,) = steps
    assert step["address"] == "settings/postgresql.conf"
    return {each["field"]: (each["before"], each["after"]) for each in step["why"]}


def test_max_connections_is_restarted_in_place(running: Environment) -> None:
    running.server(max_connections=200)
    told = running.run("plan").out
    assert "max_connections: 100 → 200" in told
    assert "restart, because max_connections can only be set when the server starts" in told
    assert changes(running) == {"max_connections": ("100", "200")}
    container, started = running.container["Id"], running.started()
    running.apply()
    assert running.setting("max_connections") == "200"
    assert running.container["Id"] == container
    assert running.started() != started
    running.settled()


def test_a_log_setting_is_only_reloaded(running: Environment) -> None:
    running.server(settings={"log_min_duration_statement": "250ms"})
    assert changes(running) == {"log_min_duration_statement": ("-1", "250ms")}
    started, events = running.started(), running.engine.record(running.name)
    assert "reload" in running.apply().out
    assert running.setting("log_min_duration_statement") == "250ms"
    assert running.started() == started
    assert events.seen() == []
    running.settled()


def test_a_removed_setting_returns_to_its_default(running: Environment) -> None:
    running.server(settings={"work_mem": "16MB", "wal_buffers": "3MB"}).apply()
    assert (running.setting("work_mem"), running.setting("wal_buffers")) == ("16MB", "3MB")
    running.server(settings={"work_mem": None, "wal_buffers": None})
    assert changes(running) == {"wal_buffers": ("3MB", None), "work_mem": ("16MB", None)}
    running.apply()
    assert running.setting("work_mem") == "4MB"
    assert running.setting("wal_buffers") != "3MB"
    running.settled()


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("shared_buffers", ("64MB", "65536kB", 8192, "8192")),
        ("work_mem", ("5MB", "5120kB", 5120)),
        ("log_min_duration_statement", ("1s", "1000ms", 1000)),
        ("deadlock_timeout", ("60s", "1min", 60000)),
        ("jit", (False, "off", "no", 0)),
        ("synchronous_commit", ("local", "LOCAL")),
        ("random_page_cost", (1.1, "1.10")),
        ("search_path", ('"$user", public', '"$user",public', '"$user" , public')),
        ("log_line_prefix", ("%m [%p] ü'x\\y ",)),
        ("application_name", ("",)),
    ],
)
def test_spellings_of_one_value_are_equal(running: Environment, name: str, spellings: tuple[object, ...]) -> None:
    running.server(settings={name: spellings[0]}).apply()
    for spelling in spellings:
        running.server(settings={name: spelling})
        assert running.actions() == [], spelling


def test_values_that_need_quotes_arrive_as_they_are(running: Environment) -> None:
    values = {"log_line_prefix": "%m $HOME 'it''s' \\ ö ", "cluster_name": "a $1 \"b\" 'c'", "myapp.note": "ü # no"}
    running.server(settings=values).apply()
    assert {name: running.setting(name) for name in values} == values
    running.settled()


def test_an_edited_configuration_is_put_right(running: Environment) -> None:
    path = running.home / "config" / "postgresql.conf"
    with path.open("a") as file:
        file.write("work_mem = 32MB\n")
    running.query("SELECT pg_reload_conf()")
    assert running.setting("work_mem") == "32MB"
    assert "work_mem: 32MB → default" in running.run("plan").out
    running.apply()
    assert running.setting("work_mem") == "4MB"
    running.settled()


def test_a_reload_that_nobody_made_is_made(running: Environment) -> None:
    """The file is right, and the server has not read it: an apply was killed between the two."""
    running.server(settings={"work_mem": "6MB"}).run("render")
    assert changes(running) == {"work_mem": ("4MB", "6MB")}
    running.apply()
    assert running.setting("work_mem") == "6MB"
