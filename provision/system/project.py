"""What ``provision init`` has to know of a project and of this machine, and the files that it adds."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from provision import runtimes
from provision.errors import RefusedError, StepFailedError, UnavailableError
from provision.spec.load import read
from provision.spec.parameters import MAJORS
from provision.system import files, git, processes
from provision.system.look import Look
from provision.system.variables import environ

_ENVIRONMENTS = (".venv", "venv", "env")
_IMAGE = "postgres:{}"
_PREFERRED = 17


def interpreters(root: Path, place: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the Pythons of virtual environments in a directory, relative to the root, with their top-level packages."""
    for name in (f"{place}/{each}".lstrip("/") for each in _ENVIRONMENTS):
        if (packages := _packages(root / name)) is not None:
            yield f"{name}/bin/python", packages


def active_interpreter(root: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the Python of the active virtual environment, where it is outside of a directory and not our own."""
    place = environ.get("VIRTUAL_ENV", "")
    is_inside = Path(place).is_relative_to(root) or os.path.realpath(place) == os.path.realpath(sys.prefix)
    if place and not is_inside and (packages := _packages(Path(place))) is not None:
        yield "${VIRTUAL_ENV}/bin/python", packages


def _packages(environment: Path) -> frozenset[str] | None:
    """Return the top-level packages of a virtual environment; None where there is none."""
    if not (environment / "pyvenv.cfg").is_file() or not (environment / "bin" / "python").is_file():
        return None
    return frozenset(each.name.removesuffix(".py") for each in environment.glob("lib/python3*/site-packages/*"))


def add(path: Path, content: str, *, append: bool) -> None:
    """Make a file that is not there yet, or append to one that is. Nothing is ever overwritten.

    Raises:
        ProvisionError: it is there after all, or cannot be written.
    """
    with files.explaining(f"{path} cannot be written", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if append else "xb") as file:
            try:
                file.write(content.encode())
                file.flush()
            except OSError:
                if not append:  # half of a file would be taken for one that is there
                    path.unlink()
                raise


class Machine:
    """What only this machine can tell of a project."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._look = Look(environ())

    def listener(self, port: int) -> str | None:
        """Return who listens on a port of 127.0.0.1, in words; None where it is free."""
        return self._look.listener("127.0.0.1", port)

    def exists(self, path: Path) -> bool:
        """Whether there is a file at a path, which may be outside of the project."""
        return path.is_file()

    def directory_of(self, name: str) -> str | None:
        """Return the other directory whose environment has a name already, by the labels in the engine."""
        from provision.runtimes.names import DIRECTORY, ENVIRONMENT

        label = f"{ENVIRONMENT}={name}"
        try:
            containers = self._look.engine("/containers/json", all=1, filters=json.dumps({"label": [label]})) or ()
            found = [each.get("Labels") or {} for each in (*containers, *self._look.volumes(label).values())]
        except (UnavailableError, StepFailedError):
            return None
        directories = (labels.get(DIRECTORY) for labels in found)
        return next((each for each in directories if each not in (None, str(self._root))), None)

    def compose(self, paths: Sequence[str]) -> Mapping[str, Any] | str:
        """Return the Compose plugin's model of a compose file with its override, or why there is none, in words."""
        return config([self._root / path for path in paths])

    def is_ignored(self, path: str) -> bool:
        """Whether Git ignores a file; where there is no repository yet, by the names in `.gitignore`."""
        found = git.is_ignored(self._root, path)
        if found is not None:
            return found
        lines = (files.read_text(self._root / ".gitignore") or "").splitlines()
        return not {path, Path(path).name}.isdisjoint(line.strip().removeprefix("/") for line in lines)

    def image(self) -> tuple[str, str | None]:
        """Return an image that ``runtime: auto`` can run here; where it can run none, the preferred one."""
        preferred = _IMAGE.format(_PREFERRED)
        if self._works("docker", _PREFERRED):
            return preferred, None
        for major in (_PREFERRED, *reversed(MAJORS)):
            if not self._look.address.is_named and self._works("embedded", major):
                why = f"no Docker engine answers, and the PostgreSQL of this machine is {major}: so the image is"
                return _IMAGE.format(major), None if major == _PREFERRED else f"{why} {_IMAGE.format(major)}"
        return preferred, None

    def _works(self, runtime: str, major: int) -> bool:
        spec = f"name: probe\nserver: {{image: {_IMAGE.format(major)}}}"
        try:
            runtimes.load(runtime).available(read(self._root / "provision.yml", spec.encode(), {}), self._look)
        except (UnavailableError, RefusedError):
            return False
        return True


_SECONDS = 5.0
_CONFIG = ("config", "--format", "json", "--no-interpolate", "--no-path-resolution", "--no-consistency")
# A later Compose writes what an env_file sets into the environment, unless it gets this flag; 2.26 does not know it.
_LATER = "--no-env-resolution"
# The client looks for its engine first, over SSH where that is the address; and a remote file would be downloaded.
_FIXED = {
    "DOCKER_HOST": "unix:///nonexistent",
    "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false",
    "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false",
}


def config(files: Sequence[Path]) -> Mapping[str, Any] | str:
    """Return the model of a compose file with its overrides, its numbers as texts; or why there is none, in words.

    The plugin's own message is not in those words: it can quote a password.
    """
    named = [word for file in files for word in ("-f", str(file))]
    argv = ("docker", "compose", *named, "--profile", "*", *_CONFIG)
    try:
        done = _run(*argv, _LATER)
        if done.returncode and _LATER in done.stderr.decode(errors="replace"):
            done = _run(*argv)
        if done.returncode:
            return "`docker compose config` failed"
        model = json.loads(done.stdout, parse_int=str, parse_float=str)
    except processes.TimeoutExpired:
        return f"`docker compose config` did not answer within {_SECONDS:g} s"
    except OSError:
        return "Docker's Compose plugin is not here"
    except (ValueError, RecursionError):
        return "`docker compose config` did not answer in JSON"
    return model if isinstance(model, dict) else "`docker compose config` did not answer with a mapping"


def _run(*argv: str) -> processes.CompletedProcess[bytes]:
    kept = {
        key: value
        for key, value in environ().items()
        if not key.startswith(("COMPOSE_", "DOCKER_")) or key == "DOCKER_CONFIG"
    }
    return processes.run(argv, stdin=processes.DEVNULL, capture_output=True, env={**kept, **_FIXED}, timeout=_SECONDS)
