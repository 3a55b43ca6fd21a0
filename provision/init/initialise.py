"""``init``: a directory is read, what it lacks is decided by :mod:`provision.init`, and written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision import runtimes
from provision.errors import RefusedError, UnavailableError, UsageError
from provision.init.begin import TEMPLATES, begin
from provision.init.found import Beginning, Directory, Interpreter, Options
from provision.observe import shipped
from provision.spec.load import read
from provision.spec.parameters import MAJORS
from provision.system import compose_plugin, files, project
from provision.system.look import Look

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMAGE = "postgres:{}"
_PREFERRED = 17


def initialise(place: Path, options: Options) -> Beginning:
    """Add what a directory lacks for ``apply``, and return what that was; the directory is made where there is none.

    Raises:
        ProvisionError: a file that decides what is written cannot be read, or one cannot be written.
        UsageError: the place is not a directory, or what was asked for gives no valid spec; nothing was written.
        RefusedError: there is no name left for a file that has to be made; nothing was written.
    """
    root = Path(os.path.abspath(place))  # noqa: PTH100  # links stay as they are written
    if root.exists() and not root.is_dir():
        raise UsageError(f"{place} is not a directory", next_step="provision init --directory DIRECTORY")
    templates = {name: files.read_text(shipped() / "init" / name) or "" for name in TEMPLATES}
    done = begin(look(root), options, _Here(root), templates)
    for file in done.files:
        project.add(root / file.path, file.text, append=file.append)
    return done


def look(root: Path) -> Directory:
    """Read a directory; one that is not there is empty."""
    names = frozenset(project.names(root)) if root.exists() else frozenset()
    texts = {name: text for name in names if (text := project.text(root, name)) is not None}
    places = {name.rpartition("/")[0] for name in names if name.endswith(("alembic.ini", "pyproject.toml"))}
    found = tuple(Interpreter(*each) for place in sorted({"", *places}) for each in project.interpreters(root, place))
    return Directory(root, texts, names, os.environ, found, complete=len(names) < project.MOST_FILES)


class _Here:
    """Implements :class:`provision.init.found.Machine`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._look = Look(os.environ)

    def listener(self, port: int) -> str | None:
        """Return who listens on a port of 127.0.0.1."""
        return self._look.listener("127.0.0.1", port)

    def exists(self, path: Path) -> bool:
        """Tell whether there is a file at a path."""
        return path.is_file()

    def compose(self, paths: Sequence[str]) -> Mapping[str, Any] | str:
        """Return the Compose plugin's model of a compose file with its override, or why there is none, in words."""
        return compose_plugin.config([self._root / path for path in paths])

    def is_ignored(self, path: str) -> bool:
        """Tell whether Git ignores a file; where there is no repository yet, by the names in `.gitignore`."""
        from provision.system import git

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
            if not self._look.engine_is_named and self._works("embedded", major):
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
