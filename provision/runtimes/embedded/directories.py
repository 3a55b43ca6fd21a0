"""Where the files of an embedded server are: data, configuration, socket, log and programs.

All of it is in ``.provision/<name>/``, with two exceptions. As root the server runs as another user. Where that user
cannot enter (a checkout below ``/root``), the data and copies of the configuration and the programs are in
``/var/lib/provision/<hash>/``. And a socket's path holds at most 107 bytes, so a deep environment directory gets a
short socket directory below the system's temporary one.

An upgrade fills a new data directory and keeps the old one; the state of an upgrade is what is on the disk, and nothing
else. The first directory is that of the spec, ``data``. An upgrade to 18 fills a hidden directory beside it. Once the
copy was compared and the old server was stopped, one rename gives it its final name, ``data-18``. A file that was
written into it before names its origin, so a directory of the same name without that file is not ours. The newest
directory with that file holds the data. Data is moved to the hidden directory before it is removed, so that half of a
data directory is never taken for data.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from provision.model import Effect
from provision.model.effects import MakeDirectory, MovePath, RemovePath, ServerCall
from provision.model.value import dataclass
from provision.runtimes.names import LINK, environment
from provision.spec.image import OLDEST
from provision.spec.model import DataPath, Ephemeral, Spec
from provision.system.machine import Machine, SystemUser
from provision.system.postmaster import Postmaster

CONFIG = "config/postgresql.conf"
SHARED = Path("/var/lib/provision")
# `struct sockaddr_un` holds 108 bytes on Linux and 104 elsewhere, with a zero byte at the end.
_LONGEST_SOCKET = 103
_SOCKET_NAME = ".s.PGSQL.65535"


@dataclass(frozen=True)
class Places:
    """The paths of one environment; ``root`` is where the server can reach things: ``home``, or a shared place.

    ``candidates`` are the directories where a server of this environment may run now, with the declared one first.
    """

    home: Path
    root: Path
    generations: Generations
    user: SystemUser | None
    candidates: tuple[Path, ...]

    @property
    def data(self) -> Path:
        """The directory that holds the data now."""
        return self.generations.current

    @property
    def rendered(self) -> Path:
        """The rendered configuration."""
        return self.home / CONFIG

    @property
    def config(self) -> Path:
        """The configuration as the server reads it."""
        return self.root / CONFIG

    @property
    def log(self) -> Path:
        """The server's log; it is opened by us, so it may be anywhere."""
        return self.home / "log" / "postgresql.log"

    @property
    def link(self) -> Path:
        """A symbolic link to the data of the server that was started last."""
        return self.home / LINK

    @property
    def sockets(self) -> Path:
        """The directory of the server's own socket."""
        return self._short(self.root / "socket", "")

    @property
    def filling_sockets(self) -> Path:
        """The directory of the socket of the server that an upgrade fills."""
        return self._short(self.generations.hidden / "socket", "-upgrade")

    def _short(self, near: Path, suffix: str) -> Path:
        if len(str(near / _SOCKET_NAME).encode()) <= _LONGEST_SOCKET:
            return near
        import tempfile

        return Path(tempfile.gettempdir()) / f"provision-{_digest(self.home)}{suffix}"


def settle(spec: Spec, machine: Machine) -> Places:
    """Decide where everything is."""
    home, linked = spec.home, _linked(spec.home, machine)
    root = home
    found = _find_generations(spec, root, machine)
    user = machine.server_user(found.current)
    if not machine.reaches(user, home / CONFIG):
        root = SHARED / _digest(home)
        if linked is not None and linked.parent.parent == SHARED:  # the checkout was moved here
            root = linked.parent
        found = _find_generations(spec, root, machine)
        user = machine.server_user(found.current)
    others = [found.current, linked, found.first, *found.kept]
    for place in dict.fromkeys((home, root)):
        others += [find_generations(place / "data", machine).current, place / "data", place / "ephemeral"]
    return Places(home, root, found, user, tuple(dict.fromkeys(each for each in others if each is not None)))


def running(places: Places, machine: Machine) -> tuple[Path, Postmaster | None]:
    """Return the data directory of the server of this environment that runs, and that server."""
    for data in places.candidates:
        found = machine.settled_postmaster(data)  # a run that was killed may have told it to stop
        if found is not None and not _is_another(environment(found.argv), places.home, machine):
            return data, found
    return places.data, machine.orphan(places.data) if machine.owner(places.data) is None else None


def _linked(home: Path, machine: Machine) -> Path | None:
    """Return the data of the server that was started last, unless the link was copied together with its directory."""
    linked = machine.link(home / LINK)
    if linked is None:
        return None
    return None if _is_another(environment(machine.last_start(linked)), home, machine) else linked


def _is_another(whose: str, home: Path, machine: Machine) -> bool:
    """Tell whether a server was started for another environment's directory. One that is gone has moved here."""
    return whose not in ("", str(home)) and machine.owner(Path(whose)) is not None


def _find_generations(spec: Spec, root: Path, machine: Machine) -> Generations:
    data = spec.server.data
    if isinstance(data, Ephemeral):
        # Not the same directory: what is in one that is ephemeral is removed with its server.
        return Generations(root / "ephemeral", root / "ephemeral")
    found = find_generations(data.path if isinstance(data, DataPath) else root / "data", machine)
    if found.is_upgraded or not isinstance(data, DataPath):
        return found
    # initdb's directory is put in place by renaming it, and nothing replaces a link with a directory.
    return find_generations(machine.resolved(data.path), machine)


def _digest(home: Path) -> str:
    return hashlib.sha256(str(home).encode()).hexdigest()[:12]


# --- data directories of older major versions

_MAJORS = range(OLDEST, 40)


ORIGIN = "provision.upgraded"
OURS = "provision.snapshots"
"""The file that says that a directory with snapshots is ours."""


@dataclass(frozen=True)
class Generations:
    """The directories of one environment: ``first`` is that of the spec, ``kept`` are older ones, not in use.

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
    def snapshots(self) -> Path:
        """Where snapshots of the whole cluster are, a folder for each."""
        return self.first.with_name(f"{self.first.name}-snapshots")

    @property
    def copied(self) -> Path:
        """A copy of a snapshot on its way to the place of the data; what was there, once they are exchanged."""
        return self.snapshots / ".copy"

    @property
    def saving(self) -> Path:
        """A snapshot that is not complete yet."""
        return self.snapshots / ".saving"

    @property
    def replaced(self) -> Path:
        """What the last restore has replaced."""
        return self.snapshots / ".replaced"

    @property
    def removed(self) -> Path:
        """Where a snapshot goes that is removed."""
        return self.snapshots / ".removed"

    @property
    def filled(self) -> Path:
        """The copy, until it counts."""
        return self.hidden / "data"


def copy_path(first: Path, major: int) -> Path:
    """Return the directory that an upgrade to a major version makes."""
    return first.with_name(f"{first.name}-{major}")


def find_generations(first: Path, machine: Machine) -> Generations:
    """Look for the directories beside the first one."""
    beside = machine.entries(first.parent)  # one look; None where we may not
    copies = [each for major in _MAJORS if (each := copy_path(first, major)).name in (beside or (each.name,))]
    counting = [each for each in copies if machine.note(each, ORIGIN) is not None]
    if not counting:
        return Generations(first, first)
    older = [*([first] if machine.version(first) is not None else []), *counting[:-1]]
    return Generations(first, counting[-1], tuple(reversed(older)))


def origin_note(data: Path, major: int, programs: Path) -> str:
    """Return what is written into a copy: where it comes from, and with which programs one goes back to that."""
    return json.dumps({"data": str(data), "major": major, "programs": str(programs)}) + "\n"


def origin(found: Generations, machine: Machine) -> tuple[int, Path]:
    """Return the major version that the current directory was made from, and the directory of its programs."""
    said = json.loads(machine.note(found.current, ORIGIN) or "{}")
    return int(said.get("major", 0)), Path(said.get("programs", ""))


def removal(path: Path, found: Generations, *, if_there: bool = False) -> tuple[Effect, ...]:
    """Return what removes a directory so that it counts as a whole or not at all."""
    return (
        MakeDirectory(found.hidden),
        MovePath(path, found.hidden / path.name, if_there=if_there),
        RemovePath(found.hidden),
    )


def keeping(found: Generations) -> tuple[Effect, ...]:
    """Return what keeps what a restore has replaced, in place of what was kept before."""
    return (RemovePath(found.replaced), MovePath(found.copied, found.replaced))


def discard(places: Places) -> tuple[Effect, ...]:
    """Return what ends the server of an upgrade, and removes what was filled."""
    return (stop_filling(places), RemovePath(places.generations.hidden))


def stop_filling(places: Places, timeout: float = 10.0) -> ServerCall:
    """Return what ends the server of an upgrade; after ``timeout`` seconds at once, without having all on the disk."""
    return ServerCall("stop", places.generations.filled, sockets=places.filling_sockets, timeout=timeout)
