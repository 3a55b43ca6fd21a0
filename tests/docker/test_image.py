"""The image behind a reference: built again, taken away, and one that brings settings of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import docker.errors
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment


@pytest.fixture
def tagged(environment: Environment) -> Iterator[Environment]:
    """An environment with a name of its own for the image."""
    client = environment.engine.client
    reference = f"{environment.name}/postgres:17"
    client.tag("postgres:17", f"{environment.name}/postgres", "17")
    yield environment.server(image=reference)
    environment.engine.remove_all(environment.name)
    for image in client.images(name=f"{environment.name}/postgres"):
        try:
            client.remove_image(image["Id"] if image["RepoTags"] == [reference] else reference, force=True)
        except docker.errors.ImageNotFound:
            continue


def test_an_image_that_was_built_anew_is_taken(tagged: Environment) -> None:
    tagged.apply()
    tagged.query("CREATE TABLE kept AS SELECT 42 AS answer")
    with tagged.engine.stranger(f"{tagged.name}-build") as container:
        tagged.engine.client.commit(container, f"{tagged.name}/postgres", "17", changes="ENV NEW=1\nLABEL new=1")
    told = tagged.run("plan").out
    assert f"image: {tagged.name}/postgres:17 (an older build, " in told
    tagged.apply()
    assert tagged.query("SELECT answer FROM kept") == [(42,)]
    assert "NEW=1" in tagged.container["Config"]["Env"]
    tagged.settled()


def test_an_image_that_is_gone_is_missed_only_when_it_is_needed(tagged: Environment) -> None:
    tagged.apply()
    tagged.engine.client.remove_image(f"{tagged.name}/postgres:17", force=True)
    tagged.settled()
    tagged.server(stop_timeout="5s")
    assert f"create image/{tagged.name}/postgres:17" in tagged.actions()
    before = tagged.container["Id"]
    assert "could not be pulled" in tagged.run("apply", code=1).err
    assert (tagged.container["Id"], tagged.container["State"]["Status"]) == (before, "running")
