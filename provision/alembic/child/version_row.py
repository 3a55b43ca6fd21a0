"""Moves the row of a version table with a text that is made once.

Alembic writes the ids of revisions into the statement itself, so SQLAlchemy compiles it for each of them: with many
small revisions, that is a fifth of what a migration takes.
"""

from __future__ import annotations

from typing import Any

_OLD, _NEW = "'provision_old'", "'provision_new'"
_TEXT = "_provision_text"


def move_by_text() -> None:
    """Have Alembic do so in this process; where its own statement could be another one, that is left alone."""
    from alembic.runtime.migration import HeadMaintainer

    plainly = getattr(HeadMaintainer, "_update_version", None)
    if plainly is None:
        return

    def update_version(self: Any, from_: str, to_: str) -> None:
        kept = vars(self.context)
        if _TEXT not in kept:
            kept[_TEXT] = _text(self.context)
        is_plain = from_ in self.heads and to_ not in self.heads and from_.isalnum() and to_.isalnum()
        if kept[_TEXT] is not None and is_plain:
            before, between, after = kept[_TEXT]
            found = self.context.connection.exec_driver_sql(f"{before}'{to_}'{between}'{from_}'{after}")
            if found.rowcount == 1:
                self.heads.remove(from_)
                self.heads.add(to_)
                return
        plainly(self, from_, to_)  # it also says what is wrong

    HeadMaintainer._update_version = update_version  # type: ignore[method-assign]  # noqa: SLF001


def _text(context: Any) -> tuple[str, str, str] | None:
    """Return the statement around the new and the old id; None: it is not the same for all of them."""
    from sqlalchemy import literal_column

    table, connection = context._version, context.connection  # noqa: SLF001  # as HeadMaintainer does
    if context.as_sql or connection.get_execution_options().get("schema_translate_map"):
        return None
    column = table.c.version_num
    moved = table.update().values(version_num=literal_column(_NEW)).where(column == literal_column(_OLD))
    compiled = moved.compile(dialect=connection.dialect)
    before, _, rest = str(compiled).partition(_NEW)
    between, found, after = rest.partition(_OLD)
    is_whole = found and not compiled.params and connection.dialect.supports_sane_rowcount and "%" not in str(compiled)
    return (before, between, after) if is_whole else None
