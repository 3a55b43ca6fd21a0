"""Autogenerate: compares the models with the database, and writes revision files.

A comparison leaves nothing in the database, not even a version table. Comparators of other packages write while they
compare: alembic_utils creates each view that the models want, and reads how PostgreSQL stores it. So the session may
write, and no transaction of it is ever committed. Differences are a line each: ``+`` only in the models, ``-`` only in
the database, ``~`` in both but different.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from .channel import Progress, ReportedError
from .config import Attributes, keep_logging, load_revisions, load_tree, read_text
from .connection import COMMITS, bind, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .protocol import Compare, Write


def compare_models(config: Any, request: Compare, progress: Progress) -> None:
    """Report an ``operation`` for each difference."""
    script = load_tree(config, progress)
    context = _revision_context(config, script, {"message": None, "autogenerate": True})
    _run_env(config, script, context, request, progress)
    made = context.generated_revisions[-1:]  # env.py can take away a revision that would be empty
    found = [line for one in made for each in one.upgrade_ops_list for line in operation_lines(each)]
    for line in sorted(found, key=lambda line: (line[2:], line)):
        progress.channel.say({"event": "operation", "text": line})


def _revision_context(config: Any, script: Any, given: Any) -> Any:
    """Return Alembic's notion of a revision that is being made."""
    from alembic.autogenerate.api import RevisionContext

    absent = dict.fromkeys(("rev_id", "branch_label", "version_path", "depends_on", "message"))
    return RevisionContext(config, script, {**absent, "sql": False, "head": "head", "splice": False, **given})


def _run_env(config: Any, script: Any, revision: Any, request: Compare | Write, progress: Progress) -> None:
    """Run ``env.py``, and fill ``revision`` with the differences on the connection that it made."""
    keep_logging()
    no_commit = _NoCommit()
    attributes = Attributes(request, config)
    more = {"template_args": revision.template_args, "revision_context": revision}
    entered = environment(config, script, request, lambda _heads, _context: [], **more)

    def instead(context: Any) -> None:
        if revision.command_args["autogenerate"]:
            no_commit.start(context.connection)
            _report_models(context.opts, request, progress)
            revision.run_autogenerate(context.get_current_heads(), context)
        else:
            revision.run_no_autogenerate(context.get_current_heads(), context)

    bind(entered, request, progress, instead)
    with entered:
        script.run_env()
        attributes.finish()


def _report_models(options: dict[str, Any], request: Compare | Write, progress: Progress) -> None:
    """Report how much is compared: the number of tables, and what ``env.py`` asked for in ``context.configure``."""
    metadata = options.get("target_metadata")
    if metadata is None:
        raise ReportedError("models")
    several = metadata if isinstance(metadata, (list, tuple)) else [metadata]
    tables = sum(len(each.tables) for each in several)
    if not tables and not request["no_tables"]:
        raise ReportedError("no-tables")
    progress.channel.say(
        {
            "event": "models",
            "tables": tables,
            "compare_type": bool(options.get("compare_type")),
            "compare_server_default": bool(options.get("compare_server_default")),
            "include_schemas": bool(options.get("include_schemas")),
        }
    )


class _NoCommit:
    """From :meth:`start` on, each transaction that SQLAlchemy would commit is rolled back, on every connection.

    It listens before ``env.py`` runs: a connection that was made before has no events.
    """

    def __init__(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        self._started = False
        event.listen(Engine, "commit", self._roll_back)
        event.listen(Engine, "before_cursor_execute", self._refuse)

    def start(self, connection: Any) -> None:
        from sqlalchemy import text

        # In AUTOCOMMIT there is no transaction to roll back, so such a session only reads. Elsewhere, this setting is
        # rolled back with the rest.
        connection.execute(text("SET default_transaction_read_only = on"))
        self._started = True

    def _roll_back(self, connection: Any) -> None:
        if self._started:
            connection.dialect.do_rollback(connection.connection)

    def _refuse(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self._started and COMMITS.search(statement):
            raise PermissionError(f"a comparison commits nothing, and this statement would: {statement.strip()}")


def write_revision(config: Any, request: Write, progress: Progress) -> None:
    """Report an ``operation`` for each difference, and each file that is ``written``."""
    script = load_tree(config, progress)
    given = request["revision"]
    context = _revision_context(config, script, given)
    if given["autogenerate"] or _runs_env(config):
        if request["lock"] is None:
            progress.channel.say({"event": "needs-server"})
            return
        _run_env(config, script, context, request, progress)
    load_revisions(script, progress)
    scripts = context.generated_revisions
    found = [line for each in scripts for made in each.upgrade_ops_list for line in operation_lines(made)]
    for line in found:
        progress.channel.say({"event": "operation", "text": line})
    if given["autogenerate"] and not found and not request["allow_empty"]:
        return
    progress.stage = "write"
    for each in scripts if given["autogenerate"] else ():
        _complete_imports(each, script, context)
    written = _watch_files(script)
    try:
        for made in context.generate_scripts():
            if made is not None:
                progress.channel.say({"event": "written", "path": made.path, "revision": made.revision})
    except Exception as error:
        if not written:
            raise
        steps = traceback.walk_tb(error.__traceback__)
        in_hook = any(frame.f_globals.get("__name__") == "alembic.script.write_hooks" for frame, _ in steps)
        what = "a post-write hook failed" if in_hook else "it cannot be loaded"
        raise ReportedError("written", f"{what}: {type(error).__name__}: {error}", written[-1]) from error


def _watch_files(script: Any) -> list[str]:
    """Return a list in which each file is as soon as Alembic has written it, and before its hooks run.

    A tree without a ``script.py.mako``, which nothing that migrates needs, gets Alembic's own.
    """
    import alembic

    original, written = script._generate_template, []  # noqa: SLF001
    own = os.path.join(os.path.dirname(alembic.__file__), "templates", "generic", "script.py.mako")  # noqa: PTH118, PTH120

    def generate(source: Any, path: Any, **options: Any) -> Any:
        made = original(source if os.path.exists(source) else own, path, **options)  # noqa: PTH110
        written.append(os.fspath(path))
        return made

    script._generate_template = generate  # noqa: SLF001
    return written


def _runs_env(config: Any) -> bool:
    option = getattr(config, "get_alembic_option", config.get_main_option)  # it reads pyproject.toml too, since 1.16
    return str(option("revision_environment") or "").lower() in ("true", "1", "yes", "on")


def _complete_imports(revision: Any, script: Any, context: Any) -> None:
    """Add the missing imports to a revision that autogenerate made and that is not written yet.

    ``revision`` is its ``MigrationScript``, ``script`` the ``ScriptDirectory``, ``context`` the ``RevisionContext``.
    """
    from alembic.autogenerate import render

    rendered: dict[str, Any] = {}
    autogenerate = context._last_autogen_context  # noqa: SLF001
    autogenerate.imports = set(revision.imports)
    render._render_python_into_templatevars(autogenerate, revision, rendered)  # noqa: SLF001
    texts = [text for name, text in rendered.items() if "grades" in name and isinstance(text, str)]
    known = _bound(read_text(f"{script.dir}/script.py.mako")) | _bound(rendered["imports"])
    modules = {module for text in texts for module in _missing(text, known)}
    inner = {each for each in modules if not any(other.startswith(each + ".") for other in modules)}
    revision.imports |= {f"import {module}" for module in inner}  # `import a.b` binds `a` too


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


def operation_lines(operations: Any) -> Iterator[str]:
    """Yield a line for each operation of an upgrade, those inside a table among them."""
    for each in operations.ops:
        if hasattr(each, "ops"):
            yield from operation_lines(each)
        else:
            yield _line(each)


def _line(operation: Any) -> str:
    make = next((_LINES[each.__name__] for each in type(operation).__mro__ if each.__name__ in _LINES), _of_a_package)
    return make(operation)


def _of_a_package(operation: Any) -> str:
    """Describe an operation that Alembic does not know, such as ``DropEnumOp``, by its class and what it is about."""
    kind = type(operation).__name__
    sign = "+" if kind.startswith(("Create", "Add")) else "-" if kind.startswith(("Drop", "Remove")) else "~"
    subject = getattr(operation, "target", operation)
    names = (getattr(subject, each, None) for each in ("schema", "table_name", "signature", "enum_name", "name"))
    return " ".join((sign, kind, ".".join(each for each in names if isinstance(each, str)))).rstrip()


def _table(operation: Any) -> str:
    schema = getattr(operation, "schema", None)
    name = getattr(operation, "table_name", None) or getattr(operation, "source_table", None)
    return f"{schema}.{name}" if schema else str(name)


def _index(operation: Any) -> str:
    columns = ", ".join(str(getattr(each, "name", each)) for each in getattr(operation, "columns", ()) or ())
    unique = "unique index" if getattr(operation, "unique", False) else "index"
    return f"{unique} {operation.index_name} on {_table(operation)}" + (f" ({columns})" if columns else "")


def _constraint(operation: Any, what: str) -> str:
    name = operation.constraint_name or "without a name"
    return f"{what} {name} on {_table(operation)}"


def _foreign_key(operation: Any) -> str:
    schema = operation.kw.get("source_schema")
    source = f"{schema}.{operation.source_table}" if schema else operation.source_table
    name = f" {operation.constraint_name}" if operation.constraint_name else ""
    ours, theirs = ", ".join(operation.local_cols), ", ".join(operation.remote_cols)
    return f"+ foreign key{name} on {source} ({ours}) to {operation.referent_table} ({theirs})"


def _column(operation: Any) -> str:
    changes = []
    if operation.modify_type is not None:
        changes.append(f"type {operation.existing_type} → {operation.modify_type}")
    if operation.modify_nullable is not None:
        changes.append("NOT NULL → NULL" if operation.modify_nullable else "NULL → NOT NULL")
    if operation.modify_server_default is not False:
        before, after = _default(operation.existing_server_default), _default(operation.modify_server_default)
        changes.append(f"default {before} → {after}")
    if operation.modify_comment is not False:
        changes.append(f"comment {operation.existing_comment!r} → {operation.modify_comment!r}")
    return f"~ column {_table(operation)}.{operation.column_name}: {', '.join(changes)}"


def _default(value: Any) -> str:
    if value is None or value is False:
        return "none"
    written = getattr(value, "arg", value)
    return str(getattr(written, "text", written))


def _added(operation: Any) -> str:
    column = operation.column
    return f"+ column {_table(operation)}.{column.name} ({column.type!s}{'' if column.nullable else ', NOT NULL'})"


_KINDS = {"foreignkey": "foreign key", "unique": "unique constraint", "check": "check constraint"}
_LINES: dict[str, Callable[[Any], str]] = {
    "CreateTableOp": lambda op: f"+ table {_table(op)}",
    "DropTableOp": lambda op: f"- table {_table(op)}",
    "AddColumnOp": _added,
    "DropColumnOp": lambda op: f"- column {_table(op)}.{op.column_name}",
    "AlterColumnOp": _column,
    "CreateIndexOp": lambda op: f"+ {_index(op)}",
    "DropIndexOp": lambda op: f"- {_index(op)}",
    "CreateUniqueConstraintOp": lambda op: "+ " + _constraint(op, "unique constraint"),
    "CreateCheckConstraintOp": lambda op: "+ " + _constraint(op, "check constraint"),
    "CreatePrimaryKeyOp": lambda op: "+ " + _constraint(op, "primary key"),
    "CreateForeignKeyOp": _foreign_key,
    "DropConstraintOp": lambda op: "- " + _constraint(op, _KINDS.get(op.constraint_type or "", "constraint")),
    "CreateTableCommentOp": lambda op: f"~ table {_table(op)}: comment → {op.comment!r}",
    "DropTableCommentOp": lambda op: f"~ table {_table(op)}: no comment any more",
    "ExecuteSQLOp": lambda op: f"~ SQL: {' '.join(str(op.sqltext).split())}",
}
