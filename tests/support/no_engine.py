"""A machine without an engine: the sockets of the ones that are there are hidden, in a mount namespace of the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_SOCKETS = ("/run/docker.sock", "/run/podman/podman.sock")


def without_engines() -> tuple[str, ...]:
    """Return what a command begins with, so that it finds no engine; nothing listens at a socket that is hidden."""
    there = [each for each in _SOCKETS if Path(each).exists()]
    if not there:
        return ()
    if os.geteuid() != 0:
        pytest.skip("an engine is there, and only root can hide it")
    hide = "; ".join(f"mount --bind /dev/null {each}" for each in there)
    return ("unshare", "--mount", "sh", "-ec", f'{hide}; exec "$@"', "sh")


def unnamed(environ: dict[str, str], directory: Path) -> dict[str, str]:
    """Return an environment in which no variable names an engine, and no user has one."""
    left_out = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG")
    kept = {name: text for name, text in environ.items() if name not in left_out}
    return {**kept, "HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)}
