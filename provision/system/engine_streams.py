"""Programs in a container whose input and output are files of this machine, of any size.

Never with a terminal, which would change the bytes. The SDK may lose what a program prints before its caller listens;
so each waits for a first line from here.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any, BinaryIO

from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker import APIClient

_WAITING = 'read -r _ && exec "$@"'
_PART = 1 << 18
_HEADER, _ERRORS = 8, 2
_LAST_WORDS = 1 << 16
_ENDING = 10.0
"""How long an engine may take to know the exit code of a program whose output has ended, in seconds."""


def run(
    client: APIClient,
    container: str,
    argv: tuple[str, ...],
    source: BinaryIO | None,
    write: Callable[[bytes], object] | None,
) -> tuple[int, str]:
    """Run a program with a file as its input; return its exit code and what it complained.

    ``write`` receives what it prints, part by part.

    Raises:
        docker.errors.APIError: the engine refuses it.
        OSError: the engine went away.
    """
    words = ["bash", "-c", _WAITING, "provision", *argv]
    made = client.exec_create(container, words, stdin=True, stdout=True, stderr=True)["Id"]
    stream = client.exec_start(made, socket=True)
    connection: Any = getattr(stream, "_sock", stream)
    if hasattr(connection, "settimeout"):
        connection.settimeout(None)
    sender = Thread(target=_send, args=(connection, source), daemon=True)
    said = bytearray()
    try:
        sender.start()
        for kind, part in _frames(connection):
            if kind == _ERRORS:
                said = (said + part)[-_LAST_WORDS:]
            elif write is not None:
                write(part)
    finally:
        stream.close()
    sender.join(_ENDING)
    found = client.exec_inspect(made)
    for _ in attempts(_ENDING, 0.02):
        if not found["Running"]:
            break
        found = client.exec_inspect(made)
    code = found["ExitCode"]
    return -1 if code is None else int(code), said.decode(errors="replace")


def _send(connection: Any, source: BinaryIO | None) -> None:
    with suppress(OSError):  # a program may end before it has read all
        connection.sendall(b"\n")
        while source is not None and (part := source.read(_PART)):
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)


def _frames(connection: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the parts of both streams, each with its number.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """
    while head := _exactly(connection, _HEADER):
        kind, length = struct.unpack(">BxxxL", head)
        yield kind, _exactly(connection, length)


def _exactly(connection: Any, length: int) -> bytes:
    """Return so many bytes; none where the stream has ended before the first.

    Raises:
        ConnectionError: it broke off.
    """
    found = bytearray()
    while len(found) < length:
        part = connection.recv(length - len(found))
        if not part and not found:
            return b""
        if not part:
            raise ConnectionError("the stream of the engine broke off")
        found += part
    return bytes(found)
