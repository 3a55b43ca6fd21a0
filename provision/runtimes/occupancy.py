"""Whether a directory may become a data directory: one that holds other files would be taken over with all of them.

The image gives everything below its data directory to the server's user; only then initdb says that it is not empty.
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

from provision.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from provision.spec.model import Spec

_VERSION = "PG_VERSION"
_LOST_AND_FOUND = "lost+found"
_PASSING = ("initdb-", "provision-lock")
_SHOWN = 3


def strangers(entries: Callable[[str], Sequence[str] | None], *, below: str) -> tuple[str, ...] | None:
    """Return what is in a directory and is not a server's data; None where we may not look, nothing where data is.

    ``entries`` lists a directory below it: names, none where it is no directory, None where that is not allowed.
    ``below`` is where in it the data is to be, like ``18/docker``; what a file system has of its own is in the way only
    where that is the directory itself. What was made by which major, and at which depth, is not asked here.
    """
    top = entries("")
    if top is None:
        return None
    if _VERSION in top:
        return ()
    majors = [each for each in top if each.isascii() and each.isdecimal()]
    places = ({"data", below} - {""}) | {f"{major}/docker" for major in majors}
    found = [entries(each) for each in places if each.split("/")[0] in top]
    if any(each is not None and _VERSION in each for each in found):
        return ()
    if None in found:
        return None
    own = {each.split("/")[0] for each in places if below and _is_empty(entries, each)}
    return tuple(sorted(each for each in top if each not in ({*own, _LOST_AND_FOUND} if below else own)))


def _is_empty(entries: Callable[[str], Sequence[str] | None], path: str) -> bool:
    """Tell whether there is nothing at a path, nor beside it on the way there but what another run takes away again."""
    parts = path.split("/")
    if entries(path) != ():
        return False
    for depth in range(1, len(parts)):
        names = entries("/".join(parts[:depth])) or ()
        passing = {each for each in names if each.startswith(tuple(f".{parts[depth]}.{end}" for end in _PASSING))}
        if not names or {*names} - passing - {parts[depth]}:
            return False
    return True


def refusal(spec: Spec, path: Path, found: Sequence[str]) -> RefusedError:
    """Return the error for a directory in which there is ``found``."""
    example = f"server.data: {{path: {_below(spec, path)}}}"
    return _refusal(f"the directory {path}", found, f"name an empty one, for example `{example}`")


def refusal_of_volume(name: str, found: Sequence[str]) -> RefusedError:
    """Return the error for a volume that was not made for this environment, and in which there is ``found``."""
    example = f"server.data: {{volume: {name}-postgres}}"
    return _refusal(f"the volume {name!r}", found, f"name another one, for example `{example}`")


def _refusal(what: str, found: Sequence[str], next_step: str) -> RefusedError:
    names = ", ".join((*found[:_SHOWN], *(["…"] if len(found) > _SHOWN else [])))
    evidence = ["it has no file PG_VERSION, and a server takes over its data directory with all that is in it"]
    if _LOST_AND_FOUND in found:
        evidence.append(f"{_LOST_AND_FOUND} shows that a file system is mounted there")
    return RefusedError(f"{what} holds other files ({names})", evidence=evidence, next_step=next_step)


def unseen(source: str) -> RefusedError:
    """Return the error for a directory or volume that holds no data of a server, and whose files cannot be listed."""
    is_path = source.startswith("/")
    what = f"the directory {source}" if is_path else f"the volume {source!r}"
    look = f"look with its owner's eyes: sudo ls -la {source}; or " if is_path else ""
    return RefusedError(
        f"{what} holds no data of a server, and what else is in it cannot be seen",
        evidence=["a server takes over its data directory with all that is in it"],
        next_step=f"{look}name an empty one as `server.data`",
    )


def _below(spec: Spec, path: Path) -> str:
    """Return a directory in ``path`` as people would write it in the spec."""
    place = path / "pgdata"
    return f"./{os.path.relpath(place, spec.directory)}" if spec.directory in place.parents else str(place)
