"""Compares the models with the database, as autogenerate does; nothing is written, not even a version table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import operations
from .config import Attributes, keep_logging, load_tree
from .environment import bind

if TYPE_CHECKING:
    from .channel import Progress
    from .config import Request


class NoModelsError(Exception):
    """``env.py`` gives no ``target_metadata``."""


def serve(request: Request, progress: Progress) -> None:
    """Say a ``operation`` for each difference."""
    config, script = load_tree(request, progress)
    context = revision_context(config, script, {"message": None, "autogenerate": True})
    compare(config, script, context, request, progress)
    for each in context.generated_revisions[-1].upgrade_ops_list:
        for line in operations.lines(each):
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
            _only_read(context.connection)
            if context.opts.get("target_metadata") is None:
                progress.stage = "models"
                raise NoModelsError
            revision.run_autogenerate(context.get_current_heads(), context)
        else:
            revision.run_no_autogenerate(context.get_current_heads(), context)

    bind(environment, request, progress, instead)
    with environment:
        script.run_env()
        attributes.finish()


def _only_read(connection: Any) -> None:
    """Let the session of ``env.py`` write nothing from now on."""
    from sqlalchemy import text

    connection.execute(text("SET default_transaction_read_only = on"))
    connection.execute(text("SET TRANSACTION READ ONLY"))
