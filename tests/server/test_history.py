"""History as a user meets it: a revision that was edited, and a database that another branch has migrated."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import trees
from conftest import PASSWORD
from support.environment import Environment

from provision.errors import UnknownRevisionError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

pytestmark = pytest.mark.server


@pytest.fixture
def environment(tmp_path: Path, database: Server) -> Environment:
    """An environment in a repository, on the session's server, with a ledger and two revisions."""
    made = Environment(None, tmp_path / "shop", "history")  # type: ignore[arg-type]  # there is no engine here
    here = database.endpoint
    made.environ["PW"] = PASSWORD
    made.environ["HOME"] = str(tmp_path)
    made.server(runtime="external", image="postgres:18", host=here.host, port=here.port, database=here.database)
    made.migrations("users", "orders")
    made.declare(migrations={"ledger": True})
    git(made, "init", "-q", "-b", "main")
    git(made, "add", "migrations", "spec.yml")
    git(made, "commit", "-q", "-m", "two tables")
    return made


def git(environment: Environment, *words: str) -> None:
    argv = ("git", "-c", "user.name=Anna", "-c", "user.email=anna@example.com", *words)
    subprocess.run(argv, cwd=environment.directory, env={**os.environ, **environment.environ}, check=True)


def edit(environment: Environment, name: str = "r1") -> Path:
    path = environment.directory / "migrations" / "versions" / f"{name}.py"
    path.write_text(path.read_text() + "# edited\n")
    return path


def test_an_edited_revision_is_told_and_stops_nothing(environment: Environment) -> None:
    environment.apply()
    path = edit(environment)
    for verb in ("plan", "apply", "status"):
        told = environment.run(verb)
        assert "· revision r1  make users was edited after it was applied (20" in told.out, told.all
        assert f"{path}\n" in told.out
        assert f"`git -C {path.parent} diff HEAD -- r1.py`" in told.out
        assert f"`git -C {path.parent} log -p -- r1.py`" in told.out
    assert environment.run("plan", "--detailed-exitcode").code == 0
    assert len(environment.run("apply", "--json").json()["remarks"]) == 2
    assert "ledger      knows 2 of 2 applied revisions" in environment.run("status", "-v").out


def test_an_edited_revision_is_a_difference(environment: Environment) -> None:
    environment.apply()
    assert environment.run("verify", "--detailed-exitcode").code == 0
    path = edit(environment)
    seen = environment.run("verify", "--detailed-exitcode", code=2)
    assert "≠ migrations/alembic\n      revision r1  make users was edited" in seen.out
    assert f"next: git -C {path.parent} diff HEAD -- r1.py   # " in seen.out
    (difference,) = environment.run("verify", "--json").json()["differences"]
    assert difference["field"] == "sha256 of revision r1"
    assert difference["declared"] != difference["real"]
    environment.query("DELETE FROM provision.applied_revisions WHERE revision = 'r1'")
    assert environment.run("verify", "--detailed-exitcode").code == 0
    assert "knows 1 of 2" in environment.run("status", "-v").out


def test_an_edit_is_told_while_other_revisions_are_applied(environment: Environment) -> None:
    environment.apply()
    environment.migrations("users", "orders", "parcels")
    edit(environment)
    assert "was edited after it was applied" in environment.run("plan").out
    done = environment.apply()
    assert "1 revision applied" in done.out
    assert "was edited after it was applied" in done.out


def test_somebody_elses_server_has_a_ledger_only_when_it_is_asked_for(environment: Environment) -> None:
    environment.declare(migrations={"ledger": None}).apply()
    assert environment.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'provision'") == [(0,)]
    edit(environment)
    assert "edited" not in environment.run("plan").out
    assert "ledger" not in environment.run("status", "-v").out


@pytest.fixture
def ahead(environment: Environment) -> Environment:
    """One whose database was migrated by the branch ``parcels``."""
    git(environment, "switch", "-q", "-c", "parcels")
    environment.migrations("users", "orders", "parcels", "pallets").declare(migrations={"ledger": True})
    git(environment, "add", "migrations")
    git(environment, "commit", "-q", "-m", "parcels on pallets")
    environment.apply()
    git(environment, "switch", "-q", "main")
    return environment


@pytest.mark.parametrize("verb", ["plan", "apply", "status", "verify"])
def test_a_database_that_another_branch_has_migrated(ahead: Environment, verb: str) -> None:
    told = ahead.run(verb, code=0 if verb == "verify" else 1).all
    assert "the database is at revision r4, which this checkout does not have" in told
    assert "branch parcels has it: migrations/versions/r4.py" in told
    assert "by Anna: parcels on pallets" in told
    assert "git switch parcels && provision migrate downgrade spec.yml r2 && git switch -" in told
    assert "restore a backup" in told
    assert "next: git switch parcels" in told
    git(ahead, "switch", "-q", "parcels")
    ahead.settled()


def test_the_verbs_say_it_and_the_way_back_is_as_told(ahead: Environment) -> None:
    told = ahead.run("migrate", "upgrade", code=1).all
    (line,) = [line for line in told.splitlines() if "provision migrate downgrade" in line]
    git(ahead, "switch", "-q", "parcels")
    ahead.run("migrate", "downgrade", "--yes", "r2")
    git(ahead, "switch", "-q", "-")
    assert line.endswith("git switch parcels && provision migrate downgrade spec.yml r2 && git switch -")
    ahead.settled()
    assert ahead.query("SELECT revision FROM provision.applied_revisions ORDER BY 1") == [("r1",), ("r2",)]


def test_the_same_in_a_document(ahead: Environment) -> None:
    error: dict[str, Any] = ahead.run("plan", "--json", code=1).json()
    assert "branch parcels has it: migrations/versions/r4.py" in error["evidence"]
    assert error["next"].startswith("git switch parcels")


def test_without_git_it_is_said_all_the_same(ahead: Environment) -> None:
    told = ahead.run("plan", code=1, PATH="/nonexistent").all
    assert "Git cannot say where its file is: it cannot be run: No such file or directory" in told
    assert "next: switch to the branch that has it" in told


def test_a_database_that_was_migrated_while_the_lock_was_waited_for(tmp_path: Path, database: Server) -> None:
    longer = trees.write(tmp_path / "longer", {"alpha": "pass", "beta": "pass"})
    trees.run(longer, database.endpoint)
    with pytest.raises(UnknownRevisionError, match="at revision beta, which this checkout does not have"):
        trees.run(trees.write(tmp_path / "shorter", {"alpha": "pass"}), database.endpoint)
