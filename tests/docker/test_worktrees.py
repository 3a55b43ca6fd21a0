"""Worktrees and clones of one project on one engine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from support.embedded import an_open_directory
from support.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine

PORT = 20_000 + os.getpid() % 400 * 20


@pytest.fixture
def main(engine: Engine) -> Iterator[Environment]:
    """Have the main checkout of a repository."""
    with an_open_directory() as directory:
        made = Environment(engine, directory / "shop", f"t-{uuid4().hex[:8]}")
        made.server(port=PORT, credentials={"password": {"generate": True}}).migrations("customers")
        git(made, "init", "--quiet")
        git(made, "add", ".")
        git(made, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "--quiet", "-m", "as it is")
        try:
            yield made
        finally:
            for name in ("--feature", "--old", "-2", ""):
                engine.remove_all(f"{made.name}{name}")


def git(environment: Environment, *words: str) -> None:
    subprocess.run(("git", "-C", environment.directory, *words), check=True, capture_output=True)


def checkout(main: Environment, name: str, *command: str) -> Environment:
    """Return the environment in a checkout that git makes."""
    git(main, *(command or ("worktree", "add", "--quiet")), f"../{name}")
    text = main.spec.read_text()
    found = Environment(main.engine, main.directory.parent / name, main.name)
    found.spec.write_text(text)
    return found


def container(environment: Environment, name: str) -> str:
    """Return where a running container is published."""
    found = environment.engine.inspect(name)
    assert found["State"]["Running"]
    ((binding,),) = found["HostConfig"]["PortBindings"].values()
    return str(binding["HostPort"])


def test_checkouts_share_nothing(main: Environment) -> None:
    feature = checkout(main, "feature")
    main.apply()
    main.query("INSERT INTO customers VALUES (1)")
    main.run("stop")
    # The port of what is stopped is left to it, and the data is copied.
    feature.run("apply", "--from", "main")
    assert container(feature, f"{main.name}--feature") == str(PORT + 1)
    assert feature.query("SELECT count(*) FROM customers") == [(1,)]
    assert "as declared" in feature.run("verify").out
    main.apply()
    assert container(main, main.name) == str(PORT)
    assert main.engine.inspect(f"{main.name}--feature")["Config"]["Labels"]["provision.directory"] == str(
        feature.directory
    )
    # The data of a server that runs is dumped.
    feature.run("destroy", "--data", "--yes")
    main.query("INSERT INTO customers VALUES (2)")
    assert "create database/postgres" in feature.run("apply", "--from", "main").all
    assert feature.query("SELECT count(*) FROM customers") == [(2,)]
    assert ": nothing to do (" in feature.apply().out
    # A port that others have meanwhile was our choice, so it is another one.
    feature.run("stop")
    with socket.create_server(("127.0.0.1", PORT + 1)):
        feature.apply()
    assert container(feature, f"{main.name}--feature") == str(PORT + 2)
    assert feature.query("SELECT count(*) FROM customers") == [(2,)]
    # A second clone has the name of the first.
    clone = checkout(main, "again", "clone", "--quiet", ".")
    said = clone.run("apply", code=1).err
    assert f"the container '{main.name}' belongs to the environment '{main.name}' of {main.directory}" in said
    assert f"export PROVISION_NAME={main.name}-2, then: provision apply" in said
    clone.apply(PROVISION_NAME=f"{main.name}-2")
    assert container(clone, f"{main.name}-2") == str(PORT + 1)


@pytest.mark.long
def test_a_container_that_was_made_in_a_worktree_keeps_its_name(main: Environment) -> None:
    old = checkout(main, "old")
    mark = old.directory / ".git"
    text = mark.read_text()
    mark.unlink()  # as an earlier version saw it
    old.apply()
    made = container(old, main.name)
    mark.write_text(text)
    assert ": nothing to do (" in old.apply().out
    shutil.rmtree(old.directory / ".provision")  # its labels still say whose it is
    assert f"{main.name}: " in old.run("status").out
    old.apply()
    assert container(old, main.name) == made
