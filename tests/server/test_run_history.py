"""The history of an environment: a row for each run that changed something, or failed on the way."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

from provision import Environment as Api
from provision.apply.history import History
from provision.errors import ProvisionError
from provision.model import Endpoint, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/history.json").read_text())
SECRET = "sehr gehe1m"
FAILS = """
from alembic import op

revision, down_revision = "r3", "r2"


def upgrade():
    op.execute("SELECT 1 / 0")
"""


@pytest.fixture
def environment() -> Iterator[Embedded]:
    """A server with two revisions, which a role owns, in a repository."""
    with an_open_directory() as directory, an_embedded_environment(directory / "history") as made:
        made.migrations("users", "orders")
        made.declare(roles={"app": {"login": True, "password": SECRET}}, migrations={"as": "app"})
        made.declare(databases={"shop": {"owner": "app"}}).server(database="shop")
        yield made


def history(environment: Embedded) -> list[dict[str, Any]]:
    text = environment.run("history", "--json").out
    assert SECRET not in text
    document = json.loads(text)
    jsonschema.validate(document, SCHEMA)
    found: list[dict[str, Any]] = document["runs"]
    return found


def test_runs_that_change_something_are_noted_and_others_are_not(environment: Embedded) -> None:
    environment.apply()
    (first,) = history(environment)
    assert (first["verb"], first["error"], first["restarts"], first["commit"]) == ("apply", None, 0, None)
    assert [each["revision"] for each in first["revisions"]] == ["r1", "r2"]

    environment.settled()
    environment.apply()
    assert len(history(environment)) == 1
    assert "ownership" not in environment.run("plan").out  # the table belongs to the role, as all in the database

    environment.server(max_connections=50).apply()
    last = history(environment)[0]
    assert last["restarts"] == 1
    (why,) = [each for step in last["steps"] for each in step["why"] if each["field"] == "max_connections"]
    assert (why["before"], why["after"]) == ("100", "50")

    environment.run("migrate", "downgrade", "-1", "--yes")
    assert history(environment)[0]["verb"] == "migrate"
    shown = environment.run("history", "--last", "2").out
    assert "max_connections: 100 → 50" in shown
    assert "9 created" not in shown
    api = Api(environment.spec, environ=environment.environ)
    assert [each.details["verb"] for each in api.history()] == ["migrate", "apply", "apply"]


def test_a_run_that_fails_on_the_server_is_noted_with_the_commit(environment: Embedded) -> None:
    environment.apply()
    for words in (("init", "-q"), ("add", "spec.yml"), ("commit", "-q", "-m", "x")):
        given = ("-c", "user.name=ana", "-c", "user.email=ana@example.org")
        subprocess.run(("git", "-C", str(environment.directory), *given, *words), check=True)
    (environment.directory / "migrations/versions/r3.py").write_text(FAILS)
    ran = environment.run("apply", code=1)
    assert "division by zero" in ran.err
    last = history(environment)[0]
    assert "r3" in last["error"]
    assert len(last["commit"]) == len("da39a3ee5e6b4b0d3255bfef95601890afd80709")
    assert last["steps"][-1]["error"]


def test_each_revision_has_a_time_of_its_own(environment: Embedded) -> None:
    environment.migrations("users", "orders", "lines")
    slow = environment.directory / "migrations/versions/r2.py"
    slow.write_text(
        slow.read_text().replace("def upgrade():", "def upgrade():\n    op.execute('SELECT pg_sleep(1.1)')")
    )
    environment.apply()
    listed = json.loads(environment.run("migrate", "history", "-i", "--json").out)["revisions"]
    times = [each["applied_at"] for each in reversed(listed)]
    assert times == sorted(times)
    assert times[0] < times[1]
    assert times[1][:10] in environment.run("migrate", "history", "-i").out
    listed = json.loads(environment.run("migrate", "history", "--json").out)["revisions"]
    assert {each["applied_at"] for each in listed} == {None}


def test_a_database_that_lacks_a_character_has_another_in_its_place(environment: Embedded) -> None:
    owned = {"owner": "app", "encoding": "LATIN1", "locale": "C", "template": "template0"}
    environment.declare(databases={"shop": owned}).apply()
    spec, said = Api(environment.spec, environ=environment.environ).spec, ProvisionError("für 3 € …")
    at = urlsplit(environment.url)
    user, password = str(at.username), Secret(unquote(str(at.password)))
    login = Endpoint(str(at.hostname), int(at.port or 0), user, password, "shop", is_ours=True)
    assert not History("apply").note(spec, login, (), said)
    assert history(environment)[0]["error"] == "für 3 ? ?"


def test_a_history_that_cannot_be_written_stops_nothing(environment: Embedded) -> None:
    environment.apply()
    environment.query("ALTER TABLE provision.runs ADD COLUMN more int NOT NULL DEFAULT 1")
    environment.query("ALTER TABLE provision.runs ADD CHECK (more > 1) NOT VALID")
    ran = environment.server(settings={"work_mem": "5MB"}).apply()
    assert "not in the history" in ran.all
    environment.query("DROP SCHEMA provision CASCADE")
    environment.server(settings={"work_mem": "6MB"}).apply()
    assert len(history(environment)) == 1


def test_a_role_that_may_not_ask_for_the_table_stops_nothing(environment: Embedded) -> None:
    environment.apply()
    environment.superuser(f"CREATE ROLE clerk LOGIN PASSWORD '{SECRET}'")
    found = urlsplit(environment.url)
    at = Endpoint(str(found.hostname), int(found.port or 0), "clerk", Secret(SECRET), "shop", is_ours=False)
    spec = Api(environment.spec, environ=environment.environ).spec
    assert "permission denied for schema provision" in History("apply").note(spec, at, (), ProvisionError("it failed"))


def test_without_a_history_nothing_is_written(environment: Embedded) -> None:
    environment.declare(history=False, migrations={"ledger": False}).apply()
    assert environment.query("SELECT to_regnamespace('provision')") == [(None,)]
    assert "no run is noted" in environment.run("history").out


def test_what_is_put_in_the_place_of_data_is_noted_in_what_came(environment: Embedded) -> None:
    environment.apply()
    environment.run("snapshot", "save", "one")
    environment.run("backup", "make")
    assert [each["verb"] for each in history(environment)] == ["apply"]
    environment.run("snapshot", "restore", "one", "--yes")
    assert [each["verb"] for each in history(environment)] == ["restore", "apply"]
    (backup,) = (environment.home / "backups").glob("*.dump")
    environment.run("backup", "restore", str(backup), "--yes")
    assert [each["verb"] for each in history(environment)] == ["restore", "apply"]  # that of the backup, and this one
    environment.run("reset", "--yes")
    assert [each["verb"] for each in history(environment)] == ["reset"]
