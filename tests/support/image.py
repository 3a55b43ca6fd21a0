"""Images of a test's own, built from a Dockerfile beside the tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors

if TYPE_CHECKING:
    from support.engine import Engine

DOCKERFILES = Path(__file__).parent.parent / "docker" / "images"


def build(engine: Engine, name: str, reference: str) -> str:
    """Build the image ``name`` and give it a reference; its id is returned."""
    return build_from(engine, (DOCKERFILES / f"{name}.Dockerfile").read_text(encoding="utf-8"), reference)


def build_from(engine: Engine, dockerfile: str, reference: str) -> str:
    """Build an image from the text of a Dockerfile."""
    said = list(engine.client.build(fileobj=io.BytesIO(dockerfile.encode()), tag=reference, rm=True, decode=True))
    assert not any("error" in each for each in said), said
    return str(engine.client.inspect_image(reference)["Id"])


def remove(engine: Engine, prefix: str) -> None:
    """Remove the images whose reference begins with a prefix."""
    for image in engine.client.images():
        for reference in image["RepoTags"] or ():
            if reference.startswith(prefix):
                try:
                    engine.client.remove_image(reference, force=True)
                except docker.errors.ImageNotFound:
                    continue
