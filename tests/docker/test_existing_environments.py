"""Environments that an earlier commit made: today's program takes them over with their rows, name and password."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.embedded import an_embedded_environment, an_open_directory
from support.environment import an_environment
from support.history import checkout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine
    from support.environment import Environment

GENERATED = {"credentials": {"user": "owner", "password": {"generate": True}}}
KINDS: dict[str, dict[str, Any]] = {
    "volume": {},
    "directory": {"data": {"path": "./db"}},
    "worktree": {},
    "ephemeral": {"data": {"ephemeral": True}, "resources": {"memory": "512m"}},
    "ephemeral with its own template": {"data": {"ephemeral": True}},
    "embedded": {},
    "embedded ephemeral": {"data": {"ephemeral": True}},
}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The earlier program's code, for PYTHONPATH."""
    return str(checkout(tmp_path_factory.mktemp("earlier") / "provision"))


def linked_worktree(directory: Path) -> Path:
    """Make a Git repository, and return a linked worktree of it."""
    main, linked = directory / "main", directory / "linked"
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(main))
    main.mkdir()
    for words in (("init", "--quiet"), ("commit", "--quiet", "--allow-empty", "--message=begin"),
                  ("worktree", "add", "--quiet", str(linked))):  # fmt: skip
        subprocess.run((*git, *words), check=True, capture_output=True)
    return linked


@contextmanager
def declared(kind: str, engine: Engine, earlier: str) -> Iterator[Environment]:
    """Have an environment of a kind, not applied yet."""
    with an_open_directory() as directory:
        if kind.startswith("embedded"):
            with an_embedded_environment(directory / "project", **GENERATED, **KINDS[kind]) as embedded:
                yield embedded.migrations("userdata")
            return
        home = linked_worktree(directory) if kind == "worktree" else directory
        with an_environment(engine, home / "project") as environment:
            environment.server(**GENERATED, **KINDS[kind])
            if "template" in kind:
                (environment.directory / "templates").mkdir()
                shutil.copy(Path(earlier) / "templates" / "docker-compose.yml.j2", environment.directory / "templates")
                environment.declare(templates="./templates")
            yield environment.migrations("userdata")
            environment.run("destroy", "--data", "--yes", code=None)


def identity(environment: Environment) -> str:
    """Return what changes when the server is made again."""
    return environment.container["Id"] if environment.engine else environment.started()


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_earlier_commit_made_converges(kind: str, engine: Engine, earlier: str) -> None:
    with declared(kind, engine, earlier) as environment:
        environment.apply(PYTHONPATH=earlier)
        environment.query("INSERT INTO userdata VALUES (1, 'Ada')")
        url, before = environment.url, identity(environment)
        planned = environment.run("plan", "--json").json()["steps"]
        recreated = [each for each in planned if each["action"] in ("recreate", "restart")]
        environment.apply()
        environment.settled()
        assert environment.query("SELECT name FROM userdata") == [("Ada",)]
        assert environment.url == url
        assert environment.engine is None or environment.engine.containers(environment.name) == [identity(environment)]
        assert len(recreated) == (identity(environment) != before)
        if "ephemeral" in kind:
            assert recreated == []
        elif recreated:
            assert "this version of provision creates it differently" in str(recreated[0]["why"])
        if kind == "ephemeral":
            environment.server(resources={"shm_size": "128m"})
            (step,) = (each for each in environment.steps() if each["action"] == "recreate")
            assert "shm size" in str(step["why"])
