"""The Alembic trees of a spec, each read when somebody asks for its revisions.

Most verbs do not: a server is stopped, and its log is read, whatever state its migrations are in.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from provision.alembic.tree import ids
from provision.errors import MigrationsError, Problem, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provision.alembic.tree import Graph, Location
    from provision.spec.model import Migrations, Spec


class Trees(Mapping[str, "Graph"]):
    """The revisions of each tree by its name, as they are when they are asked for first."""

    def __init__(self, spec: Spec, *, cached: bool = True) -> None:
        self._home = spec.home if cached else None
        self._declared: dict[str, Migrations] = {tree.name: tree for tree in spec.migrations}
        self._read: dict[str, tuple[Graph, Location]] = {}

    def __getitem__(self, name: str) -> Graph:
        """Return the revisions of a tree.

        Raises:
            provision.errors.MigrationsError: there is no tree there, or it is not in order.
        """
        return self._load(name)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    def location(self, name: str) -> Location:
        """Return where the files of a tree are.

        Raises:
            provision.errors.MigrationsError: as above.
        """
        return self._load(name)[1]

    @property
    def are_remembered(self) -> bool:
        """Whether what was read was in the caches, so that the next run would not be quicker with new ones."""
        return all(graph.is_recalled for graph, _ in self._read.values())

    def remember(self) -> None:
        """Keep what was read of the revision files for the next run."""
        from provision.alembic.running import files as alembic_files

        for name, (graph, _) in self._read.items():
            if (cache := self._cache(name)) is not None:
                alembic_files.remember(graph, cache)

    def _load(self, name: str) -> tuple[Graph, Location]:
        if name not in self._read:
            from provision.alembic.running import files as alembic_files

            self._read[name] = alembic_files.load(self._declared[name], self._cache(name))
        return self._read[name]

    def _cache(self, name: str) -> Path | None:
        return self._home / f"cache/revisions-{name}.json" if self._home else None


def refuse_ids(spec: Spec) -> None:
    """Refuse revision ids that no version table can hold, as far as the files state them; nothing is run.

    A tree that is not there, or not in order, is the business of what reads it.

    Raises:
        SpecError: with each of them, at its line.
    """
    from provision.alembic.running import files

    found: list[Problem] = []
    for tree in spec.migrations:
        with suppress(MigrationsError):
            sources, widens = files.stated(tree)
            found += [each for path, source in sources.items() if (each := _fault(path, source, widens)) is not None]
    if found:
        raise SpecError(found)


def _fault(path: Path, source: bytes, widens: bool) -> Problem | None:  # noqa: FBT001
    name, line = ids.stated(source) or (None, 0)
    fault = None if name is None or (name and widens) else ids.fault(name)
    if fault is None:
        return None
    text = source.decode("utf-8", "replace").splitlines()[line - 1]
    return Problem(path, line, 1, text, fault, "a shorter id, also in the `down_revision` of what follows it")
