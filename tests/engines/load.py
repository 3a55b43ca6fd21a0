"""Wait for an engine, and load the test images into it: load.py URL ARCHIVE."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import docker
import docker.errors
import requests

_PATIENCE = 60.0


def client(url: str) -> docker.APIClient:
    """Return a client of an engine that may just be coming up."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return docker.APIClient(url, version="auto", timeout=300)
        except (docker.errors.DockerException, requests.RequestException) as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"error: {error}") from None
            time.sleep(0.1)


def main(url: str, archive: str) -> None:
    """Load the images. Podman takes them for images of this machine; the tests want them from where Docker does."""
    engine = client(url)
    with Path(archive).open("rb") as file:
        list(engine.load_image(file, quiet=True))
    for image in engine.images():
        for tag in image["RepoTags"] or ():
            if tag.startswith("localhost/"):
                name, _, version = tag.removeprefix("localhost/").partition(":")
                engine.tag(image["Id"], f"docker.io/library/{name}", version)
                engine.remove_image(tag)


if __name__ == "__main__":
    main(*sys.argv[1:])
