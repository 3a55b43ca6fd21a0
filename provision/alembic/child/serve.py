"""Serves one request. What can be asked for is a function each, imported when it is asked for."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .channel import Channel, Progress, describe, first_line
from .code_cache import read_ahead
from .config import add_import_root, first_driver, make_config, parser, script_directory, set_environment, uses_flask
from .connection import clean_sessions, set_sessions
from .kept import as_before, listen_to_parent, memory, settle
from .prepare import around

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .protocol import Request, Resolve

_SERVED_BY = {
    "migrate": ("migrate", "serve"),
    "render": ("render", "serve"),
    "compare": ("autogenerate", "compare_models"),
    "write": ("autogenerate", "write_revision"),
    "resolve": ("serve", "resolve"),
}
"""What can be asked for: a module, which may have a function to ``protect`` databases first, and its function."""

_GARBAGE = 10_000
"""So many objects are made between two looks for garbage, which take more than they free where a process ends soon."""


def main() -> int:
    """Serve one request, and each further one that the request before it announced."""
    channel = Channel(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    progress = Progress(channel)
    try:
        _import_alembic()
        channel.say({"event": "ready"})
        directories, sys.argv[1:] = sys.argv[1:], []
        read_ahead(directories, lambda: bool(select.select([0], [], [], 0)[0]))  # until a request is there
        line = sys.stdin.readline()
        if not line:
            return 0
        gc.freeze()  # what is loaded stays, so that no collection has to look through it
        gc.set_threshold(_GARBAGE)
        gc.enable()
        request: Request = json.loads(line)
        requests = listen_to_parent(progress)
        if request["more"]:
            channel.hold()
        while request["more"]:
            with as_before(progress, reloads=request["reloads"] or bool(request["prepare"]) or uses_flask(request)):
                _serve(request, progress)
            channel.say({"event": "finished", "memory": memory()})
            settle(progress)
            channel.say({"event": "ready"})
            request = json.loads(requests.get())
        _serve(request, progress)
    except BaseException as error:  # noqa: BLE001  # SystemExit from env.py is an answer too
        channel.say(describe(error, progress))
        return 1
    channel.say({"event": "finished", "memory": memory()})
    gc.freeze()  # the last collection of an interpreter would look through everything
    return 0


def _serve(request: Request, progress: Progress) -> None:
    progress.channel.hide(request["secrets"])
    add_import_root(request["cwd"])
    progress.stage = "config"
    set_environment(request)
    config = make_config(request)
    set_sessions(request, progress)
    clean_sessions(request, progress)
    name, function = _SERVED_BY[request["kind"]]
    module = import_module(f".{name}", __package__)
    if hasattr(module, "protect"):
        module.protect(request)
    with _reading(request, progress):
        around(config, request, progress, lambda: getattr(module, function)(config, request, progress))


@contextlib.contextmanager
def _reading(request: Request, progress: Progress) -> Iterator[None]:
    """Report what the user's code has read, where that was asked for and it did not fail."""
    if not request.get("reading"):
        yield
        return
    from .reading import Reading

    reading = Reading(request, progress)
    reading.begin()
    yield
    progress.channel.say(reading.end())


def _import_alembic() -> None:
    """Import, and make, what a migration needs while the server is still coming up."""
    with _without("pygments"):
        for module in ("config", "context", "op", "script", "runtime.environment"):
            import_module(f"alembic.{module}")
    first_driver()
    for module in ("migrate", "reading"):
        import_module(f".{module}", __package__)
    parser()


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


def resolve(config: Any, request: Resolve, progress: Progress) -> None:
    """Report where a package is, or what revision files state that only running can answer for."""
    from alembic.util import to_list

    package = request["package"]
    if package is not None:
        progress.channel.say({"event": "location", "script": _directory_of(package), "installed": sys.path})
        return
    script = script_directory(config)
    progress.stage = "load"
    for found in script.walk_revisions("base", "heads"):
        progress.channel.say(
            {
                "event": "revision",
                "path": found.path,
                "revision": found.revision,
                "down": list(to_list(found.down_revision) or []),
                "depends_on": list(to_list(found.dependencies) or []),
                "labels": sorted(to_list(getattr(found.module, "branch_labels", None)) or []),
                "message": first_line(found.module.__doc__),
            }
        )


def _directory_of(place: str) -> str:
    """Return the directory that ``package:dir`` names."""
    from importlib.util import find_spec

    package, _, rest = place.partition(":")
    found = find_spec(package)
    for root in (found.submodule_search_locations or ()) if found else ():
        path = os.path.join(root, *rest.split(":"))  # noqa: PTH118
        if os.path.isdir(path):  # noqa: PTH112
            return path
    raise ModuleNotFoundError(
        f"no directory {rest!r} in the package {package!r}" if found else f"No module named {package!r}"
    )
