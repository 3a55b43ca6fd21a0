"""What a process that serves one request after another puts back between two of them.

Alembic itself loads ``env.py`` and the revisions again each time. What the project's code leaves in the process is
ours to put back: variables, the import path, the directory, and connections that an engine has kept.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import resource
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .channel import Progress

_INSTALLED = ("site-packages", "dist-packages")


def listen_to_parent(progress: Progress) -> queue.SimpleQueue[bytes]:
    """Return the requests that come after the first; end when the parent has gone.

    Its lock is gone with it, and nothing listens any more. An empty line is its word to go on. The pipe moves out of
    the way, so that the user's code finds an empty standard input.
    """
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def listen() -> None:
        with os.fdopen(parent, "rb") as lines:
            for line in lines:
                if line.strip():
                    requests.put(line)
                else:
                    progress.go.release()
        os._exit(130)

    threading.Thread(target=listen, daemon=True).start()
    return requests


@contextlib.contextmanager
def as_before(progress: Progress, *, reloads: bool) -> Iterator[None]:
    """Put the process back after a request that ended well; ``reloads``: it forgets the project's own modules too."""
    variables, path, modules = dict(os.environ), list(sys.path), set(sys.modules)
    directory = os.getcwd()  # noqa: PTH109  # as os.chdir() below
    yield
    close_sessions(progress)
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)
    sys.path[:] = path
    os.chdir(directory)
    if reloads:
        for name in set(sys.modules) - modules:
            if _is_the_projects(sys.modules[name]):
                del sys.modules[name]


def _is_the_projects(module: Any) -> bool:
    """Tell whether a module is neither installed nor of the standard library."""
    file, library = Path(getattr(module, "__file__", None) or os.__file__).absolute(), Path(os.__file__).parent
    return library not in file.parents and not any(each in file.parts for each in _INSTALLED)


def close_sessions(progress: Progress) -> None:
    """Close what the pools of a request's engines have kept, as the end of a process would."""
    while progress.sessions:
        session = progress.sessions.pop()()
        if session is not None:
            with contextlib.suppress(Exception):  # one that is closed, or of an event loop that is over
                session.invalidate()


def settle(progress: Progress) -> None:
    """Get ready for another request; what the first one has loaded stays, so no collection looks through it again."""
    if not progress.has_settled:
        gc.collect()
        gc.freeze()
    progress.has_settled = True
    progress.begin()


def memory() -> int:
    """Return the largest resident size of this process so far, in KiB (getrusage(2), Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
