"""The variables of a spec: the caller's environment first, then the ``.env`` beside the spec, or ``env_file``."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, overload

from provision.spec import dotenv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BESIDE = ".env"
MAXIMUM_BYTES = 1024 * 1024


class UnreadableError(Exception):
    """A file of variables that cannot be read, and why."""


def read(path: Path, known: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a file.

    Raises:
        UnreadableError: it is not a file of variables.
    """
    try:
        if not os.path.isfile(path):  # noqa: PTH113  # Path.is_file raises where a link leads to a closed directory
            raise UnreadableError("it is not a file")
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
        if len(content) > MAXIMUM_BYTES:
            raise UnreadableError("it is longer than 1 MiB")
        return dotenv.parse(content.decode(), known)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise UnreadableError("it is not UTF-8") from None
    except dotenv.MalformedError as error:
        raise UnreadableError(str(error)) from None


class Variables:
    """Variables by name. A file is read when a variable is asked for that the environment does not have."""

    def __init__(self, environ: Mapping[str, str], files: Sequence[Path]) -> None:
        self._environ = environ
        self._files = files
        self.used: dict[str, Path] = {}
        """The variables that came from a file, and from which."""
        self.faults: list[str] = []
        """The files that could not be read, with the reason."""

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of a variable, or ``default``."""
        if name in self._environ:
            return self._environ[name]
        value, path = self._of_files.get(name, (default, None))
        if path is not None:
            self.used[name] = path
        return value

    @cached_property
    def _of_files(self) -> Mapping[str, tuple[str, Path]]:
        """The variables of all files; later files are preferred."""
        found: dict[str, tuple[str, Path]] = {}
        for path in self._files:
            known = {**{name: value for name, (value, _) in found.items()}, **self._environ}
            try:
                found |= {name: (value, path) for name, value in read(path, known).items()}
            except UnreadableError as error:
                is_there = os.path.lexists(path) and not os.path.isdir(path)  # noqa: PTH112  # as above
                if path.name != BESIDE or is_there:  # a virtual environment may have that name
                    self.faults.append(f"`{os.path.relpath(path)}` cannot be read: {error}")
        return found
