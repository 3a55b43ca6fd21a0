"""An ``env.py`` that migrates several schemas, or several version tables, in one run; read without running it.

Only a run shows which tables it keeps. What can be read is whether it runs migrations in a loop, itself or through
functions of its own.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOP = re.compile(rb"(?m)^\s*(?:async\s+)?(?:for|while)\b|\bfor\b.*\bin\b")
_RUNS = "run_migrations"
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.GeneratorExp)


def runs_in_a_loop(env: bytes) -> bool:
    """Tell whether an ``env.py`` runs migrations in a loop."""
    if not _LOOP.search(env):
        return False
    try:
        module = ast.parse(env)
    except (SyntaxError, ValueError, RecursionError):
        return False
    functions = {
        node.name: set(_names(node))
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    running = {_RUNS}
    while more := {name for name, names in functions.items() if names & running} - running:
        running |= more
    return any(set(_names(loop)) & running for loop in ast.walk(module) if isinstance(loop, _LOOPS))


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that are used below a node: a function may also be handed on, to ``run_sync()`` for example."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield each.attr
