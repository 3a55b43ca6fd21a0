"""What autogenerate has found, a line each: ``+`` only the models have it, ``-`` only the database, ``~`` both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def lines(operations: Any) -> Iterator[str]:
    """Yield a line for each operation of an upgrade, those inside a table among them."""
    for each in operations.ops:
        if hasattr(each, "ops"):
            yield from lines(each)
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
