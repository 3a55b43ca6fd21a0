"""What a revision gets for a connection while its statements are only written down.

Alembic's own stand-in answers every statement with nothing and drops parameters, so that a revision which reads from
the database can go on and render something that would never run. This one refuses, and so the revision is reported as
one that cannot be rendered.
"""

from __future__ import annotations

from typing import Any, NoReturn

_USES = {"_sa_instance_state": "it inspects the database", "connect": "it works in a session of its own"}
"""What is looked for first in a connection, and what that is for."""


class NotOfflineError(Exception):
    """What is done needs a database."""


class Paper:
    """Stands for a connection: statements are written down, and nothing can be read."""

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
            message = "it runs a statement with parameters through exec_driver_sql()"
            raise NotOfflineError(message)
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
        message = f"{what}, and there is none while statements are only written down"
        raise NotOfflineError(message)


def _with(statement: Any, parameters: Any) -> Any:
    if not parameters:
        return statement
    for method in ("bindparams", "values"):
        if hasattr(statement, method):
            return getattr(statement, method)(**parameters)
    message = "it runs a statement with parameters that cannot be written into it"
    raise NotOfflineError(message)


class _Nothing:
    """The result of a statement that did not run: whatever is asked of it cannot be known."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        message = "it reads from the database what it does next"
        raise NotOfflineError(message)

    __iter__ = __bool__ = __len__ = __getitem__ = __enter__ = __exit__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._refuse()
