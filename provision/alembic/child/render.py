"""Writes down the statements of revisions, and connects to no database.

``env.py`` runs in offline mode. One without an offline mode (it connects) is left out: then the revisions are rendered
with the dialect alone and the models of ``env.py``, whose naming convention names constraints. A revision that needs a
database is reported with its reason, and its SQL so far is thrown away: half of a revision would be taken for a whole
one. The next revision is rendered all the same, because no revision sees what another has written.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any, NoReturn

from .channel import Progress, describe, line_in
from .config import keep_logging, load_revisions, load_tree
from .connection import environment, set_transactions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .protocol import Failure, Render, Section

_GIVEN = "a secret in it, or the value of a variable, that the spec gives in `env`, `x` or `options`"


class NotOfflineError(Exception):
    """What is done needs a database."""


class Output(io.StringIO):
    """The SQL, where each revision begins and ends in it, and which line of its file wrote each piece."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: dict[str, tuple[int, int]] = {}
        self.failed: dict[str, Failure] = {}
        self.file: str | None = None
        """The file of the revision that is being written down."""
        self._pieces: list[tuple[int, str, int | None]] = []

    def write(self, text: str) -> int:
        """Write a piece down, and remember the line of the revision that it comes from."""
        self._pieces.append((self.tell(), text, line_in(self.file)))
        return super().write(text)

    def section(self, name: str, progress: Progress, *, around: bool) -> Section:
        """Return what was written for a revision, or why it is not shown: masked, a secret would make it other SQL."""
        (start, end), failure = self.sections[name], self.failed.get(name)
        sql = self.getvalue()[start:end]
        reason = place = None
        if failure is not None:
            kind = "" if failure["type"] == "NotOfflineError" else f"{failure['type']}: "
            reason, place = kind + failure["message"].splitlines()[0], failure["place"]
        elif around:
            reason = f"the SQL around the revisions has {_GIVEN}"
        elif progress.channel.tells(sql):
            reason = f"its SQL has {_GIVEN}"
        # A piece without a line is what Alembic adds by itself.
        pieces = [(text, line) for at, text, line in self._pieces if start <= at < end] if reason is None else []
        return {
            "event": "section",
            "revision": name,
            "sql": sql if reason is None else "",
            "reason": reason,
            "place": place,
            "pieces": pieces,
        }


def serve(config: Any, request: Render, progress: Progress) -> None:
    """Report a ``section`` for each revision, between a ``prologue`` and an ``epilogue``."""
    script = load_tree(config, progress)
    keep_logging()
    models = why = None
    try:
        output = _render(config, script, request, progress, None)
        if not output.sections:
            why = "it runs no migrations in offline mode"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever env.py raises, the revisions can be rendered without it
        failure = describe(error, progress)
        if failure["stage"] == "load":
            raise
        why = failure["message"] if isinstance(error, NotOfflineError) else f"{failure['type']}: {failure['message']}"
        models = _models(error)
    if why is not None:
        progress.channel.say({"event": "without-env", "reason": why})
        output = _render(config, script, request, progress, models or [])
    text, spans = output.getvalue(), list(output.sections.values())
    prologue, epilogue = (text[: spans[0][0]], text[spans[-1][1] :]) if spans else (text, "")
    around = progress.channel.tells(prologue) or progress.channel.tells(epilogue)
    progress.channel.say({"event": "prologue", "sql": "" if around else prologue})
    for name in output.sections:
        progress.channel.say(output.section(name, progress, around=around))
    progress.channel.say({"event": "epilogue", "sql": "" if around else epilogue})


def _render(config: Any, script: Any, request: Render, progress: Progress, models: Any | None) -> Output:
    """Render through ``env.py``; with ``models`` without it."""
    output = Output()
    entered = environment(
        config,
        script,
        request,
        lambda _heads, _context: _steps(script, request, progress, output),
        as_sql=True,
        starting_rev=tuple(request["rows"]) or None,
        destination_rev=request["words"][1],
    )
    configure = entered.configure

    def configure_on_paper(*args: Any, **given: Any) -> None:
        set_transactions(request, given)
        given["dialect_opts"] = {"paramstyle": "named", **(given.get("dialect_opts") or {})}
        given.update(literal_binds=True, output_buffer=output)
        configure(*args, **given)
        context: Any = entered.get_context()
        if context.dialect.name != "postgresql":
            raise NotOfflineError(f"it renders for {context.dialect.name}")
        context.connection = context.impl.connection = Paper(context)

    entered.configure = configure_on_paper
    with entered:
        if models is None:
            script.run_env()
        else:
            entered.configure(dialect_name="postgresql", target_metadata=models or None)
            with entered.begin_transaction():
                entered.run_migrations()
    return output


def _steps(script: Any, request: Render, progress: Progress, output: Output) -> Iterator[Any]:
    from alembic.runtime.migration import MigrationStep

    load_revisions(script, progress)
    upgrade = request["direction"] == "upgrade"
    make = MigrationStep.upgrade_from_script if upgrade else MigrationStep.downgrade_from_script
    for name in request["revisions"]:
        revision = script.get_revision(name)
        step = make(script.revision_map, revision)
        step.migration_fn = _guarded(step.migration_fn, name, output, progress)
        start, output.file = output.tell(), revision.path
        yield step
        output.sections[name] = start, output.tell()


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


def protect(_request: Render) -> None:
    """Let no engine of this process connect, whatever it leads to."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def refuse(*_: Any) -> None:
        raise NotOfflineError("it connects to a database")

    event.listen(Engine, "do_connect", refuse)


def _models(error: BaseException) -> Any:
    """Return the ``target_metadata`` of an ``env.py`` that did not get to its end."""
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename.endswith("env.py") and "target_metadata" in at.tb_frame.f_globals:
            return at.tb_frame.f_globals["target_metadata"]
        at = at.tb_next
    return None


_USES = {"_sa_instance_state": "it inspects the database", "connect": "it works in a session of its own"}
"""What is looked for first in a connection, and what that is for."""


class Paper:
    """What a revision gets for a connection: statements are written down, and nothing can be read.

    Alembic's own stand-in answers every statement with nothing and drops parameters, so a revision that reads from the
    database would render something that never runs.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._mock = context.connection

    @property
    def dialect(self) -> Any:
        """The dialect that is written in."""
        return self._context.dialect

    @property
    def engine(self) -> Any:
        """Itself, as with the stand-in of SQLAlchemy."""
        return self

    def in_transaction(self) -> bool:
        """Say no: on paper there is no transaction but the written one."""
        return False

    def execution_options(self, **_options: Any) -> Any:
        """Return itself: on paper no option matters."""
        return self

    def execute(self, statement: Any, parameters: Any = None, *_: Any, **__: Any) -> Any:
        """Write a statement down, with its parameters in it; what it returns cannot be read."""
        from sqlalchemy import text

        if isinstance(statement, str):
            statement = text(statement)
        for each in parameters if isinstance(parameters, (list, tuple)) else [parameters]:
            self._context.impl._exec(_with(statement, each))  # noqa: SLF001
        return _Nothing()

    def exec_driver_sql(self, statement: str, parameters: Any = None, **_: Any) -> Any:
        """Write a statement down as it is."""
        if parameters:
            raise NotOfflineError("it runs a statement with parameters through exec_driver_sql()")
        self._context.impl.static_output(statement.strip().rstrip(";") + self._context.impl.command_terminator)
        return _Nothing()

    def schema_for_object(self, thing: Any) -> Any:
        """Return the schema of a table, or of what belongs to it."""
        return thing.schema

    def _run_ddl_visitor(self, visitor: Any, element: Any, **given: Any) -> None:
        if given.get("checkfirst") and element is not self._context._version:  # noqa: SLF001
            self._context.impl.static_output("-- only where that is still to be done, which cannot be known here:")
        self._mock._run_ddl_visitor(visitor, element, **given)  # noqa: SLF001

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        what = _USES.get(name, f"it uses the connection ({name})")
        raise NotOfflineError(f"{what}, which does not exist while statements are only written down")


def _with(statement: Any, parameters: Any) -> Any:
    if not parameters:
        return statement
    for method in ("bindparams", "values"):
        if hasattr(statement, method):
            return getattr(statement, method)(**parameters)
    raise NotOfflineError("it runs a statement with parameters that cannot be written into it")


class _Nothing:
    """The result of a statement that did not run: whatever is asked of it cannot be known."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotOfflineError("it reads from the database what it does next")

    __iter__ = __bool__ = __len__ = __getitem__ = __enter__ = __exit__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._refuse()
