"""What is said after env.py has failed: the line that helps, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provision.alembic.running.advice import Report, addresses, after_env, after_failure, is_connection, too_old
from provision.alembic.running.events import Truth
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.location import Location
from provision.model import Secret
from provision.spec.model import Migrations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTS = """import os
url = f"postgresql://{os.environ['DB_USER']}:{os.environ['DB_PASS']}@{os.environ['DB_HOST']}/{os.environ['DB_NAME']}"
attributes = config.attributes.get("configure_logger")
"""
GIVES_PARTS = "env: {DB_USER: '{user}', DB_PASS: '{password}', DB_HOST: '{host}', DB_NAME: '{database}'}"
SETTINGS = "class Settings(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='DB_')\n    dsn: str\n"


def failure(kind: str, message: str = "", sqlstate: str | None = None, **more: Any) -> Any:
    return {"type": kind, "message": message, "sqlstate": sqlstate, "stage": "env", **more}


def advice(
    tmp_path: Path,
    event: dict[str, Any],
    env: str = PARTS,
    given: tuple[str, ...] = (),
    say: Callable[[Report], object] = after_env,
) -> str:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text(env)
    (tmp_path / "app.py").write_text(SETTINGS)
    tree = Migrations("alembic", tmp_path / "migrations", None, "head", allow_downgrade=False, python=None,
                      version_table="alembic_version", version_table_schema=None, timeout=60,
                      env=dict.fromkeys(given, Secret("x")))  # fmt: skip
    location = Location(tmp_path / "migrations", (tmp_path / "migrations" / "versions",), recursive=False, cwd=tmp_path)
    return str(say(Report(event, tree, location, "python3", Truth(Graph([]), ()))))


@pytest.mark.parametrize(
    "event",
    [
        failure("KeyError", "'DB_USER'"),
        failure("OperationalError", 'connection to server at "db", port 5432 failed'),
        failure("gaierror", "[Errno -2] Name or service not known"),
        failure("ConnectionRefusedError", "[Errno 111] Connect call failed ('127.0.0.1', 5455)"),
        failure("InvalidPasswordError", "password authentication failed", "28P01"),
        failure("InvalidCatalogNameError", 'database "x" does not exist', "3D000"),
        failure("ValidationError", "1 validation error for Settings\nDB_HOST\n  Field required"),
        failure("ArgumentError", "Expected string or URL object, got None"),
    ],
    ids=lambda event: str(event["type"]),
)
def test_a_url_that_is_missing_or_wrong_is_given_in_its_parts(event: dict[str, Any], tmp_path: Path) -> None:
    said = advice(tmp_path, event)
    assert said.endswith(GIVES_PARTS)
    assert "{url}" not in said
    assert "attributes" not in said


def test_the_application_s_settings_are_read(tmp_path: Path) -> None:
    said = advice(tmp_path, failure("gaierror"), "from app import settings\n")
    assert said.endswith("env: {DB_DSN: '{url}'}")


@pytest.mark.parametrize("reads", ["os.environ['APP_DB']", "environ['APP_DB']", "os.environ.pop('APP_DB')"])
def test_a_variable_that_env_py_reads_is_named(tmp_path: Path, reads: str) -> None:
    said = advice(tmp_path, failure("KeyError", "'APP_DB'"), f"url = {reads}\n")
    assert 'write under `migrations`: env: {APP_DB: "{url}"} if it is the URL' in said


def test_what_is_given_is_not_advised_again(tmp_path: Path) -> None:
    said = advice(tmp_path, failure("gaierror"), given=("DB_USER", "DB_PASS", "DB_NAME"))
    assert said.endswith("sets: env: {DB_HOST: '{host}'}")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (failure("UndefinedTable", 'relation "x" does not exist', "42P01"), "correct the statement in env.py"),
        (failure("KeyError", "'colour'"), "correct env.py or what it needs"),
        (failure("KeyError", "'APP_DB'"), "correct env.py or what it needs"),
        (failure("KeyError", "'url'"), 'options: {url: "{url}"}'),
        (
            failure("ModuleNotFoundError", "No module named 'psycopg'", versions={"sqlalchemy": "2.1.3"}),
            "SQLAlchemy 2.1 takes psycopg for a URL that names no driver",
        ),
        (
            failure("ModuleNotFoundError", "No module named 'psycopg'", versions={"sqlalchemy": "2.0.30"}),
            "set `migrations.python`",
        ),
    ],
)
def test_other_failures_have_other_advice(event: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = advice(tmp_path, event, "url = 1\n")
    assert said in found
    assert "DATABASE_URL" not in found


@pytest.mark.parametrize(
    ("event", "tried"),
    [
        (failure("OperationalError", 'connection to server at "db" (10.0.0.1), port 5455 failed'), "db:5455"),
        (failure("ConnectionRefusedError", "Connect call failed ('127.0.0.1', 5455)"), "127.0.0.1:5455"),
        (failure("gaierror", "Name or service not known", address="db:5455"), "db:5455"),
        (failure("OperationalError", 'connection to server at "127.0.0.1", port 5433 failed'), None),
        (failure("UndefinedTable", "x", "42P01", address="db:5455"), None),
    ],
)
def test_the_two_addresses_are_compared(event: dict[str, Any], tried: str | None) -> None:
    wanted = [f"env.py connects to {tried}, the declared server is 127.0.0.1:5433"] if tried else []
    assert addresses(event, "127.0.0.1:5433") == wanted
    assert is_connection(event) == (event["sqlstate"] is None)


@pytest.mark.parametrize(
    ("message", "versions", "said"),
    [
        (
            "got an unexpected keyword argument 'toml_file'",
            {"alembic": "1.13.1", "sqlalchemy": "2.0"},
            "Alembic 1.13.1",
        ),
        (
            "type object 'URL' has no attribute 'create'",
            {"alembic": "1.7", "sqlalchemy": "1.3.24"},
            "SQLAlchemy 1.3.24",
        ),
        ("something else", {"alembic": "1.13.1", "sqlalchemy": "2.0.1"}, None),
        ("something else", {}, None),
    ],
)
def test_what_is_too_old_is_named(message: str, versions: dict[str, str], said: str | None) -> None:
    found = too_old(failure("TypeError", message, versions=versions), "python3")
    assert (found is None) == (said is None)
    assert said is None or (found is not None and f"python3 has {said}, and" in found[0] and "pip install" in found[1])


def test_a_scratch_run_does_not_continue() -> None:
    assert Truth(Graph([]), ()).next_step == "run the same command again: it continues from what is applied"
    assert Truth(Graph([]), (), is_scratch=True).next_step == "run the same command again"
    assert Truth(Graph([]), (), is_asked=False).next_step == "run the same command again"


@pytest.mark.parametrize(
    "message",
    [
        'extension "uuid-ossp" is not available\nHINT:  The extension must first be installed',
        'could not open extension control file "/usr/share/extension/uuid-ossp.control": No such file or directory',
    ],
)
def test_an_extension_that_the_server_lacks_is_no_fault_of_the_revision(message: str, tmp_path: Path) -> None:
    said = advice(tmp_path, failure("FeatureNotSupported", message, "0A000"), say=after_failure)
    assert said.startswith("uuid-ossp: install it where the server runs")
    assert "correct the revision" not in said
