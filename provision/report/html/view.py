"""The page as values: everything that the template shows, decided and cut to size. It is pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from provision.errors import with_spec
from provision.insight.tables import Table
from provision.model import Action, Change, Step
from provision.model.words import count, shown
from provision.report import amounts
from provision.report.diagram.erd import Drawing, drawing
from provision.report.html import history, pending
from provision.report.html.history import History
from provision.report.html.pending import Pending
from provision.report.html.verdict import Verdict, verdict
from provision.report.html.words import Cut, Word, cut, limited, near
from provision.report.plan import ALARM, SIGNS, grouped, reasons_of, subject
from provision.report.survey import tenants
from provision.report.words import is_foretold
from provision.review import DatabaseReview, Review
from provision.review.touching import Touch
from provision.version import __version__

MOST_BOXES: Final = 25
"""Tables in a picture; where there are more, those that are touched and their neighbours."""


_LAST: Final = 0.1


class Limits(NamedTuple):
    """How much of each list is shown, and the bytes that all SQL together may take."""

    sql: int = 48_000
    revisions: int = 60
    differences: int = 80
    steps: int = 60
    reasons: int = 12
    tables: int = 200
    notes: int = 40
    boxes: int = MOST_BOXES

    def scaled(self, part: float) -> Limits:
        """Return tighter ones."""
        tighter = Limits(*[max(4, int(each * part)) for each in self])
        return tighter._replace(boxes=self.boxes if part > _LAST else 0)  # a picture is worth the most

    def shared(self, number: int) -> Limits:
        """Return those of each of so many trees."""
        several = max(1, number)
        return self._replace(sql=self.sql // several, revisions=max(4, self.revisions // several))


class Fact(NamedTuple):
    """A fact about the environment, and what explains it."""

    name: str
    text: str
    more: str = ""


class StepView(NamedTuple):
    """One line of the plan; a reason is a text, or a field with both values."""

    sign: str
    tone: str
    action: str
    about: str
    reasons: Cut
    consequence: str
    alarm: str


class Difference(NamedTuple):
    """One field that is not as declared, and the thing that has it; or a thing, and what is wrong with it."""

    what: str
    where: str
    declared: str
    real: str


class TableView(NamedTuple):
    """One table of the list."""

    title: str
    rows: str
    size: str
    comment: str
    references: tuple[str, ...]
    what: str
    tone: str


class Database(NamedTuple):
    """The tables of a database: a picture of some, a list of all; ``left_out`` is how many have no box."""

    name: str
    problem: str
    total: int
    picture: Drawing | None
    left_out: int
    tables: Cut
    legend: tuple[Word, ...]


class Page(NamedTuple):
    """Everything that the template shows."""

    name: str
    spec: str
    at: str
    version: str
    verdict: Verdict
    facts: tuple[Fact, ...]
    steps: Cut
    notes: Cut
    refusal: Cut
    next_step: str
    pending: tuple[Pending, ...]
    differences: Cut
    compared: str
    unseen: Cut
    histories: tuple[History, ...]
    databases: tuple[Database, ...]


def view(review: Review, *, spec: str = "", limits: Limits = Limits()) -> Page:  # noqa: B008  # a tuple of numbers
    """Return the page; ``spec`` is the path of the spec as it was typed, for commands."""
    seen, found = review.survey, review.verification
    own = limits.shared(len(review.trees))
    refusal = (seen.refusal.sentence, *seen.refusal.evidence) if seen.refusal else ()
    return Page(
        seen.spec.name,
        shown(seen.spec.path),
        f"{review.at:%Y-%m-%d %H:%M} UTC",
        __version__,
        verdict(review),
        tuple(_facts(review)),
        cut([_step(each, limits) for each in grouped(seen.plan.steps, every=False)], limits.steps),
        cut(list(_notes(review)), limits.notes),
        cut([near(seen.spec, each) for each in refusal], limits.notes),
        with_spec(found.next_step or "", spec),
        _pendings(review, own),
        cut([_difference(each) for each in found.differences], limits.differences),
        _compared(review),
        cut([str(each) for each in found.unseen], limits.notes),
        tuple([history.of(seen.spec, each, most=own.revisions) for each in review.trees]),
        tuple([_database(review, each, limits) for each in review.databases]),
    )


def _pendings(review: Review, limits: Limits) -> tuple[Pending, ...]:
    every = [pending.pending(review, each, room=limits.sql, most=limits.revisions) for each in review.trees]
    return tuple([each for each in every if each.revisions or each.notes])


def _facts(review: Review) -> Iterator[Fact]:
    seen = review.survey
    state, at = seen.status, seen.login
    version = state.version or (f"{seen.spec.server.major} (declared)" if seen.spec.server.major else "")
    yield Fact("server", f"PostgreSQL {version}".strip(), state.image or "")
    yield Fact("runtime", seen.runtime)
    yield Fact("state", state.server, near(seen.spec, with_spec(state.detail, "")))
    if at is not None:
        yield Fact("where", f"{at.address}/{at.database}", f"as {at.user}")
    for tree in review.trees:
        name = "tenants" if tree.declared.tenants else "revision"
        name = name if len(review.trees) == 1 else f"{name}, {tree.name}"
        yield Fact(name, _revision(review, tree.name), f"{len(tree.tree.graph)} in the tree" if tree.tree else "")
    sizes = [each.size for each in review.databases if each.size is not None]
    if sizes:
        tables = sum(len(each.tables) for each in review.databases)
        yield Fact("data", amounts.size(sum(sizes)), count(tables, "table"))
    if state.clients is not None:
        yield Fact("clients", str(state.clients), "connected")
    if state.started:
        yield Fact("running since", state.started[:16].replace("T", " "))


def _revision(review: Review, name: str) -> str:
    """Return where a database is, and where an apply would lead it."""
    (tree,) = [each for each in review.trees if each.name == name]
    if name in review.survey.status.tenants:
        return tenants(review.survey, name)
    here = "?" if tree.rows is None else " + ".join(tree.rows) or "none"
    last = [
        each.rendering.revisions[-1].revision for each in tree.scripts if each.rendering and each.rendering.revisions
    ]
    return f"{here} → {last[-1]}" if last else here


def _step(steps: Sequence[Step], limits: Limits) -> StepView:
    step = steps[0]
    sign = "?" if is_foretold(step) else SIGNS.get(step.action, "↻" if step.action is Action.RESTART else "~")
    tone = {"+": "good", "-": "bad", "?": "quiet"}.get(sign, "warn")
    why: list[Any] = [_reason(each) for each in reasons_of(steps)]
    about = subject(steps)
    return StepView(
        sign,
        tone,
        str(step.action),
        limited(about),
        cut(why, limits.reasons),
        limited(step.consequence),
        ALARM if step.destroys else "",
    )


def _reason(each: Change | str) -> dict[str, str | None]:
    """Return a reason as its parts; a sentence has only its text."""
    if isinstance(each, str):
        return {"text": limited(each), "before": None, "after": None}
    before, after = each.shown
    return {
        "text": each.field,
        "before": None if before is None else limited(before),
        "after": limited(after if after is not None else "default"),
    }


def _notes(review: Review) -> Iterator[Word]:
    plan, spec = review.survey.plan, review.survey.spec
    yield from (Word(near(spec, each), "bad") for each in plan.overrides)
    yield from (Word(near(spec, each), "warn") for each in plan.notes)
    yield from (
        Word(near(spec, each), "quiet") for each in (*plan.unknown, *plan.partial, *review.verification.remarks)
    )


def _compared(review: Review) -> str:
    found = review.verification
    things = len({each.address for each in found.differences})
    if not found.compared:
        return "Nothing could be compared"
    return f"{count(found.compared, 'thing')} compared, {things or 'none'} differ{'s' if things < 2 else ''}"  # noqa: PLR2004


def _difference(each: Any) -> Difference:
    if each.field is None:
        return Difference(str(each.address), limited(each.text), "", "")
    start = f"{each.field}: "
    # The text has both as people read them (1g), the fields as programs do; that of a revision has no such text.
    real, separator, declared = each.text.removeprefix(start).rpartition(", declared ")
    if not (separator and each.text.startswith(start)):
        declared, real = [value if value is not None else "the default" for value in (each.declared, each.real)]
    return Difference(each.field, str(each.address), limited(declared), limited(real))


def _database(review: Review, found: DatabaseReview, limits: Limits) -> Database:
    touched = pending.worst(review, found.name)
    chosen = boxes(found.tables, list(touched), limits.boxes)
    marks = {key: (pending.TONES[each.what], each.what) for key, each in touched.items()}
    listed = [_table(each, touched.get(each.key)) for each in _first(found.tables, touched)]
    drawn = {table.key for table in chosen}
    colours = dict.fromkeys(each.what for key, each in touched.items() if key in drawn)
    return Database(
        found.name,
        found.problem,
        len(found.tables),
        drawing(chosen, marks) if chosen else None,
        len(found.tables) - len(chosen),
        cut(listed, limits.tables),
        tuple([Word(what, pending.TONES[what]) for what in colours]),
    )


def boxes(tables: Sequence[Table], touched: Sequence[tuple[str, str]], most: int = MOST_BOXES) -> tuple[Table, ...]:
    """Return the tables that a picture shows: all, or of many those that are touched, and their neighbours.

    The worst come first where these are too many, too.
    """
    if len(tables) <= most:
        return tuple(tables)
    known = {each.key for each in tables}
    there = [each for each in touched if each in known][:most]
    near = dict.fromkeys(there)
    pairs = [(each.key, key.to) for each in tables for key in each.references]
    for own in there:
        near |= dict.fromkeys([b if a == own else a for a, b in pairs if own in (a, b)])
    shown_ = set([each for each in near if each in known][:most])
    return tuple([each for each in tables if each.key in shown_])


def _first(tables: Sequence[Table], touched: dict[tuple[str, str], Touch]) -> list[Table]:
    """Return tables with those first to which something happens, the rest by their size."""
    order = {key: number for number, key in enumerate(touched)}
    return sorted(tables, key=lambda each: (order.get(each.key, len(order)), -each.size, each.key))


def _table(table: Table, touch: Touch | None) -> TableView:
    references = tuple([f"{', '.join(each.columns)} → {Table(*each.to).title}" for each in table.references])
    partitions = f" in {count(table.partitions, 'partition')}" if table.partitions is not None else ""
    return TableView(
        table.title + partitions,
        amounts.rows(table.rows),
        amounts.size(table.size),
        limited(table.comment or "")[:200],
        references,
        touch.what if touch else "",
        pending.TONES[touch.what] if touch else "",
    )
