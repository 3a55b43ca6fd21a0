"""Runs what a tree needs before its ``env.py``: what the spec names, or the Flask application that it asks for.

A file is run. A function is called: without an argument, with Alembic's ``Config``, or with that and a function that
runs ``env.py`` and the revisions, which it calls where they need to run (in a context, in a thread of its own).

The application is found as ``flask`` finds it: ``FLASK_APP``, also from ``.flaskenv``, else ``wsgi.py`` or ``app.py``,
else the one module or package that makes an application. Its engine leads to our database, whatever it read.
https://flask.palletsprojects.com/en/stable/cli/#application-discovery
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import sys
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import import_root, make_url, read_text, script_directory, uses_flask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .channel import Progress
    from .protocol import Request


_NAME = "provision_prepare"
"""The name of a file as a module."""


def around(config: Any, request: Request, progress: Progress, work: Callable[[], None]) -> None:
    """Prepare, and then do the ``work`` of a request once."""
    place = request["prepare"]
    if place is None and not uses_flask(request):
        work()
        return
    script_directory(config)  # puts on sys.path what the configuration prepends
    once = _Once(work, progress)
    progress.stage = "prepare"
    if place is None:
        _push_flask_app(config, request)
        once.run()
    elif not _call(place, config, once):
        once.run()
    once.finish(place or "")


class _Once:
    """The work of a request, which must be done once; its own failure is not one of the preparation."""

    def __init__(self, work: Callable[[], None], progress: Progress) -> None:
        self._work = work
        self._progress = progress
        self._runs = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Do it."""
        self._runs += 1
        if self._runs > 1:
            raise RuntimeError("it ran env.py twice")
        self._progress.stage = "config"
        try:
            self._work()
        except BaseException as error:
            self.failure = error
            raise
        self._progress.stage = "prepare"

    def finish(self, place: str) -> None:
        """See that it was done, whatever became of its failure on the way.

        Raises:
            RuntimeError: it was not.
        """
        if self.failure is not None:
            raise self.failure
        if not self._runs:
            raise RuntimeError(f"{place} returned without calling the function that runs env.py")


def _call(place: str, config: Any, once: _Once) -> bool:
    """Run what the spec names; return whether it was handed the work, and so had to do it."""
    function = _function(place)
    if function is None:
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    wanted = sum(each.kind in kinds and each.default is each.empty for each in parameters)
    arguments = (config, once.run)[:wanted]
    try:
        result = function(*arguments)
    except BaseException:
        if once.failure is not None:
            raise once.failure from None
        raise
    if inspect.isawaitable(result):
        raise TypeError(f"{place} is a coroutine function, and nothing awaits it")
    return len(arguments) > 1


def _function(place: str) -> Any:
    """Return the function that ``FILE.py:function`` or ``module:function`` names; a file alone is run, and has none."""
    if place.endswith(".py"):
        _run(place)
        return None
    home, _, names = place.rpartition(":")
    found = _run(home) if os.path.isabs(home) else import_module(home)  # noqa: PTH117
    for name in names.split("."):
        found = getattr(found, name)
    return found


def _run(path: str) -> Any:
    """Run a file as a module of its own."""
    spec = util.spec_from_file_location(_NAME, path)
    assert spec is not None  # noqa: S101  # for the type checker: the path ends in .py
    assert spec.loader is not None  # noqa: S101
    module = util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    return module


_KEY = "SQLALCHEMY_DATABASE_URI"
_MAKES = re.compile(r"(?m)^(?:app|application)\s*(?::[^=\n]+)?=|^def\s+(?:create_app|make_app)\s*\(")
_URL_VARIABLE = re.compile(_KEY + r"""\b[^#]{0,60}?(?:environ(?:\.get)?|getenv)\s*[\[(]\s*["']([A-Za-z_]\w*)["']""")
_OWN = ("wsgi.py", "app.py")
_OTHERS = frozenset({"migrations", "tests", "test", "node_modules", "build", "dist", "venv", "env"})
_MOST_FILES = 500
_ENGINE = ("connect_args", "execution_options", "isolation_level", "json_serializer", "json_deserializer")


class NoAppError(Exception):
    """No Flask application was found, or several."""


def _push_flask_app(config: Any, request: Request) -> None:
    """Push the context of the application, with our database in it, and let it complete Alembic's configuration.

    Raises:
        NoAppError: it is not clear which application is meant.
    """
    from flask import cli  # type: ignore[import-not-found,unused-ignore]  # only the project has to have it

    url = make_url(request)
    cli.load_dotenv()
    for name in _url_variables(Path(request["cwd"])):
        os.environ.setdefault(name, url)
    with _inside(import_root(request["cwd"])):  # Flask takes a package in the working directory for one of its own
        app = cli.ScriptInfo(_place(Path(request["cwd"]))).load_app()
    app.app_context().push()
    app.config[_KEY] = url
    extension = getattr(app, "extensions", {}).get("migrate")
    if extension is not None:
        _lead(app, extension.db, url)
        extension.migrate.call_configure_callbacks(config)


@contextlib.contextmanager
def _inside(home: str) -> Iterator[None]:
    """Work in a directory."""
    before = os.getcwd()  # noqa: PTH109  # as os.chdir() below
    os.chdir(home)
    try:
        yield
    finally:
        os.chdir(before)


def _lead(app: Any, db: Any, url: str) -> None:
    """Exchange the engine of Flask-SQLAlchemy 3, which it makes with the application; older ones read the URL later."""
    from sqlalchemy import create_engine, pool

    options = app.config.get("SQLALCHEMY_ENGINE_OPTIONS") or {}
    given = {key: value for key, value in options.items() if key in _ENGINE}
    with contextlib.suppress(AttributeError):
        db.engines[None] = create_engine(url, poolclass=pool.NullPool, **given)


def _place(home: Path) -> str | None:
    """Return what ``flask --app`` would get; None where Flask looks in its own two files."""
    named = os.environ.get("FLASK_APP")
    if named or (import_root(str(home)) == str(home) and any((home / name).is_file() for name in _OWN)):
        return named
    texts = {name: text for name, text in _modules(home) if _MAKES.search(text)}
    for sign in ("Flask(", "igrate("):  # the one that makes it itself, rather than imports it; and knows Flask-Migrate
        texts = {name: text for name, text in texts.items() if sign in text} or texts
    if len(texts) == 1:
        return next(iter(texts))
    found = f"several modules make one: {', '.join(sorted(texts))}" if texts else f"no module in {home} makes one"
    raise NoAppError(f"env.py asks for the Flask application, and {found}")


def _modules(home: Path) -> Iterator[tuple[str, str]]:
    """Yield the modules and packages of a directory, with their text; of one in a package, that package."""
    root = Path(import_root(str(home)))
    if root != home:
        package = root / home.relative_to(root).parts[0]
        yield package.name, read_text(str(package / "__init__.py"))
        return
    for path in sorted(home.iterdir()):
        if path.suffix == ".py" and path.stem.isidentifier():
            yield path.stem, read_text(str(path))
        elif path.name.isidentifier() and path.name not in _OTHERS and (path / "__init__.py").is_file():
            yield path.name, read_text(str(path / "__init__.py"))


def _url_variables(home: Path) -> list[str]:
    """Return the variables from which the application's files take the URL of the database."""
    found: dict[str, None] = {}
    seen = 0
    for place, folders, names in os.walk(home):
        folders[:] = sorted(each for each in folders if each not in _OTHERS and not each.startswith("."))
        for path in [Path(place, name) for name in names if name.endswith(".py")]:
            seen += 1
            if seen <= _MOST_FILES:
                found.update(dict.fromkeys(_URL_VARIABLE.findall(read_text(str(path)))))
    return list(found)
