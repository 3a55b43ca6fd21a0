"""Environments without Docker that share a cache of goldens, in a directory that the server's system user can reach."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from support.embedded import an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.embedded import Embedded

ON = {"PROVISION_GOLDEN": "on"}


class Family:
    """Environments of one cache; each is declared like the others, but for its name."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.place, self._stack = place, stack
        self.cache = place / "cache"
        self._count = 0

    def member(self, *tables: str, **server: Any) -> Embedded:
        """Return one more environment, with the migrations of all."""
        self._count += 1
        directory = self.place / f"e{self._count}"
        made = self._stack.enter_context(an_embedded_environment(directory, port="auto", **server))
        made.environ.update(ON, XDG_CACHE_HOME=str(self.cache))
        made.declare(roles={"app": {"login": True}}, databases={"shop": {"owner": "app"}})
        if tables:
            made.migrations(*tables)
            self.share(made)
        return made

    def share(self, made: Embedded) -> None:
        """Have the trees of an environment beside all: a golden knows them by their path from the spec."""
        shutil.copytree(made.directory / "migrations", self.place / "migrations", dirs_exist_ok=True)
        shutil.rmtree(made.directory / "migrations")
        made.declare(migrations={"script_location": "../migrations"})

    def goldens(self) -> list[dict[str, Any]]:
        """Return what ``provision golden list`` shows."""
        made = self._stack.enter_context(an_embedded_environment(self.place / "list"))
        made.environ["XDG_CACHE_HOME"] = str(self.cache)
        found: list[dict[str, Any]] = made.run("golden", "list", "--json", spec=False).json()["goldens"]
        return found

    def files(self) -> list[str]:
        """Return the names in the store."""
        root = self.cache / "provision" / "golden"
        return sorted(each.name for each in root.iterdir()) if root.is_dir() else []


@contextmanager
def a_family() -> Iterator[Family]:
    """Have a cache, and environments that go away again."""
    with an_open_directory() as place, ExitStack() as stack:
        yield Family(place, stack)


def begun(text: str) -> str:
    """Return what a plan or an apply in JSON says of the golden: the first digits of its key, or nothing."""
    found = re.search(r'"golden": \{\s*"key": "([0-9a-f]{8})', text)
    return found[1] if found else ""


def left_beside(made: Embedded) -> list[str]:
    """Return what is beside the data that no apply needs."""
    return sorted(each for each in os.listdir(made.home) if each.startswith(".data"))  # noqa: PTH208
