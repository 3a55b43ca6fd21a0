"""Compares the models with the database, as autogenerate does, and leaves nothing in it, not even a version table.

Comparators of other packages write while they compare: alembic_utils creates each view that the models want, and reads
how PostgreSQL stores it. So the session may write, and no transaction of it is ever committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import operations
from .config import Attributes, keep_logging, load_tree
from .environment import bind
from .guard import COMMITS

if TYPE_CHECKING:
    from .channel import Progress
    from .config import Request


class NoModelsError(Exception):
    """``env.py`` gives no ``target_metadata``."""


class EmptyModelsError(Exception):
    """``target_metadata`` has no tables, and the request does not say that this is expected."""


def serve(config: Any, request: Request, progress: Progress) -> None:
    """Say a ``operation`` for each difference."""
    script = load_tree(config, progress)
    context = revision_context(config, script, {"message": None, "autogenerate": True})
    compare(config, script, context, request, progress)
    made = context.generated_revisions[-1:]  # env.py can take away a revision that would be empty
    found = [line for one in made for each in one.upgrade_ops_list for line in operations.lines(each)]
    for line in sorted(found, key=lambda line: (line[2:], line)):
        progress.channel.say("operation", text=line)


def revision_context(config: Any, script: Any, given: dict[str, Any]) -> Any:
    """Return Alembic's notion of a revision that is being made."""
    from alembic.autogenerate.api import RevisionContext

    absent = ("rev_id", "branch_label", "version_path", "depends_on", "message")
    return RevisionContext(
        config, script, {**dict.fromkeys(absent), "sql": False, "head": "head", "splice": False, **given}
    )


def compare(config: Any, script: Any, revision: Any, request: Request, progress: Progress) -> None:
    """Run ``env.py``, and fill ``revision`` with the differences on the connection that it made."""
    from alembic.runtime.environment import EnvironmentContext

    keep_logging()
    no_commit = _NoCommit()
    attributes = Attributes(request, config)
    environment = EnvironmentContext(
        config,
        script,
        fn=lambda _heads, _context: [],
        as_sql=False,
        template_args=revision.template_args,
        revision_context=revision,
        version_table=request["version_table"],
        version_table_schema=request["version_table_schema"],
    )

    def instead(context: Any) -> None:
        if revision.command_args["autogenerate"]:
            no_commit.start(context.connection)
            progress.stage = "models"
            _say_models(context.opts, request, progress)
            progress.stage = "env"
            revision.run_autogenerate(context.get_current_heads(), context)
        else:
            revision.run_no_autogenerate(context.get_current_heads(), context)

    bind(environment, request, progress, instead)
    with environment:
        script.run_env()
        attributes.finish()


def _say_models(options: dict[str, Any], request: Request, progress: Progress) -> None:
    """Say how much is compared: the number of tables, and what ``env.py`` asked for in ``context.configure``.

    Raises:
        NoModelsError: there is no ``target_metadata``.
        EmptyModelsError: it has no tables.
    """
    metadata = options.get("target_metadata")
    if metadata is None:
        raise NoModelsError
    several = metadata if isinstance(metadata, (list, tuple)) else [metadata]
    tables = sum(len(each.tables) for each in several)
    if not tables and not request["no_tables"]:
        progress.stage = "no-tables"
        raise EmptyModelsError
    asked = ("compare_type", "compare_server_default", "include_schemas")
    progress.channel.say("models", tables=tables, **{name: bool(options.get(name)) for name in asked})


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
            message = f"a comparison commits nothing, and this statement would: {statement.strip()}"
            raise PermissionError(message)
