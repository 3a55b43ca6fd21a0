"""The engine's host, where that is not this machine: which of its ports are taken."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from provision.runtimes.names import EVERY_ADDRESS
from provision.system import processes, ssh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.system.engine_address import EngineAddress

_LISTENING = r"(?m)^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:0000 0A "
"""A line of a port that something listens on: https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt"""
_TIMEOUT, _CONNECT_TIMEOUT, _FRESH = 30, 2.0, 1.0


class Ports:
    """What listens there. By ssh the kernel of that host tells all of it; else it is tried from here."""

    def __init__(self, address: EngineAddress) -> None:
        self._address = address
        self._seen: list[tuple[str, int]] = []
        self._at = -_FRESH

    def listens(self, host: str, port: int) -> bool:
        """Whether something listens at an address of it; False also where that cannot be found out."""
        if self._address.is_ssh:
            if time.monotonic() - self._at > _FRESH:
                self._seen, self._at = list(_listening(self._address)), time.monotonic()
            taken = {at for at, number in self._seen if number == port}
            return bool(taken) and (host in EVERY_ADDRESS or bool(taken & {host, *EVERY_ADDRESS}))
        if self._address.socket_path is None:
            with suppress(OSError), socket.create_connection((self._address.hostname, port), _CONNECT_TIMEOUT):
                return True
        return False


def _listening(address: EngineAddress) -> Iterator[tuple[str, int]]:
    place = ssh.destination(address.url, address.source)
    argv = ssh.argv(place, *ssh.PLAIN, words=("cat", "/proc/net/tcp", "/proc/net/tcp6"))
    pipes = {"stdin": processes.DEVNULL, "stdout": processes.PIPE, "stderr": processes.DEVNULL}
    with suppress(OSError, processes.TimeoutExpired):
        text = processes.start_ssh(argv, **pipes).communicate(timeout=_TIMEOUT)[0].decode(errors="replace")
        for at, number in re.findall(_LISTENING, text):
            yield _read(at), int(number, 16)


def _read(shown: str) -> str:
    """Return an address as people write it; the kernel shows words of 32 bits in the order of its processor.

    >>> _read("0100007F"), _read("00000000000000000000000001000000")
    ('127.0.0.1', '::1')
    """
    words = (bytes.fromhex(shown[at : at + 8])[::-1] for at in range(0, len(shown), 8))
    packed = b"".join(words)
    return socket.inet_ntop(socket.AF_INET6 if len(packed) > 4 else socket.AF_INET, packed)  # noqa: PLR2004
