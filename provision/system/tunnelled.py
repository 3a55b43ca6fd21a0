"""The address of a server on a host that is reached by ssh: its port here is known once a tunnel is open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from provision.errors import UnavailableError, command
from provision.model import Endpoint
from provision.model.ssh import Destination, Way
from provision.model.value import dataclass, fields
from provision.system import lasting_tunnel, tunnel
from provision.system.tunnel import HERE


class Leading(NamedTuple):
    """Where a tunnel leads, and the directory of the environment, which may have one that is open."""

    way: Way
    home: Path

    @property
    def lasting_port(self) -> int | None:
        """The port of the tunnel that stays open, where one is."""
        return lasting_tunnel.port(self.home, self.way)

    def begin(self) -> None:
        """Begin to open a tunnel of this process where none stays open, and do not wait for it."""
        if self.lasting_port is None:
            tunnel.begin(self.way)


_FORBIDDEN = "administratively prohibited"
"""https://www.rfc-editor.org/rfc/rfc4254#section-5.1"""
_NOWHERE = Leading(Way(Destination(""), "", 0), Path())


@dataclass(frozen=True)
class Tunnelled(Endpoint):
    """An address behind ssh; the tunnel is opened when the ``port`` is first read, unless one is open."""

    leading: Leading = _NOWHERE

    @classmethod
    def of(cls, at: Endpoint, way: Way, home: Path) -> Self:
        """Return a login at the end of a way."""
        held = {**at.__dict__, "host": HERE, "leading": Leading(way, home)}
        return cls(**held)

    if not TYPE_CHECKING:

        @property
        def port(self) -> int:
            """The port of this machine."""
            return self.leading.lasting_port or tunnel.opened_port(self.leading.way)

    def begin(self) -> None:
        """Begin to open the tunnel, and do not wait for it."""
        self.leading.begin()

    @property
    def address(self) -> str:
        """The address here where a tunnel stays open, else the one on the engine's host."""
        found = self.leading.lasting_port
        return f"{HERE}:{found}" if found else str(self.leading.way)

    @property
    def lasting(self) -> Endpoint | None:
        """The address of this machine that outlives this process; None while there is none."""
        found = self.leading.lasting_port
        return None if found is None else self._at(found)

    @property
    def way(self) -> Way:
        """The tunnel that leads there."""
        return self.leading.way

    def complaints(self) -> tuple[str, ...]:
        """Return what ``ssh`` said last.

        Raises:
            UnavailableError: it may not lead there.
        """
        said = tuple(tunnel.words(self.leading.way))
        if any(_FORBIDDEN in each for each in said):
            raise UnavailableError(
                f"the sshd of {self.leading.way.place} does not let ssh forward {self.leading.way.address}",
                evidence=said,
                next_step="there: AllowTcpForwarding yes in its sshd_config, and no restriction of the key in "
                "~/.ssh/authorized_keys (no-port-forwarding, restrict, permitopen)",
            )
        return said

    def require_lasting(self) -> Endpoint:
        """Return the address of this machine that outlives this process.

        Raises:
            UnavailableError: no tunnel stays open.
        """
        found = self.lasting
        if found is None:
            said = lasting_tunnel.last_words(self.leading.home)
            raise UnavailableError(
                f"the tunnel to {self.leading.way} has ended" if said else f"no tunnel is open to {self.leading.way}",
                evidence=said,
                next_step=command("tunnel"),
            )
        return found

    def url(self, *, masked: bool = False, driver: str | None = None) -> str:
        """Return the URL; a masked one is for people, to whom a port that ends with this process says nothing."""
        if not masked:
            return super().url(driver=driver)
        found = self.leading.lasting_port
        text = self._at(found or self.leading.way.port).url(masked=True, driver=driver)
        return text if found else f"{text}   of {self.leading.way.place}"

    def _at(self, port: int) -> Endpoint:
        """Return the same login at a port of this machine."""
        return Endpoint(**{**{each.name: self.__dict__[each.name] for each in fields(Endpoint)}, "port": port})
