"""What ``provision migrate`` shows: as text, the lists of revisions in Alembic's own words, and as documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from provision.model.words import count, shown
from provision.report import words
from provision.report.errors import next_lines
from provision.report.words import clean, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provision.alembic import Comparison, Entry, Migrated, Tree, Written
    from provision.report.console import Paint

STYLES: Final = {"+": "green", "-": "red"}


Document = dict[str, Any]


def of(tree: Tree, schema: str) -> Document:
    """Return what every document of a tree begins with; they are described in ``docs/json.md``."""
    return {**words.head(schema, tree.spec), "tree": tree.name}


def revisions(tree: Tree, entries: Sequence[Entry]) -> Document:
    """Return the document of a list of revisions."""
    listed = [
        {
            "revision": entry.id,
            "message": entry.message,
            "down_revision": list(entry.down),
            **words.fields(entry, "depends_on branch_labels"),
            "is_head": entry.is_head or entry.is_effective_head,
            "is_current": entry.is_current,
            "applied_at": f"{entry.applied_at.replace(' ', 'T')}Z" if entry.applied_at else None,
            **words.fields(entry, "path"),
        }
        for entry in entries
    ]
    return {**of(tree, "revisions"), "revisions": listed}


def history(entry: Entry, paint: Paint) -> str:
    """Return a revision as ``alembic history`` does: what it follows, itself, its marks and its message."""
    before = ", ".join(entry.down) or "<base>"
    needed = f" ({', '.join(entry.depends_on)})" if entry.depends_on else ""
    when = paint("dim", f"  {entry.applied_at} UTC") if entry.applied_at else ""
    return f"{before}{needed} -> {head(entry, paint)}{_points(entry)}, {entry.message}{when}"


def graph(tree: Tree, entries: Sequence[Entry], paint: Paint) -> Iterator[str]:
    """Yield revisions, newest first, with lines from each to what it follows or depends on."""
    from provision.report.diagram.lanes import lanes, text

    names = [each.id for each in entries]
    words = {each.id: f"{head(each, paint)}  {clean(each.message)}".rstrip() for each in entries}
    signs = {each.id: "◉" for each in entries if each.is_current}
    yield from text(lanes(names, {each: tree.graph.predecessors(each) for each in names}), words, signs)


def head(entry: Entry, paint: Paint) -> str:
    """Return a revision as ``alembic heads`` does."""
    labels = f" ({', '.join(entry.branch_labels)})" if entry.branch_labels else ""
    return paint("bold", entry.id) + labels + _marks(entry) + (" (current)" if entry.is_current else "")


def current(entry: Entry, paint: Paint) -> str:
    """Return a row of the version table as ``alembic current`` does; one that is not of this checkout is marked."""
    if entry.path is None:
        return f"{paint('bold', entry.id)} {paint('red', '(not in this checkout)')}"
    return paint("bold", entry.id) + _marks(entry) + _points(entry)


def moved(name: str, done: Migrated, took: float, paint: Paint) -> str:
    """Return the line that says where a move has led from and to."""
    before, after = at(done.before), at(done.after)
    if done.before == done.after and done.revisions:
        ran = paint("green", count(len(done.revisions), "revision"))
        return f"{paint('bold', name)}: at {before}, {ran} in other version tables  {seconds(took)}"
    if done.before == done.after:
        return f"{paint('bold', name)}: {paint('green', 'nothing to do')} (at {before})  {seconds(took)}"
    return f"{paint('bold', name)}: {before} → {paint('green', after)}  {seconds(took)}"


def moved_document(tree: Tree, verb: str, done: Migrated, took: float) -> Document:
    """Return the document of an upgrade, a downgrade or a stamp that was carried out, or had nothing to do."""
    ran = [
        {"revision": name, "message": tree.graph[name].message, "seconds": round(each, 3)}
        for name, each in done.revisions
    ]
    return {
        **of(tree, "migration"),
        "verb": verb,
        "changed": done.before != done.after,
        **words.fields(done, "before after"),
        "revisions": ran,
        "seconds": round(took, 3),
    }


def compared(name: str, found: Comparison, next_step: str, paint: Paint) -> Iterator[str]:
    """Yield what differs between models and database, what was compared, and what to do about the differences."""
    if not found.differences:
        clean_words = "the models match the database" if found.tables else "no difference; the models have no tables"
        yield f"{paint('bold', name)}: {paint('green', clean_words)}"
    else:
        total = count(len(found.differences), "difference")
        yield f"{paint('bold', name)}: {total} (+ only in the models, - only in the database)"
    for each in found.differences:
        sign, _, text = each.partition(" ")
        yield f"  {paint(STYLES.get(sign, 'yellow'), sign)} {clean(text)}"
    where = "all schemas" if found.include_schemas else "the default schema (include_schemas=False)"
    yield f"  compared: {count(found.tables, 'table')} of the models with {where}"
    yield f"  Alembic itself does not compare {', '.join(not_compared(found))}"
    if found.differences:
        yield from next_lines(next_step, paint)


def compared_document(tree: Tree, found: Comparison) -> Document:
    """Return the document of ``provision migrate check``."""
    return {
        **of(tree, "model-check"),
        "clean": not found.differences,
        "differences": [_operation(each) for each in found.differences],
        "tables": found.tables,
        "not_compared": list(not_compared(found)),
    }


def _operation(line: str) -> Document:
    sign, _, text = line.partition(" ")
    return {"sign": sign, "text": text}


def not_compared(found: Comparison) -> tuple[str, ...]:
    """Return what Alembic leaves out, with the options of ``context.configure`` that would compare it.

    https://alembic.sqlalchemy.org/en/latest/autogenerate.html#what-does-autogenerate-detect-and-what-does-it-not-detect
    """
    return (
        *(() if found.compare_type else ("column types (compare_type=False)",)),
        *(() if found.compare_server_default else ("server defaults (compare_server_default=False)",)),
        *("primary keys", "check and exclusion constraints", "enum values", "sequences"),
        *("views", "functions", "triggers", "policies"),
    )


def written(name: str, done: Written, advice: str) -> Iterator[str]:
    """Yield the file that was written, what it holds, and what to do next."""
    if not done.files:
        yield f"{name}: no changes found, so no file was written (--allow-empty writes one)"
        return
    for _, path in done.files:
        yield f"{shown(Path(path))}: written"
    for each in done.operations:
        yield f"  {clean(each)}"
    yield f"next: {advice}"


def written_document(tree: Tree, done: Written) -> Document:
    """Return the document of a revision file that was written, or was not because there was nothing to write."""
    return {
        **of(tree, "revision-file"),
        "changed": bool(done.files),
        "files": [{"revision": name, "path": path} for name, path in done.files],
        "operations": [_operation(each) for each in done.operations],
    }


def at(rows: Sequence[str]) -> str:
    """Return the rows of a version table in words."""
    return " + ".join(rows) or "base"


def _marks(entry: Entry) -> str:
    return (" (head)" if entry.is_head else "") + (" (effective head)" if entry.is_effective_head else "")


def _points(entry: Entry) -> str:
    return (" (branchpoint)" if entry.is_branch_point else "") + (" (mergepoint)" if len(entry.down) > 1 else "")
