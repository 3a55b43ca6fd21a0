"""Whose containers, volumes and directories are, and who else uses the data: two servers on one directory destroy it.

A server's own lock file does not help: the process number in it means nothing in another container, and its shared
memory cannot be seen from there. So provision looks for whatever runs and can write to the data before it starts a
server.
"""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from provision.environ import OWN_NAME
from provision.errors import NextStep, RefusedError, command
from provision.model.value import dataclass
from provision.runtimes.names import ADOPTED, DIRECTORY, ENGINE, ENVIRONMENT, MACHINE, SUPERUSER, environment, of_home
from provision.spec.model import Spec
from provision.system.look import Look

_SERVERS = ("postgres", "postmaster")
STARTED_FIRST = "it started first, so the server of this environment was killed"
_WHY = "two servers on one data directory destroy it, and neither notices the other"


@dataclass(frozen=True)
class DataUser:
    """A container that runs and could write to the data: in words where it has it, and its labels."""

    name: str
    how: str
    labels: Mapping[str, str]
    program: str
    """What the engine's own program is called."""

    def refusal(self, what: str, *, next_step: str = "") -> RefusedError:
        """Return the error for ``what`` it has; without a ``next_step`` it is stopped."""
        evidence = [self.how, _WHY]
        if (whose := self.labels.get(ENVIRONMENT)) is not None:
            evidence.insert(1, f"it was made for the environment {whose!r} of {self.labels.get(DIRECTORY)}")
        return RefusedError(
            f"{what} is in use by the container {self.name!r}",
            evidence=evidence,
            next_step=next_step or f"{self.program} stop {self.name}",
        )


def holder(spec: Spec) -> str:
    """Return whose run holds data, for those that wait for it."""
    return f"the environment {spec.name!r} of {spec.kept_in}"


def is_ours(spec: Spec, labels: Mapping[str, str], look: Look) -> bool:
    """Tell whether labels are those of this environment, also of before its directory was moved here."""
    directory = labels.get(DIRECTORY)
    if directory is None or labels.get(ENVIRONMENT) != spec.name:
        return False
    if directory == str(spec.kept_in):
        return not is_of_another_machine(spec, labels, look)
    return not look.exists(Path(directory)) and has_moved(spec, look)


def is_of_another_machine(spec: Spec, labels: Mapping[str, str], look: Look) -> bool:
    """Tell whether an engine that several machines use has this of another one, which has a spec of the same place.

    What an apply has written beside the spec shows that it is this one, whatever the machine is called now.
    """
    made_on = labels.get(MACHINE, "")
    return bool(made_on) and not look.knows(made_on) and not has_moved(spec, look)


def has_moved(spec: Spec, look: Look) -> bool:
    """Tell whether this may be what was in a directory that is gone: what an apply has written came along.

    A fresh clone has none of it, and the data of one that was removed is not taken for its own.
    """
    return any(look.exists(spec.home / each) for each in (ENGINE, SUPERUSER, ADOPTED))


def gone(spec: Spec, what: str, directory: str) -> RefusedError:
    """Return the error for what was made in a directory that is gone, where nothing shows that this is that one."""
    return RefusedError(
        f"{what} was made for the environment {spec.name!r} of {directory}, which is gone",
        evidence=[
            f"this is {holder(spec)}, where no apply has been",
            "whether that directory was moved here, or removed, is not known",
        ],
        next_step=command("apply --adopt")
        + "   (it was moved: use its data), or: "
        + f"provision destroy --data --name {spec.name}   (it was removed), or: "
        + another_name(spec.name),
    )


def container_on(look: Look, source: str, *, place: str, but: Collection[str] = ()) -> DataUser | None:
    """Return a container, other than those named ``but``, that has a volume or directory ``source`` mounted.

    ``place`` is where that is on the engine's host. One that can only read it is no danger, and one that has a
    directory above or below it is one only if a server runs in it.
    """
    for container in look.engine("/containers/json") or ():
        name = _name(container)
        if name in but:
            continue
        mounts = [each for each in container.get("Mounts") or () if each["Type"] in ("bind", "volume")]
        for mount in (each for each in mounts if each.get("RW", True)):
            theirs = str(mount.get("Source") or "")
            is_same = mount.get("Name") == source or (theirs != "" and real(theirs, look) == real(place, look))
            if is_same or (_are_nested(theirs, place, look) and _runs_a_server(look, container["Id"])):
                how = f"it was made from {container['Image']}, is {container['State']}, and has it at"
                how += f" {mount['Destination']}"
                return DataUser(name, how, container.get("Labels") or {}, look.reader.program)
    return None


def check_processes(look: Look, *places: Path) -> None:
    """Refuse data directories of this machine that a server process works on.

    Raises:
        RefusedError: with the process, and what to type.
    """
    for place in places:
        found = look.machine.postmaster(place)
        if found is not None:
            home = environment(found.argv)
            made = [f"it was made for {of_home(home)}"] if home else []
            raise RefusedError(
                f"a server of this machine, process {found.pid}, runs on the data in {place}",
                evidence=[f"it was started as {' '.join(found.argv)}", *made, _WHY],
                next_step=f"kill -INT {found.pid}   (shuts it down), or name another `server.data.path`",
            )


def another_name(name: str) -> NextStep:
    """Return what to do in a second checkout, whose environment has the same name as that of the first."""
    match = re.fullmatch(r"(.*)-([2-9])", name)
    other = f"{match[1]}-{int(match[2]) + 1}" if match else f"{name}-2"
    return f"give this checkout a name of its own: export {OWN_NAME}={other}, then: " + command("apply")


def taken_port(host: str, port: int, owner: str, free: int | None, *, name: str = "") -> RefusedError:
    """Return the error for a port that is taken; without a ``free`` one, only the engine's host knows another.

    ``name`` is that of the environment, which another checkout may have too.
    """
    advice = f"set `server.port: {free}` (free now), or `port: auto`"
    if not free:
        advice = "set `server.port` to another port of the engine's host"
    is_same = name and f"the environment {name!r} of " in owner
    error = RefusedError(
        f"the port {port} of {host or 'every address'} is taken by {owner}",
        next_step=another_name(name) if is_same else advice,
    )
    error.taken_port = port
    return error


def check_made(spec: Spec, path: Path, look: Look, *, record: Path, is_used: bool = True) -> None:
    """Refuse to remove a directory of data that was not made for this environment; ``record`` remembers that.

    ``is_used``: the environment's server has it, so it is destroyed first.

    Raises:
        RefusedError: with what removes the rest, and never with a command that removes the directory.
    """
    if look.made(path, record):
        return
    shown, place = os.path.relpath(record), shlex.quote(str(path))
    rest = command("destroy") + "   (the directory stays" if is_used else f"ls -la {place}   (it stays"
    why, more = f"{shown} tells of another directory, so this one was there before, or was created again", ""
    if not look.exists(record):
        why = f"there is no {shown}: the directory was there before, or that file was deleted"
        more = f"; if it was made here and is not needed: mv {place} {place}.old"
    raise RefusedError(
        f"the directory {path} was not made for the environment {spec.name!r}; nothing was removed",
        evidence=[why, "its contents may belong to others, so provision never removes it"],
        next_step=rest + f"{more})",
    )


def _are_nested(one: str, other: str, look: Look) -> bool:
    """Tell whether one directory is inside of the other: a checkout that is mounted as a whole holds its data too."""
    if not one.startswith("/") or not other.startswith("/"):
        return False
    a, b = Path(real(one, look)), Path(real(other, look))
    return a in b.parents or b in a.parents


def real(path: str, look: Look) -> str:
    """Return a path of the engine's host without links in it, where that is this machine."""
    return os.path.realpath(path) if look.address.is_local and path.startswith("/") else path


def _runs_a_server(look: Look, container: str) -> bool:
    path = f"/containers/{container}/top"
    # Where the container has no `ps`, Podman answers with nothing, unless it is asked in its own way.
    seen = look.engine(path) or look.engine(path, ps_args="pid,args") or {}
    lines = (" ".join(map(str, line)) for line in seen.get("Processes") or ())
    return any(name in line for line in lines for name in _SERVERS)


def _name(container: Mapping[str, Any]) -> str:
    """Return the name of a container; a link from another one gives it a second, longer one."""
    names = sorted(container.get("Names") or (container["Id"][:12],), key=lambda each: str(each).count("/"))
    return str(names[0]).lstrip("/")
