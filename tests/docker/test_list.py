"""``provision list`` by the labels of an engine, and the environment of a directory that is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.environment import an_environment

from provision.runtimes.names import DIRECTORY, ENVIRONMENT, MACHINE, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine
    from support.environment import Environment

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/list.json").read_text())


@pytest.fixture(scope="module")
def running(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """One that runs, for tests that only look."""
    with an_environment(engine, tmp_path_factory.mktemp("running") / "project") as made:
        made.apply()
        yield made


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Iterator[Environment]:
    with an_environment(engine, tmp_path / "project") as made:
        made.migrations("one").apply()
        yield made


def listed(environment: Environment, name: str = "") -> dict[str, Any] | None:
    document = environment.run("list", "--json", spec=False).json()
    jsonschema.validate(document, SCHEMA)
    rows = [each for each in document["environments"] if each["environment"] == (name or environment.name)]
    assert len(rows) < 2
    return rows[0] if rows else None


def test_it_shows_a_container_and_what_is_left_of_it(shop: Environment) -> None:
    row = listed(shop)
    assert row is not None
    assert (row["state"], row["revisions"]) == ("running", {"alembic": ["r1"]})
    assert row["address"] == {"host": "127.0.0.1", "port": shop.port}
    assert (row["container"], row["mine"], row["spec"]) == (shop.name, True, str(shop.spec))
    shop.run("stop")
    stopped = listed(shop)
    assert stopped is not None
    assert (stopped["state"], stopped["revisions"]) == ("stopped", None)
    assert stopped["version"].startswith("17")
    shop.run("destroy")
    left = listed(shop)
    assert left is not None
    assert (left["state"], left["container"], left["version"], len(left["volumes"])) == ("absent", None, "17", 1)
    shop.run("destroy", "--data", "--yes")
    assert listed(shop) is None


def test_its_labels_say_who_made_it_and_change_nothing_else(running: Environment) -> None:
    labels = running.container["Config"]["Labels"]
    (volume,) = [each for each in running.container["Mounts"] if each["Type"] == "volume"]
    signed = running.engine.client.inspect_volume(volume["Name"])["Labels"]
    assert {USER: labels[USER], MACHINE: labels[MACHINE]}.items() <= signed.items()
    assert USER not in (running.home / "docker-compose.yml").read_text()
    running.settled()


def test_what_another_user_made_is_listed_and_left(engine: Engine, running: Environment) -> None:
    name = f"{running.name}-theirs"
    labels = {
        ENVIRONMENT: name,
        DIRECTORY: "/home/alice/shop",
        USER: "alice",
        MACHINE: running.container["Config"]["Labels"][MACHINE],
    }
    engine.client.create_volume(name, labels=labels)
    try:
        row = listed(running, name)
        assert row is not None
        assert (row["mine"], row["not_mine"]) == (False, "it was made by 'alice'")
        refused = running.run("destroy", "--data", "--yes", "--name", name, spec=False, code=1)
        assert "it was made by 'alice'" in refused.err
        assert engine.client.inspect_volume(name)
    finally:
        engine.client.remove_volume(name)


@pytest.mark.parametrize("place", ["project", "elsewhere"])
def test_what_an_earlier_version_made_is_mine_while_its_directory_is(
    place: str, engine: Engine, running: Environment
) -> None:
    name = f"{running.name}-old"
    engine.client.create_volume(name, labels={ENVIRONMENT: name, DIRECTORY: str(running.directory.with_name(place))})
    try:
        row = listed(running, name)
        assert row is not None
        assert (row["mine"], row["directory_is_gone"]) == (place == "project", place != "project")
    finally:
        engine.client.remove_volume(name)


def gone(shop: Environment) -> Environment:
    """Remove the directory, and stand in a fresh clone of it."""
    clone = shop.directory.with_name("clone")
    shutil.copytree(shop.directory, clone, ignore=shutil.ignore_patterns(".provision"))
    shutil.rmtree(shop.directory)
    shop.directory, shop.spec, shop.home = clone, clone / shop.spec.name, clone / ".provision" / shop.name
    return shop


def test_the_data_of_a_directory_that_is_gone(shop: Environment) -> None:
    """A fresh clone does not take it without a word; a project that was moved does; one command removes it."""
    shop.query("INSERT INTO one VALUES (1)")
    there = gone(shop)
    for verb in ("apply", "plan"):
        refused = there.run(verb, code=1)
        assert "which is gone" in refused.err
        assert f"provision apply --adopt {there.spec.name}" in refused.err
    there.run("apply", "--adopt")
    there.settled()

    moved = there.directory.rename(there.directory.with_name("moved"))
    there.directory, there.spec, there.home = moved, moved / there.spec.name, moved / ".provision" / there.name
    there.apply()
    there.settled()
    assert there.query("SELECT count(*) FROM one") == [(1,)]
    row = listed(there)
    assert row is not None
    assert (row["directory"], row["directory_is_gone"]) == (str(moved), False)

    left = gone(there)
    row = listed(left)
    assert row is not None
    assert (row["directory_is_gone"], row["mine"]) == (True, True)
    asked = left.run("destroy", "--data", "--name", left.name, spec=False, code=64)
    assert f"of {moved}, which is gone" in asked.err
    left.run("destroy", "--data", "--yes", "--name", left.name, spec=False)
    assert listed(left) is None
