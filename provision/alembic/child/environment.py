"""What is put between ``env.py`` and Alembic: our defaults, and the proof that the connection leads to our database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import guard
from .channel import OtherTableError
from .config import load_revisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from .channel import Progress
    from .config import Request

LEDGER = "provision"
"""The schema that is ours: it belongs to no model, and is never compared."""


def bind(environment: Any, request: Request, progress: Progress, instead: Callable[[Any], None] | None = None) -> None:
    """Add our defaults to ``context.configure``, and the proof of place to ``context.run_migrations``.

    ``instead`` is called with the context in place of running migrations.
    """
    configure, run_migrations = environment.configure, environment.run_migrations

    def configure_with_defaults(*args: Any, **kw: Any) -> None:
        set_transactions(request, kw)
        default = _default_schema(*args, **kw)
        kw["include_name"] = _without_ours(kw, request.get("others", ()), default)
        configure(*args, **kw)

    def run_in_our_database(**kw: Any) -> None:
        context = environment.get_context()
        schema, declared = context.version_table_schema, request.get("version_table_schema")
        guard.prove_place(context.connection, request["lock"], request["lock_timeout"])
        progress.connected(*guard.place_of(context.connection, schema, context.version_table))
        is_named = context.version_table == request["version_table"] and (declared or schema in {None, "public"})
        if not is_named and request.get("declared_table") not in progress.tables:
            raise OtherTableError(schema, context.version_table)
        load_revisions(environment.script, progress)
        if instead is None:
            run_migrations(**kw)
        else:
            instead(context)

    environment.configure = configure_with_defaults
    environment.run_migrations = run_in_our_database


def set_transactions(request: Request, given: dict[str, Any]) -> None:
    """Set in the options of ``context.configure`` whether each revision has a transaction of its own."""
    if request["transaction_per_revision"]:
        given.setdefault("transaction_per_migration", True)
    else:
        given["transaction_per_migration"] = False


def _default_schema(connection: Any = None, *_: Any, **__: Any) -> str:
    """Return the schema that a table without one is in, and that reflection tells as None."""
    return getattr(getattr(connection, "dialect", None), "default_schema_name", None) or "public"


def _without_ours(given: dict[str, Any], others: Any, default: str) -> Callable[[Any, str, Any], bool]:
    """Return the filter of names of ``env.py``, which never gets to see what is no model's.

    That is our own schema, unless the models use it, and the version tables of the ``others``: [schema or None, name].
    """
    include_name, metadata = given.get("include_name"), given.get("target_metadata")
    several = metadata if isinstance(metadata, (list, tuple)) else [metadata]
    tables = [table for each in several if each is not None for table in each.tables.values()]
    theirs = {(table.schema or default, table.name) for table in tables}
    hidden = {(schema or default, name) for schema, name in others} - theirs

    def include(name: Any, kind: str, parents: Any) -> bool:
        if kind == "schema" and name == LEDGER and not any(schema == LEDGER for schema, _ in theirs):
            return False
        if kind == "table":
            schema = parents.get("schema_name")
            if (schema or default, name) in hidden or (schema == LEDGER and (schema, name) not in theirs):
                return False
        return True if include_name is None else bool(include_name(name, kind, parents))

    return include
