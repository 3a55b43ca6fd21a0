"""The revisions of one tree, in the order in which Alembic runs them, and what can be wrong with them together.

``down_revision`` says what a revision follows, ``depends_on`` what must be there before it. Both make ancestors, but
only ``down_revision`` ends a branch: that is why a tree can have two heads while the version table of an up-to-date
database holds one row (one head depends on the other). The rules here are Alembic's; tests compare them with its.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from shlex import quote

from provision.alembic.tree.location import is_in_repository
from provision.alembic.tree.source import (
    FIELDS,
    READER,
    VERSION_NUM_WIDTH,
    Fields,
    NotStaticError,
    Revision,
    digest,
    read_fields,
    restore,
)
from provision.errors import MigrationsError
from provision.model.value import replace

_ILLEGAL = frozenset("@-+:")  # Alembic's: they have a meaning in a target
_SHOWN = 5


def _by_id(revisions: Iterable[Revision]) -> dict[str, Revision]:
    """Return the revisions by their id.

    Raises:
        MigrationsError: two files have the same id, or an id is empty or has a character that Alembic refuses.
    """
    found: dict[str, Revision] = {}
    for each in revisions:
        if not each.id:
            raise MigrationsError(
                f"{each.place} has an empty revision id",
                next_step="give it an id, also in the `down_revision` of the revision that follows it",
            )
        if each.id in found:
            raise MigrationsError(
                f"two files are revision {each.id}",
                evidence=(found[each.id].place, each.place),
                next_step="give one of them an id of its own and correct the `down_revision` of what follows it",
            )
        if not _ILLEGAL.isdisjoint(each.id):
            raise MigrationsError(
                f"{each.place} has the id {each.id!r}, and Alembic allows none of @ - + : in an id",
                next_step="rename the revision; in a database that has it, update the version table with it",
            )
        found[each.id] = each
    return found


def _labels(revisions: Mapping[str, Revision]) -> dict[str, str]:
    """Return the revision of each branch label.

    Raises:
        MigrationsError: a label is used twice, or is the id of a revision.
    """
    found: dict[str, str] = {}
    for each in revisions.values():
        for label in each.branch_labels:
            other = revisions.get(found.get(label, label))
            if other is not None:
                raise MigrationsError(
                    f"the branch label {label} is used twice",
                    evidence=(other.place, each.place),
                    next_step="rename one of them",
                )
            found[label] = each.id
    return found


def _require_referred(revisions: Mapping[str, Revision], known_labels: Mapping[str, str]) -> None:
    """Check that every revision that is referred to is there.

    Raises:
        MigrationsError: one is not.
    """
    for each in revisions.values():
        for name, word in [(n, "follows") for n in each.down] + [(n, "depends on") for n in each.depends_on]:
            if name in revisions or (word == "depends on" and name in known_labels):
                continue
            search = f" (git log --all -S{quote(name)} finds it)" if is_in_repository(each.path) else ""
            raise MigrationsError(
                f"{each.path}:{each.down_line} {word} revision {name}, which no file has",
                evidence=similar(name, revisions),
                next_step=f"restore the file of revision {name}{search}, or correct the id",
            )


def _require_acyclic(revisions: Mapping[str, Revision], parents: Mapping[str, Sequence[str]]) -> None:
    """Check that no revision is its own ancestor.

    Raises:
        MigrationsError: there is a cycle; its files are the evidence.
    """
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        cycle = error.args[1][::-1]
        raise MigrationsError(
            f"the revisions go round in a circle: {' → '.join(cycle)}",
            evidence=[f"{revisions[each].path}:{revisions[each].down_line}" for each in cycle[:-1]],
            next_step="correct the `down_revision` or `depends_on` of one of these files",
        ) from None


def unread_places(unread: Sequence[Path]) -> tuple[list[str], str]:
    """Return where a revision that no file has may be, and what to write so that it is found there."""
    if not unread:
        return [], ""
    shown = [f"not read: {each}" for each in unread[:_SHOWN]]
    return (
        shown,
        "if a file in these directories has it, under `migrations`: options: {recursive_version_locations: 'true'}",
    )


def similar(name: str, revisions: Mapping[str, Revision]) -> tuple[str, ...]:
    """Suggest the revisions whose ids are closest to one that is not there, a line each."""
    import difflib

    close = difflib.get_close_matches(name, revisions, n=_SHOWN)
    return tuple([f"did you mean {revisions[each]}  ({revisions[each].path})?" for each in close])


class Graph:
    """The revisions of one tree, in the order of their files.

    ``cache`` is what a later :meth:`of` can start from: the fields of exactly these files, as JSON. ``unread`` are
    directories with Python files below those of the revisions, which Alembic does not read either.
    """

    unread: Sequence[Path] = ()
    widens_version_table = False
    """Whether ``env.py`` or a revision deals with the column of the version table, which may then hold longer ids."""
    added: tuple[int, tuple[str, ...]] | None = None
    """Where ``env.py`` adds directories of revisions, which are not read, and what it names there."""
    runs_in_a_loop = False
    """Whether ``env.py`` runs migrations in a loop, and so may keep several version tables."""

    def __init__(self, revisions: Iterable[Revision], *, cache: Mapping[str, Fields] | None = None) -> None:
        self.revisions = _by_id(revisions)
        self.cache: Mapping[str, Fields] = cache or {}
        self.labels = labels = _labels(self.revisions)
        self._depends_on = {
            each.id: tuple([labels.get(name, name) for name in each.depends_on])
            for each in self.revisions.values()
            if each.depends_on
        }
        _require_referred(self.revisions, labels)
        self._parents = {
            name: (*each.down, *[other for other in self._depends_on[name] if other not in each.down])
            if name in self._depends_on
            else each.down
            for name, each in self.revisions.items()
        }
        _require_acyclic(self.revisions, self._parents)
        followed = {name for each in self.revisions.values() for name in each.down}
        self.heads: tuple[str, ...] = tuple([name for name in self.revisions if name not in followed])

    @cached_property
    def creates(self) -> tuple[tuple[str | None, str], ...]:
        """The tables that its revisions create, each once: a schema, or None, and a name."""
        return tuple(dict.fromkeys([table for each in self.revisions.values() for table in each.creates]))

    @classmethod
    def of(
        cls,
        sources: Mapping[Path, bytes],
        cache: Mapping[str, Fields] | None = None,
        run: Callable[[NotStaticError], Mapping[Path, Fields]] | None = None,
        mask: Callable[[str], str] | None = None,
    ) -> Graph:
        """Read a tree from the contents of its files; ``cache`` is the one of an earlier graph.

        ``run`` returns the fields of all files by running them; it is asked once, and only when a file computes what
        it states. ``mask`` returns a docstring as it may be shown.

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
            if not isinstance(found, list | tuple) or len(found) != FIELDS:
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
            revision = restore(found, path, sha256)
            revisions.append(replace(revision, message=mask(revision.message)) if mask else revision)
        return cls(revisions, cache=kept)

    @property
    def long(self) -> tuple[str, ...]:
        """The ids that are longer than what the version table holds where Alembic makes it."""
        return tuple([name for name in self.revisions if len(name) > VERSION_NUM_WIDTH])

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
        return frozenset(self._below((name,)) | self.followers((name,)))

    def _below(self, names: Iterable[str]) -> set[str]:
        """Return ``names`` and what they follow, near and far, without dependencies."""
        return _reached(names, lambda name: self.revisions[name].down)

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
        """Return revisions in the order in which Alembic undoes them, from ``heads`` on: each before its parents."""
        if not revisions:
            return ()
        parents = {**self._parents, **{name: self._needed(name) for name in self._depends_on}}
        rank = {each: number for number, each in enumerate(parents)}
        todo = set(revisions)
        walk = sorted({head for head in heads if head in todo}, key=rank.__getitem__)
        above = [self.ancestors((head,)) for head in walk]
        output: list[str] = []
        at = 0
        while walk:
            candidate = walk[at]
            dependent = next((i for i, known in enumerate(above) if i != at and candidate in known), None)
            if dependent is not None:
                at = dependent
                continue
            if candidate in todo:
                output.append(candidate)
                todo.remove(candidate)
            following = [each for each in parents[candidate] if each in todo and each not in walk]
            if not following:
                del walk[at], above[at]
                at = max(at - 1, 0)
                continue
            walk[at], *rest = following
            walk += rest
            if len(parents[candidate]) == 1 and parents[candidate] == self.revisions[candidate].down:
                above[at].discard(candidate)
            else:
                above[at] = self.ancestors(following[:1])
                above += [self.ancestors((each,)) for each in rest]
        return tuple(output)

    def _needed(self, name: str) -> tuple[str, ...]:
        """Return the immediate predecessors, without dependencies that the branch below already has."""
        own = self.revisions[name].down
        inherited = {needed for each in self._below(own) for needed in self._depends_on.get(each, ())}
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
