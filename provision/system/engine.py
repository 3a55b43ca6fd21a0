"""The engine: a reader that can only ask it; what changes things is in :mod:`.engine_calls`.

The reader speaks one plain GET over the engine's Unix socket, because the SDK takes 150 ms to import and a run with
nothing to do must not pay for it. By ssh it keeps one connection for all; tcp goes through the SDK.
API: https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from provision.errors import StepFailedError, UnavailableError
from provision.system.engine_address import PODMAN, EngineAddress, reaching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker import APIClient

    from provision.system.engine_dial import Connection

_TIMEOUT = 30.0
_CONNECT_TIMEOUT = 3.0
_PING_TIMEOUT = 10  # where nothing listens that is known at once; an engine that is being started takes its time
_OK, _BAD_REQUEST, _NOT_FOUND = 200, 400, 404
_NO_IMAGE = f"provision.invalid/none@sha256:{'0' * 64}"
_SHAPES: Mapping[str, Mapping[str, Any]] = {
    r"/containers/[^/]+/json": {
        "Id": str, "Image": str, "Mounts": list, "HostConfig": dict, "NetworkSettings": dict,
        "Config": {"Image": str}, "State": {"Status": str, "Running": bool, "ExitCode": int},
    },
    r"/images/.+/json": {"Id": str},
    r"/volumes/[^/]+": {"Name": str},
}  # fmt: skip
"""What an answer has at the least, by its path: the types of its values."""
_LIBPOD = "Libpod-Api-Version"
_PROCESSES = "/top"
_LIST, _TRIES = "/containers/json", 5
_GONE = b"no such container"
"""What Podman says, with status 500, of a container that is just being removed; also when it lists all."""
_PORT, _TLS_PORT = 2375, 2376  # https://www.iana.org/assignments/service-names-port-numbers


class EngineReader:
    """Asks the engine, and cannot change it: it has no method but GET, and a creation that cannot succeed.

    It belongs to one look at the world: an engine that did not answer is not asked again in the same look.
    """

    def __init__(self, address: EngineAddress) -> None:
        self.address = address
        self._client: APIClient | None = None
        self._dialled: Connection | None = None
        self._silence: UnavailableError | None = None
        self.podman: int | None = None
        """The major version of Podman, where that answers."""
        self.program = address.program
        """The program that people use with this engine; the first answer tells it for sure."""

    def ping(self) -> None:
        """Return when something answers there, soon.

        Raises:
            UnavailableError: nothing does, or it takes too long.
        """
        if self._silence is not None:
            raise self._silence
        with reaching(self.address):
            if self.address.socket_path is not None or self.address.is_ssh:
                self._fetch_plainly("/_ping", _PING_TIMEOUT)
                return
            parts = urlsplit(self.address.url)
            if parts.scheme in ("tcp", "http", "https"):
                place = (parts.hostname or "127.0.0.1", parts.port or (_TLS_PORT if self.address.tls else _PORT))
                socket.create_connection(place, _CONNECT_TIMEOUT).close()
            self._fetch_by_sdk("/_ping")

    def get(self, path: str, **parameters: str | int) -> Any:
        """Return the JSON of ``GET path``, or None where the engine answers 404.

        Raises:
            UnavailableError: nothing answers there.
            StepFailedError: the engine answers with an error.
        """
        for _ in range(_TRIES):
            status, body = self._fetch(path, parameters)
            is_gone = status != _OK and _GONE in body
            if path != _LIST or not is_gone:
                break
        if status == _NOT_FOUND or (is_gone and path != _LIST):
            return None
        if status != _OK:
            raise StepFailedError(
                f"the engine at {self.address} answered {status} to GET {path}",
                evidence=[body.decode(errors="replace").strip()],
                next_step=f"{self.program} info",
            )
        if not body.strip() and path.endswith(_PROCESSES):
            return None  # Podman, of a container that has no `ps`
        with reaching(self.address):
            return _understood(path, body)

    def misses(self, directory: Path) -> str | None:
        """Return why the engine cannot mount a directory of its host; None where it can, or says nothing of it.

        No GET tells. But Docker looks at the mounts of a new container before it looks for its image, and there is none
        of this name. https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
        """
        mount = {"Type": "bind", "Source": str(directory), "Target": "/directory", "ReadOnly": True}
        body = json.dumps({"Image": _NO_IMAGE, "HostConfig": {"Mounts": [mount]}})
        with reaching(self.address):
            status, answer = self._fetch_plainly("/containers/create", posted=body)
        if status != _BAD_REQUEST:
            return None
        with suppress(ValueError, AttributeError):
            return str(json.loads(answer).get("message"))
        return answer.decode(errors="replace").strip()

    def file(self, container: str, path: str) -> str | None:
        """Return the text of a small file in a container, whether it runs or not; None where there is none.

        https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerArchive
        """
        import io
        import tarfile

        status, body = self._fetch(f"/containers/{container}/archive", {"path": path})
        if status != _OK:
            return None
        with reaching(self.address, tarfile.TarError, EOFError), tarfile.open(fileobj=io.BytesIO(body)) as tar:
            entry = next((each for each in tar.getmembers() if each.isfile()), None)
            found = tar.extractfile(entry) if entry else None
            return found.read().decode(errors="replace") if found else None

    def has(self, container: str, path: str) -> bool:
        """Whether there is anything at a path in a container; a directory comes with all that is in it."""
        status, _ = self._fetch(f"/containers/{container}/archive", {"path": path})
        return status == _OK

    def logs(self, container: str, tail: int) -> list[str]:
        """Return the last lines of a container's log, both streams, oldest first."""
        _, body = self._fetch(f"/containers/{container}/logs", {"stdout": 1, "stderr": 1, "tail": tail})
        return demultiplex(body).decode(errors="replace").splitlines()

    def _fetch(self, path: str, parameters: Mapping[str, str | int]) -> tuple[int, bytes]:
        query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in parameters.items())
        target = quote(path, safe="/:@") + (f"?{query}" if query else "")
        if self._silence is not None:
            raise self._silence
        try:
            with reaching(self.address):
                return self._fetch_plainly(target)
        except UnavailableError as error:
            self._silence = error  # one that did not answer is not waited for a second time
            raise

    def _fetch_plainly(self, target: str, timeout: float = _TIMEOUT, posted: str | None = None) -> tuple[int, bytes]:
        if (socket_path := self.address.socket_path) is not None:
            return self._fetch_unix(socket_path, target, timeout, posted)
        return self._fetch_ssh(target, posted) if self.address.is_ssh else self._fetch_by_sdk(target, posted)

    def _fetch_unix(
        self, socket_path: str, target: str, timeout: float, posted: str | None = None
    ) -> tuple[int, bytes]:
        status, head, body = ask(socket_path, target, timeout, posted)
        self._recognise(head)
        return status, body

    def _fetch_ssh(self, target: str, posted: str | None) -> tuple[int, bytes]:
        from provision.system import engine_dial, ssh

        if self._dialled is None:
            place = ssh.destination(self.address.url, self.address.source)
            self._dialled = engine_dial.Connection(place, _TIMEOUT)
        answer, body = self._dialled.ask(target, posted)
        self._recognise(f"{_LIBPOD}: {answer.getheader(_LIBPOD, '')}")
        return answer.status, body

    def _fetch_by_sdk(self, target: str, posted: str | None = None) -> tuple[int, bytes]:
        if self._client is None:
            from provision.system.engine_client import connect

            self._client = connect(self.address)
        method, headers = ("GET", {}) if posted is None else ("POST", {"Content-Type": "application/json"})
        url = f"{self._client.base_url}{target}"
        answer = self._client.request(method, url, data=posted, headers=headers, timeout=_TIMEOUT)
        self._recognise(f"{_LIBPOD}: {answer.headers.get(_LIBPOD, '')}")
        return answer.status_code, answer.content

    def _recognise(self, head: str) -> None:
        """Tell Podman by the header that it puts into each answer; it can listen on any socket."""
        if match := re.search(rf"^{_LIBPOD}: *(\d+)", head, re.MULTILINE | re.IGNORECASE):
            self.program, self.podman = PODMAN, int(match[1])


def _understood(path: str, body: bytes) -> Any:
    """Return the JSON of an answer.

    Raises:
        ConnectionError: it is none, or not what Docker answers there.
    """
    try:
        found = json.loads(body)
    except ValueError as error:
        raise ConnectionError(f"its answer to GET {path} is no JSON: {error}") from error
    needed = next((shape for way, shape in _SHAPES.items() if re.fullmatch(way, path)), None)
    if not isinstance(found, dict | list) or (needed is not None and not _has(found, needed)):
        raise ConnectionError(f"its answer to GET {path} is not the one of Docker's API")
    return found


def _has(found: Any, shape: Mapping[str, Any]) -> bool:
    """Whether a mapping has the values of a shape."""
    return isinstance(found, dict) and all(
        _has(found.get(key), kind) if isinstance(kind, dict) else isinstance(found.get(key), kind)
        for key, kind in shape.items()
    )


def demultiplex(raw: bytes) -> bytes:
    """Join the frames of a container's output (8 bytes of header: stream, 0, 0, 0, length) into plain text.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """
    parts, at = [], 0
    while at + 8 <= len(raw) and raw[at] in (0, 1, 2) and raw[at + 1 : at + 4] == b"\0\0\0":
        length = int.from_bytes(raw[at + 4 : at + 8], "big")
        parts.append(raw[at + 8 : at + 8 + length])
        at += 8 + length
    return b"".join(parts) if parts else raw


def load_soon() -> None:
    """Import the SDK beside what this process waits for: that takes 150 ms."""
    from importlib import import_module
    from threading import Thread

    Thread(target=import_module, args=("docker",), daemon=True).start()


def ask(
    path: str,
    target: str,
    timeout: float,
    posted: str | None = None,
    method: str = "",
    *,
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[int, str, bytes]:
    """Return the status, the head and the body of an answer. By itself it is a GET, and with a body a POST.

    This process does ``meanwhile`` until the engine answers.

    Raises:
        OSError: nothing listens there, there was no answer in time, or it broke off.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(_request(method or ("GET" if posted is None else "POST"), target, posted))
        meanwhile()
        chunks = []
        while chunk := connection.recv(1 << 16):
            chunks.append(chunk)
    head, separator, body = b"".join(chunks).partition(b"\r\n\r\n")
    if not separator:
        raise ConnectionError("it closed the connection without an answer")
    status = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
    if status is None:
        raise ConnectionError("what answers there does not speak HTTP")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,18}) *(?:\r\n|$)", head)
    if length is not None and len(body) < int(length[1]):
        raise ConnectionError(f"its answer broke off after {len(body)} of {int(length[1])} bytes")
    return int(status[1]), head.decode(errors="replace"), body


def _request(method: str, target: str, body: str | None) -> bytes:
    """Return a request. In HTTP/1.0 no answer is chunked: it ends with the connection."""
    head = f"{method} {target} HTTP/1.0\r\nHost: docker\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = body.encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
