"""What ``provision migrate lint`` has found, as text and as a document."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from provision.alembic import Finding, Linted, Trace, Tree, consequences
from provision.model.value import asdict
from provision.model.words import count, short, shown
from provision.report.console import Paint
from provision.report.migrations import Document, of
from provision.report.words import clean, fields, seconds

ADVICE = "correct the revisions; or accept a finding: `# provision: ignore RULE` on a line of the operation"
_WIDEST = 110


def lines(found: Linted, paint: Paint, *, every: bool = False) -> Iterator[str]:
    """Yield the findings by file: each with its line and rule, what to do, and its statement; then odd comments."""
    for path, in_file in groupby(found.findings, lambda each: each.path):
        yield paint("bold", clean(shown(path)))
        for statement, of_statement in groupby(in_file, lambda each: each.statement):
            for each in of_statement:
                yield from _finding(each, paint)
            yield from _statement(statement, paint, every=every)
    for path, number, text in found.unknown:
        where = paint("bold", f"{shown(path)}:{number}:")
        yield f"{where} {paint('yellow', clean(text))} means nothing; write `# provision: ignore RULE`"


def _finding(each: Finding, paint: Paint) -> Iterator[str]:
    where = f"line {each.line}: " if each.line is not None else ""
    yield f"  {where}{paint('yellow', each.rule)}: {clean(each.message)}"
    if each.advice:
        yield f"      {clean(each.advice)}"


def _statement(text: str, paint: Paint, *, every: bool) -> Iterator[str]:
    if not text:
        return
    if every:
        yield from (f"      {paint('dim', clean(line))}" for line in text.splitlines())
        return
    yield f"      {paint('dim', clean(short(text, _WIDEST)))}"


def recap(tree: Tree, found: Linted, took: float, paint: Paint) -> str:
    """Return the last line: how much was found, in how many revisions, and what comments have taken back."""
    name = paint("bold", tree.spec.name)
    what = count(len(found.revisions), "revision")
    since = f" from {' + '.join(found.rows) or 'base'}" if found.revisions else ""
    ignored = f", {found.ignored} ignored by comments" if found.ignored else ""
    note = f" ({found.note})" if found.note else ""
    if not found.revisions:
        return f"{name}: nothing is pending{note}  {seconds(took)}"
    if not found.findings:
        return f"{name}: nothing found in {what}{since}{ignored}{note}  {seconds(took)}"
    where = len({each.revision for each in found.findings})
    return (
        f"{name}: {count(len(found.findings), 'finding')} in {where} of {what}{since}{ignored}{note}  {seconds(took)}"
    )


def traced(tree: Tree, found: Trace, paint: Paint, *, every: bool = False) -> Iterator[str]:
    """Yield what each statement locks and rewrites; those that no session notices only with ``every``."""
    where = "a clone of the database" if found.is_clone else "a copy without rows, so the times say little"
    yield f"{paint('bold', tree.spec.name)}: traced on {where}"
    if found.why:
        yield f"  no clone: {found.why}"
    revision = None
    for each in found.statements:
        effects = list(consequences(each, found.tables))
        if not effects and not every:
            continue
        if each.revision != revision:
            revision = each.revision
            yield f"  {tree.graph.describe(revision)}"
        statement = clean(short(each.statement, _WIDEST))
        yield f"    {shown(each.path)}:{each.line}: {statement}  {paint('dim', seconds(each.seconds))}"
        yield from (f"      {clean(line)}" for line in effects)
    if revision is None:
        yield "  no session waits, and no table is rewritten"


def document(tree: Tree, found: Linted, trace: Trace | None, took: float) -> Document:
    """Return the document; ``trace`` is null where none was asked for."""
    return {
        **of(tree, "lint"),
        "clean": not found.findings,
        "from": list(found.rows),
        **fields(found, "revisions ignored"),
        "seconds": round(took, 3),
        "findings": [{**asdict(each), "path": str(each.path)} for each in found.findings],
        "trace": trace and {"clone": trace.is_clone, "reason": trace.why, "statements": _statements(trace)},
    }


def _statements(found: Trace) -> list[Document]:
    return [
        {
            **asdict(each),
            "path": str(each.path),
            "held": round(each.held, 4),
            "locks": [{"table": lock.table, "mode": lock.name, "new_table": lock.is_new} for lock in each.locks],
            "rewritten": list(each.rewritten),
            "consequences": list(consequences(each, found.tables)),
        }
        for each in found.statements
    ]
