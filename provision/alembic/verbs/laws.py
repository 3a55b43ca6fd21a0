"""Four laws that a tree of migrations keeps, tried on scratch databases.

It has one head. From an empty database it reaches that head. Every revision can be run, undone and run again: undone,
the schema is what it was before, and run again what it was after. And the database at the head is what the models say.
The second and the third need a database each, and are tried side by side; the fourth uses that of the second.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal

from provision.alembic.running.errors import NoModelsError, RevisionFailedError, SharedChangeError
from provision.alembic.tree.source import read_notes
from provision.alembic.verbs.database import likeness, run_scratch
from provision.alembic.verbs.writing import advice, compare_models
from provision.errors import ProvisionError, command
from provision.model.value import dataclass, field, replace
from provision.model.words import count, short
from provision.system import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provision.alembic.child.protocol import Difference, Event
    from provision.alembic.running.events import MigrationEvent
    from provision.alembic.running.process import Child
    from provision.alembic.trees import Tree
    from provision.model import Endpoint


Outcome = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True)
class Law:
    """One law, and what became of it.

    ``text`` is the result in a sentence, ``evidence`` what supports it, a line each; ``revision`` is the one that broke
    it, ``path`` its file, and ``next_step`` what to do then. ``wrong`` has what is wrong with each revision.
    """

    name: str
    outcome: Outcome
    text: str
    evidence: tuple[str, ...] = ()
    revision: str | None = None
    path: str | None = None
    next_step: str | None = None
    seconds: float = 0.0
    wrong: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _timed(law: Callable[..., Law], *arguments: Any) -> Law:
    began = time.monotonic()
    return replace(law(*arguments), seconds=time.monotonic() - began)


def failed(law: str, tree: Tree, error: ProvisionError, revision: str | None) -> Law:
    """Return a law that an error broke, or kept from being tried: what was refused breaks none.

    What is applied in the scratch database is left out.
    """
    evidence = tuple(
        [each for each in error.evidence if not each.startswith(("applied now:", "left behind", "committed by"))]
    )
    path = str(tree.graph[revision].path) if revision is not None and revision in tree.graph else None
    refused = isinstance(error, SharedChangeError)
    step = error.next_step if path is None or refused else f"correct {path}"
    outcome: Outcome = "not checked" if refused else "failed"
    return Law(law, outcome, error.sentence, evidence, revision, path, step)


HEADS, UPGRADE, MODELS = "one head", "empty → head", "models"


def try_laws(tree: Tree, endpoint: Endpoint, tell: Callable[[Law], None]) -> tuple[Law, ...]:
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
        like = likeness(tree)
        one, other = [stack.enter_context(scratch.database(endpoint, tree.spec.name, like=like)) for _ in range(2)]
        upward = pool.submit(copy_context().run, _upward, tree, one)
        back = pool.submit(copy_context().run, _timed, reversal_law, tree, endpoint, other)
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
        next_step=command("migrate merge", "heads -m 'merge the heads'") + "; or write `target: heads`",
    )


def _upward(tree: Tree, endpoint: Endpoint) -> tuple[Law, Law]:
    """Try the second law, and with the database that it leaves behind the fourth."""
    reaches = _timed(_reaches_head, tree, endpoint)
    if reaches.outcome != "passed":
        return reaches, Law(MODELS, "not checked", "there is no database at the head to compare them with")
    return reaches, _timed(_models, tree, endpoint)


def _reaches_head(tree: Tree, endpoint: Endpoint) -> Law:
    walk = _Walk()
    try:
        run_scratch(tree, endpoint, tree.graph.heads, walk.tell)
    except ProvisionError as error:
        return failed(UPGRADE, tree, error, walk.revision or None)
    return Law(UPGRADE, "passed", count(len(tree.graph), "revision") if len(tree.graph) else "nothing to run")


def _models(tree: Tree, endpoint: Endpoint) -> Law:
    """Try the fourth law, on a database that is at the head."""
    try:
        found = compare_models(tree, endpoint)
    except NoModelsError:
        return Law(MODELS, "not checked", "env.py has no target_metadata")
    except ProvisionError as error:
        return failed(MODELS, tree, error, None)
    lines = found.differences
    if not lines:
        return Law(MODELS, "passed", f"nothing differs in {count(found.tables, 'table')} of the models")
    step = advice(lines, command("migrate revision", "--autogenerate -m '…'"))
    return Law(MODELS, "failed", f"{count(len(lines), 'difference')} at the head", evidence=lines, next_step=step)


REVERSAL = "up → down → up"
_MOST_ERRORS = 5
_FIRST_UPGRADE, _DOWNGRADE = 1, 2


@dataclass
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
            self.differences.setdefault(event["revision"], []).append(event)

    def fail(self, law: Law) -> None:
        """Take note of an error."""
        first, *more = law.evidence or (law.text,)
        which = "downgrade()" if self.round == _DOWNGRADE else "the second upgrade()"
        self.errors[self.revision] = [f"{which} failed: {first}", *more]

    def said(self, name: str) -> list[str]:
        """Return what was wrong with a revision."""
        return [*self.errors.get(name, ()), *sentences(self.differences.get(name, []))]


def reversal_law(tree: Tree, server: Endpoint, endpoint: Endpoint) -> Law:
    """Try the law on a scratch database of a server; ``server`` leads to the declared one."""
    excused = irreversible(tree)
    steps = tuple([(name, name not in excused) for name in tree.graph.pending((), tree.graph.heads)])
    walk, left = _Walk(), steps
    try:
        while left:
            left = _go_on(tree, endpoint, left, walk)
            if len(walk.errors) >= _MOST_ERRORS:
                break
            if left:
                scratch.renew(server, endpoint, likeness(tree))
                done = tree.graph.version_rows([name for name, _ in steps[: len(steps) - len(left)]])
                run_scratch(tree, endpoint, done)
    except ProvisionError as error:
        is_its_own = isinstance(error, RevisionFailedError | SharedChangeError)
        return _ended(tree, walk, failed(REVERSAL, tree, error, walk.revision if is_its_own else None))
    excuses = [f"{tree.graph.describe(name)}: not undone, {why}" for name, why in excused.items()]
    broken = [name for name, _ in steps if walk.said(name)]
    if not broken:
        tried = len(steps) - len(excused)
        text = f"{tried} of {len(steps)} revisions" if excused else count(tried, "revision")
        return Law(REVERSAL, "passed", text, evidence=tuple(excuses))
    first = tree.graph[broken[0]]
    untried = [f"{len(left)} later revision{'s were' if len(left) > 1 else ' was'} not tried"] if left else []
    return Law(
        REVERSAL,
        "failed",
        str(first) if len(broken) == 1 else f"{first}, and {len(broken) - 1} more",
        (*untried, *_wrong_lines(tree, walk, broken), *excuses),
        first.id,
        str(first.path),
        f"correct downgrade() in {first.path}; if it is not meant to go back: `# provision: irreversible`",
        wrong={name: tuple(walk.said(name)) for name in broken},
    )


def _go_on(
    tree: Tree, endpoint: Endpoint, left: tuple[tuple[str, bool], ...], walk: _Walk
) -> tuple[tuple[str, bool], ...]:
    """Walk, and return what is left behind a revision that could not be undone.

    Raises:
        ProvisionError: it goes no further, because a revision cannot even be run, or it was not the revision that
            failed: the server is gone, or its database, which is dropped when the run is interrupted.
    """
    try:
        run_scratch(tree, endpoint, tree.graph.heads, walk.tell, hear=walk.hear, walk=left)
    except RevisionFailedError as error:
        if walk.round <= _FIRST_UPGRADE:
            raise
        walk.fail(failed(REVERSAL, tree, error, walk.revision))
        at = [name for name, _ in left].index(walk.revision)
        return left[at + 1 :]
    return ()


def _ended(tree: Tree, walk: _Walk, broken: Law) -> Law:
    """Return the law where a revision cannot be run, or was refused, with what was found before."""
    is_broken = broken.outcome == "failed"
    text = f"the first upgrade() of {broken.text}" if broken.revision and is_broken else broken.text
    names = [name for name in tree.graph.revisions if walk.said(name)]
    before = tuple(_wrong_lines(tree, walk, names))
    outcome: Outcome = "failed" if is_broken or before else "not checked"
    wrong = {name: tuple(walk.said(name)) for name in names}
    if broken.revision and is_broken:
        wrong[broken.revision] = (text, *broken.evidence)
    return replace(broken, outcome=outcome, text=text, evidence=(*broken.evidence, *before), wrong=wrong)


def _wrong_lines(tree: Tree, walk: _Walk, names: list[str]) -> list[str]:
    """Return what is wrong, below each revision."""
    lines = []
    for name in names:
        lines += [f"{tree.graph[name]}  ({tree.graph[name].path})", *[f"  {each}" for each in walk.said(name)]]
    return lines


def irreversible(tree: Tree) -> dict[str, str]:
    """Return the revisions that are not meant to be undone, and where it says so."""
    found = {}
    for name, revision in tree.graph.revisions.items():
        said = read_notes(revision.path.read_bytes())
        if said.is_irreversible:
            found[name] = "its file says `# provision: irreversible`"
        elif said.raises is not None:
            found[name] = f"its downgrade() raises ({revision.path.name}:{said.raises})"
    return found


_SHORT = 120
_SENTENCES = {
    ("down", "more"): "downgrade() leaves {} behind",
    ("down", "less"): "downgrade() removes {}, which was there before the revision",
    ("down", "other"): "downgrade() does not bring back {}",
    ("again", "more"): "the second upgrade() makes {}, which the first did not",
    ("again", "less"): "the second upgrade() does not make {}, which the first did",
    ("again", "other"): "the second upgrade() makes another {}",
}


def _sentence(each: Difference) -> str:
    """Say what differs; ``wanted`` is the definition before that, ``found`` the one after it; None: it is not there."""
    wanted, found = each["wanted"], each["found"]
    how = "more" if wanted is None else "less" if found is None else "other"
    sentence = _SENTENCES[each["phase"], how].format(f"{each['kind']} {each['name']}")
    return (
        sentence
        if how != "other"
        else f"{sentence}: it was `{short(wanted or '', _SHORT)}` and is `{short(found or '', _SHORT)}`"
    )


def sentences(found: list[Difference]) -> list[str]:
    """Return what differs, a sentence each; columns go with their table, and an index with its constraint."""
    gone: set[tuple[str, str]] = {
        (each["phase"], each["name"])
        for each in found
        if each["kind"].endswith(("table", "view")) and (each["wanted"] is None or each["found"] is None)
    }
    keys = {(each["phase"], _index_of(each["name"])) for each in found if each["kind"] == "constraint"}
    return [
        _sentence(each)
        for each in found
        if not _is_part(each, gone) and not (each["kind"] == "index" and (each["phase"], each["name"]) in keys)
    ]


def _index_of(constraint: str) -> str:
    """Return the name of the index that a constraint may have: ``public.t_pkey`` for ``public.t.t_pkey``."""
    table, _, name = constraint.rpartition(".")
    return f"{table.rpartition('.')[0]}.{name}"


def _is_part(each: Difference, gone: set[tuple[str, str]]) -> bool:
    if each["kind"] in {"column", "constraint", "trigger", "policy", "rule"}:
        return (each["phase"], each["name"].rpartition(".")[0]) in gone
    definition = each["wanted"] or each["found"] or ""
    if each["kind"] == "index":
        return any(phase == each["phase"] and f" ON {name} " in definition for phase, name in gone)
    if each["kind"] == "sequence":
        plain = each["name"].removesuffix(" as")
        return any(phase == each["phase"] and plain.startswith(f"{name}_") for phase, name in gone)
    return False
