"""The data directories of one environment over the major versions: an upgrade fills a new one, and keeps the old one.

The state of an upgrade is what is on the disk, and nothing else. The first directory is that of the spec, ``data``. An
upgrade to 18 fills one in a hidden place beside it, and nobody ever needs what is there. Once the copy was compared and
the old server was stopped, one rename gives it a name that counts, ``data-18``. A file in it, written before, says what
it was made from: a directory of somebody else that has such a name is none of ours. The data is in the newest directory
that counts. What is removed goes to the hidden place first, so that no half of it is ever taken for data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provision.model import Action, Address, MakeDirectory, MovePath, RemovePath, ServerCall, Step
from provision.spec.image import OLDEST

_MAJORS = range(OLDEST, 40)

if TYPE_CHECKING:
    from provision.model import Effect
    from provision.runtimes import Look
    from provision.runtimes.embedded.machine import Machine
    from provision.runtimes.embedded.places import Places
    from provision.runtimes.upgrading import Origin

ORIGIN = "provision.upgraded"


@dataclass(frozen=True, slots=True)
class Generations:
    """The directories of one environment: ``first`` is that of the spec, ``kept`` are those that nobody uses any more.

    The newest is the first of ``kept``.
    """

    first: Path
    current: Path
    kept: tuple[Path, ...] = ()

    @property
    def is_upgraded(self) -> bool:
        """Whether the data is in a directory that an upgrade has filled."""
        return self.current != self.first

    @property
    def hidden(self) -> Path:
        """Where a copy is filled, and where data goes that is removed."""
        return self.first.with_name(f".{self.first.name}.upgrade")

    @property
    def filled(self) -> Path:
        """The copy, until it counts."""
        return self.hidden / "data"


def copy_path(first: Path, major: int) -> Path:
    """Return the directory that an upgrade to a major version makes."""
    return first.with_name(f"{first.name}-{major}")


def find(first: Path, machine: Machine) -> Generations:
    """Look for the directories beside the first one."""
    copies = [copy_path(first, major) for major in _MAJORS]
    counting = [each for each in copies if machine.note(each, ORIGIN) is not None]
    if not counting:
        return Generations(first, first)
    older = [*([first] if machine.version(first) is not None else []), *counting[:-1]]
    return Generations(first, counting[-1], tuple(reversed(older)))


def note(data: Path, major: int, programs: Path) -> str:
    """Return what is written into a copy: where it comes from, and with which programs one goes back to that."""
    return json.dumps({"data": str(data), "major": major, "programs": str(programs)}) + "\n"


def origin(found: Generations, machine: Machine) -> Origin:
    """Return what the current directory was made from."""
    from provision.runtimes.upgrading import Origin

    said = json.loads(machine.note(found.current, ORIGIN) or "{}")
    major = int(said.get("major", 0))
    return Origin(f"postgres:{major}", major, Path(said.get("programs", "")))


def removal(path: Path, found: Generations, *, if_there: bool = False) -> tuple[Effect, ...]:
    """Return what removes a directory so that it counts as a whole or not at all."""
    return (
        MakeDirectory(found.hidden),
        MovePath(path, found.hidden / path.name, if_there=if_there),
        RemovePath(found.hidden),
    )


def leftovers(places: Places, look: Look) -> tuple[Step, ...]:
    """Remove what an interrupted run has left: a copy that nobody ever used, or the rest of what was given up."""
    if not look.exists(places.generations.hidden):
        return ()
    why = ("an interrupted run has left it; the data is where it was",)
    address = Address("directory", str(places.generations.hidden))
    return (Step(address, Action.REMOVE, None, None, discard(places), why),)


def discard(places: Places) -> tuple[Effect, ...]:
    """Return what ends the server of an upgrade, and removes what was filled."""
    return (stop(places), RemovePath(places.generations.hidden))


def stop(places: Places, timeout: float = 10.0) -> ServerCall:
    """Return what ends the server of an upgrade; after ``timeout`` seconds at once, without having all on the disk."""
    return ServerCall("stop", places.generations.filled, sockets=places.filling_sockets, timeout=timeout)
