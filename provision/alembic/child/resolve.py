"""Tells where the tree is, and what its revisions state: for files that only running can answer for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .channel import first_line
from .config import script_directory

if TYPE_CHECKING:
    from .channel import Progress
    from .config import Request


def serve(config: Any, request: Request, progress: Progress) -> None:
    """Tell where the tree is, and what its revisions state: for files that only running can answer for."""
    from alembic.util import to_list

    package = request["package"]
    if package is not None:
        path = _directory_of(package)
        progress.channel.say("location", script=path, installed=sys.path)
        return
    script = script_directory(config)
    progress.stage = "load"
    for found in script.walk_revisions("base", "heads"):
        progress.channel.say(
            "revision",
            path=found.path,
            revision=found.revision,
            down=to_list(found.down_revision) or [],
            depends_on=to_list(found.dependencies) or [],
            labels=sorted(to_list(getattr(found.module, "branch_labels", None)) or []),
            message=first_line(found.module.__doc__),
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
    message = f"no directory {rest!r} in the package {package!r}" if found else f"No module named {package!r}"
    raise ModuleNotFoundError(message)
