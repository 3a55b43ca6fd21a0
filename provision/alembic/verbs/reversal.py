"""The third law: every revision can be run, undone and run again, and leaves the schema as it has to be.

One run of the child walks through all revisions. One that raises ends it; then the database is made anew up to there,
and the walk goes on behind, a few times: a tree with one bad revision may have others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.alembic.running.errors import RevisionFailedError, SharedChangeError
from provision.alembic.tree import notes
from provision.alembic.tree.reversal import Difference, sentences
from provision.alembic.verbs import scratch
from provision.alembic.verbs.law import Law, failed
from provision.errors import ProvisionError

if TYPE_CHECKING:
    from provision.alembic.running.events import MigrationEvent
    from provision.alembic.running.process import Child, Event
    from provision.alembic.verbs.tree import Tree
    from provision.model import Endpoint

REVERSAL = "up → down → up"
_MOST_ERRORS = 5
_FIRST_UPGRADE, _DOWNGRADE = 1, 2


@dataclass(slots=True)
class _Walk:
    """How far it came: the revision that runs, in which round, and what was wrong with revisions so far."""

    revision: str = ""
    round: int = 0
    differences: dict[str, list[Difference]] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)

    def tell(self, event: MigrationEvent) -> None:
        """Take note of a revision that begins."""
        if event.what == "started":
            self.round = self.round + 1 if event.subject == self.revision else _FIRST_UPGRADE
            self.revision = event.subject

    def hear(self, _child: Child, event: Event) -> None:
        """Take note of a difference, or of a revision without a downgrade."""
        if event["event"] == "no-downgrade":
            self.errors[event["revision"]] = ["the file has no function `downgrade`"]
        if event["event"] == "difference":
            names = ("revision", "phase", "kind", "name", "wanted", "found")
            found = Difference(*[event[name] for name in names])
            self.differences.setdefault(found.revision, []).append(found)

    def fail(self, law: Law) -> None:
        """Take note of an error."""
        first, *more = law.evidence or (law.text,)
        which = "downgrade()" if self.round == _DOWNGRADE else "the second upgrade()"
        self.errors[self.revision] = [f"{which} failed: {first}", *more]

    def said(self, name: str) -> list[str]:
        """Return what was wrong with a revision."""
        return [*self.errors.get(name, ()), *sentences(self.differences.get(name, []))]


def law(tree: Tree, server: Endpoint, endpoint: Endpoint) -> Law:
    """Try the law on a scratch database of a server; ``server`` leads to the declared one."""
    began = time.monotonic()
    excused = irreversible(tree)
    steps = tuple(scratch.steps(tree, excused))
    walk, left = _Walk(), steps
    try:
        while left:
            left = _go_on(tree, endpoint, left, walk, began)
            if len(walk.errors) >= _MOST_ERRORS:
                break
            if left:
                scratch.renew(server, endpoint)
                done = tree.graph.version_rows([name for name, _ in steps[: len(steps) - len(left)]])
                scratch.upgrade(tree, endpoint, done)
    except ProvisionError as error:
        is_its_own = isinstance(error, RevisionFailedError | SharedChangeError)
        return _ended(tree, walk, failed(REVERSAL, tree, error, began, walk.revision if is_its_own else None))
    seconds = time.monotonic() - began
    excuses = [f"{tree.graph.describe(name)}: not undone, {why}" for name, why in excused.items()]
    broken = [name for name, _ in steps if walk.said(name)]
    if not broken:
        count = len(steps) - len(excused)
        text = f"{count} of {len(steps)} revisions" if excused else f"{count} revision{'s' if count != 1 else ''}"
        return Law(REVERSAL, "passed", text, seconds, tuple(excuses))
    first = tree.graph[broken[0]]
    untried = [f"{len(left)} later revision{'s were' if len(left) > 1 else ' was'} not tried"] if left else []
    return Law(
        REVERSAL,
        "failed",
        str(first) if len(broken) == 1 else f"{first}, and {len(broken) - 1} more",
        seconds,
        (*untried, *_told(tree, walk, broken), *excuses),
        first.id,
        str(first.path),
        f"correct downgrade() in {first.path}; if it is not meant to go back: `# provision: irreversible`",
    )


def _go_on(
    tree: Tree, endpoint: Endpoint, left: tuple[tuple[str, bool], ...], walk: _Walk, began: float
) -> tuple[tuple[str, bool], ...]:
    """Walk, and return what is left behind a revision that could not be undone.

    Raises:
        ProvisionError: it goes no further, because a revision cannot even be run, or it was not the revision that
            failed: the server is gone, or its database, which is dropped when the run is interrupted.
    """
    try:
        scratch.walk(tree, endpoint, left, walk.hear, walk.tell)
    except RevisionFailedError as error:
        if walk.round <= _FIRST_UPGRADE:
            raise
        walk.fail(failed(REVERSAL, tree, error, began, walk.revision))
        at = [name for name, _ in left].index(walk.revision)
        return left[at + 1 :]
    return ()


def _ended(tree: Tree, walk: _Walk, broken: Law) -> Law:
    """Return the law where a revision cannot be run, or was refused, with what was found before."""
    is_broken = broken.outcome == "failed"
    text = f"the first upgrade() of {broken.text}" if broken.revision and is_broken else broken.text
    before = tuple(_told(tree, walk, [name for name in tree.graph.revisions if walk.said(name)]))
    return Law(
        REVERSAL,
        "failed" if is_broken or before else "not checked",
        text,
        broken.seconds,
        (*broken.evidence, *before),
        broken.revision,
        broken.path,
        broken.next_step,
    )


def _told(tree: Tree, walk: _Walk, names: list[str]) -> list[str]:
    """Return what is wrong, below each revision."""
    lines = []
    for name in names:
        lines += [f"{tree.graph[name]}  ({tree.graph[name].path})", *[f"  {each}" for each in walk.said(name)]]
    return lines


def irreversible(tree: Tree) -> dict[str, str]:
    """Return the revisions that are not meant to be undone, and where it says so."""
    found = {}
    for name, revision in tree.graph.revisions.items():
        said = notes.read(revision.path.read_bytes())
        if said.is_irreversible:
            found[name] = "its file says `# provision: irreversible`"
        elif said.raises is not None:
            found[name] = f"its downgrade() raises ({revision.path.name}:{said.raises})"
    return found
