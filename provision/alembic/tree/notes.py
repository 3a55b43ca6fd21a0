"""What a revision file says to us: comments that begin with ``# provision:``, and a downgrade that only raises.

``# provision: ignore RULE`` counts for the operation that it stands at: on one of its lines, or on a line of its own
above it. At the top of the file, before the first line of code, it counts for the whole file.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator

_NOTE = re.compile(r"#\s*provision:\s*(?P<word>[a-z-]+)\s*(?P<rest>[^#]*)")
IRREVERSIBLE = "irreversible"
_IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Notes:
    """The comments of one file. ``ignored`` maps a line (0: the whole file) to the rules that are ignored there.

    ``unknown`` are comments that mean nothing, as (line, text). ``raises`` is the line on which ``downgrade`` does
    nothing but raise.
    """

    ignored: dict[int, frozenset[str]]
    is_irreversible: bool = False
    unknown: tuple[tuple[int, str], ...] = ()
    raises: int | None = None
    statements: tuple[tuple[int, int], ...] = ()

    def ignores(self, rule: str, line: int | None) -> bool:
        """Tell whether a rule is ignored at a line of the file; None: it is not known at which."""
        if rule in self.ignored.get(0, ()):
            return True
        if line is None:
            return False
        first, last = self.span(line)
        return any(rule in self.ignored.get(each, ()) for each in range(first, last + 1))

    def span(self, line: int) -> tuple[int, int]:
        """Return the first and the last line of the statement that a line belongs to, comments above it included."""
        around = [each for each in self.statements if each[0] <= line <= each[1]]
        return min(around, key=lambda each: each[1] - each[0], default=(line, line))


def read(source: bytes) -> Notes:
    """Read the comments of a revision file, which is valid Python."""
    import ast

    comments, blank = _comments(source)
    module = ast.parse(source)
    code = [each for each in module.body if not _is_docstring(each, module)]
    begins = min((each.lineno for each in code), default=1 << 30)
    ignored: dict[int, frozenset[str]] = {}
    irreversible, unknown = False, []
    for line, text in comments.items():
        found = _NOTE.search(text)
        if found is None:
            continue
        rules = frozenset(re.findall(r"[a-z][a-z0-9-]*", found["rest"]))
        if found["word"] == _IGNORE and rules:
            at = 0 if line < begins else line
            ignored[at] = ignored.get(at, frozenset()) | rules
        elif found["word"] == IRREVERSIBLE:
            irreversible = True
        else:
            unknown.append((line, text.strip()))
    return Notes(ignored, irreversible, tuple(unknown), _raises(module), tuple(_statements(module, blank)))


def _comments(source: bytes) -> tuple[dict[int, str], set[int]]:
    """Return the comments by their lines, and the lines that hold nothing else."""
    import tokenize

    found = {
        token.start[0]: token
        for token in tokenize.tokenize(io.BytesIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    alone = {line for line, token in found.items() if token.line.lstrip().startswith("#")}
    return {line: token.string for line, token in found.items()}, alone


def _statements(module: ast.Module, blank: set[int]) -> Iterator[tuple[int, int]]:
    """Yield the lines of each statement, from the comments above it to its end; of a block, those of its head."""
    import ast

    for node in ast.walk(module):
        if not isinstance(node, ast.stmt):
            continue
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
        first = node.lineno
        while first - 1 in blank:
            first -= 1
        yield first, max(last, node.lineno)


def _raises(module: ast.Module) -> int | None:
    import ast

    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            body = [each for each in node.body if not _is_docstring(each, node)]
            if len(body) == 1 and isinstance(body[0], ast.Raise):
                return body[0].lineno
    return None


def _is_docstring(node: ast.stmt, parent: ast.Module | ast.FunctionDef) -> bool:
    import ast

    return node is parent.body[0] and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
