"""The major version: what the spec says, what the tag says, and what the image is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.image import build_from, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment


@pytest.fixture
def tagged(environment: Environment) -> Iterator[Callable[[str], str]]:
    """Give postgres:17 another tag."""

    def tag(name: str) -> str:
        environment.engine.client.tag("postgres:17", f"{environment.name}-db", name)
        return f"{environment.name}-db:{name}"

    yield tag
    environment.engine.remove_all(environment.name)
    remove(environment.engine, environment.name)


def test_an_image_of_another_major_is_refused_before_anything_is_made(
    environment: Environment, tagged: Callable[[str], str]
) -> None:
    environment.server(image=tagged("16"))
    events = environment.engine.record(environment.name)
    for verb in ("plan", "apply"):
        refused = environment.run(verb, code=1).err
        assert f"the image '{environment.name}-db:16' is PostgreSQL 17, and its tag says 16" in refused
        assert "write `major: 17` under `server`" in refused
    assert events.seen() == []
    assert "`server.major` says 18" in environment.server(major=18).run("plan", code=1).err
    environment.server(major=17).migrations("userdata").apply()
    environment.settled()
    environment.query("INSERT INTO userdata VALUES (1, 'Zoë')")
    assert "is PostgreSQL 17, and its tag says 16" in environment.server(major=None).run("apply", code=1).err
    environment.server(major=17).settled()
    assert environment.query("SELECT name FROM userdata") == [("Zoë",)]


def test_a_volume_that_was_labelled_by_a_wrong_tag_is_used(
    environment: Environment, tagged: Callable[[str], str]
) -> None:
    """As those that earlier versions have made of such an image: the data itself counts."""
    labels = {"provision.environment": environment.name, "provision.directory": str(environment.directory),
              "provision.major": "16"}  # fmt: skip
    environment.engine.client.create_volume(f"{environment.name}-data", labels=labels)
    environment.server(image=tagged("16"), major=17).apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    environment.settled()
    environment.run("destroy")
    environment.apply()
    assert environment.query("SELECT answer FROM kept") == [(42,)]
    environment.settled()


def test_a_tag_without_a_version_takes_the_one_of_the_image(
    environment: Environment, tagged: Callable[[str], str]
) -> None:
    environment.server(image=tagged("v0.13.1"), settings={"work_mem": "8 bananas"})
    environment.run("validate")
    assert "`work_mem`: `8 bananas` is not a value of this setting" in environment.run("plan", code=65).err
    environment.server(settings={"work_mem": "8MB"}).apply()
    assert environment.setting("work_mem") == "8MB"
    volume = environment.engine.client.inspect_volume(f"{environment.name}-data")
    assert volume["Labels"]["provision.major"] == "17"
    assert "nothing to do" in environment.apply().out


def test_an_image_that_does_not_say_its_version_is_asked_once_it_runs(
    environment: Environment, tagged: Callable[[str], str]
) -> None:
    build_from(environment.engine, "FROM postgres:17\nENV PG_MAJOR=\n", reference := tagged("prod"))
    environment.server(image=reference).migrations("userdata")
    assert "write it in the spec, for example `server.major: 18`" in environment.run("apply", code=1).err
    assert "is PostgreSQL 17, and the spec says 16" in environment.server(major=16).run("apply", code=1).err
    tables = "SELECT count(*) FROM pg_class WHERE relname = 'userdata'"
    assert environment.query(tables) == [(0,)], "nothing was migrated"


def test_an_image_that_is_not_here_yet_is_planned(environment: Environment) -> None:
    environment.server(image=f"{environment.name}/nowhere:prod")
    assert f"create image/{environment.name}/nowhere:prod" in environment.actions()
    assert "could not be pulled" in environment.run("apply", code=1).err
    assert not environment.engine.client.volumes(filters={"name": environment.name})["Volumes"]
