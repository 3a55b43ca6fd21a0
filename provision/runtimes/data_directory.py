"""What a directory may hold that becomes a data directory: data of the right major version, or nothing.

A server takes over its data directory with everything in it: the image gives all of it to the server's user, and only
then initdb says that the directory is not empty.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Sequence
from pathlib import Path

from provision.errors import RefusedError, as_word, command
from provision.model import Action, Address, Step
from provision.model.effects import ReadSettings
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


def occupied(spec: Spec, source: str, found: Sequence[str]) -> RefusedError:
    """Return the error for a directory, or for a volume of something else, in which there is ``found``."""
    example = f"path: {_below(spec, Path(source))}" if source.startswith("/") else f"volume: {source}-postgres"
    names = ", ".join((*found[:_SHOWN], *(["…"] if len(found) > _SHOWN else [])))
    evidence = ["it has no file PG_VERSION, and a server takes over its data directory with all that is in it"]
    if _LOST_AND_FOUND in found:
        evidence.append(f"{_LOST_AND_FOUND} shows that a file system is mounted there")
    return RefusedError(
        f"{_named(source)} holds other files ({names})",
        evidence=evidence,
        next_step=f"name an empty one, for example `server.data: {{{example}}}`",
    )


def _named(source: str) -> str:
    return f"the directory {source}" if source.startswith("/") else f"the volume {source!r}"


def unreadable(source: str) -> RefusedError:
    """Return the error for a directory or volume that holds no data of a server, and whose files cannot be listed."""
    look = f"look with its owner's eyes: sudo ls -la {as_word(source)}; or " if source.startswith("/") else ""
    return RefusedError(
        f"{_named(source)} holds no data of a server, and what else is in it cannot be seen",
        evidence=["a server takes over its data directory with all that is in it"],
        next_step=f"{look}name an empty one as `server.data`",
    )


def _below(spec: Spec, path: Path) -> str:
    """Return a directory in ``path`` as people would write it in the spec."""
    place = path / "pgdata"
    return f"./{os.path.relpath(place, spec.directory)}" if spec.directory in place.parents else str(place)


# --- major versions


def other_major(
    spec: Spec, what: str, major: str, evidence: Sequence[str] = (), kept: Sequence[int | None] | None = None
) -> RefusedError:
    """Return the error for data of another major version.

    ``kept`` are the versions that an upgrade has kept, None where the data cannot be upgraded.
    """
    lines = ["a data directory works with its own major version only", *evidence]
    if spec.server.major in (kept or ()):
        lines.append(f"the data of PostgreSQL {spec.server.major} is kept as it was before the upgrade")
        step = f"go on with an image of PostgreSQL {major}, or give up what was written since the upgrade:"
        step += " " + command("upgrade --rollback")
    elif kept is not None and major.isdecimal() and int(major) < spec.server.major:
        first = "; or first look at what it would do: " + command("upgrade --check")
        step = command("upgrade") + first + f"; or go back to PostgreSQL {major}"
    else:
        step = f"go back to an image of PostgreSQL {major}, or give the new one a place of its own in `server.data`"
        step += " and copy the data with pg_dump"
    return RefusedError(
        f"{what} was made by PostgreSQL {major} and cannot be used by {spec.server.image!r}",
        evidence=lines,
        next_step=step,
    )


def reading_settings(effect: ReadSettings) -> Step:
    """Return the step that reads the settings of a major version that this program does not know."""
    why = (f"this version of provision does not know the settings of PostgreSQL {effect.major}",)
    text = "the settings of the spec are checked then, before anything is made for the server"
    address = Address("catalogue", f"postgresql-{effect.major}")
    return Step(address, Action.CREATE, None, None, (effect,), why, text, reveals=True)


def with_kept(detail: str, places: Sequence[object]) -> str:
    """Add to what is said of a server what an upgrade has left, and how that goes away."""
    if not places:
        return detail
    start = f"{detail}; " if detail else ""
    start += f"the data from before the upgrade is kept in {', '.join(map(str, places))}: "
    return start + command("upgrade --finish") + " removes it, " + command("upgrade --rollback") + " goes back to it"
