"""Imports what a new revision uses and its template does not import.

Alembic writes a type that is not SQLAlchemy's with its module (``sqlmodel.sql.sqltypes.AutoString()``) and leaves the
import to the template:
https://alembic.sqlalchemy.org/en/latest/autogenerate.html#affecting-the-rendering-of-types-themselves
"""

from __future__ import annotations

import ast
import builtins
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def complete(revision: Any, script: Any, context: Any) -> None:
    """Add the missing imports to a revision that autogenerate made and that is not written yet.

    ``revision`` is its ``MigrationScript``, ``script`` the ``ScriptDirectory``, ``context`` the ``RevisionContext``.
    """
    from alembic.autogenerate import render

    rendered: dict[str, Any] = {}
    autogenerate = context._last_autogen_context  # noqa: SLF001
    autogenerate.imports = set(revision.imports)
    render._render_python_into_templatevars(autogenerate, revision, rendered)  # noqa: SLF001
    texts = [text for name, text in rendered.items() if "grades" in name and isinstance(text, str)]
    known = _bound(_template(script)) | _bound(rendered["imports"])
    modules = {module for text in texts for module in _missing(text, known)}
    inner = {each for each in modules if not any(other.startswith(each + ".") for other in modules)}
    revision.imports |= {f"import {module}" for module in inner}  # `import a.b` binds `a` too


def _template(script: Any) -> str:
    try:
        with open(f"{script.dir}/script.py.mako", encoding="utf-8") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def _bound(text: str) -> set[str]:
    """Return the names that the import lines of a text bind; its other lines need not be Python."""
    names: set[str] = set()
    for line in text.splitlines():
        try:
            statements = ast.parse(line.strip()).body if line.startswith(("import ", "from ")) else []
        except SyntaxError:
            continue
        for each in statements:
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in each.names}  # type: ignore[attr-defined]
    return names


def _missing(text: str, known: set[str]) -> Iterator[str]:
    """Yield the modules of dotted names in a function's body whose first part is not bound."""
    try:
        body = ast.parse("if True:\n" + "\n".join(f"    {line}" for line in text.splitlines()))
    except SyntaxError:
        return
    given = {"op", "sa", *dir(builtins), *known}
    given |= {node.id for node in ast.walk(body) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(body):
        parts = _dotted(node)
        if len(parts) > 1 and parts[0] not in given:
            modules = [name for name in (".".join(parts[:end]) for end in range(1, len(parts))) if name in sys.modules]
            if modules:
                yield modules[-1]


def _dotted(node: ast.AST) -> list[str]:
    """Return the parts of ``a.b.c``; none of anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else []
