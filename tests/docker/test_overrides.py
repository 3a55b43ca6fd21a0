"""What others have set, and restarts that are not wanted: named, and in no one's way."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import psycopg2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment


@pytest.fixture(scope="module", params=["postgres:14", "postgres:18"])
def applied(request: pytest.FixtureRequest, shared: Callable[[], Environment]) -> Environment:
    return shared().server(image=request.param, max_connections=100, settings={"work_mem": "5MB"}).keep()


@pytest.fixture
def running(applied: Environment) -> Iterator[Environment]:
    yield applied
    applied.document = applied._kept
    applied.declare().run("apply", "--reset-overrides")


def altered(environment: Environment, *statements: str, reload: bool = True) -> None:
    for each in (*statements, *(["SELECT pg_reload_conf()"] if reload else [])):
        environment.query(each)


@contextmanager
def clients(environment: Environment, count: int) -> Iterator[None]:
    """Have clients connected."""
    at = urlsplit(environment.url)
    words = {"host": at.hostname, "port": at.port, "user": at.username, "password": unquote(at.password or "")}
    from contextlib import ExitStack

    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(closing(psycopg2.connect(dbname="postgres", **words)))
        yield


def test_what_alter_system_has_set_is_named_and_taken_back(running: Environment) -> None:
    altered(running, "ALTER SYSTEM SET temp_buffers = '32MB'", "ALTER SYSTEM SET max_connections = 77")
    running.server(settings={"temp_buffers": "16MB", "work_mem": "6MB"})
    told = running.run("plan").out
    assert "temp_buffers is '32MB' by ALTER SYSTEM (" in told
    assert "postgresql.auto.conf:3), and '16MB' is declared" in told
    assert "max_connections will be '77' from the next reload or restart on by ALTER SYSTEM" in told
    assert "work_mem: 5MB → 6MB" in told, "the rest is planned"
    assert len(running.run("plan", "--json").json()["overrides"]) == 2
    failed = running.run("apply", code=1)
    assert "2 declared settings are not in force" in failed.err
    assert "next: provision apply --reset-overrides spec.yml" in failed.err
    assert running.setting("work_mem") == "6MB", "the rest is done"
    assert "2 declared settings are not in force" in running.run("apply", code=1).err
    running.run("plan", "--detailed-exitcode", code=2)
    started = running.started()
    running.run("apply", "--reset-overrides")
    assert (running.setting("temp_buffers"), running.setting("max_connections")) == ("16MB", "100")
    assert running.started() == started, "the waiting one was never in force"
    assert running.query("SELECT name FROM pg_settings WHERE pending_restart") == []
    running.settled()


def test_what_alter_system_brought_in_force_is_restarted_away(running: Environment) -> None:
    altered(running, "ALTER SYSTEM SET max_connections = 77", "ALTER SYSTEM SET wal_buffers = '3MB'")
    running.run("restart")
    told = running.run("plan").out
    assert "max_connections is '77' by ALTER SYSTEM" in told
    assert "wal_buffers is '3MB' by ALTER SYSTEM" in told
    assert "the spec does not set it (--reset-overrides takes it back)" in told
    running.run("apply", code=1)
    waiting = running.run("apply", "--reset-overrides", "--no-restart")
    assert "max_connections: 77 → 100 waits for a restart (--no-restart)" in waiting.out
    running.apply()
    assert (running.setting("max_connections"), running.setting("wal_buffers") != "3MB") == ("100", True)
    running.settled()


def test_an_undeclared_setting_of_others_is_a_note(running: Environment) -> None:
    altered(running, "ALTER SYSTEM SET log_lock_waits = on", reload=False)
    ran = running.apply()
    assert "log_lock_waits will be 'on'" in ran.out
    assert "the spec does not set it" in ran.out
    altered(running, "ALTER SYSTEM RESET log_lock_waits")
    running.settled()


def test_rules_for_roles_and_databases_are_told_with_the_statement_that_undoes_them(running: Environment) -> None:
    altered(
        running,
        "DROP ROLE IF EXISTS reporting",
        "CREATE ROLE reporting",
        "ALTER ROLE reporting SET work_mem = '64MB'",
        "ALTER DATABASE shop SET work_mem = '7MB'",
        "ALTER ROLE postgres IN DATABASE shop SET work_mem = '8MB'",
        "ALTER ROLE ALL SET work_mem = '5120kB'",
        "ALTER DATABASE shop SET timezone = 'Europe/Berlin'",
    )
    statements = (
        'ALTER DATABASE "shop" RESET work_mem',
        'ALTER ROLE "postgres" IN DATABASE "shop" RESET work_mem',
        'ALTER ROLE "reporting" RESET work_mem',
    )
    ran = running.run("apply", "--json").json()
    assert [each.rpartition(": ")[2] for each in ran["notes"]] == list(statements[:2])
    assert [each.rpartition(": ")[2] for each in ran["remarks"]] == list(statements[2:])
    assert "work_mem is '7MB' in the database 'shop', and '5MB' is declared" in ran["notes"][0]
    running.server(settings={"work_mem": "9MB"}).apply()
    assert running.setting("work_mem") == "8MB"
    altered(running, *(each for note in ran["notes"] for each in [note.rpartition(": ")[2]]))
    assert running.run("plan", "--json").json()["notes"] == [
        "work_mem is '5120kB' for every role, and '9MB' is declared: ALTER ROLE ALL RESET work_mem"
    ]
    altered(running, "ALTER ROLE ALL RESET work_mem", "ALTER DATABASE shop RESET ALL")
    assert running.setting("work_mem") == "9MB", "it was reloaded although our session could not see it"
    running.settled()
    altered(running, "DROP ROLE reporting")


def test_a_session_of_ours_hides_nothing(running: Environment) -> None:
    running.server(settings={"statement_timeout": "1min", "application_name": "shop"}).apply(
        PGOPTIONS="-c work_mem=1MB"
    )
    running.settled()
    assert "nothing to do" in running.run("plan", PGOPTIONS="-c work_mem=1MB", PGTZ="Asia/Tokyo").out


def test_the_command_line_is_named(running: Environment) -> None:
    templates = running.directory / "templates"
    templates.mkdir(exist_ok=True)
    from pathlib import Path

    shipped = (Path(__file__).parents[2] / "templates" / "docker-compose.yml.j2").read_text()
    more = shipped.replace('postgresql.conf"]', 'postgresql.conf", "-c", "work_mem=3MB"]')
    (templates / "docker-compose.yml.j2").write_text(more)
    failed = running.declare(templates="./templates").run("apply", code=1)
    assert "work_mem is '3MB', and '5MB' is declared: it comes from the server's command line" in failed.err
    assert "everything else is as declared" in failed.err


def test_a_setting_that_waits_although_it_is_right_is_reloaded(running: Environment) -> None:
    path = running.home / "config" / "postgresql.conf"
    right = path.read_text()
    path.write_text(right.replace("max_connections = 100", "max_connections = 99"))
    altered(running)
    while not running.query("SELECT 1 FROM pg_settings WHERE pending_restart AND name = 'max_connections'"):
        time.sleep(0.05)
    path.write_text(right)
    assert "max_connections: changed and changed back" in running.run("plan").out
    started = running.started()
    running.apply()
    assert running.query("SELECT pending_restart FROM pg_settings WHERE name = 'max_connections'") == [(False,)]
    assert running.started() == started
    running.settled()


def test_without_a_restart_the_rest_is_done_and_the_next_apply_does_it(running: Environment) -> None:
    container, started, port = running.container["Id"], running.started(), running.port
    running.declare(server={"max_connections": 120, "port": port + 1, "settings": {"work_mem": "6MB"}})
    running.run("plan", "--no-restart", "--detailed-exitcode", code=2)
    for _ in range(2):
        ran = running.run("apply", "--no-restart", "--json").json()
        assert any(each.startswith("max_connections: 100 → 120 waits for a restart") for each in ran["notes"])
        assert any(each.startswith(f"recreate container/{running.name} waits (ports: ") for each in ran["notes"])
    assert not ran["changed"]
    assert (running.setting("work_mem"), running.setting("max_connections")) == ("6MB", "100")
    assert (running.container["Id"], running.started()) == (container, started)
    running.server(max_connections=None)
    assert "max_connections: 100 → default" not in running.run("apply", "--no-restart").out, "it is the default"
    running.server(settings={"wal_buffers": "3MB"}).apply()
    assert running.setting("wal_buffers") == "3MB"
    running.server(settings={"wal_buffers": None})
    assert "wal_buffers: 3MB → default waits for a restart" in running.run("apply", "--no-restart").out
    running.apply()
    assert running.setting("wal_buffers") != "3MB"
    running.settled()


def test_connected_clients_are_counted(running: Environment) -> None:
    running.server(max_connections=120)
    with clients(running, 3):
        plan = running.run("plan", "--json").json()
        (step,) = [each for each in plan["steps"] if each["action"] == "restart"]
        assert (plan["clients"], step["clients"]) == (3, 3)
        assert "3 clients are connected now" in running.run("plan").out
        assert "3 connected" in running.run("status").out
        assert running.run("status", "--json").json()["clients"] == 3
        assert "3 connected clients are disconnected" in running.apply().out
    running.server(stop_timeout="7s")
    with clients(running, 1):
        told = running.run("plan").out
        assert "recreate" in told
        assert "a client is connected now" in told
    assert "connected" not in running.run("plan").out
