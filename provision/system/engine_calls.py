"""What changes things in the Docker engine, through its SDK: one function for each operation of an EngineCall.

What makes a new environment goes over the engine's Unix socket without the SDK, which takes 85 ms to import. A call
that is refused there is made again through the SDK, which says why.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from provision.errors import ProvisionError, StepFailedError, as_word, command, translated
from provision.runtimes.docker import mounts
from provision.runtimes.names import ENVIRONMENT
from provision.system import engine, files, register
from provision.system.engine_address import EngineAddress, reaching
from provision.system.engine_client import CALL_TIMEOUT, connect
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from docker import APIClient

    from provision.model import Secret
    from provision.model.effects import ChangeDirectory, EngineCall

_REMOVAL_TIMEOUT = 30.0
_FILLING_TIMEOUT = 10.0
_IN_USE = 409
_DONE, _ABSENT = (200, 201, 204), 404
_LINE_TIMEOUT = 600
_COPY_TIMEOUT = 24 * 3600
_IN_MEMORY = 64 << 20
_INSIDE = "/directory"
_TAKEN = ("already in use", "already allocated", "ports are not available")
"""What engines say of a name or a port that somebody else has."""

_SIMPLE: Mapping[str, Callable[[APIClient, str, Mapping[str, Any]], object]] = {
    "connect_network": lambda client, name, body: client.connect_container_to_network(
        body["container"], name, aliases=(body["endpoint"] or {}).get("Aliases")
    ),
    "create_network": lambda client, name, body: client.create_network(
        name, driver="bridge", labels=dict(body["labels"]), check_duplicate=True
    ),
    "remove_network": lambda client, name, _: client.remove_network(name),
    "rename_container": lambda client, name, body: client.rename(name, body["name"]),
    "unpause_container": lambda client, name, _: client.unpause(name),
    "signal_container": lambda client, name, body: client.kill(name, signal=body["signal"]),
    "stop_container": lambda client, name, body: client.stop(name, timeout=body["timeout"]),
    "restart_container": lambda client, name, body: client.restart(name, timeout=body["timeout"]),
}
"""The operations that are one call of the SDK; the others are methods of :class:`Engine`."""


class Engine:
    """Performs engine calls; the connection is made with the first. While a container starts, it does ``meanwhile``."""

    def __init__(self, address: EngineAddress, program: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.address = address
        self.program = program
        self.meanwhile = meanwhile
        self.made: list[str] = []
        """The ids of the containers that effects have made."""
        self._client: APIClient | None = None

    @property
    def client(self) -> APIClient:
        """The SDK's low-level client."""
        if self._client is None:
            self._client = connect(self.address)
        return self._client

    def perform(self, call: EngineCall, detail: Callable[[str], None]) -> None:
        """Do one call. ``detail`` receives progress worth seeing.

        Raises:
            StepFailedError: the engine refused, with its own words.
        """
        with self.doing(f"{call.operation.replace('_', ' ')} {call.target!r}"):
            if call.operation == "pull_image":
                self._pull_image(call.target, detail)
            elif call.operation in _SIMPLE:
                _SIMPLE[call.operation](self.client, call.target, call.body)
            else:
                getattr(self, f"_{call.operation}")(call.target, call.body)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say that the engine refused to do something, or did not answer, when that happens within the block.

        Raises:
            StepFailedError: it happened; the evidence is in the engine's own words.
        """
        try:
            yield
        except ProvisionError:
            raise
        except Exception as error:
            import docker.errors

            advice = f"{self.program} info"
            refused = StepFailedError(f"the engine refused to {what}", next_step=advice)
            refused.is_taken = any(each in str(getattr(error, "explanation", "")).lower() for each in _TAKEN)
            silent = StepFailedError(
                f"the engine at {self.address} did not answer while it should {what}", next_step=advice
            )
            with translated(*_cut_off(), into=silent), translated(docker.errors.APIError, into=refused):
                raise

    def _ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        done: Sequence[int] = _DONE,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Any:
        """Return the answer to a call without the SDK; None where it has another status, or needs the SDK."""
        if self._client is not None or self.address.socket_path is None:
            return None
        text = None if body is None else json.dumps(body)
        try:
            status, _, answer = engine.ask(
                self.address.socket_path, path, CALL_TIMEOUT, text, method, meanwhile=meanwhile
            )
        except (FileNotFoundError, PermissionError, ConnectionRefusedError):
            return None  # nothing was asked
        return json.loads(answer.strip() or "{}") if status in done else None

    def execute(self, container: str, argv: tuple[str, ...], stdin: Secret, *, user: str = "") -> tuple[int, str]:
        """Run a program in a container with a secret on its standard input; return its exit code and output.

        ``user`` is another one than the container's.
        """
        import socket

        from provision.system.engine import demultiplex

        created = self.client.exec_create(container, list(argv), stdin=True, stdout=True, stderr=True, user=user)
        stream = self.client.exec_start(created["Id"], socket=True)
        connection: Any = getattr(stream, "_sock", stream)
        if hasattr(connection, "settimeout"):
            connection.settimeout(None)  # a program may take its time without a word
        try:
            connection.sendall(stdin.reveal().encode())
            connection.shutdown(socket.SHUT_WR)
            chunks = []
            while chunk := connection.recv(1 << 16):
                chunks.append(chunk)
        finally:
            stream.close()
        code = self.client.exec_inspect(created["Id"])["ExitCode"]
        return -1 if code is None else int(code), demultiplex(b"".join(chunks)).decode(errors="replace")

    def logs(self, container: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Yield the lines of a container's log; with ``follow`` until the container ends."""
        stream = self.client.logs(
            container, stream=True, follow=follow, tail="all" if tail is None else tail, stdout=True, stderr=True
        )
        rest = b""
        with reaching(self.address, *_cut_off()):
            for chunk in stream:
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def run_once(self, name: str, body: Mapping[str, Any], seconds: int) -> tuple[int | None, bytes, bytes]:
        """Run a container to its end and remove it; return its exit code, output and errors.

        One that a killed run has left is removed first. The code is None where the engine refuses, with its words.
        """
        import docker.errors

        with unless_gone():
            self.client.remove_container(name, force=True, v=True)
        try:
            self.client.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
            self.client.start(name)
            code = self.client.wait(name, timeout=seconds)["StatusCode"]
            # One after the other: a line of the log may come between two halves of an answer of more than 16 kB.
            return code, self.client.logs(name, stderr=False), self.client.logs(name, stdout=False)
        except docker.errors.APIError as error:
            return None, b"", (error.explanation or str(error)).encode()
        finally:
            with suppress(docker.errors.APIError):
                self.client.remove_container(name, force=True, v=True)

    def change_directory(self, effect: ChangeDirectory) -> None:
        """Run a line as the engine's root in a directory of its host, where we may not.

        Raises:
            StepFailedError: the engine, or the line, fails; with what it said.
        """
        mount = {"Type": effect.kind, "Source": effect.source, "Target": _INSIDE}
        # A directory that belongs to a container of SELinux's is closed to all others.
        host = {"Mounts": [mount], "NetworkMode": "none", "SecurityOpt": ["label=disable"]}
        body = {
            "Image": effect.image,
            "Entrypoint": ["sh", "-c", effect.script, "sh", _INSIDE],
            "Cmd": [],
            "User": "0",
            "HostConfig": {**host, "UsernsMode": "host"} if effect.unmapped else host,
        }
        code, output, errors = self.run_once(effect.container, body, _LINE_TIMEOUT)
        if code != 0:
            is_volume, source = effect.kind == "volume", as_word(effect.source)
            shown = f"{self.program} volume inspect {source}" if is_volume else f"ls -la {source}/.."
            raise StepFailedError(
                f"the engine could not change the directory {effect.source}",
                evidence=(output + errors).decode(errors="replace").strip().splitlines()[-5:],
                next_step=shown,
            )
        if effect.record is not None:
            files.write_atomically(effect.record, output.decode(errors="replace"), 0o644)

    # --- images ---

    def _pull_image(self, image: str, detail: Callable[[str], None]) -> None:
        import docker.errors

        repository, tag = split_reference(image)
        done: dict[str, tuple[int, int]] = {}
        failed = StepFailedError(
            f"the image {image!r} is not in the engine at {self.address} and could not be pulled",
            next_step=f"{self.program} pull {image}",
        )
        with translated(docker.errors.APIError, into=failed):
            for event in self.client.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in event:
                    raise docker.errors.APIError(event["error"])
                progress = event.get("progressDetail") or {}
                if progress.get("total"):
                    done[event["id"]] = (progress["current"], progress["total"])
                    current, total = (sum(part) for part in zip(*done.values(), strict=True))
                    detail(f"{event['status'].lower()} {current / 1e6:.0f} of {total / 1e6:.0f} MB")

    def _tag_image(self, image: str, body: Mapping[str, Any]) -> None:
        repository, tag = body["name"].rsplit(":", 1)
        if self._ask(f"/images/{quote(image)}/tag?{urlencode({'repo': repository, 'tag': tag})}") is None:
            self.client.tag(image, repository, tag)

    # --- volumes ---

    def _create_volume(self, name: str, body: Mapping[str, Any]) -> None:
        labels = _signed(body["labels"])
        made = self._ask("/volumes/create", {"Name": name, "Labels": labels})
        made = made or self.client.create_volume(name, labels=labels)
        if (made.get("Labels") or {}) != labels:  # the engine returns one that is there already
            failure = StepFailedError(
                f"the volume {name!r} was created by another run at the same moment",
                evidence=[f"its labels are {made.get('Labels')}"],
                next_step=command("apply"),
            )
            failure.is_taken = True
            raise failure

    def _remove_volume(self, name: str, body: Mapping[str, Any]) -> None:
        """Remove a volume, if it is there.

        Of ``body["filler"]``, a container that a killed run asked for, the engine tells only when it is made.
        """
        import docker.errors

        filler = body.get("filler")
        for _ in attempts(_FILLING_TIMEOUT if filler else 0.0, 0.05):
            try:
                self.client.remove_volume(name)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != _IN_USE or filler is None:
                    raise
            else:
                return
            with unless_gone():
                self.client.remove_container(filler, v=True, force=True)
        self.client.remove_volume(name)

    # --- containers ---

    def _create_container(self, name: str, body: Mapping[str, Any]) -> None:
        host = mounts.binds(body["HostConfig"])
        for bind in host.get("Binds") or ():  # the engine makes what is not there, for root
            source = bind.partition(":")[0]
            if self.address.is_local and source.startswith("/") and not Path(source).exists():
                raise StepFailedError(
                    f"the container {name!r} cannot be made: {source} is not there, and is mounted",
                    next_step=f"make it, or correct your docker-compose.yml.j2; ls -la {as_word(Path(source).parent)}",
                )
        signed = {**body, "HostConfig": host, "Labels": _signed(body.get("Labels") or {})}
        made = self._ask(f"/containers/create?{urlencode({'name': name})}", signed)
        made = made or self.client.create_container_from_config(signed, name)  # type: ignore[no-untyped-call]
        self.made.append(made["Id"])

    def _start_container(self, name: str, _body: Mapping[str, Any]) -> None:
        if self._ask(f"/containers/{quote(name)}/start", meanwhile=self.meanwhile) is None:
            self.client.start(name)

    def _update_container(self, name: str, body: Mapping[str, Any]) -> None:
        """Change limits and the restart policy; the SDK's own method knows no ``NanoCpus``."""
        import docker.errors

        client = self.client
        url = f"{client.base_url}/v{client.api_version}/containers/{name}/update"
        answer = client.post(url, json=dict(body), timeout=client.timeout)
        if not answer.ok:
            raise docker.errors.APIError(answer.text, response=answer, explanation=answer.text)

    def _remove_container(self, name: str, body: Mapping[str, Any]) -> None:
        """Remove a container, if it is there, and wait until its name is free again.

        Its anonymous volumes go with it, unless the body says ``"volumes": False``.
        """
        volumes, force = body.get("volumes", True), body.get("force", False)
        at, query = f"/containers/{quote(name)}", urlencode({"v": int(volumes), "force": int(force)})
        is_removed = self._ask(f"{at}?{query}", method="DELETE", done=(*_DONE, _ABSENT)) is not None
        if is_removed and self._ask(f"{at}/json", method="GET", done=(_ABSENT,)) is not None:
            return
        with unless_gone():
            self.client.remove_container(name, v=volumes, force=force)
        for _ in attempts(_REMOVAL_TIMEOUT, 0.05):
            with unless_gone() as is_gone:
                self.client.inspect_container(name)
            if is_gone:
                return
        raise StepFailedError(
            f"the container {name!r} is still being removed after {_REMOVAL_TIMEOUT:.0f} s",
            next_step=f"{self.program} inspect {name}",
        )

    def _run_container(self, name: str, body: Mapping[str, Any]) -> None:
        """Run a container to its end and remove it.

        Raises:
            StepFailedError: it failed; with what it said.
        """
        code, output, errors = self.run_once(name, body, _COPY_TIMEOUT)
        if code != 0:
            said = (output + errors).decode(errors="replace").strip().splitlines()[-5:]
            raise StepFailedError(f"the container {name!r} failed", evidence=said, next_step=f"{self.program} info")

    def _copy_to_container(self, name: str, body: Mapping[str, Any]) -> None:
        """Put files into a container: ``body["files"]`` maps absolute paths to (content, mode).

        The content may be that of a file of this machine, which can be large; it stays executable where it is.
        """
        import tarfile

        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                for path, (content, mode) in body["files"].items():
                    entry = tarfile.TarInfo(path.lstrip("/"))
                    entry.mode, entry.mtime = mode, int(time.time())
                    if isinstance(content, Path):
                        with content.open("rb") as source:
                            entry.size = os.fstat(source.fileno()).st_size
                            entry.mode |= os.fstat(source.fileno()).st_mode & 0o111
                            tar.addfile(entry, source)
                        continue
                    data = (content if isinstance(content, str) else content.reveal()).encode()
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
            archive.seek(0)
            self.client.put_archive(name, "/", archive)


def _signed(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels with those that say who makes it; what belongs to no environment has none."""
    return {**labels, **(register.me() if ENVIRONMENT in labels else {})}


def _cut_off() -> tuple[type[Exception], ...]:
    """Return what is raised when an answer breaks off, or is none; the SDK does not turn all of it into its errors."""
    import http.client

    import docker.errors
    import requests
    import urllib3.exceptions

    ours = (requests.RequestException, docker.errors.StreamParseError, urllib3.exceptions.HTTPError)
    return (*ours, http.client.HTTPException, ConnectionError, TimeoutError, json.JSONDecodeError)


@contextmanager
def unless_gone() -> Iterator[list[bool]]:
    """Pass over the error that a container is not there; the list that is yielded then has an element.

    Of one that is just being removed, Podman says that with another status than 404.
    """
    import docker.errors

    gone: list[bool] = []
    try:
        yield gone
    except docker.errors.NotFound:
        gone.append(True)
    except docker.errors.APIError as error:
        if "no such container" not in str(error.explanation):
            raise
        gone.append(True)


def split_reference(image: str) -> tuple[str, str | None]:
    """Split an image reference into what is pulled and its tag; a digest stays with the name.

    >>> split_reference("registry.example:5000/db/postgres:17")
    ('registry.example:5000/db/postgres', '17')
    >>> split_reference("postgres@sha256:abc")
    ('postgres@sha256:abc', None)
    """
    if "@" in image:
        return image, None
    name, separator, tag = image.rpartition(":")
    return (name, tag) if separator and "/" not in tag else (image, "latest")
