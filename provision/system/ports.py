"""Ports of this machine: is one free, who has it, and which one to take."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from provision.errors import UnavailableError
from provision.system import no_commands

_FIRST, _COUNT, _LAST = 20000, 10000, 65535
"""Below the ports that systems give to outgoing connections (32768 on Linux, 49152 elsewhere)."""


def is_port_free(host: str, port: int) -> bool:
    """Whether a server could listen on a port now."""
    unknown = f"whether the port {port} is free: the name {host} was not looked up"
    if not _is_address(host) and no_commands.leaves_out(unknown):
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return True  # a low port, which the engine may bind and we may not
        except OSError:
            return False
    return True


def _is_address(host: str) -> bool:
    return ":" in host or not host.strip("0123456789.")


_reserved: dict[tuple[str, str], int] = {}
_left: set[int] = set()


def free_port(host: str, name: str) -> int:
    """Return a free port; the same name gets the same one as long as it is free.

    It is reserved until this process ends, so that two runs at the same time never choose the same one.
    """
    start = zlib.crc32(name.encode())
    return _reserved_port(host, name, (_FIRST + (start + offset) % _COUNT for offset in range(_COUNT)))


def next_port(host: str, name: str, first: int, taken: Collection[int] = ()) -> int:
    """Return a port, or the next one that is free and not ``taken``; it is reserved as in :func:`free_port`."""
    return _reserved_port(host, name, (each for each in range(first, _LAST + 1) if each not in taken))


def _reserved_port(host: str, name: str, ports: Iterable[int]) -> int:
    if (mine := _reserved.get((host, name))) is not None:
        return mine
    port = next((each for each in ports if each not in _left and _reserve(host, each)), None)
    if port is None:
        raise UnavailableError(f"no port of {host} is free", next_step="name one in `server.port`")
    _reserved[host, name] = port
    return port


def leave_port(port: int) -> None:
    """Choose this port no more in this process: another program has taken it before our server listened."""
    _left.add(port)
    for key in [each for each, reserved in _reserved.items() if reserved == port]:
        del _reserved[key]


def is_left(port: int) -> bool:
    """Whether a port was left to others."""
    return port in _left


def sign_port(port: int) -> None:
    """Show other runs, as far as that is possible, that a server of this one is about to listen on a declared port."""
    if port not in _reserved.values():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sign, suppress(OSError):
            sign.bind(("127.0.0.1", port))
            sign.detach()


def _reserve(host: str, port: int) -> bool:
    """Take the UDP port of the same number, which no PostgreSQL uses: a sign to other runs that dies with this one.

    Whether the port is free is asked after that: another run ends only after its server listens.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sign:
        try:
            sign.bind(("127.0.0.1", port))
        except PermissionError:
            return is_port_free(host, port)  # a low port, of which we cannot give a sign
        except OSError:
            return False
        if not is_port_free(host, port):
            return False
        sign.detach()  # it stays open as long as this process lives
    return True


def process_on(port: int) -> str | None:
    """Return the process that listens on a TCP port (``nginx, process 4711``), where this system tells.

    Linux lists sockets with their inodes in ``/proc/net/tcp`` and a process's sockets in ``/proc/<pid>/fd``.
    """
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(each.readlink()) in inodes for each in (directory / "fd").iterdir()):
                return f"{(directory / 'comm').read_text().strip()}, process {directory.name}{_environment(directory)}"
    return None


def _environment(directory: Path) -> str:
    """Say which environment a server process of ours was started for; its command line names the directory."""
    from provision.runtimes.names import environment, of_home

    words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
    home = environment(tuple(words))
    return f", of {of_home(home)}" if home else ""
