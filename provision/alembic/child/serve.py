"""Serves one request. What can be asked for is a module each, imported when it is asked for."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import prepare
from .channel import Channel, Progress, describe
from .config import add_import_root, first_driver, make_config, set_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import Request

KINDS = ("migrate", "resolve", "render", "compare", "write")
"""What can be asked for: the module, which has a function ``serve`` and perhaps one to ``protect`` databases first."""


def main() -> int:
    """Serve one request."""
    channel = Channel(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    progress = Progress(channel)
    try:
        channel.say("ready", **versions())
        gc.freeze()  # what is imported stays, so that no collection has to look through it
        gc.enable()
        line = sys.stdin.readline()
        if not line:
            return 0
        request: Request = json.loads(line)
        channel.hide(request["secrets"])
        _die_with_parent(progress)
        add_import_root(request["cwd"])
        progress.stage = "config"
        set_environment(request)
        config = make_config(request)
        module = import_module("." + KINDS[KINDS.index(request["kind"])], __package__)
        if hasattr(module, "protect"):
            module.protect(request)
        prepare.around(config, request, progress, lambda: module.serve(config, request, progress))
    except BaseException as error:  # noqa: BLE001  # SystemExit from env.py is an answer too
        channel.say("error", **describe(error, progress))
        return 1
    channel.say("finished")
    return 0


def versions() -> dict[str, Any]:
    """Import what a migration needs, and say what this interpreter has."""
    import importlib

    with _without("pygments"):
        import alembic
        import sqlalchemy
        import sqlalchemy.dialects.postgresql

        for module in ("config", "context", "op", "script", "runtime.environment"):
            importlib.import_module(f"alembic.{module}")
    return {
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "alembic": alembic.__version__,
        "sqlalchemy": sqlalchemy.__version__,
        "driver": first_driver(),
    }


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Let a module seem to be missing: Mako would load its lexers, a third of all imports, to colour HTML with them."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # what importlib takes for a module that is not there
    try:
        yield
    finally:
        del sys.modules[module]


def _die_with_parent(progress: Progress) -> None:
    """End when the parent has gone: its lock is gone with it, and nobody is left to be told.

    The pipe from the parent moves out of the way, so that the user's code finds an empty standard input.
    """
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def listen() -> None:
        while os.read(parent, 1):
            progress.go.release()
        os._exit(130)

    threading.Thread(target=listen, daemon=True).start()
