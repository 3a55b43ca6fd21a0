"""``provision migrate`` in the hands of its user, on an embedded server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.program import Ran

pytestmark = pytest.mark.server

SCHEMA = Path(__file__).parent.parent.parent / "docs" / "schema"
MAKO = '"""${message}"""\nrevision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n'


@pytest.fixture(scope="module")
def running() -> Iterator[Embedded]:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.migrations("customer", "invoice", "payment")
        (made.directory / "migrations" / "script.py.mako").write_text(MAKO + "def upgrade(): pass\n")
        made.apply()
        yield made


def document(ran: Ran, name: str) -> Any:
    found = ran.json()
    jsonschema.validate(found, json.loads((SCHEMA / f"{name}.json").read_text(encoding="utf-8")))
    assert "PW" not in found
    return found


def test_up_and_down_and_what_is_said_about_it(running: Embedded) -> None:
    refused = running.run("migrate", "downgrade", "-2", code=64)
    assert "undo r3  make payment" in refused.err
    assert refused.err.endswith(
        "error: data would go away, and there is no terminal to confirm it on; nothing was done\n"
        "next: provision migrate downgrade --yes spec.yml -2\n"
    )
    done = running.run("migrate", "downgrade", "--yes", "-2")
    assert f"{running.name}: r3 → r1" in done.out
    assert "the spec says `target: head`: the next apply goes to r3" in done.out
    assert running.query("SELECT to_regclass('payment')") == [(None,)]
    assert running.run("migrate", "current").out == "r1\n"

    planned = running.run("plan", "--sql")
    assert "CREATE TABLE invoice" in planned.out
    assert "UPDATE alembic_version SET version_num='r3' WHERE alembic_version.version_num = 'r2';" in planned.out
    assert running.run("plan", "--sql", "-q").out == running.run("migrate", "sql").out
    shown = document(running.run("apply", "--check", "--sql", "--json"), "plan")
    (script,) = shown["sql"]
    assert (script["from"], script["complete"], [each["revision"] for each in script["revisions"]]) == (
        ["r1"], True, ["r2", "r3"])  # fmt: skip
    assert document(running.run("migrate", "sql", "base", "--json"), "migration-sql")["direction"] == "downgrade"

    moved = document(running.run("migrate", "upgrade", "+1", "--json"), "migration")
    assert (moved["before"], moved["after"], [each["revision"] for each in moved["revisions"]]) == (
        ["r1"], ["r2"], ["r2"])  # fmt: skip
    running.apply()
    assert "nothing to do (at r3)" in running.run("migrate", "upgrade").out


def test_stamped_and_back(running: Embedded) -> None:
    moved = document(running.run("migrate", "stamp", "r1", "--json"), "migration")
    assert (moved["before"], moved["after"], moved["revisions"]) == (["r3"], ["r1"], [])
    again = running.run("apply", code=1)
    assert 'relation "invoice" already exists' in again.err
    assert f"{running.name}: r1 → r3" in running.run("migrate", "stamp", "heads").out
    running.settled()


def test_a_move_that_was_made_is_no_failure_where_the_next_apply_is_unclear(running: Embedded) -> None:
    second = running.directory / "migrations" / "versions" / "r9.py"
    second.write_text('revision = "r9"\ndown_revision = "r2"\ndef upgrade(): pass\ndef downgrade(): pass\n')
    note = "note: `target: head` is ambiguous: the tree has 2 heads; before the next apply, write `target: heads`"
    merge = "provision migrate merge spec.yml -m 'merge' heads"
    try:
        for words in (("upgrade", "heads"), ("upgrade", "heads"), ("downgrade", "--yes", "r9@-1")):
            done = running.run("migrate", *words)
            assert note in done.out
            assert merge in done.out
        ran = running.run("migrate", "upgrade", "heads", "--json")
        assert document(ran, "migration")["after"] == ["r3", "r9"]
        assert "ambiguous" not in ran.err
        running.run("migrate", "downgrade", "--yes", "r9@-1")
    finally:
        second.unlink()
    running.settled()


def test_the_lists_and_the_files_need_no_runtime(running: Embedded) -> None:
    running.run("stop")
    try:
        assert document(running.run("migrate", "heads", "--json"), "revisions")["revisions"][0]["revision"] == "r3"
        assert running.run("migrate", "history").out.splitlines()[-1] == "<base> -> r1, make customer"
        assert "CREATE TABLE customer" in running.run("migrate", "sql", "base:r1").out
        for words in (("current",), ("upgrade",), ("downgrade", "-1"), ("stamp", "r1"), ("sql",), ("check",)):
            ran = running.run("migrate", *words, code=69)
            assert "is stopped" in ran.err
            assert "next: provision start spec.yml" in ran.err
        done = document(running.run("migrate", "revision", "-m", "x", "--rev-id", "r4", "--json"), "revision-file")
        (made,) = done["files"]
        assert Path(made["path"]).is_file()
        Path(made["path"]).unlink()
    finally:
        running.run("start")


def test_the_models_are_missing_and_the_advice_names_the_file(running: Embedded) -> None:
    ran = running.run("migrate", "check", code=1)
    assert "env.py names no models" in ran.err
    env = running.directory / "migrations" / "env.py"
    text = env.read_text()
    models = "import sqlalchemy\nmodels = sqlalchemy.MetaData()\nsqlalchemy.Table('customer', models)\n"
    try:
        given = text.replace("connection=connection,", "connection=connection, target_metadata=models,")
        env.write_text(models + given)
        found = document(running.run("migrate", "check", "--json", code=1), "model-check")
        assert {"sign": "-", "text": "table invoice"} in found["differences"]
    finally:
        env.write_text(text)
