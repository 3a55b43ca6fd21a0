"""The embedded servers of this machine: those that run say whose they are, and the register knows of the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from provision.everywhere.found import Found, Known
from provision.model import Endpoint, Secret
from provision.runtimes.names import LINK
from provision.system import machine, postmaster
from provision.system.postmaster import Postmaster
from provision.system.register import Entry

_NOT_ASKED_FOR = Secret("none")
"""The password over the server's own socket, which only its owner and root can open."""


def found(known: Mapping[str, Entry]) -> list[Found]:
    """Return the environments whose server runs, or whose data is there."""
    running: dict[str, tuple[Path, Postmaster]] = {}
    for home, data, server in sorted(postmaster.of_environments(), key=lambda each: each[2].pid):
        is_current = (Path(home) / LINK).is_symlink() and (Path(home) / LINK).readlink() == data
        if home not in running or is_current:  # an upgrade has a second one
            running[home] = data, server
    homes = dict.fromkeys((*running, *(home for home, each in known.items() if each.runtime == "embedded")))
    rows = [_environment(Path(home), running.get(home), known.get(home)) for home in homes]
    return [each for each in rows if each is not None]


def _environment(home: Path, running: tuple[Path, Postmaster] | None, entry: Entry | None) -> Found | None:
    data, server = running or (_data(home, entry), None)
    server = server or postmaster.find(data)
    version = postmaster.version(data)
    if (server is None and version is None) or len(home.parents) < 2:  # noqa: PLR2004  # .provision/NAME below it
        return None
    directory = home.parents[1]
    row = Known(
        home.name,
        directory,
        "embedded",
        "running" if server is not None else "stopped",
        version=version or "",
        host=(server.host or "127.0.0.1") if server and server.port else "",
        port=server.port if server else 0,
        is_gone=not directory.is_dir(),
        not_mine="" if entry is not None else _not_mine(home, server),
        data=data,
        sockets=Path(server.sockets) if server and server.sockets else None,
        in_memory=data.name == "ephemeral",
    )
    if server is None or not server.sockets or entry is None:
        return Found(row, None, entry.trees if entry is not None else None)
    login = Endpoint(server.sockets, server.port, entry.user, _NOT_ASKED_FOR, "postgres")
    return Found(row, login, entry.trees)


def _data(home: Path, entry: Entry | None) -> Path:
    link = home / LINK
    return link.readlink() if link.is_symlink() else Path(entry.data if entry is not None else home / "data")


def _not_mine(home: Path, server: Postmaster | None) -> str:
    """Return why the list does not know who made a server; empty: its directory, or its process, is this user's."""
    me, whose = os.geteuid(), machine.owner(home)
    if whose is not None:
        return "" if whose.uid == me else f"its directory belongs to {whose.name!r}"
    if server is not None and postmaster.owner(server.pid) == me:
        return ""
    return "it does not say who made it, and its directory is not there"
