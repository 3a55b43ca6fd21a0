#!/usr/bin/env python3
"""Count lines of code, without blank lines, comments and docstrings: ``python scripts/lines.py [DIRECTORY]``.

It prints one line a folder of ``provision``, the largest first, and the sum.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines_of_code(source: str) -> int:
    """Count the lines that hold a token of a statement; a docstring, of an attribute too, is no statement."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def by_folder(root: Path) -> Counter[str]:
    """Count below ``root``; what lies directly in it counts as ``.``."""
    found: Counter[str] = Counter()
    for path in root.rglob("*.py"):
        folder = path.relative_to(root).parts[:-1] or (".",)
        found[folder[0]] += lines_of_code(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "provision"
    folders = by_folder(root)
    for folder, count in folders.most_common():
        print(f"{count:7} {folder}")  # noqa: T201
    print(f"{folders.total():7} in all")  # noqa: T201
