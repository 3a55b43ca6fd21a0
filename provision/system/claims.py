"""Hold data while a server is started on it, so that no other run starts a second one.

On this machine that is a lock file beside the data. In the engine it is a container with a name of the data, because
only one container can have a name. It reads its standard input, which is this run's connection, so it ends with the
run, however that ends and on whatever host; the engine then removes it. One that was created and never started holds
nothing: whoever waits removes it, and its run, if it still works, tries again.
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
"""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from provision.system import lock
from provision.system.engine_calls import Engine, unless_gone
from provision.system.files import make_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from docker import APIClient

    from provision.runtimes import Claim

HOLDER = "provision.holder"
_NOT_FOUND, _CONFLICT = 404, 409
_PATIENCE = 2.0
"""How long a container of that name may be there without running, in seconds, before it is removed."""


def hold(claim: Claim, engine: Callable[[], Engine], timeout: float, waiting: Callable[[str], None]) -> ExitStack:
    """Hold what is claimed until the returned stack is closed.

    Raises:
        LockedError: another run still holds it after ``timeout`` seconds.
        ProvisionError: it cannot be held.
    """
    wait = lock.Wait(timeout, waiting)
    with ExitStack() as stack:
        if claim.place is not None:
            stack.enter_context(_in_engine(claim, claim.place, engine(), wait))
        for each in claim.paths:
            if claim.place is None or each == claim.paths[0]:
                make_directory(each.parent, 0o755)
            if (path := lock.beside(each)) is not None:
                stack.enter_context(lock.hold_data(path, claim.holder, wait))
        return stack.pop_all()
    raise AssertionError  # no context of the stack suppresses an error


def name_of(place: str) -> str:
    """Return the name of the container that holds the data at a place."""
    return f"provision-lock-{hashlib.sha256(place.encode()).hexdigest()[:16]}"


def body(claim: Claim) -> dict[str, Any]:
    """Return the creation call of the container that holds data: no network, no mounts, and nothing in it but cat."""
    return {
        "Image": claim.image,
        "Entrypoint": ["cat"],
        "Cmd": [],
        "Labels": {HOLDER: lock.me(claim.holder)},
        "OpenStdin": True,
        "StdinOnce": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": "none",
            "AutoRemove": True,
            "LogConfig": {"Type": "none"},
            "Tmpfs": dict.fromkeys(claim.volumes, ""),  # else the engine makes an anonymous volume for each
        },
    }


@contextmanager
def _in_engine(claim: Claim, place: str, engine: Engine, wait: lock.Wait) -> Iterator[None]:
    name = name_of(place)
    with engine.doing(f"make the container {name!r}, which keeps other runs off the data"):
        stream = _Name(name, body(claim), engine.client, wait).take()
    try:
        yield
    finally:
        _close(stream)


class _Name:
    """The name of the data among the engine's containers, which one run has at a time."""

    def __init__(self, name: str, body: Mapping[str, Any], client: APIClient, wait: lock.Wait) -> None:
        self._name, self._body, self._client, self._wait = name, body, client, wait
        self._idle: dict[str, float] = {}
        """Since when a container has that name and does not run, by its id."""

    def take(self) -> Any:
        """Return the open connection that keeps the container running."""
        while True:
            created = self._create()
            stream = self._start(created) if created is not None else None
            if stream is not None:
                return stream
            self._pause()

    def _create(self) -> str | None:
        """Create the container and return its id; None: another one has the name."""
        import docker.errors

        try:
            made = self._client.create_container_from_config(self._body, self._name)  # type: ignore[no-untyped-call]
        except docker.errors.APIError as error:
            if error.status_code == _CONFLICT or "already in use" in str(error):
                return None
            raise
        return str(made["Id"])

    def _start(self, created: str) -> Any:
        """Connect to the container and start it; None: another run has removed it."""
        import docker.errors

        stream = None
        try:
            stream = self._client.attach_socket(created, {"stdin": 1, "stream": 1})
            self._client.start(created)
        except docker.errors.APIError as error:
            _close(stream)
            with suppress(docker.errors.APIError):
                self._client.remove_container(created, v=True)
            if error.status_code in (_NOT_FOUND, _CONFLICT):
                return None
            raise
        return stream

    def _pause(self) -> None:
        """Wait a moment for the holder of the name."""
        import docker.errors

        found = None
        with unless_gone():
            found = self._client.inspect_container(self._name)
        if found is None:
            return
        self._wait.pause(lock.DATA, (found["Config"].get("Labels") or {}).get(HOLDER, f"the container {self._name!r}"))
        if found["State"]["Running"]:
            self._idle.clear()
        elif time.monotonic() > self._idle.setdefault(found["Id"], time.monotonic()) + _PATIENCE:
            with suppress(docker.errors.APIError):  # one that runs by now is not removed
                self._client.remove_container(found["Id"], v=True)


def _close(stream: Any) -> None:
    """Close the connection; where the SDK returns a file, its socket as well."""
    if stream is None:
        return
    with suppress(OSError):
        getattr(stream, "_sock", stream).close()
    stream.close()
