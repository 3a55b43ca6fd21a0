"""The revisions that an apply would run, as the page shows them: SQL, findings, and what happens to which tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from provision.alembic import Finding, Rendered, Script, statements
from provision.errors import MigrationsError, UnknownRevisionError
from provision.insight.tables import Table
from provision.report.amounts import amount
from provision.report.html.words import Cut, Word, cut, limited, near, place
from provision.review import Review, TreeReview, touching
from provision.review.touching import Touch

Key = tuple[str, str]
Tables = Mapping[Key, Table]

_MOST_ADVICE: Final = 12
LOST: Final = (touching.DROPS, touching.EMPTIES, touching.LOSES)
_COPIED = (touching.REWRITES, touching.MAY_REWRITE)
TONES: Final = {
    **dict.fromkeys((*LOST, touching.REWRITES), "bad"),
    touching.MAY_REWRITE: "may",
    **dict.fromkeys((touching.LOCKS, touching.BLOCKS, touching.WRITES), "warn"),
    touching.CREATES: "good",
}
"""How what happens to a table is marked."""
_WAIT: Final = {
    touching.LOCKS: "readers and writers wait",
    touching.BLOCKS: "writers wait",
    touching.MAY_REWRITE: "readers and writers wait",
    touching.REWRITES: "readers and writers wait",
}


class Effect(NamedTuple):
    """What happens to one table, in words."""

    table: str
    what: str
    text: str
    tone: str


class Advice(NamedTuple):
    """One finding of lint; equal ones at several lines are one."""

    place: str
    rule: str
    message: str
    advice: str


class Revision(NamedTuple):
    """One revision that an apply would run; ``sql`` is cut where ``more`` lines of it are left out."""

    id: str
    message: str
    path: str
    undo: bool
    sql: str
    more: int
    reason: str
    effects: tuple[Effect, ...]
    advice: Cut
    badges: tuple[Word, ...]


class Pending(NamedTuple):
    """What is pending in one tree; ``notes`` say what is not known of it."""

    name: str
    database: str
    revisions: tuple[Revision, ...]
    more: int
    notes: tuple[str, ...]


def tables_of(review: Review, database: str) -> Tables:
    """Return the tables of a database by schema and name."""
    return {table.key: table for each in review.databases if each.name == database for table in each.tables}


def touches(tree: TreeReview, tables: Tables) -> dict[str, tuple[Touch, ...]]:
    """Return the worst that each pending revision does to tables: of those that are there, and those that it makes.

    What was seen on a copy counts before what the statements say.
    """
    found: dict[str, tuple[Touch, ...]] = {}
    made: set[Key] = set()
    for script in tree.scripts:
        for each in script.rendering.revisions if script.rendering else ():
            own = [*_of_revision(tree, script, each, tables)]
            made |= {touch.table for touch in own if touch.what == touching.CREATES}
            here = [touch for touch in own if touch.what == touching.CREATES or touch.table in tables.keys() - made]
            found[each.revision] = touching.worst(here)
    return found


def _of_revision(tree: TreeReview, script: Script, revision: Rendered, tables: Tables) -> Iterator[Touch]:
    said = [touch for each in statements(revision.pieces) for touch in touching.of_statement(each.text, tables)]
    if tree.trace is None or not script.upgrade:
        yield from said
        return
    measured = (touching.REWRITES, touching.MAY_REWRITE, touching.LOCKS, touching.BLOCKS)
    yield from (each for each in said if each.what not in measured)
    yield from touching.of_trace(tree.trace, revision.revision)


def worst(review: Review, database: str) -> dict[Key, Touch]:
    """Return the worst that happens to each table of a database, by all that is pending."""
    tables = tables_of(review, database)
    every = [
        touch
        for tree in review.trees
        if tree.database == database
        for each in touches(tree, tables).values()
        for touch in each
    ]
    return {each.table: each for each in touching.worst(every)}


def pending(review: Review, tree: TreeReview, *, room: int, most: int) -> Pending:
    """Return what is pending in a tree; all SQL together takes at most ``room`` bytes of the page."""
    tables = tables_of(review, tree.database)
    touched = touches(tree, tables)
    rendered = [
        (script, each) for script in tree.scripts for each in (script.rendering.revisions if script.rendering else ())
    ]
    findings = tree.linted.findings if tree.linted else ()
    found = []
    for script, each in rendered[:most]:
        sql, more = _within(_sql(each), room)
        room -= len(escape(sql).encode())
        own = [finding for finding in findings if finding.revision == each.revision]
        found.append(_revision(script, each, sql, more, touched[each.revision], tables, own))
    return Pending(tree.name, tree.database, tuple(found), len(rendered) - len(found), tuple(_notes(review, tree)))


def _sql(revision: Rendered) -> str:
    """Return the statements of a revision, without what Alembic writes around each of them."""
    found = [each.text for each in statements(revision.pieces)]
    first, last = found[:1] == ["BEGIN"], found[-1:] == ["COMMIT"]
    return "\n".join(f"{text};" for text in found[first : len(found) - last])


def _within(sql: str, room: int) -> tuple[str, int]:
    """Return the lines that there is room for, and how many are left out."""
    lines = sql.splitlines()
    for number, line in enumerate(lines):
        room -= len(escape(line).encode()) + 1
        if room < 0:
            return "\n".join(lines[:number]), len(lines) - number
    return "\n".join(lines), 0


def _revision(
    script: Script,
    each: Rendered,
    sql: str,
    more: int,
    touched: Sequence[Touch],
    tables: Tables,
    findings: Sequence[Finding],
) -> Revision:
    known = script.tree.graph[each.revision]
    effects = tuple([_effect(touch, tables.get(touch.table)) for touch in touched])
    advice = _advice(script, findings)
    return Revision(
        each.revision,
        known.message,
        place(script.tree.spec, known.path),
        not script.upgrade,
        sql,
        more,
        limited(f"{each.reason}{f' ({each.place})' if each.place else ''}") if each.reason else "",
        effects,
        cut(advice, _MOST_ADVICE),
        tuple(_badges(script, effects, advice)),
    )


def _badges(script: Script, effects: Sequence[Effect], advice: Sequence[Advice]) -> Iterator[Word]:
    if not script.upgrade:
        yield Word("is undone, with its data", "bad")
    for what in touching.ORDER:
        tables = [each for each in effects if each.what == what]
        if tables and what not in (touching.CREATES, touching.WRITES):
            number = f"{len(tables)} tables: {what}" if tables[1:] else what
            yield Word(number, tables[0].tone)
    if advice:
        yield Word(f"{len(advice)} finding{'s' if advice[1:] else ''}", "warn")


def _effect(touch: Touch, table: Table | None) -> Effect:
    title = table.title if table else Table(*touch.table).title
    parts = [amount(table)] if table and touch.what not in (touching.CREATES, touching.WRITES) else []
    if touch.what in _COPIED and parts:
        parts = [f"{parts[0]} {'would be' if touch.what == touching.MAY_REWRITE else 'are'} copied"]
    if touch.what in _WAIT:
        measured = " meanwhile" if touch.what in _COPIED else ""
        measured = measured if touch.seconds is None else f" {touch.seconds:.2f} s (on the copy)"
        parts.append(f"{_WAIT[touch.what]}{measured}")
    return Effect(title, touch.what, "; ".join(parts), TONES[touch.what])


def _advice(script: Script, findings: Sequence[Finding]) -> tuple[Advice, ...]:
    """Return findings, those that say the same at several lines as one."""
    lines: dict[tuple[str, str, str], list[int | None]] = {}
    for each in findings:
        lines.setdefault((each.rule, each.message, each.advice or ""), []).append(each.line)
    found = []
    for (rule, message, advice), at in lines.items():
        name = script.tree.graph[findings[0].revision].path.name
        numbers = ", ".join(str(each) for each in dict.fromkeys(at) if each is not None)
        found.append(Advice(f"{name}:{numbers}" if numbers else name, rule, limited(message), limited(advice)))
    return tuple(found)


def _notes(review: Review, tree: TreeReview) -> Iterator[str]:
    for script in tree.scripts:
        if script.rendering is None and script.unknown:
            yield f"No SQL: {script.unknown}"
        elif script.rendering and script.rendering.without_env:
            yield f"Rendered without env.py: {script.rendering.without_env.splitlines()[0]}"
    words = {"sql": "No SQL", "lint": "Not linted", "trace": "Not traced"}
    if isinstance(review.survey.refusal, MigrationsError | UnknownRevisionError):
        del words["sql"]  # it has no other reason, and that is above
    yield from (
        f"{words[name]}: {near(review.survey.spec, why)}" for name, why in tree.without.items() if name in words
    )
    if tree.upgrade is None or review.survey.endpoint is None:
        return
    if tree.trace is not None and not tree.trace.is_clone:
        yield f"Traced on a copy without rows, so its times say little ({tree.trace.why})"
    elif tree.trace is None and "trace" not in tree.without:
        yield "Locks are those that the statements name; `--with trace` runs them on a copy, and measures"
