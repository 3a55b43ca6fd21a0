"""What is wrong with the revision files of a tree, each at its line; nothing of them is run.

Alembic, and the graph that stands for it, end at the first of these. A review wants all of them at once, and also what
no single checkout shows: that two branches add a revision behind the same one, and that a branch edits or removes a
revision that another has published, which may have run already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shlex import quote

from provision.alembic.tree.graph import Graph
from provision.alembic.tree.source import NotStaticError, Revision, digest, id_fault, read_fields, restore
from provision.alembic.tree.targets import resolve
from provision.errors import MigrationsError
from provision.model.value import dataclass
from provision.model.words import shown


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. ``rule`` is a word for it, ``line`` counts from 1, ``advice`` is what to do."""

    path: Path
    line: int
    rule: str
    message: str
    advice: str


@dataclass(frozen=True)
class Since:
    """What another branch has: ``base`` are its files where this one left it, ``tip`` those that it has now.

    ``name`` is how the user calls it. The paths are those that the files have, or would have, in this checkout.
    """

    name: str
    base: Mapping[Path, bytes]
    tip: Mapping[Path, bytes]


@dataclass(frozen=True)
class Checked:
    """What was found in the files of one tree; ``unknown`` says why some of it is not known, in sentences."""

    tree: str
    revisions: int
    faults: tuple[Fault, ...]
    unknown: tuple[str, ...] = ()


def check(name: str, target: str, sources: Mapping[Path, bytes], since: Since | None, *, widens: bool) -> Checked:
    """Check the files of a tree; ``widens``: the tree deals with the column of its version table itself."""
    revisions, faults, unknown = _read(sources)
    faults += _ids(revisions, widens=widens)
    if since is not None:
        faults += _changed(revisions, sources, since)
    if not unknown and not faults:
        faults += _together(revisions, target, since)
    order = sorted(faults, key=lambda each: (str(each.path), each.line, each.rule))
    return Checked(name, len(sources), tuple(order), tuple(unknown))


def _read(sources: Mapping[Path, bytes]) -> tuple[list[Revision], list[Fault], list[str]]:
    """Return the revisions, what is wrong with single files, and which of them only running would tell."""
    revisions, faults, unknown = [], [], []
    for path, source in sources.items():
        try:
            revisions.append(restore(read_fields(source, path), path, digest(source)))
        except NotStaticError as error:
            unknown.append(error.sentence)
        except MigrationsError as error:
            faults.append(_fault_of(error, path))
    return revisions, faults, unknown


def _fault_of(error: MigrationsError, path: Path) -> Fault:
    """Return an error about a file, whose sentence begins with its place, as a fault."""
    place, _, words = error.sentence.removeprefix(f"{path}:").partition(" ")
    line = int(place) if place.isdigit() else 1
    sentence = f"the file {words}" if place.isdigit() else error.sentence
    return Fault(path, line, "unreadable", sentence, error.next_step or "")


def _ids(revisions: Iterable[Revision], *, widens: bool) -> Iterator[Fault]:
    first: dict[str, Revision] = {}
    for each in revisions:
        other = first.setdefault(each.id, each)
        if other is not each:
            yield Fault(
                each.path,
                each.line,
                "duplicate-id",
                f"{other.path.name} is revision {each.id} too",
                "give one of them an id of its own, also in the `down_revision` of what follows it",
            )
        elif (fault := id_fault(each.id)) is not None and not (each.id and widens):
            yield Fault(each.path, each.line, "long-id" if each.id else "empty-id", fault, "write a shorter id")


def _changed(revisions: Iterable[Revision], sources: Mapping[Path, bytes], since: Since) -> Iterator[Fault]:
    """Yield the revisions of the other branch that this one has edited or removed; a file may be renamed."""
    ours = {each.id: each for each in revisions}
    for path, before in since.base.items():
        if sources.get(path) == before:
            continue
        for theirs in _read({path: before})[0]:
            now = ours.get(theirs.id)
            if now is None:
                step = f"bring it back: git checkout {quote(since.name)} -- {quote(shown(path))}"
                yield Fault(path, 1, "removed", f"revision {theirs.id} of {since.name} is not here any more", step)
            elif now.sha256 != theirs.sha256:
                line = _first_difference(before, sources[now.path])
                words = f"revision {theirs.id} of {since.name} was edited: no edit reaches a database that has it"
                yield Fault(now.path, line, "edited", words, "take the edit back, and write a new revision")


def _first_difference(before: bytes, after: bytes) -> int:
    r"""Return the first line, counted from 1, that an edit has changed.

    >>> _first_difference(b"a\nb\n", b"a\nc\n"), _first_difference(b"a\nb\n", b"a\n")
    (2, 1)
    """
    old, new = before.splitlines(), after.splitlines()
    pairs = enumerate(zip(old, new, strict=False))
    same = next((number for number, (a, b) in pairs if a != b), min(len(old), len(new)))
    return max(1, min(same + 1, len(new)))


def _together(revisions: list[Revision], target: str, since: Since | None) -> Iterator[Fault]:
    """Yield what is wrong with the tree as a whole, and with the one that the two branches make together."""
    try:
        graph = Graph(revisions)
    except MigrationsError as error:
        path, line = _place(error, revisions)
        yield Fault(path, line, "broken", error.sentence, error.next_step or "")
        return
    heads = _rival_heads(graph, target)
    for name in heads:
        yield _head(graph[name], [graph[other] for other in heads if other != name], "the tree has several heads")
    if since is not None and not heads:
        yield from _merged(graph, target, since)


def _merged(graph: Graph, target: str, since: Since) -> Iterator[Fault]:
    """Yield what would be wrong once the branch is merged: the other one has revisions too, which are not here yet."""
    added = _read({path: source for path, source in since.tip.items() if path not in since.base})[0]
    for theirs in added:
        if theirs.id in graph and graph[theirs.id].sha256 != theirs.sha256:
            ours = graph[theirs.id]
            words = f"{since.name} has another revision {theirs.id}, {theirs.path.name}"
            yield Fault(ours.path, ours.line, "duplicate-id", words, "take another id")
            return
    try:
        both = Graph([*graph.revisions.values(), *[each for each in added if each.id not in graph]])
    except MigrationsError:  # what is wrong there alone is not for this branch to mend
        return
    heads = _rival_heads(both, target)
    others = [both[each] for each in heads if each not in graph]
    for name in heads:
        if name in graph and others:
            yield _head(graph[name], others, f"with {since.name}, the tree has {len(heads)} heads")


def _rival_heads(graph: Graph, target: str) -> tuple[str, ...]:
    """Return the heads where there are more than the target allows: one, of its branch where it names one."""
    if target == "heads" or len(graph.heads) < 2:  # noqa: PLR2004
        return ()
    branch, at, _ = target.partition("@")
    try:
        found = resolve(graph, f"{branch}@heads") if at else graph.heads
    except MigrationsError:
        return graph.heads
    return tuple(found) if len(found) > 1 else ()


def _head(revision: Revision, others: list[Revision], words: str) -> Fault:
    rest = ", ".join(f"{each.id} ({each.path.name})" for each in others)
    advice = f"let it follow the other: `down_revision = {others[0].id!r}`, or write a merge of the two"
    return Fault(revision.path, revision.down_line, "heads", f"{words}: {revision.id}, and {rest}", advice)


def _place(error: MigrationsError, revisions: list[Revision]) -> tuple[Path, int]:
    """Return the place that an error about the whole names first."""
    words = " ".join((error.sentence, *error.evidence))
    named = [(words.find(str(each.path)), each) for each in revisions if str(each.path) in words]
    at, found = min(named, key=lambda each: each[0]) if named else (0, revisions[0])
    number = words[at + len(str(found.path)) + 1 :].partition(" ")[0].rstrip(":,") if named else ""
    return found.path, int(number) if number.isdigit() else found.line
