"""Where the parts of an embedded server are: its data, its configuration, its socket, its log and its programs.

All of it is in ``.provision/<name>/``, with two exceptions. As root the server runs as another user, and where that
one cannot enter (a checkout below ``/root``), what it has to reach is in ``/var/lib/provision/<hash>/``: the data,
and copies of the configuration and, if need be, of the programs. And a socket's path holds 107 bytes at most, so where
the environment's directory lies deeper, the socket gets a short directory below the system's temporary one.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provision.runtimes import LINK
from provision.runtimes.embedded import generations
from provision.runtimes.embedded.states import environment
from provision.spec.model import DataPath, Ephemeral

if TYPE_CHECKING:
    from provision.runtimes.embedded.generations import Generations
    from provision.runtimes.embedded.machine import Machine
    from provision.spec.model import Spec
    from provision.system.postmaster import Postmaster
    from provision.system.users import SystemUser

CONFIG = "config/postgresql.conf"
SHARED = Path("/var/lib/provision")
# `struct sockaddr_un` holds 108 bytes on Linux and 104 elsewhere, with a zero byte at the end.
_LONGEST_SOCKET = 103
_SOCKET_NAME = ".s.PGSQL.65535"


@dataclass(frozen=True, slots=True)
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
        return Path(tempfile.gettempdir()) / f"provision-{_digest(self.home)}{suffix}"


def settle(spec: Spec, machine: Machine) -> Places:
    """Decide where everything is."""
    home, linked = spec.home, _linked(spec.home, machine)
    root = home
    found = _generations(spec, root, machine)
    user = machine.server_user(found.current)
    if not machine.reaches(user, home / CONFIG):
        root = SHARED / _digest(home)
        if linked is not None and linked.parent.parent == SHARED:  # the checkout was moved here
            root = linked.parent
        found = _generations(spec, root, machine)
        user = machine.server_user(found.current)
    others = [found.current, linked, found.first, *found.kept]
    for place in dict.fromkeys((home, root)):
        others += [generations.find(place / "data", machine).current, place / "data", place / "ephemeral"]
    return Places(home, root, found, user, tuple(dict.fromkeys(each for each in others if each is not None)))


def running(places: Places, machine: Machine) -> tuple[Path, Postmaster] | None:
    """Return the server of this environment that runs, and its data directory."""
    for data in places.candidates:
        found = machine.postmaster(data)
        if found is not None and not _is_another(environment(found.argv), places.home, machine):
            return data, found
    if machine.owner(places.data) is None and (found := machine.orphan(places.data)) is not None:
        return places.data, found
    return None


def _linked(home: Path, machine: Machine) -> Path | None:
    """Return the data of the server that was started last, unless the link was copied together with its directory."""
    linked = machine.link(home / LINK)
    if linked is None:
        return None
    return None if _is_another(environment(machine.last_start(linked)), home, machine) else linked


def _is_another(whose: str, home: Path, machine: Machine) -> bool:
    """Tell whether a server was started for another environment's directory. One that is gone has moved here."""
    return whose not in ("", str(home)) and machine.owner(Path(whose)) is not None


def _generations(spec: Spec, root: Path, machine: Machine) -> Generations:
    data = spec.server.data
    if isinstance(data, Ephemeral):
        # Not the same directory: what is in one that is ephemeral is removed with its server.
        return generations.Generations(root / "ephemeral", root / "ephemeral")
    found = generations.find(data.path if isinstance(data, DataPath) else root / "data", machine)
    if found.is_upgraded or not isinstance(data, DataPath):
        return found
    # initdb's directory is put in place by renaming it, and nothing replaces a link with a directory.
    return generations.find(machine.resolved(data.path), machine)


def _digest(home: Path) -> str:
    return hashlib.sha256(str(home).encode()).hexdigest()[:12]
