"""What is dangerous in the SQL of revisions: rendered without a database, and looked at by squawk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.tree import notes
from provision.alembic.tree.findings import NOT_RENDERED, Finding, Script, findings, statements
from provision.alembic.verbs.sql import between
from provision.errors import UnavailableError
from provision.system import squawk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provision.alembic.tree.notes import Notes
    from provision.alembic.verbs.sql import Script as Rendering
    from provision.alembic.verbs.tree import Tree


@dataclass(frozen=True, slots=True)
class Linted:
    """What was looked at, and what was found.

    ``rows`` is where the revisions begin, ``note`` how that is known. ``ignored`` is how much comments have taken
    back; ``unknown`` are comments that mean nothing, as (path, line, text).
    """

    rows: tuple[str, ...]
    note: str
    revisions: tuple[str, ...]
    findings: tuple[Finding, ...]
    ignored: int
    unknown: tuple[tuple[Path, int, str], ...] = ()


def lint(tree: Tree, span: str) -> Linted:
    """Lint ``FROM:TO``, or from where the database is to ``TO``; an empty one is what is pending.

    Raises:
        ProvisionError: squawk is not installed, or does not do its work.
        UnavailableError: only the server knows where the database is, and it does not run.
        MigrationsError: an end is not one of this tree's.
    """
    program = squawk.find()
    try:
        script = between(tree, span)
    except UnavailableError as error:
        error.evidence = ("what needs no server: --all, or a range FROM:TO",)
        raise
    names = tuple([each.revision for each in script.rendering.revisions]) if script.rendering else ()
    said = {name: notes.read(tree.graph[name].path.read_bytes()) for name in names}
    found, ignored = _looked_at(program, tree, script, said)
    missing = [each for each in _missing(tree, script) if not said[each.revision].ignores(NOT_RENDERED, each.line)]
    order = {name: number for number, name in enumerate(names)}
    unknown = [(tree.graph[name].path, line, text) for name in names for line, text in said[name].unknown]
    return Linted(
        script.rows,
        script.note,
        names,
        tuple(sorted([*missing, *found], key=lambda each: order[each.revision])),
        ignored + len(script.missing) - len(missing),
        tuple(unknown),
    )


def _looked_at(
    program: str, tree: Tree, script: Rendering, said: Mapping[str, Notes]
) -> tuple[tuple[Finding, ...], int]:
    limits = (tree.declared.lock_timeout, tree.declared.timeout)
    rendered = script.rendering.revisions if script.rendering else ()
    scripts = {each.revision: Script(statements(each.pieces), limits) for each in rendered if not each.reason}
    major, directory = tree.spec.server.major, tree.location.cwd
    reported = squawk.run(program, {name: each.text for name, each in scripts.items()}, major, directory)
    again = {}
    for name, each in scripts.items():
        unread = each.unread([one for one in reported if one["file"] == name])
        if unread:
            again[name] = Script(each.statements, limits, without=unread)
    paths = {name: tree.graph[name].path for name in scripts}
    found, ignored = findings(reported, scripts, paths, said)
    more = squawk.run(program, {name: each.text for name, each in again.items()}, major, directory)
    rest, ignored_too = findings(more, again, paths, said)
    return (*found, *rest), ignored + ignored_too


def _missing(tree: Tree, script: Rendering) -> list[Finding]:
    """Return a finding for each revision of which the SQL is not known."""
    found = []
    for each in script.missing:
        path = tree.graph[each.revision].path
        place, _, line = (each.place or "").rpartition(":")
        at = int(line) if place == str(path) and line.isdigit() else None
        message = f"no rule has looked at it, because it cannot be written down as SQL: {each.reason}"
        advice = f"try it with --trace, and write `# provision: ignore {NOT_RENDERED}` at the top of the file"
        found.append(Finding(each.revision, path, at, NOT_RENDERED, "error", message, advice, ""))
    return found
