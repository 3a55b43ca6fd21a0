"""What squawk finds in rendered SQL, brought back to the operations of the revision files that the SQL comes from.

Each revision is linted as one text, because squawk judges a statement by those before it: an index on a table that
was made a moment ago locks nobody out. What provision does by itself around each statement is written into that text,
so that nobody is told to do it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from provision.alembic.tree.notes import Notes


@dataclass(frozen=True, slots=True)
class Rendered:
    """One statement of a revision, without its semicolon; ``line`` is that of the operation, where it is known."""

    text: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
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


BEGIN, COMMIT = Rendered("BEGIN"), Rendered("COMMIT")
SYNTAX = "syntax-error"
NOT_RENDERED = "not-rendered"
"""Our own rule: a revision that cannot be written down as SQL is not clean, it is unknown."""


def statements(pieces: Sequence[tuple[str, int | None]]) -> tuple[Rendered, ...]:
    """Return the statements of a revision; what Alembic writes by itself is left out, but for its transactions."""
    found = [Rendered(text.strip().rstrip(";"), line) for text, line in pieces]
    return tuple([each for each in found if each.text and (each.line is not None or each in (BEGIN, COMMIT))])


class Script:
    """The statements of one revision as one text, and which of its lines belong to which statement.

    ``without`` are statements that squawk cannot read: it would look at nothing else in the text.
    """

    def __init__(
        self, statements: Sequence[Rendered], limits: tuple[float, float], without: Collection[Rendered] = ()
    ) -> None:
        lock_timeout, timeout = limits
        self.statements = tuple(statements)
        self.limits = limits
        lines = [f"SET lock_timeout = '{lock_timeout:g}s';", f"SET statement_timeout = '{timeout:g}s';"]
        wrapped = not any(each.text.upper().startswith("BEGIN") for each in statements)
        self._of_line: list[Rendered | None] = [None] * len(lines)
        for each in (*([BEGIN] if wrapped else []), *statements, *([COMMIT] if wrapped else [])):
            own = f"{each.text};".split("\n") if each not in without else []
            lines += own
            self._of_line += [None if each in (BEGIN, COMMIT) else each] * len(own)
        self.text = "\n".join(lines) + "\n"

    def statement(self, line: int) -> Rendered | None:
        """Return the statement that a line belongs to, counted from 0; None: it is one of ours."""
        return self._of_line[line] if 0 <= line < len(self._of_line) else None

    def unread(self, reported: Sequence[Mapping[str, Any]]) -> tuple[Rendered, ...]:
        """Return the statements that squawk could not read."""
        found = [self.statement(each["line"]) for each in reported if each["rule_name"] == SYNTAX]
        return tuple([each for each in dict.fromkeys(found) if each is not None])


def findings(
    reported: Sequence[Mapping[str, Any]],
    scripts: Mapping[str, Script],
    paths: Mapping[str, Path],
    notes: Mapping[str, Notes],
) -> tuple[tuple[Finding, ...], int]:
    """Return what squawk reports that counts, by revision and place, and how much of it is ignored by comments.

    ``reported`` is its JSON, in which ``file`` is the id of a revision.
    """
    found: list[Finding] = []
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
        if finding not in found:
            found.append(finding)
    return tuple(found), ignored
