"""What is dangerous in the SQL of revisions: rendered without a database, and checked by squawk.

Each revision is linted as one text, because squawk judges a statement by those before it: an index on a table that was
made a moment ago blocks no session. What provision does by itself around each statement is written into that text, so
that squawk does not ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.alembic.tree.source import Notes, read_notes
from provision.alembic.trees import Tree
from provision.alembic.verbs.sql import BEGIN, COMMIT, Script, Statement, between, statements
from provision.errors import UnavailableError
from provision.model import Endpoint
from provision.model.value import dataclass
from provision.system import squawk


@dataclass(frozen=True)
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


def lint(tree: Tree, span: str, server: Callable[[], Endpoint | None], known: tuple[str, ...] | None = None) -> Linted:
    """Lint ``FROM:TO``, or from where the database is to ``TO``; an empty one is what is pending.

    ``server`` and ``known`` are as in :func:`~provision.alembic.verbs.sql.between`.

    Raises:
        ProvisionError: squawk is not installed, or does not do its work.
        UnavailableError: only the server knows where the database is, and it does not run.
        MigrationsError: an end is not one of this tree's.
    """
    squawk.find()
    try:
        script = between(tree, span, server, known)
    except UnavailableError as error:
        error.evidence = ("what needs no server: --all, --since BRANCH, or a range FROM:TO",)
        raise
    return judged(tree, script)


def judged(tree: Tree, script: Script) -> Linted:
    """Lint SQL that was rendered before.

    Raises:
        ProvisionError: squawk is not installed, or does not do its work.
    """
    program = squawk.find()
    names = tuple([each.revision for each in script.rendering.revisions]) if script.rendering else ()
    said = {name: read_notes(tree.graph[name].path.read_bytes()) for name in names}
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


def _looked_at(program: str, tree: Tree, script: Script, said: Mapping[str, Notes]) -> tuple[tuple[Finding, ...], int]:
    limits = (tree.declared.lock_timeout, tree.declared.timeout)
    rendered = script.rendering.revisions if script.rendering else ()
    scripts = {each.revision: SquawkInput(statements(each.pieces), limits) for each in rendered if not each.reason}
    major, directory = tree.spec.server.major, tree.location.cwd
    reported = squawk.run(program, {name: each.text for name, each in scripts.items()}, major, directory)
    again = {
        name: SquawkInput(each.statements, limits, without=unread)
        for name, each in scripts.items()
        if (unread := each.unread([one for one in reported if one["file"] == name]))
    }
    paths = {name: tree.graph[name].path for name in scripts}
    found, ignored = findings(reported, scripts, paths, said)
    more = squawk.run(program, {name: each.text for name, each in again.items()}, major, directory)
    rest, ignored_too = findings(more, again, paths, said)
    return (*found, *rest), ignored + ignored_too


def _missing(tree: Tree, script: Script) -> list[Finding]:
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


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: which rule of squawk's, where, what, and what to do instead.

    ``line`` is that of the operation in ``path``; None where it is not known. ``statement`` is the SQL.
    """

    revision: str
    path: Path
    line: int | None
    rule: str
    level: str
    message: str
    advice: str | None
    statement: str

    @property
    def place(self) -> str:
        """``file:line``, or the file where no line is known."""
        return f"{self.path}:{self.line}" if self.line is not None else str(self.path)


SYNTAX = "syntax-error"
NOT_RENDERED = "not-rendered"
"""Our own rule: a revision that cannot be written down as SQL is not clean, it is unknown."""


class SquawkInput:
    """The statements of one revision as one text for squawk, and which of its lines belong to which statement.

    ``without`` are statements that squawk cannot read: it would look at nothing else in the text.
    """

    def __init__(
        self, statements: Sequence[Statement], limits: tuple[float, float], without: Collection[Statement] = ()
    ) -> None:
        lock_timeout, timeout = limits
        self.statements = tuple(statements)
        self.limits = limits
        lines = [f"SET lock_timeout = '{lock_timeout:g}s';", f"SET statement_timeout = '{timeout:g}s';"]
        wrapped = not any(each.text.upper().startswith("BEGIN") for each in statements)
        self._of_line: list[Statement | None] = [None] * len(lines)
        for each in (*([BEGIN] if wrapped else []), *statements, *([COMMIT] if wrapped else [])):
            own = f"{each.text};".split("\n") if each not in without else []
            lines += own
            self._of_line += [None if each in (BEGIN, COMMIT) else each] * len(own)
        self.text = "\n".join(lines) + "\n"

    def statement(self, line: int) -> Statement | None:
        """Return the statement that a line belongs to, counted from 0; None: it is one of ours."""
        return self._of_line[line] if 0 <= line < len(self._of_line) else None

    def unread(self, reported: Sequence[Mapping[str, Any]]) -> tuple[Statement, ...]:
        """Return the statements that squawk could not read."""
        found = [self.statement(each["line"]) for each in reported if each["rule_name"] == SYNTAX]
        return tuple([each for each in dict.fromkeys(found) if each is not None])


def findings(
    reported: Sequence[Mapping[str, Any]],
    scripts: Mapping[str, SquawkInput],
    paths: Mapping[str, Path],
    notes: Mapping[str, Notes],
) -> tuple[tuple[Finding, ...], int]:
    """Return what squawk reports that counts, by revision and place, and how much of it is ignored by comments.

    ``reported`` is its JSON, in which ``file`` is the id of a revision.
    """
    found: dict[Finding, None] = {}
    ignored = 0
    order = {name: number for number, name in enumerate(scripts)}
    for each in sorted(reported, key=lambda one: (order[one["file"]], one["line"], one["column"])):
        name = each["file"]
        statement = scripts[name].statement(each["line"])
        if statement is None:
            continue
        rule = str(each["rule_name"])
        if notes[name].ignores(rule, statement.line):
            ignored += 1
            continue
        finding = Finding(
            name,
            paths[name],
            statement.line,
            rule,
            str(each["level"]).lower(),
            str(each["message"]).rstrip("."),
            str(each["help"]).rstrip(".") if each["help"] else None,
            statement.text,
        )
        found[finding] = None
    return tuple(found), ignored
