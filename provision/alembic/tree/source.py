"""One revision file, read and not run: what it states, and what its comments say to us.

Alembic executes a revision file to learn four names: ``revision``, ``down_revision``, ``depends_on`` and
``branch_labels``. They are literals in practice, so the syntax tree is enough. Parsing is slow, so the result is cached
under the hash of the file's content: a new, changed or deleted file shows at once.

Comments begin with ``# provision:``. ``# provision: ignore RULE`` counts for the operation on its line, or below it;
before the first line of code it counts for the whole file.
"""

from __future__ import annotations

import ast
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from provision.errors import MigrationsError
from provision.model.value import dataclass
from provision.model.words import some

Fields = list[Any]
"""What is kept of one file, as JSON: the fields of a :class:`Revision` without its path, in their order."""

FIELDS = 8
READER = "1"
"""The version of what :func:`read_fields` finds: fields that another version found are read again."""
_WANTED = ("revision", "down_revision", "depends_on", "branch_labels")
_LITERAL = "write it as a plain string (or tuple of strings) at the top level of the file, as `alembic revision` does"


class NotStaticError(MigrationsError):
    """A revision file computes what it states, so that only running it would tell."""


@dataclass(frozen=True)
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


def stamp(path: Path) -> tuple[int, ...]:
    """Return what differs in a file that has been written since, as Python itself sees it; nothing where none is."""
    try:
        found = os.stat(path)  # noqa: PTH116  # there can be hundreds
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def restore(fields: Fields, path: Path, sha256: str) -> Revision:
    """Return the revision of a file whose fields are known."""
    values: Fields = [*map(_tuples, fields), path, sha256]
    return Revision(*values)


def _tuples(value: Any) -> Any:
    return tuple([_tuples(each) for each in value]) if isinstance(value, list) else value


def read_fields(source: bytes, path: Path) -> Fields:
    """Read one revision file into the fields that are kept of it.

    Raises:
        MigrationsError: the file has a syntax error, or states its id in a way that only running it would tell.
    """
    try:
        return _fields(ast.parse(source, str(path)), path)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _syntax_error(error, path) from None


def _fields(module: ast.Module, path: Path) -> Fields:
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
    found: dict[str, ast.expr] = {}
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                found |= _bound(target, statement.value)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            found[statement.target.id] = statement.value
    return found


def _bound(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    """Return the names that a target binds, with their values: ``revision, down_revision = "a", None`` binds two."""
    if isinstance(target, ast.Name):
        return {target.id: value}
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(value, ast.Tuple | ast.List):
        return {}
    pairs = zip(target.elts, value.elts, strict=False) if len(target.elts) == len(value.elts) else ()
    return {name: each for left, right in pairs for name, each in _bound(left, right).items()}


def _strings(name: str, assigned: Mapping[str, ast.expr], path: Path) -> list[str]:
    """Return the value of a name as a list of strings; a name of another literal is followed."""
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
    todo: list[ast.AST] = [module]
    for node in todo:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            continue
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            todo += ast.iter_child_nodes(node)
            continue
        if node.func.attr != "create_table" or not node.args:
            todo += ast.iter_child_nodes(node)
            continue
        options = {each.arg: each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)}
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and not options.get("if_not_exists"):
            yield [cast("str | None", options.get("schema")), first.value]


def _first_line(docstring: str | None) -> str:
    return docstring.strip().partition("\n")[0].strip() if docstring else ""


def _not_static(name: str, node: ast.expr, path: Path) -> NotStaticError:
    return NotStaticError(
        f"{path}:{node.lineno} computes `{name}`, so it cannot be known without running the file",
        evidence=(f"{name} = {ast.unparse(node)}",),
        next_step=_LITERAL,
    )


def _syntax_error(error: SyntaxError | ValueError | RecursionError, path: Path) -> MigrationsError:
    line = (error.lineno or 1) if isinstance(error, SyntaxError) else 1
    text = (error.text or "").strip() if isinstance(error, SyntaxError) else ""
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    return MigrationsError(
        f"{path}:{line} is not valid Python: {reason}",
        evidence=(text,) if text else (),
        next_step="correct the file; nothing was migrated",
    )


VERSION_NUM_WIDTH = 32
"""Characters in ``version_num`` where Alembic makes the table."""
_WIDENS = rb"version_num|version_table_impl"
_STATED = rb"(?m)^revision\b[^=\n]*=[ \t]*([\"'])([^\"'\n]*)\1[ \t]*(?:[,#].*)?$"
_SHOWN = 5


def names_version_num(source: bytes) -> bool:
    """Tell whether an ``env.py`` or a revision deals with the column itself, so that it may become wider."""
    return re.search(_WIDENS, source) is not None


def stated_id(source: bytes) -> tuple[str, int] | None:
    """Return the id that a revision file states as a plain text, and its line; None where it computes it."""
    found = re.search(_STATED, source)
    if found is None:
        return None
    return found[2].decode("utf-8", "replace"), source.count(b"\n", 0, found.start()) + 1


def id_fault(name: str, width: int = VERSION_NUM_WIDTH) -> str | None:
    """Return what is wrong with an id, in words; None: nothing."""
    if not name:
        return "the revision id is empty"
    if len(name) > width:
        return f"the revision id {name} has {len(name)} characters, and the version table holds {width}"
    return None


def refuse_long_ids(revisions: Iterable[Revision], width: int | None, *, widened: bool) -> str:
    """Refuse revisions whose ids do not fit; ``width`` is that of the table, None where there is no table yet.

    Returns:
        A warning where ``widened`` says that the tree deals with the column itself, else an empty text.

    Raises:
        MigrationsError: an id does not fit, and nothing in the tree makes the column wider.
    """
    most = VERSION_NUM_WIDTH if width is None else width
    long = [each for each in revisions if len(each.id) > most]
    if not long:
        return ""
    first = id_fault(long[0].id, most) or ""
    if widened:
        return f"{first}, unless this migration makes it wider"
    raise MigrationsError(
        first,
        evidence=some([each.place for each in long], _SHOWN),
        next_step=f"give it an id of at most {most} characters, also in the `down_revision` of what follows it; "
        "or widen the column first: ALTER TABLE alembic_version ALTER version_num TYPE varchar(255)",
    )


_NOTE = r"#\s*provision:\s*(?P<word>[a-z-]+)\s*(?P<rest>[^#]*)"
IRREVERSIBLE = "irreversible"
_IGNORE = "ignore"


@dataclass(frozen=True)
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


def read_notes(source: bytes) -> Notes:
    """Read the comments of a revision file, which is valid Python."""
    comments, blank = _comments(source)
    module = ast.parse(source)
    code = [each for each in module.body if not _is_docstring(each, module)]
    begins = min((each.lineno for each in code), default=1 << 30)
    ignored: dict[int, frozenset[str]] = {}
    irreversible, unknown = False, []
    for line, text in comments.items():
        found = re.search(_NOTE, text)
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
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            body = [each for each in node.body if not _is_docstring(each, node)]
            if len(body) == 1 and isinstance(body[0], ast.Raise):
                return body[0].lineno
    return None


def _is_docstring(node: ast.stmt, parent: ast.Module | ast.FunctionDef) -> bool:
    return node is parent.body[0] and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def parsed(source: str | bytes) -> ast.Module | None:
    """Return the syntax tree; None where it is not valid Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def last_name(node: ast.expr) -> str:
    """Return the last name of ``a.b.c``; of ``a[b]`` that of ``a``."""
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def text_of(node: ast.AST | None) -> str | None:
    """Return the text of a literal; None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
