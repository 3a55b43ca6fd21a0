"""One revision file, read and not run.

Alembic executes a revision file to learn four names: ``revision``, ``down_revision``, ``depends_on`` and
``branch_labels``. They are literals in practice, so the syntax tree is enough. Parsing is the slow part of it; what
was found is therefore kept under the hash of the file's content, and a file that is new, changed or gone is seen at
once, because its hash is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from provision.errors import MigrationsError

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Fields = list[Any]
"""What is kept of one file, as JSON: the fields of a :class:`Revision` without its path, in their order."""

FIELDS = 8
READER = "1"
"""The version of what :func:`read_fields` finds: fields that another one found are read anew."""
_WANTED = ("revision", "down_revision", "depends_on", "branch_labels")
_LITERAL = "write it as a plain string (or tuple of strings) at the top level of the file, as `alembic revision` does"


class NotStaticError(MigrationsError):
    """A revision file computes what it states, so that only running it would tell."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision file. ``creates`` are the tables (schema or None, name) that its upgrade makes.

    ``line`` and ``down_line`` are where the file states its own id and the one before it; ``sha256`` is its
    :func:`digest`.
    """

    id: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...]
    branch_labels: tuple[str, ...]
    message: str
    creates: tuple[tuple[str | None, str], ...]
    line: int
    down_line: int
    path: Path
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.id}  {self.message}" if self.message else self.id

    @property
    def place(self) -> str:
        """``file:line`` of the revision's own id."""
        return f"{self.path}:{self.line}"


def digest(source: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; how its lines end, which is Git's affair, is left out."""
    return hashlib.sha256(source.replace(b"\r\n", b"\n")).hexdigest()


def restore(fields: Fields, path: Path, sha256: str) -> Revision:
    """Return the revision of a file whose fields are known."""
    name, down, depends_on, labels, message, creates, line, down_line = fields
    return Revision(
        name,
        tuple(down),
        tuple(depends_on),
        tuple(labels),
        message,
        tuple([(schema, table) for schema, table in creates]),
        line,
        down_line,
        path,
        sha256,
    )


def read(source: bytes, path: Path) -> Revision:
    """Read one revision file.

    Raises:
        MigrationsError: the file has a syntax error, or states its id in a way that only running it would tell.
    """
    return restore(read_fields(source, path), path, digest(source))


def read_fields(source: bytes, path: Path) -> Fields:
    """Read one revision file into the fields that are kept of it.

    Raises:
        MigrationsError: as :func:`read`.
    """
    import ast

    try:
        module = ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        raise _syntax_error(error, path) from None
    assigned = _assignments(module)
    if "revision" not in assigned:
        sentence = f"{path}:1 states no `revision`, so it is not a revision file"
        raise MigrationsError(sentence, next_step=f"add the id ({_LITERAL}), or move the file elsewhere")
    values = {name: _strings(name, assigned, path) for name in _WANTED}
    if len(values["revision"]) != 1:
        raise _not_static("revision", assigned["revision"], path)
    line = assigned["revision"].lineno
    if "down_revision" not in assigned:
        raise MigrationsError(
            f"{path}:{line} is revision {values['revision'][0]}, and states no `down_revision`",
            next_step="write the id of the revision that it follows, or `down_revision = None` if it is the first",
        )
    return [
        values["revision"][0],
        values["down_revision"],
        values["depends_on"],
        values["branch_labels"],
        _first_line(ast.get_docstring(module)),
        list(_created_tables(module)),
        line,
        assigned["down_revision"].lineno,
    ]


def _assignments(module: ast.Module) -> dict[str, ast.expr]:
    import ast

    found: dict[str, ast.expr] = {}
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            found |= {each.id: statement.value for each in statement.targets if isinstance(each, ast.Name)}
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            found[statement.target.id] = statement.value
    return found


def _strings(name: str, assigned: Mapping[str, ast.expr], path: Path) -> list[str]:
    """Return the value of a name as a list of strings; a name that stands for another literal is followed."""
    import ast

    node = assigned.get(name)
    for _ in range(len(assigned)):
        if not isinstance(node, ast.Name) or node.id not in assigned:
            break
        node = assigned[node.id]
    if node is None:
        return []
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        raise _not_static(name, assigned[name], path) from None
    if value is None:
        return []
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple | set | frozenset) or not all(isinstance(item, str) for item in items):
        raise _not_static(name, assigned[name], path)
    return list(dict.fromkeys(items)) if isinstance(items, list | tuple) else sorted(items)


def _created_tables(module: ast.Module) -> Iterator[list[str | None]]:
    """Find ``op.create_table("name", …)`` outside ``downgrade``; one that accepts an existing table is left out."""
    import ast

    todo: list[ast.AST] = [module]
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            continue
        todo += ast.iter_child_nodes(node)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr != "create_table" or not node.args:
            continue
        options = {each.arg: each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)}
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and not options.get("if_not_exists"):
            yield [cast("str | None", options.get("schema")), first.value]


def _first_line(docstring: str | None) -> str:
    return docstring.strip().partition("\n")[0].strip() if docstring else ""


def _not_static(name: str, node: ast.expr, path: Path) -> NotStaticError:
    import ast

    return NotStaticError(
        f"{path}:{node.lineno} computes `{name}`, so it cannot be known without running the file",
        evidence=(f"{name} = {ast.unparse(node)}",),
        next_step=_LITERAL,
    )


def _syntax_error(error: SyntaxError | ValueError, path: Path) -> MigrationsError:
    line = (error.lineno or 1) if isinstance(error, SyntaxError) else 1
    text = (error.text or "").strip() if isinstance(error, SyntaxError) else ""
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    return MigrationsError(
        f"{path}:{line} is not valid Python: {reason}",
        evidence=(text,) if text else (),
        next_step="correct the file; nothing was migrated",
    )
