"""Runs what a tree needs before its ``env.py``: what the spec names, or the Flask application that it asks for.

A file is run. A function is called: without an argument, with Alembic's ``Config``, or with that and a function that
runs ``env.py`` and the revisions, which it calls where they need to run (in a context, in a thread of its own).
"""

from __future__ import annotations

import inspect
import os
import sys
from importlib import import_module, util
from typing import TYPE_CHECKING, Any

from . import flask_app
from .config import script_directory, uses_flask

if TYPE_CHECKING:
    from collections.abc import Callable

    from .channel import Progress
    from .config import Request

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
        flask_app.push(config, request)
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
            message = "it ran env.py twice"
            raise RuntimeError(message)
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
            message = f"{place} returned without calling the function that runs env.py"
            raise RuntimeError(message)


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
        message = f"{place} is a coroutine function, and nothing awaits it"
        raise TypeError(message)
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
