"""The images that hold goldens, made and removed in an engine. Nothing is decided here.

A container of the environment's own image is made, and runs nothing of it: the data goes in as an archive, a server
takes the secrets out of it, and the engine makes an image of what that container has more than its own. An image is
there as a whole, under its name, or not at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shlex
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from provision.errors import ProvisionError, RefusedError, StepFailedError, command
from provision.model import Secret
from provision.model.value import dataclass
from provision.system.engine_calls import Engine, unless_gone

_CHUNK = 1 << 20
_BLOCK = 512
"""Bytes of the head of an entry of an archive."""
_ALIVE = ("sleep", "3600")
_MANIFEST = "manifest.json"
_IN_USE = 409
_ROOT, _OWNED = "0:0", 'chown -R postgres: "$1"; chmod 0700 "$1"'


@dataclass(frozen=True)
class Making:
    """How the image of a golden is made.

    ``container`` is the name of the container that it is made in, ``image`` its own image. The data is at ``below`` in
    ``place``, which gets owner and mode of the directory ``like`` of the image. ``config`` is that of the new image.
    """

    container: str
    image: str
    reference: str
    place: str
    below: str
    like: str
    config: Mapping[str, Any]

    @property
    def directory(self) -> str:
        """The data directory."""
        return f"{self.place}/{self.below}" if self.below else self.place


def archive(engine: Engine, container: str, directory: str) -> Iterator[bytes]:
    """Yield an archive of a directory of a container that does not run."""
    yield from engine.client.get_archive(container, f"{directory}/.", chunk_size=_CHUNK)[0]


def archive_of_running(engine: Engine, container: str, script: str) -> Iterator[bytes]:
    """Yield what a script writes to its standard output in a container that runs.

    Raises:
        StepFailedError: it failed, with what it said.
    """
    client, said = engine.client, b""
    made = client.exec_create(container, ["sh", "-c", script], user="0")
    for output, errors in client.exec_start(made["Id"], stream=True, demux=True):
        said += errors or b""
        if output:
            yield output
    if client.exec_inspect(made["Id"])["ExitCode"] != 0:
        evidence = said.decode(errors="replace").strip().splitlines()[-5:]
        raise StepFailedError("the data could not be read while the server runs", evidence=evidence)


def read(engine: Engine, container: str, path: str) -> bytes:
    """Return what is in a file of a container."""
    stream, _ = engine.client.get_archive(container, path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        found = tar.extractfile(tar.next() or tarfile.TarInfo())
        return found.read() if found else b""


class Workshop:
    """The container in which an image is made; :func:`working` opens and ends one."""

    def __init__(self, engine: Engine, making: Making) -> None:
        self.engine, self.making, self.user = engine, making, ""

    def fill(self, entries: Iterable[tuple[tarfile.TarInfo, IO[bytes] | None]]) -> None:
        """Put the entries of an archive of a data directory into the container, and start it.

        Their names are relative to the data directory, which comes first.
        """
        making, client = self.making, self.engine.client
        with tarfile_of(self._directories()) as (tar, file):
            for entry, content in entries:
                self.user = self.user or f"{entry.uid}:{entry.gid}"
                entry.name = str(PurePosixPath(making.directory.lstrip("/"), entry.name))
                tar.addfile(entry, content)
            tar.close()
            file.seek(0)
            client.put_archive(making.container, "/", file)
        client.start(making.container)
        if self.user == _ROOT:  # no server runs as root: Podman's archives do not say whose a file is
            self.user = ""
            self.run(("sh", "-ec", _OWNED, "sh", making.directory), Secret(""))
            self.user = "postgres"

    def run(self, argv: tuple[str, ...], stdin: Secret) -> str:
        """Run a program as the owner of the data, with a secret on its standard input; return what it says.

        Raises:
            StepFailedError: it failed.
        """
        code, said = self.engine.execute(self.making.container, argv, stdin, user=self.user)
        if code != 0:
            evidence = said.strip().splitlines()[-5:]
            raise StepFailedError(f"{argv[0]} failed on a copy of the data", evidence=evidence)
        return said

    def read(self, path: str) -> bytes:
        """Return what is in a file of the data directory."""
        return read(self.engine, self.making.container, f"{self.making.directory}/{path}")

    def commit(self, labels: Mapping[str, str]) -> None:
        """Make the image, with labels and under its name.

        Raises:
            StepFailedError: the engine makes another one than it was asked for.
        """
        client, making = self.engine.client, self.making
        client.kill(making.container)
        repository, _, tag = making.reference.rpartition(":")
        client.commit(making.container, repository, tag, conf={**making.config, "Labels": dict(labels)})
        made = client.inspect_image(making.reference)["Config"]  # type: ignore[no-untyped-call]
        if made.get("Labels") != dict(labels) or made.get("Entrypoint") != making.config.get("Entrypoint"):
            client.remove_image(making.reference)
            raise StepFailedError("the engine does not give the image the labels that it is asked for")

    def _directories(self) -> Iterator[tarfile.TarInfo]:
        """Yield the root of a volume, as the image has it, and the directories in it that are above the data."""
        import docker.errors

        making, like = self.making, tarfile.TarInfo()
        like.mode = 0o755
        with suppress(docker.errors.NotFound):
            stream, _ = self.engine.client.get_archive(making.container, making.like)
            like = tarfile.TarInfo.frombuf(next(stream)[:_BLOCK], "utf-8", "surrogateescape")
        above = [str(each) for each in reversed(PurePosixPath(making.below).parents)]
        for each in above or ["."]:
            entry = tarfile.TarInfo(str(PurePosixPath(making.place.lstrip("/"), each)))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            if each == ".":
                entry.mode, entry.uid, entry.gid = like.mode, like.uid, like.gid
            yield entry


@contextmanager
def working(engine: Engine, making: Making) -> Iterator[Workshop]:
    """Make a container, and remove it at the end of the block; what a killed run has left goes first.

    Raises:
        StepFailedError: the engine refuses something; there is no image then.
    """
    client, host = engine.client, {"NetworkMode": "none"}
    body = {"Image": making.image, "Entrypoint": list(_ALIVE), "Cmd": [], "HostConfig": host}
    with engine.doing(f"make the image {making.reference!r}"):
        with unless_gone():
            client.remove_container(making.container, force=True, v=True)
        try:
            client.create_container_from_config(body, making.container)  # type: ignore[no-untyped-call]
            yield Workshop(engine, making)
        finally:
            with suppress(ProvisionError), engine.doing("remove it"), unless_gone():
                client.remove_container(making.container, force=True, v=True)


@contextmanager
def tarfile_of(entries: Iterable[tarfile.TarInfo]) -> Iterator[tuple[tarfile.TarFile, IO[bytes]]]:
    """Open a new archive in a file of this machine that has no name, with entries in it."""
    import tempfile

    with tempfile.TemporaryFile() as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in entries:
            tar.addfile(each)
        yield tar, file


def entries(stream: Iterable[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Yield the entries of one archive, or of several one after the other, with names relative to its first."""
    with tarfile.open(fileobj=_Stream(stream), mode="r|", ignore_zeros=True) as tar:
        for each in tar:
            yield each, tar.extractfile(each) if each.isfile() else None


class _Stream(io.RawIOBase):
    """Chunks as a file that can be read once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks, self._rest = iter(chunks), b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest += chunk
        cut = len(self._rest) if size < 0 else size
        found, self._rest = self._rest[:cut], self._rest[cut:]
        return found


def remove(engine: Engine, reference: str) -> str:
    """Remove an image that no container uses; return what the engine says where one does, else nothing."""
    import docker.errors

    with engine.doing(f"remove the image {reference!r}"):
        try:
            engine.client.remove_image(reference)
        except docker.errors.ImageNotFound:
            return ""
        except docker.errors.APIError as error:
            if error.status_code != _IN_USE:
                raise
            return str(error.explanation)
    return ""


def export(engine: Engine, reference: str, path: Path) -> None:
    """Write an image to a new file, in one rename.

    Raises:
        RefusedError: there is a file, or something else, already.
        StepFailedError: the engine failed.
    """
    if os.path.lexists(path):
        raise RefusedError(
            f"{path} is there already; nothing was written",
            next_step=f"rm {shlex.quote(str(path))}   (or name another file)",
        )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with engine.doing(f"export the image {reference!r}"), temporary.open("xb") as file:
            for chunk in engine.client.get_image(reference, chunk_size=_CHUNK):
                file.write(chunk)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def import_(engine: Engine, path: Path, sha256: str, repository: str) -> tuple[str, ...]:
    """Load the one image of a file whose SHA-256 is known; return its name, which is in ``repository``.

    Raises:
        RefusedError: it is another file, or holds other images.
        StepFailedError: the engine failed.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256.lower():
            raise RefusedError(
                f"{path} is not the file that was exported; nothing was imported",
                evidence=[f"its SHA-256 is {found}", f"--sha256 says {sha256}"],
                next_step=f"sha256sum {path}   (where it was exported, too)",
            )
        file.seek(0)
        names = _named(file)
        if len(names) != 1 or not names[0].startswith(f"{repository}:"):
            raise RefusedError(
                f"{path} holds no golden, or other images too; nothing was imported",
                evidence=[f"it holds {', '.join(names) or 'no image that has a name'}"],
                next_step=command("golden export") + "   (it makes such a file)",
            )
        file.seek(0)
        client = engine.client
        with engine.doing(f"import {path}"):
            url = f"{client.base_url}/v{client.api_version}/images/load"
            client.post(url, data=file, timeout=None).raise_for_status()
    return names


def _named(file: IO[bytes]) -> tuple[str, ...]:
    """Return the names that the images of an archive of ``docker save`` get when they are loaded."""
    try:
        with tarfile.open(fileobj=file) as tar:
            # The engine unpacks all of it: another entry for the same path would be the list that it reads.
            lists = [each for each in tar if PurePosixPath(each.name).name == _MANIFEST]
            member = tar.extractfile(lists[0]) if [each.name for each in lists] == [_MANIFEST] else None
            listed = json.load(member) if member else []
            return tuple([str(name).removeprefix("localhost/") for each in listed for name in each["RepoTags"] or ()])
    except (tarfile.TarError, KeyError, ValueError, TypeError):
        return ()
