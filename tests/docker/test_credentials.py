"""The superuser's name and password: put into the server through its own socket, seen by no other."""

from __future__ import annotations

import shutil
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import psycopg2
import pytest
from support.embedded import an_embedded_environment, an_open_directory
from support.environment import an_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

RUNTIMES = ["postgres:14", "postgres:18", "embedded"]
CLEAR = "cl3ar-text"


@pytest.fixture(params=RUNTIMES)
def running(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment with a row, whose server logs every statement."""
    with an_open_directory() as directory:
        if request.param == "embedded":
            context: Any = an_embedded_environment(directory / "project", data={"path": "./db"})
        else:
            context = an_environment(request.getfixturevalue("engine"), directory / "project")
        with context as made:
            if request.param != "embedded":
                made.server(image=request.param)
            made.server(settings={"log_statement": "all", "log_min_duration_statement": 0}).apply()
            made.query("CREATE TABLE kept AS SELECT 42 AS answer")
            yield made


@contextmanager
def activity(environment: Environment) -> Iterator[set[str]]:
    """Collect the statements that can be seen in pg_stat_activity while the block runs."""
    at = urlsplit(environment.url)
    connection = psycopg2.connect(
        host=at.hostname, port=at.port, user=at.username, password=unquote(at.password or ""), dbname="shop"
    )
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        with connection.cursor() as cursor:
            while not done.wait(0.002):
                cursor.execute("SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
                seen.update(text for (text,) in cursor.fetchall())
                connection.rollback()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
        connection.close()


def settled(environment: Environment) -> None:
    environment.settled()
    assert environment.query("SELECT answer FROM kept") == [(42,)]


def test_a_changed_password_is_seen_by_nobody(running: Environment) -> None:
    with activity(running) as seen:
        running.environ["PW"] = CLEAR
        running.apply()
    settled(running)
    assert len(seen) > 1
    assert not [text for text in seen if CLEAR in text]
    log = "\n".join(running.log())
    assert "statement: SET TRANSACTION READ ONLY" in log, "what is logged is logged"
    assert CLEAR not in log
    assert "SCRAM-SHA-256$" not in log


def test_the_superuser_is_renamed_and_keeps_what_it_owns(running: Environment) -> None:
    owner = running.query("SELECT relowner FROM pg_class WHERE relname = 'kept'")
    running.server(credentials={"user": "owner"})
    running.environ["PW"] = CLEAR
    assert "superuser: postgres → owner" in running.run("plan").out
    running.apply()
    settled(running)
    assert running.query("SELECT rolname, rolsuper FROM pg_roles WHERE rolname !~ '^pg_'") == [("owner", True)]
    assert running.query("SELECT relowner FROM pg_class WHERE relname = 'kept'") == owner
    running.run("destroy")
    running.server(credentials={"user": "o'ne two".replace("'", "")}).apply()
    settled(running)
    assert running.query("SELECT count(*) FROM pg_roles WHERE rolname IN ('owner', 'postgres')") == [(0,)]
    assert CLEAR not in "\n".join(running.log())


def test_a_role_that_exists_becomes_the_superuser(running: Environment) -> None:
    running.query("CREATE ROLE app LOGIN PASSWORD 'app'")
    running.environ["PW"] = "app"
    running.server(credentials={"user": "app"})
    assert "accepted, but it is no superuser" in running.run("plan").out
    running.apply()
    settled(running)
    assert running.query("SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY 1") == [("app",), ("postgres",)]


def test_a_generated_password_that_is_lost_is_made_anew(running: Environment) -> None:
    running.server(credentials={"password": {"generate": True}}).apply()
    secret = running.home / "secrets" / "postgres_password"
    before = secret.read_text()
    for part in running.home.iterdir():
        if part.name not in ("server", "log", "socket"):
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    running.apply()
    assert secret.read_text() != before
    settled(running)


def test_a_pg_hba_that_refuses_is_named_and_mended_by_what_is_printed(running: Environment) -> None:
    (path,) = running.query("SHOW hba_file")[0]
    lines = "local all all trust\\nhost all all 127.0.0.1/32 reject\\nhost all all 0.0.0.0/0 reject\\n"
    running.query(f"COPY (SELECT 1) TO PROGRAM $$cat > /dev/null; printf '{lines}' > {path}$$")
    running.query("SELECT pg_reload_conf()")
    running.environ["PW"] = CLEAR
    refused = running.run("apply", code=1)
    assert "does not let 'postgres' in from here: its pg_hba.conf says so" in refused.err
    assert "pg_hba.conf rejects connection" in refused.err
    assert "all all all scram-sha-256 >>" in refused.err


def test_a_killed_renaming_is_finished(running: Environment) -> None:
    """The role has its new name, and the container is still made for the old one."""
    with_old = running.document
    running.server(credentials={"user": "owner"})
    running.apply()
    running.document = with_old
    running.declare()
    running.apply()
    settled(running)
    assert running.query("SELECT current_user") == [("postgres",)]


def test_another_server_on_that_port_is_told_apart() -> None:
    with an_open_directory() as directory, an_embedded_environment(directory / "one") as one:
        one.apply()
        with an_embedded_environment(directory / "two") as two:
            two.apply()
            pid_file = two.data / "postmaster.pid"
            right = pid_file.read_text()
            mine, other = (int((each.data / "postmaster.pid").read_text().splitlines()[3]) for each in (two, one))
            pid_file.write_text(right.replace(f"\n{mine}\n", f"\n{other}\n"))
            try:
                refused = two.run("status", code=1)
            finally:
                pid_file.write_text(right)
            assert f"another server answers at 127.0.0.1:{other}" in refused.err
            assert str(one.home) in refused.err
            two.signal(signal.SIGINT)
