"""Four laws that a tree of migrations keeps, tried on scratch databases.

It has one head. From an empty database it reaches that head. Every revision can be run, undone and run again: undone,
the schema is what it was before, and run again what it was after. And the database at the head is what the models say.
The second and the third need a database each, and are tried side by side; the fourth uses that of the second.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from provision.errors import ProvisionError
from provision.migrate import scratch
from provision.revisions import notes
from provision.revisions.reversal import Difference, sentences
from provision.system import alembic_ask
from provision.system.alembic_errors import NoModelsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.migrate.tree import Tree
    from provision.model import Endpoint
    from provision.system.alembic import MigrationEvent
    from provision.system.alembic_process import Child, Event

Outcome = Literal["passed", "failed", "not checked"]

HEADS, UPGRADE, REVERSAL, MODELS = "one head", "empty → head", "up → down → up", "models"


@dataclass(frozen=True, slots=True)
class Law:
    """One law, and what became of it.

    ``text`` is the result in a sentence, ``evidence`` what supports it, a line each; ``revision`` is the one that broke
    it, ``path`` its file, and ``next_step`` what to do then.
    """

    name: str
    outcome: Outcome
    text: str
    seconds: float = 0.0
    evidence: tuple[str, ...] = ()
    revision: str | None = None
    path: str | None = None
    next_step: str | None = None


def check(tree: Tree, endpoint: Endpoint, tell: Callable[[Law], None]) -> tuple[Law, ...]:
    """Try the four laws on a server, and tell each when it is known.

    Raises:
        RefusedError: no scratch database can be made.
        UnavailableError: the server cannot be reached.
    """
    found: list[Law] = []

    def keep(law: Law) -> None:
        found.append(law)
        tell(law)

    keep(one_head(tree))
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        # Left in the other order: when we are interrupted, what still runs loses its database, and ends.
        one, other = [stack.enter_context(scratch.empty(tree, endpoint)) for _ in range(2)]
        upward = pool.submit(_upward, tree, one)
        back = pool.submit(_back_and_forth, tree, other)
        reaches, models = upward.result()
        keep(reaches)
        keep(back.result())
        keep(models)
    return tuple(found)


def one_head(tree: Tree) -> Law:
    """See that nothing branches off without being merged again; several heads may be wanted, and the target says so."""
    graph, heads = tree.graph, tree.graph.heads
    if len(heads) == 1:
        return Law(HEADS, "passed", graph.describe(heads[0]))
    if not heads:
        return Law(HEADS, "passed", "the tree has no revisions yet")
    lines = tuple([f"{graph[each]}  ({graph[each].path})" for each in heads])
    if tree.declared.target == "heads":
        return Law(HEADS, "passed", f"{len(heads)} heads, and `target: heads` wants all of them", evidence=lines)
    return Law(
        HEADS,
        "failed",
        f"{len(heads)} heads",
        evidence=lines,
        revision=heads[-1],
        path=str(graph[heads[-1]].path),
        next_step="provision migrate merge heads -m 'merge the heads'; or write `target: heads`",
    )


def _upward(tree: Tree, endpoint: Endpoint) -> tuple[Law, Law]:
    """Try the second law, and with the database that it leaves behind the fourth."""
    began = time.monotonic()
    count = len(tree.graph)
    where = _Where()
    try:
        scratch.upgrade(tree, endpoint, tree.graph.heads, where.tell)
    except ProvisionError as error:
        models = Law(MODELS, "not checked", "there is no database at the head to compare them with")
        return _failed(UPGRADE, tree, error, began, where.revision), models
    ran = "nothing to run" if not count else f"{count} revision{'s' if count > 1 else ''}"
    return Law(UPGRADE, "passed", ran, time.monotonic() - began), _models(tree, endpoint)


def _models(tree: Tree, endpoint: Endpoint) -> Law:
    """Try the fourth law, on a database that is at the head."""
    began = time.monotonic()
    try:
        found = alembic_ask.compare(tree.declared, tree.graph, tree.location, endpoint)
    except NoModelsError:
        return Law(MODELS, "not checked", "env.py has no target_metadata")
    except ProvisionError as error:
        return _failed(MODELS, tree, error, began, None)
    seconds = time.monotonic() - began
    if not found:
        return Law(MODELS, "passed", "nothing differs", seconds)
    return Law(
        MODELS,
        "failed",
        f"{len(found)} difference{'s' if len(found) > 1 else ''} at the head",
        seconds,
        found,
        next_step="provision migrate revision --autogenerate -m '…'; or correct the models",
    )


def _back_and_forth(tree: Tree, endpoint: Endpoint) -> Law:
    """Try the third law."""
    began = time.monotonic()
    excused = irreversible(tree)
    steps = tuple(scratch.steps(tree, excused))
    where = _Where()
    try:
        scratch.walk(tree, endpoint, steps, where.hear, where.tell)
    except ProvisionError as error:
        return _stopped(tree, steps, where, error, began)
    seconds = time.monotonic() - began
    excuses = tuple([f"{tree.graph.describe(name)}: not undone, {why}" for name, why in excused.items()])
    if where.differences:
        broken = tuple(dict.fromkeys(each.revision for each in where.differences))
        first = tree.graph[broken[0]]
        what = str(first) if len(broken) == 1 else f"{first}, and {len(broken) - 1} more"
        return Law(
            REVERSAL,
            "failed",
            f"another schema after {what}",
            seconds,
            (*_told(tree, where.differences), *excuses),
            first.id,
            str(first.path),
            f"correct downgrade() in {first.path}; if it is not meant to go back: `# provision: irreversible`",
        )
    count = sum(goes_back for _, goes_back in steps)
    text = f"{count} of {len(steps)} revisions" if excused else f"{count} revision{'s' if count != 1 else ''}"
    return Law(REVERSAL, "passed", text, seconds, excuses)


def irreversible(tree: Tree) -> dict[str, str]:
    """Return the revisions that are not meant to be undone, and where it says so."""
    found = {}
    for name, revision in tree.graph.revisions.items():
        said = notes.read(revision.path.read_text(encoding="utf-8"))
        if said.is_irreversible:
            found[name] = "its file says `# provision: irreversible`"
        elif said.raises is not None:
            found[name] = f"its downgrade() raises ({revision.path.name}:{said.raises})"
    return found


@dataclass(slots=True)
class _Where:
    """How far a run came: the revision that runs, in which round, and what differed so far."""

    revision: str | None = None
    round: int = 0
    walked: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def tell(self, event: MigrationEvent) -> None:
        if event.what == "started":
            self.round = self.round + 1 if event.subject == self.revision else 1
            self.revision = event.subject

    def hear(self, _child: Child, event: Event) -> None:
        if event["event"] == "walked":
            self.walked.append(event["revision"])
        elif event["event"] == "difference":
            names = ("revision", "phase", "kind", "name", "wanted", "found")
            self.differences.append(Difference(*[event[name] for name in names]))


_ROUNDS = {1: "the first upgrade()", 2: "downgrade()", 3: "the second upgrade()"}


def _stopped(
    tree: Tree, steps: tuple[tuple[str, bool], ...], where: _Where, error: ProvisionError, began: float
) -> Law:
    """Return the third law, broken by an error: in which round, and what was not tried any more."""
    law = _failed(REVERSAL, tree, error, began, where.revision)
    left = len(steps) - len(where.walked) - 1
    then = (f"{left} later revision{'s were' if left > 1 else ' was'} not tried",) if left > 0 else ()
    hint = law.next_step
    if where.round == ROUND_DOWN:
        hint = f"correct downgrade() in {law.path}; if it is not meant to go back: `# provision: irreversible`"
    text = f"{_ROUNDS[where.round]} of {law.text}" if where.round and law.revision else law.text
    return Law(
        law.name,
        "failed",
        text,
        law.seconds,
        (*_told(tree, where.differences), *law.evidence, *then),
        law.revision,
        law.path,
        hint,
    )


ROUND_DOWN = 2


def _told(tree: Tree, found: list[Difference]) -> tuple[str, ...]:
    """Return what differs, revision by revision."""
    lines = []
    for name in dict.fromkeys(each.revision for each in found):
        own = sentences([each for each in found if each.revision == name])
        lines += [f"{tree.graph[name].path}: {sentence}" for sentence in own]
    return tuple(lines)


def _failed(law: str, tree: Tree, error: ProvisionError, began: float, revision: str | None) -> Law:
    """Return a law that an error broke; what is applied in the scratch database is nobody's business."""
    evidence = tuple([each for each in error.evidence if not each.startswith(("applied now:", "left behind"))])
    path = str(tree.graph[revision].path) if revision is not None and revision in tree.graph else None
    step = error.next_step if path is None else f"correct {path}"
    return Law(law, "failed", error.sentence, time.monotonic() - began, evidence, revision, path, step)
