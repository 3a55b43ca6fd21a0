"""A plan that was reviewed: it is done, or less of it, and never more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

from provision import Environment as Api
from provision.reviewed import Reviewed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/plan.json").read_text())
SECRET = "sehr gehe1m"


@pytest.fixture
def environment() -> Iterator[Embedded]:
    """A server with two revisions, and a role that has a password."""
    with an_open_directory() as directory, an_embedded_environment(directory / "reviewed") as made:
        made.migrations("users", "orders")
        made.declare(roles={"app": {"login": True, "password": SECRET}})
        yield made


def planned(environment: Embedded, *words: str) -> dict[str, Any]:
    """Save a plan beside the spec, and return it."""
    text = environment.run("plan", "--json", *words).out
    assert SECRET not in text
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, SCHEMA)
    (environment.directory / "plan.json").write_text(text)
    return document


def refused(environment: Embedded, *lines: str) -> None:
    """See that an apply of the saved plan does nothing, and names what is not in it."""
    before = environment.steps()
    ran = environment.run("apply", "--as-planned", "plan.json", code=1)
    assert "which the reviewed plan does not have" not in ran.out
    for line in lines:
        assert line in ran.err, ran.err
    assert environment.steps() == before


def test_a_plan_from_nothing_is_done_in_full_and_then_in_part(environment: Embedded) -> None:
    planned(environment)
    assert "2 revisions" in environment.run("show", "plan.json", spec=False).out
    environment.run("apply", "--as-planned", "plan.json")
    assert "nothing to do" in environment.run("apply", "--as-planned", "plan.json").out
    environment.run("destroy", "--yes")  # the data stays, and so does what was reviewed
    environment.run("apply", "--as-planned", "plan.json")
    environment.settled()


def test_what_is_new_is_refused_and_named(environment: Embedded) -> None:
    environment.apply()
    environment.migrations("users", "orders", "lines").server(settings={"work_mem": "5MB", "log_lock_waits": True})
    document = planned(environment)
    assert [each["id"] for step in document["steps"] for each in step["revisions"]] == ["r3"]

    environment.migrations("users", "orders", "lines", "carts")
    refused(environment, "migrate migrations/alembic: r4", "the revisions of alembic have changed since")
    (environment.directory / "migrations/versions/r4.py").unlink()

    revision = environment.directory / "migrations/versions/r3.py"
    text = revision.read_text()
    revision.write_text(text.replace('"lines"', '"others"'))
    refused(environment, "the file of r3 is another one")
    revision.write_text(text)

    environment.server(settings={"work_mem": "6MB"})
    refused(environment, "work_mem: 4MB → 6MB", "the spec has changed since")
    environment.server(settings={"work_mem": "5MB"})

    environment.query("ALTER ROLE app CREATEDB")
    refused(environment, "update role/app")
    environment.query("ALTER ROLE app NOCREATEDB")
    environment.run("apply", "--as-planned", "plan.json")
    environment.settled()


def test_what_was_done_meanwhile_is_left_out(environment: Embedded) -> None:
    environment.apply()
    environment.migrations("users", "orders", "lines", "carts").server(settings={"work_mem": "5MB"})
    planned(environment)
    environment.run("migrate", "upgrade", "r3")
    ran = environment.run("apply", "--as-planned", "plan.json")
    assert "1 revision applied" in ran.out
    environment.settled()


def test_a_backup_may_be_of_a_later_moment_than_the_reviewed_one(environment: Embedded) -> None:
    environment.declare(backup={"before": ["destructive"]}).apply()
    for name, before, does in (("ae1f", "r2", "SELECT 1"), ("bead", "ae1f", "ALTER TABLE orders DROP COLUMN id")):
        text = f'from alembic import op\nrevision, down_revision = "{name}", "{before}"\n'
        text += f'def upgrade():\n    op.execute("{does}")\ndef downgrade():\n    pass\n'
        (environment.directory / f"migrations/versions/{name}.py").write_text(text)
    assert "backup/shop" in [each["address"] for each in planned(environment)["steps"]]
    environment.run("migrate", "upgrade", "ae1f")
    assert "1 revision applied" in environment.run("apply", "--as-planned", "plan.json").out
    environment.settled()


def test_what_destroys_data_has_to_be_reviewed_and_then_needs_no_option(environment: Embedded) -> None:
    environment.declare(databases={"shop": {}, "extra": {}}).server(database="shop").apply()
    environment.declare(databases={"extra": {"state": "absent"}})
    assert planned(environment, "--data")["destroys_data"]
    environment.run("stop")
    assert "DESTROYS DATA" in environment.run("show", "plan.json", spec=False).out
    environment.run("apply", "--as-planned", "plan.json", code=1)  # a start was not reviewed
    environment.run("start")
    environment.run("apply", "--as-planned", "plan.json")
    environment.settled()


def test_what_a_stopped_server_hides_is_allowed_while_all_else_is_the_same(environment: Embedded) -> None:
    environment.apply()
    environment.run("stop")
    environment.migrations("users", "orders", "lines")
    document = planned(environment)
    assert not all(step["certain"] for step in document["steps"])
    environment.migrations("users", "orders", "lines", "carts")
    ran = environment.run("apply", "--as-planned", "plan.json", code=1)
    assert "r4" in ran.err
    assert "the revisions of alembic have changed since" in ran.err
    (environment.directory / "migrations/versions/r4.py").unlink()
    assert "1 revision applied" in environment.run("apply", "--as-planned", "plan.json").out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON document"),
        ("[]", "is not what `provision plan --json` prints"),
        ('[{"schema": "provision/plan/1"}, {}]', "for one spec but a list of 2"),
        ('{"schema": "provision/result/1"}', "provision/result/1"),
        ('{"schema": "provision/plan/1", "steps": []}', "older provision"),
    ],
)
def test_another_file_is_no_plan(environment: Embedded, text: str, said: str) -> None:
    (environment.directory / "plan.json").write_text(text)
    for words in (("apply", "--as-planned", "plan.json"), ("show", "plan.json")):
        ran = environment.run(*words, spec=words[0] == "apply", code=64)
        assert said in ran.err
        assert "provision plan" in ran.err


def test_a_plan_of_another_environment_is_refused(environment: Embedded) -> None:
    planned(environment)
    environment.declare(name="another")
    ran = environment.run("apply", "--as-planned", "plan.json", code=64)
    assert "reviewed" in ran.err
    assert "another" in ran.err


def test_a_program_hands_a_reviewed_plan_over(environment: Embedded) -> None:
    planned(environment)
    reviewed = Reviewed.read((environment.directory / "plan.json").read_text(), "plan.json")
    api = Api(environment.spec, environ=environment.environ)
    assert api.apply(reviewed=reviewed).outcomes
    assert not api.apply(reviewed=reviewed).outcomes
