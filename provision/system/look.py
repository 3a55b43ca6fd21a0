"""What a run looks at the world with: files, ports, this machine, and the Docker engine. It cannot change anything."""

from __future__ import annotations

import json
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from provision.errors import UnavailableError
from provision.model.value import replace
from provision.runtimes.names import COMPOSE, ENGINE, EVERY_ADDRESS
from provision.system import files, owned, ports
from provision.system.engine import EngineReader
from provision.system.engine_address import EngineAddress, address_to_keep, locate
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from provision.model import Endpoint
    from provision.model.ssh import Way
    from provision.system.engine_host import Ports
    from provision.system.machine import Machine

_FIRST_PODMAN_THAT_UPDATES = 5


_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PROXY, _PATIENCE, _POLL = "docker-proxy", 2.0, 0.05
_HERE = "127.0.0.1"


class Look:
    """What a runtime may look at. The engine is looked for when it is asked for something.

    ``home`` is the directory of an environment, which remembers the engine that it was made with; ``engine`` is the
    one that its spec names.
    """

    text = staticmethod(files.read_text)
    exists = staticmethod(files.exists)
    kept = staticmethod(owned.text)
    is_left = staticmethod(ports.is_left)
    sign_port = staticmethod(ports.sign_port)

    def __init__(self, environ: Mapping[str, str], home: Path | None = None, engine: str | None = None) -> None:
        self._environ = environ
        self._home = home
        self._declared = engine
        self.began = time.time()
        self._volumes: dict[str, dict[str, Any]] = {}
        self._images: dict[str, dict[str, Any] | None] = {}

    @cached_property
    def machine(self) -> Machine:
        """Processes, users and installations of this machine; most environments on Docker ask for none of it."""
        from provision.system.machine import Machine

        return Machine()

    @cached_property
    def address(self) -> EngineAddress:
        """Where the engine is."""
        kept = owned.text(self._home / ENGINE) if self._home is not None else None
        is_old = kept is None and self._home is not None and files.exists(self._home / COMPOSE)
        return locate(self._environ, declared=self._declared, kept=kept.strip() if kept else None, is_old=is_old)

    @property
    def address_to_keep(self) -> str | None:
        """The address of the engine that the environment's directory keeps."""
        return address_to_keep(self.address, self._environ)

    @cached_property
    def reader(self) -> EngineReader:
        """The engine, which can only be asked."""
        return EngineReader(self.address)

    @cached_property
    def engine_info(self) -> Mapping[str, Any]:
        """What the engine says of itself, which it takes 10 ms to collect."""
        return self.engine("/info") or {}

    @property
    def engine_name(self) -> str:
        """The engine in words."""
        return f"the engine at {self.address}"

    @property
    def engine_updates(self) -> bool:
        """Whether the engine changes the limits of a container that runs; Podman does since version 5."""
        return self.reader.podman is None or self.reader.podman >= _FIRST_PODMAN_THAT_UPDATES

    def reached(self, at: Endpoint, home: Path) -> Endpoint:
        """Return how an address of the engine's host is reached from here; where ssh leads there, through a tunnel."""
        if self.address.is_local:
            return at
        if not self.address.is_ssh:
            return replace(at, host=self.address.hostname) if at.host in _LOOPBACK else at
        from provision.system.tunnelled import Tunnelled

        return Tunnelled.of(at, self._way(at.host, at.port), home)

    def past_proxy(self, at: Endpoint, container: Mapping[str, Any]) -> Endpoint:
        """Return how a running container is reached, also past the engine's proxy where it is sure to be that one.

        Only what goes to the loopback interface passes through it.
        """
        if not self.address.is_local or at.host not in _LOOPBACK:
            return at
        from provision.system import bridge

        return replace(at, direct=bridge.place(container, at.port))

    def approach(self, host: str, port: int, home: Path) -> None:
        """Begin to open the tunnel to an address of the engine's host, unless one stays open."""
        from provision.system.tunnelled import Leading

        Leading(self._way(host, port), home).begin()

    def _way(self, host: str, port: int) -> Way:
        from provision.model.ssh import Way
        from provision.system import ssh

        return Way(ssh.destination(self.address.url, self.address.source), host, port)

    def reaches(self, host: str) -> bool:
        """Whether what is published at an address of the engine's host is reached from here."""
        is_near = self.address.is_local or self.address.is_ssh or self.address.hostname in _LOOPBACK
        return is_near or host not in _LOOPBACK

    def engine(self, path: str, **parameters: str | int) -> Any:
        """Return the JSON of a GET to the Docker engine, or None for 404."""
        return self.reader.get(path, **parameters)

    def image(self, reference: str) -> Mapping[str, Any] | None:
        """Return the engine's JSON of an image, as it was at the first call; None where the engine has none."""
        if reference not in self._images:
            self._images[reference] = self.engine(f"/images/{reference}/json")
        return self._images[reference]

    def volumes(self, label: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the engine's volumes that have a label, by name, as they were at the first call."""
        if label not in self._volumes:
            listed = self.engine("/volumes", filters=json.dumps({"label": [label]})) or {}
            self._volumes[label] = {each["Name"]: each for each in listed.get("Volumes") or ()}
        return self._volumes[label]

    def container_log(self, container: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Yield the lines of a container's log; with ``follow`` also those to come."""
        from provision.system.engine_calls import Engine

        return Engine(self.address, self.reader.program).logs(container, follow=follow, tail=tail)

    def knows(self, machine: str) -> bool:
        """Whether what the label ``machine`` names is this machine, whose directories we can look at."""
        from provision.system import register

        return self.address.is_local or register.is_here(machine)

    def there(self, path: Path) -> bool:
        """Whether a path is there on the engine's host."""
        return files.exists(path) if self.address.is_local else self.reader.misses(path) is None

    def made(self, directory: Path, record: Path) -> bool:
        """Whether we made a directory, as the file ``record`` remembers."""
        return owned.text(record) is not None and files.is_remembered(directory, record)

    def listener(self, host: str, port: int, but: str = "") -> str | None:
        """Return who listens on a port, in words; None where it is free, or the container ``but`` has it."""
        if ports.is_port_free(host, port):
            return None
        for _ in attempts(_PATIENCE, _POLL):  # the engine listens for a container before it shows it as running
            container, process = self._container_on("", port), ports.process_on(port)
            if container or not (process or "").startswith(_PROXY):
                break
        return _in_words(container, but) if container else process or "another process"

    def listener_there(self, host: str, port: int, but: str) -> str | None:
        """Return who listens on a port of the engine's host, another one, in words; None as in :meth:`listener`."""
        for _ in attempts(_PATIENCE, _POLL):  # the engine listens for a container before it shows it as running
            if container := self._container_on(host, port):
                return _in_words(container, but)
            if not self._ports_there.listens(host, port):
                return None
        return f"another process of {self.address.hostname}"

    def _container_on(self, host: str, port: int) -> Mapping[str, Any] | None:
        try:
            found = self.engine("/containers/json") or ()  # Podman has no filter for ports
        except UnavailableError:  # without an engine nothing of it listens
            return None
        for each in found:
            addresses = {at.get("IP") for at in each.get("Ports") or () if at.get("PublicPort") == port}
            if addresses and (host in EVERY_ADDRESS or addresses & {host, None, *EVERY_ADDRESS}):
                return dict(each)
        return None

    def free_port(self, host: str, name: str) -> int:
        """Return a free port that no other run is about to use."""
        return self._free(lambda at: ports.free_port(at, name), host)

    def next_port(self, host: str, name: str, first: int, taken: Collection[int] = ()) -> int:
        """Return a port, or the next one that is free, not ``taken``, and that no other run is about to use."""
        return self._free(lambda at: ports.next_port(at, name, first, taken), host)

    def _free(self, choose: Callable[[str], int], host: str) -> int:
        """Return the port that is chosen, which has to be free on the engine's host too, where that is another one."""
        if self.address.is_local:
            return choose(host or _HERE)
        while self._ports_there.listens(host, port := choose(_HERE)):
            ports.leave_port(port)
        return port

    @cached_property
    def _ports_there(self) -> Ports:
        from provision.system.engine_host import Ports

        return Ports(self.address)


def _in_words(container: Mapping[str, Any], but: str) -> str | None:
    from provision.runtimes.names import whose

    name = container["Names"][0].lstrip("/")
    return None if name == but else f"the container {name!r}{whose(container.get('Labels') or {})}"
