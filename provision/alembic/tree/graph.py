"""The revisions of one tree, and the questions that a plan asks them.

``down_revision`` says what a revision follows, ``depends_on`` what must be there before it. Both make ancestors, but
only ``down_revision`` ends a branch: that is why a tree can have two heads while the version table of an up-to-date
database holds one row (one head depends on the other). The rules here are Alembic's; tests compare them with its.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.alembic.tree import check, targets
from provision.alembic.tree.ids import WIDTH
from provision.alembic.tree.order import newest_first
from provision.alembic.tree.source import FIELDS, READER, Fields, NotStaticError, Revision, digest, read_fields, restore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path


class Graph:
    """The revisions of one tree, in the order of their files.

    ``cache`` is what a later :meth:`of` can start from: the fields of exactly these files, as JSON. ``unread`` are
    directories with Python files below those of the revisions, which Alembic does not read either.
    """

    unread: Sequence[Path] = ()
    widens_version_table = False
    """Whether ``env.py`` or a revision deals with the column of the version table, which may then hold longer ids."""
    runs_in_a_loop = False
    """Whether ``env.py`` runs migrations in a loop, and so may keep several version tables."""
    is_recalled = False
    """Whether every file was in the cache of an earlier graph, so that nothing of it had to be read."""

    def __init__(self, revisions: Iterable[Revision], *, cache: Mapping[str, Fields] | None = None) -> None:
        self.revisions = check.by_id(revisions)
        self.cache: Mapping[str, Fields] = cache or {}
        self.labels = labels = check.labels(self.revisions)
        self._depends_on = {
            each.id: tuple([labels.get(name, name) for name in each.depends_on])
            for each in self.revisions.values()
            if each.depends_on
        }
        check.complete(self.revisions, labels)
        self._parents = {
            name: (*each.down, *[other for other in self._depends_on[name] if other not in each.down])
            if name in self._depends_on
            else each.down
            for name, each in self.revisions.items()
        }
        check.acyclic(self.revisions, self._parents)
        followed = {name for each in self.revisions.values() for name in each.down}
        self.heads: tuple[str, ...] = tuple([name for name in self.revisions if name not in followed])

    @classmethod
    def of(
        cls,
        sources: Mapping[Path, bytes],
        cache: Mapping[str, Fields] | None = None,
        run: Callable[[NotStaticError], Mapping[Path, Fields]] | None = None,
    ) -> Graph:
        """Read a tree from the contents of its files; ``cache`` is the one of an earlier graph.

        ``run`` returns the fields of all files by running them; it is asked once, and only when a file computes what
        it states.

        Raises:
            MigrationsError: a file cannot be read, or the revisions do not make a tree.
        """
        known = cache or {}
        kept: dict[str, Fields] = {}
        ran: Mapping[Path, Fields] | None = None
        revisions: list[Revision] = []
        for path, source in sources.items():
            sha256 = digest(source)
            key = f"{READER}:{sha256}"
            found = known.get(key)
            if found is None or len(found) != FIELDS:
                try:
                    found = read_fields(source, path)
                except NotStaticError as error:
                    if run is None:
                        raise
                    ran = run(error) if ran is None else ran
                    if path not in ran:
                        raise
                    found = ran[path]
            kept[key] = found
            revisions.append(restore(found, path, sha256))
        graph = cls(revisions, cache=kept)
        graph.is_recalled = all(known.get(key) is each for key, each in kept.items())
        return graph

    @property
    def long(self) -> tuple[str, ...]:
        """The ids that are longer than what the version table holds where Alembic makes it."""
        return tuple([name for name in self.revisions if len(name) > WIDTH])

    def __contains__(self, name: str) -> bool:
        return name in self.revisions

    def __getitem__(self, name: str) -> Revision:
        return self.revisions[name]

    def __len__(self) -> int:
        return len(self.revisions)

    def describe(self, name: str) -> str:
        """Return a revision's id and message; of one that this tree does not have, the id."""
        return str(self.revisions.get(name, name))

    def ancestors(self, names: Collection[str]) -> set[str]:
        """Return ``names`` and everything that must have been applied before them."""
        return _reached(names, self._parents.__getitem__)

    def descendants(self, names: Collection[str]) -> set[str]:
        """Return ``names`` and everything that builds or depends on them."""
        after: dict[str, list[str]] = {}
        for name, parents in self._parents.items():
            for each in parents:
                after.setdefault(each, []).append(name)
        return _reached(names, lambda name: after.get(name, ()))

    @property
    def bases(self) -> tuple[str, ...]:
        """The revisions that follow none, in the order of their files."""
        return tuple([name for name, each in self.revisions.items() if not each.down])

    def children(self, name: str) -> tuple[str, ...]:
        """Return the revisions that follow one, without those that only depend on it."""
        return tuple([each.id for each in self.revisions.values() if name in each.down])

    def followers(self, names: Collection[str]) -> set[str]:
        """Return ``names`` and what follows them, near and far, without what only depends on them."""
        return _reached(names, self.children)

    def dependents(self, name: str) -> tuple[str, ...]:
        """Return the revisions that depend on one."""
        return tuple([each for each, names in self._depends_on.items() if name in names])

    def predecessors(self, name: str) -> tuple[str, ...]:
        """Return what a revision follows or depends on, without dependencies that what it follows has already."""
        return self._needed(name) if name in self._depends_on else self.revisions[name].down

    def lineage(self, name: str) -> frozenset[str]:
        """Return what a revision follows and what follows it, near and far, without dependencies; and itself."""
        found = {name}
        todo = [name]
        while todo:
            todo = [each for one in todo for each in self.revisions[one].down if each not in found]
            found.update(todo)
        return frozenset(found | self.followers((name,)))

    def resolve(self, target: str, rows: Collection[str] | None = None) -> tuple[str, ...]:
        """Return the revisions that a target stands for: see :mod:`provision.alembic.tree.targets`.

        Raises:
            MigrationsError: it stands for none, or it is not clear for which.
        """
        return targets.resolve(self, target, rows)

    def version_rows(self, names: Collection[str]) -> tuple[str, ...]:
        """Return the rows of the version table once ``names`` and all their ancestors are applied, sorted.

        A revision that another applied one builds or depends on has no row of its own.
        """
        applied = self.ancestors(names)
        covered = {parent for name in applied for parent in self._parents[name]}
        return tuple(sorted(applied - covered))

    def pending(self, rows: Collection[str], targets: Collection[str]) -> tuple[str, ...]:
        """Return what an upgrade from ``rows`` to ``targets`` runs, in its order."""
        missing = self.ancestors(targets) - self.ancestors(rows)
        return self.newest_first(missing, targets)[::-1]

    def downgrades(self, rows: Collection[str], targets: Collection[str]) -> tuple[str, ...]:
        """Return what must be undone, in its order, until nothing is applied that ``targets`` do not need."""
        return self.newest_first(self.ancestors(rows) - self.ancestors(targets), rows)

    def unknown(self, rows: Iterable[str]) -> tuple[str, ...]:
        """Return the rows of a version table that this tree does not have."""
        return tuple([row for row in rows if row not in self.revisions])

    def newest_first(self, revisions: set[str], heads: Collection[str]) -> tuple[str, ...]:
        """Return revisions in the order in which Alembic undoes them, from ``heads`` on."""
        if not revisions:
            return ()
        needed = {name: self._needed(name) for name in self._depends_on}
        parents = {**self._parents, **needed}
        return newest_first(revisions, heads, parents, lambda name: self._is_simple(name, needed), self.ancestors)

    def _is_simple(self, name: str, needed: Mapping[str, tuple[str, ...]]) -> bool:
        down = self.revisions[name].down
        return len(down) == 1 and (name not in needed or needed[name] == down)

    def _needed(self, name: str) -> tuple[str, ...]:
        """Return the immediate predecessors, without dependencies that the branch below already has."""
        own = self.revisions[name].down
        inherited: set[str] = set()
        seen: set[str] = set()
        todo = list(own)
        while todo:
            each = todo.pop()
            if each not in seen:
                seen.add(each)
                inherited.update(self._depends_on.get(each, ()))
                todo += self.revisions[each].down
        return tuple(dict.fromkeys([*own, *[x for x in self._depends_on[name] if x not in inherited]]))


def _reached(names: Iterable[str], further: Callable[[str], Iterable[str]]) -> set[str]:
    """Return ``names`` and all that is reached from them."""
    seen: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += further(name)
    return seen
