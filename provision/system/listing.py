"""What a project's directory holds: names, and the texts of the files that can matter.

Breadth first, so that in a directory with too many files those near the top are seen. What belongs to tools (hidden
directories, virtual environments, packages of other languages) is passed over; links to directories are not followed.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from provision.errors import ProvisionError, as_word

MOST_FILES = 20_000
_LARGEST = 512 * 1024
_PASSED_OVER = {"node_modules", "__pycache__", "site-packages", "build", "dist", "vendor", "target"}
_CONFIGURATION = {"alembic.ini", "pyproject.toml"}
_AT_THE_TOP = (".yml", ".yaml", ".env", ".gitignore")
_SAMPLES = (".env", "env.example", "env.sample", "env.template", "env.dist")
_OF_COMPOSE = (".yml", ".yaml", ".conf")
_DEEPEST = 4
_HIDDEN = {".devcontainer", ".docker", ".envs", ".local"}


def names(root: Path) -> Iterator[str]:
    """Yield all files and directories below a directory, relative to it and with ``/``, at most :data:`MOST_FILES`.

    Raises:
        ProvisionError: the directory itself cannot be read.
    """
    waiting = deque([""])
    count = 0
    while waiting:
        place = waiting.popleft()
        try:
            entries = sorted(os.scandir(root / place), key=lambda entry: entry.name)
        except OSError as error:
            if place:
                continue
            raise ProvisionError(
                f"{root} cannot be read", evidence=[str(error)], next_step=f"ls -ld {as_word(root)}"
            ) from error
        if place and any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        for entry in entries:
            count += 1
            if count > MOST_FILES:
                return
            yield f"{place}{entry.name}"
            if (
                entry.is_dir(follow_symlinks=False)
                and entry.name not in _PASSED_OVER
                and (not entry.name.startswith(".") or entry.name in _HIDDEN)
            ):
                waiting.append(f"{place}{entry.name}/")


def text(root: Path, name: str) -> str | None:
    """Return the text of a file that can matter, None of any other; bytes that are not UTF-8 are kept as surrogates."""
    base = name.rpartition("/")[2]
    wanted = base.endswith((".py", *_SAMPLES)) or base in _CONFIGURATION or base.startswith(".env.")
    wanted = wanted or ("/" not in name and base.endswith(_AT_THE_TOP))
    wanted = wanted or (name.count("/") <= _DEEPEST and (base.endswith(_OF_COMPOSE) or "Dockerfile" in base))
    wanted = wanted or name.startswith(".envs/")
    if not wanted:
        return None
    try:
        found = (root / name).stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            return None
        return (root / name).read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError:
        return None
