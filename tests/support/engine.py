"""The Docker engine as a test sees it: what it made for one environment, what happened to that, and its removal."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import requests

from provision.system.engine_address import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.system.engine_address import EngineAddress

# The engine runs the health check whenever it likes, and not because of a command.
_OF_ITSELF = ("exec_create: pg_isready", "exec_start: pg_isready", "exec_die", "health_status")
_LONGEST = 600
"""Seconds that a recording may take."""


class Events:
    """What the engine reported about one environment since a recording began.

    The engine keeps the last 256 events of all containers, so they are read while they come in.
    """

    def __init__(self, url: str, name: str) -> None:
        self._client = docker.APIClient(url, version="auto", timeout=_LONGEST)
        self._name = name
        self._since = time.time()
        self._read: dict[str, dict[str, Any]] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(requests.RequestException):  # a test may end its engine
            self._keep(self._since + _LONGEST)

    def _keep(self, until: float) -> None:
        for event in self._client.events(since=f"{self._since:.6f}", until=f"{until:.6f}", decode=True):
            text = json.dumps(event)
            if self._name in text:
                self._read[text] = event

    def seen(self) -> list[str]:
        """Return ``type action name`` of each event, oldest first."""
        self._keep(time.time())  # what has not come in yet
        return [
            f"{event['Type']} {event['Action']} {event['Actor']['Attributes'].get('name', event['Actor']['ID'])}"
            for event in sorted([*self._read.values()], key=lambda each: each["timeNano"])
            if not event["Action"].startswith(_OF_ITSELF)
        ]


class Engine:
    """A client of the engine, and the questions that tests ask it."""

    def __init__(self, address: EngineAddress | None = None) -> None:
        self.address = address or locate(os.environ)
        self.client = docker.APIClient(self.address.url, version="auto", timeout=60)
        parts = self.client.version().get("Components") or ()  # an address over tcp does not tell
        self.program = "podman" if any("Podman" in each["Name"] for each in parts) else "docker"

    def has_image(self, reference: str) -> bool:
        """Tell whether an image is there; Podman lists it with its registry, and finds it without."""
        try:
            self.client.inspect_image(reference)
        except docker.errors.ImageNotFound:
            return False
        return True

    def record(self, name: str) -> Events:
        """Begin to record what happens to an environment."""
        return Events(self.address.url, name)

    def containers(self, name: str) -> list[str]:
        """Return the ids of the containers of an environment, whatever their state, and of those of its name."""
        by_label = {"label": f"provision.environment={name}"}
        found = [each["Id"] for each in self.client.containers(all=True, filters=by_label)]
        named = self.client.containers(all=True, filters={"name": name})
        return list(dict.fromkeys([*found, *(each["Id"] for each in named)]))

    def remove_all(self, name: str) -> None:
        """Remove everything that an environment has, the data too."""
        for each in self.containers(name):
            with suppress(docker.errors.NotFound):
                self.client.remove_container(each, force=True, v=True)
        for network in self.client.networks(names=[name]):
            with suppress(docker.errors.NotFound):
                self.client.remove_network(network["Id"])
        for volume in self.client.volumes(filters={"name": name})["Volumes"] or []:
            with suppress(docker.errors.NotFound):
                self.client.remove_volume(volume["Name"])

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what the engine shows of a container."""
        found: dict[str, Any] = self.client.inspect_container(name)
        return found

    def run(self, name: str, *argv: str, user: str = "root") -> str:
        """Run a program in a container and return what it printed."""
        created = self.client.exec_create(name, list(argv), user=user)
        return bytes(self.client.exec_start(created["Id"])).decode()

    @contextmanager
    def stranger(self, name: str, **more: Any) -> Iterator[str]:
        """Have a container that no spec made."""
        host = self.client.create_host_config(port_bindings=more.pop("publish", {}))
        made = self.client.create_container("postgres:17", ["sleep", "600"], name=name, host_config=host, **more)
        try:
            yield made["Id"]
        finally:
            with suppress(docker.errors.NotFound):
                self.client.remove_container(made["Id"], force=True, v=True)
