"""Writes down the statements of revisions, and connects to no database.

``env.py`` is run in offline mode. One that knows none (it wants to connect) is left out, and the revisions are rendered
with the dialect alone and the models of ``env.py``, whose naming convention names constraints. A revision that needs a
database is told with its reason, and what it had written down so far is thrown away: half of a revision would be taken
for a whole one. The next revision is rendered all the same, because no revision sees what another has written.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

from .channel import describe
from .config import keep_logging, load_revisions, load_tree
from .environment import set_transactions
from .paper import NotOfflineError, Paper
from .trace import line_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .channel import Progress
    from .config import Request


_GIVEN = "a secret in it, or the value of a variable, that the spec gives in `env`, `x` or `options`"


class Output(io.StringIO):
    """What is written down, and where each revision begins and ends in it."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[dict[str, Any]] = []
        self.failed: dict[str, dict[str, Any]] = {}
        self.file: str | None = None
        """The file of the revision that is being written down."""
        self._pieces: list[tuple[int, str, int | None]] = []

    def write(self, text: str) -> int:
        """Write a piece down, and remember the line of the revision that it comes from."""
        self._pieces.append((self.tell(), text, line_in(self.file)))
        return super().write(text)

    def pieces(self, section: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
        """Yield what was written for a revision, piece by piece; without a line what Alembic adds by itself."""
        for at, text, line in self._pieces:
            if section["start"] <= at < section["end"]:
                yield text, line

    def cut(self) -> tuple[str, str]:
        """Return what stands before the first revision, and after the last."""
        text = self.getvalue()
        if not self.sections:
            return text, ""
        return text[: self.sections[0]["start"]], text[self.sections[-1]["end"] :]


def serve(config: Any, request: Request, progress: Progress) -> None:
    """Say a ``section`` for each revision, between a ``prologue`` and an ``epilogue``; ``without-env`` tells why."""
    script = load_tree(config, progress)
    keep_logging()
    try:
        output = _render(config, script, request, progress, None)
        why = None if output.sections else "it runs no migrations in offline mode"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever env.py raises, the revisions can be rendered without it
        told = describe(error, progress)
        if told["stage"] == "load":
            raise
        why = told["message"] if isinstance(error, NotOfflineError) else f"{told['type']}: {told['message']}"
        output, models = None, _models(error)
    else:
        models = None
    if output is None or why is not None:
        progress.channel.say("without-env", reason=why)
        output = _render(config, script, request, progress, models or [])
    _tell(output, progress)


def _render(config: Any, script: Any, request: Request, progress: Progress, models: Any | None) -> Output:
    """Render through ``env.py``; with ``models`` without it."""
    from alembic.runtime.environment import EnvironmentContext

    output = Output()

    def steps(_heads: Any, _context: Any) -> Iterator[Any]:
        load_revisions(script, progress)
        for step in _steps(script, request):
            name = str(step.revision.revision)
            step.migration_fn = _guarded(step.migration_fn, name, output, progress)
            output.sections.append({"revision": name, "start": output.tell()})
            output.file = script.get_revision(name).path
            yield step
            output.sections[-1]["end"] = output.tell()

    environment = EnvironmentContext(
        config,
        script,
        fn=steps,
        as_sql=True,
        starting_rev=tuple(request["rows"]) or None,
        destination_rev=request["words"][1],
        tag=None,
        version_table=request["version_table"],
        version_table_schema=request["version_table_schema"],
    )
    configure = environment.configure
    wrapped: Any = environment

    def configure_on_paper(*args: Any, **given: Any) -> None:
        set_transactions(request, given)
        given["dialect_opts"] = {"paramstyle": "named", **(given.get("dialect_opts") or {})}
        given.update(literal_binds=True, output_buffer=output)
        configure(*args, **given)
        context: Any = environment.get_context()
        if context.dialect.name != "postgresql":
            message = f"it renders for {context.dialect.name}"
            raise NotOfflineError(message)
        context.connection = context.impl.connection = Paper(context)

    wrapped.configure = configure_on_paper
    with environment:
        if models is None:
            script.run_env()
        else:
            environment.configure(dialect_name="postgresql", target_metadata=models or None)
            with environment.begin_transaction():
                environment.run_migrations()
    return output


def _steps(script: Any, request: Request) -> Iterator[Any]:
    from alembic.runtime.migration import MigrationStep

    upgrade = request["direction"] == "upgrade"
    make = MigrationStep.upgrade_from_script if upgrade else MigrationStep.downgrade_from_script
    for name in request["revisions"]:
        yield make(script.revision_map, script.get_revision(name))


def _guarded(run: Any, name: str, output: Output, progress: Progress) -> Any:
    @functools.wraps(run)
    def guarded(**given: Any) -> None:
        progress.stage, progress.revision = "revision", name
        try:
            run(**given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a revision may raise what it likes
            output.failed[name] = describe(error, progress)
        finally:
            progress.stage, progress.revision = "env", None

    return guarded


def protect(_request: Request) -> None:
    """Let no engine of this process connect, whatever it leads to."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def refuse(*_: Any) -> None:
        message = "it connects to a database"
        raise NotOfflineError(message)

    event.listen(Engine, "do_connect", refuse)


def _models(error: BaseException) -> Any:
    """Return the ``target_metadata`` of an ``env.py`` that did not get to its end."""
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename.endswith("env.py") and "target_metadata" in at.tb_frame.f_globals:
            return at.tb_frame.f_globals["target_metadata"]
        at = at.tb_next
    return None


def _tell(output: Output, progress: Progress) -> None:
    """Tell the SQL as it is, or why not: what holds a secret is not shown, and masked it would be other SQL."""
    text, tells = output.getvalue(), progress.channel.tells
    prologue, epilogue = output.cut()
    around = tells(prologue) or tells(epilogue)
    progress.channel.say("prologue", sql="" if around else prologue)
    for each in output.sections:
        sql, place, reason = text[each["start"] : each["end"]], None, None
        if (why := output.failed.get(each["revision"])) is not None:
            kind = "" if why["type"] == "NotOfflineError" else f"{why['type']}: "
            reason, place = kind + why["message"].splitlines()[0], why["place"]
        elif around:
            reason = f"the SQL around the revisions has {_GIVEN}"
        elif tells(sql):
            reason = f"its SQL has {_GIVEN}"
        if reason is not None:
            progress.channel.say("section", revision=each["revision"], sql="", reason=reason, place=place)
            continue
        pieces = list(output.pieces(each))
        progress.channel.say("section", revision=each["revision"], sql=sql, pieces=pieces, reason=None)
    progress.channel.say("epilogue", sql="" if around else epilogue)
