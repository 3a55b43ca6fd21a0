"""Checks of this machine: the engine or the programs, the image, the port, room on the disk and in memory, psql."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from provision.doctor.finding import Finding, Level, Scene
from provision.errors import ProvisionError, UnavailableError, as_word
from provision.model.words import size, socket_address
from provision.runtimes import load
from provision.runtimes.choice import choose
from provision.spec.model import DataPath, Ephemeral
from provision.system import no_commands, processes
from provision.system.cluster_copy import free

_MEBIBYTE: Final = 1 << 20
_LEAST, _LITTLE = 200 * _MEBIBYTE, 1024 * _MEBIBYTE
"""New data takes 40 MB, and its write-ahead log up to a gigabyte (max_wal_size)."""
_SHM: Final = Path("/dev/shm")  # noqa: S108  # it is looked at
_SHM_NEEDED: Final = 64 * _MEBIBYTE


def runtime(scene: Scene) -> Iterator[Finding]:
    """Say where the server runs or would run, and which version answers there."""
    if scene.spec is None:
        try:
            scene.look.reader.ping()
            yield Finding("engine", Level.OK, _engine(scene))
        except UnavailableError as error:
            yield Finding("engine", Level.WARNING, error.sentence, error.evidence, error.next_step or "")
            return
    else:
        name, reason = choose(scene.spec, scene.look)
        if name == "docker":
            scene.look.reader.ping()
            yield Finding("engine", Level.OK, _engine(scene))
        elif name == "external":
            server = scene.spec.server
            places = ", ".join(socket_address(host, port) for host, port in server.places)
            yield Finding("runtime", Level.OK, f"others run the server, at {places}")
        else:
            yield Finding("runtime", Level.OK, f"embedded: {load(name).available(scene.spec, scene.look)}")
            if reason:
                yield Finding("runtime", Level.OK, reason)


def _engine(scene: Scene) -> str:
    version: dict[str, Any] = scene.look.engine("/version") or {}
    platform = version.get("Platform") or {}
    name = platform.get("Name") or ("Podman" if scene.look.reader.podman else "Docker")
    return f"{name} {version.get('Version', '')} answers at {scene.look.address}"


def image(scene: Scene) -> Iterator[Finding]:
    """Say whether the engine has the image, or can get it."""
    spec = scene.spec
    if spec is None or scene.runtime != "docker":
        return
    reference = spec.server.image
    if scene.look.image(reference) is not None:
        yield Finding("image", Level.OK, f"{reference} is here")
        return

    if no_commands.leaves_out(f"whether {reference} can be pulled: no registry was asked"):
        yield Finding("image", Level.UNKNOWN, f"{reference} is not here, and no registry was asked")
        return
    try:
        is_there = scene.look.engine(f"/distribution/{reference}/json") is not None
        why: tuple[str, ...] = ("its registry has no such image",)
    except ProvisionError as error:
        is_there, why = False, error.evidence or (error.sentence,)
    if is_there:
        yield Finding("image", Level.OK, f"{reference} is not here yet, and its registry has it")
        return
    next_step = f"{scene.look.reader.program} pull {reference}"
    yield Finding("image", Level.PROBLEM, f"{reference} is not here, and cannot be pulled", why, next_step)


def port(scene: Scene) -> Iterator[Finding]:
    """Say whether the port is free, ours, or whose it is."""
    spec = scene.spec
    if spec is None or scene.runtime in ("", "external"):
        return
    if scene.is_running:
        at = scene.seen.endpoint if scene.seen else None
        known = (at.way or at).port if at else spec.server.port
        yield Finding("port", Level.OK, f"{known} is that of this server, which runs")
        return
    number = load(scene.runtime).port(spec, scene.look)
    who = scene.look.listener(spec.server.host, number, spec.server.container_name)
    if who is None:
        yield Finding("port", Level.OK, f"{number} is free")
        return
    next_step = f"stop that, or write `port: auto` into {spec.path.name}"
    yield Finding("port", Level.PROBLEM, f"{number} is in use by {who}", next_step=next_step)


def disk(scene: Scene) -> Iterator[Finding]:
    """Say how much room there is for the data."""
    place = _place(scene)
    if place is None:
        return
    room = free(place)
    level = Level.PROBLEM if room < _LEAST else Level.WARNING if room < _LITTLE else Level.OK
    enough = "" if level is Level.OK else ", and a server with its write-ahead log takes up to 1 GB more"
    next_step = f"df -h {as_word(place)}" if enough else ""
    yield Finding("disk", level, f"{size(room)} free in {place}{enough}", next_step=next_step)


def _place(scene: Scene) -> Path | None:
    """Return where the data is or will be on this machine; None where that cannot be seen, or is in memory."""
    spec = scene.spec
    if spec is None or scene.runtime in ("", "external") or isinstance(spec.server.data, Ephemeral):
        return None
    if scene.runtime == "docker" and not scene.look.address.is_local:
        return None
    if isinstance(spec.server.data, DataPath):
        return spec.server.data.path
    if scene.runtime == "embedded":
        return spec.home
    root = Path((scene.look.engine("/info") or {}).get("DockerRootDir") or "/nowhere")
    return root if scene.look.address.is_local and root.is_dir() else None


def shared_memory(scene: Scene) -> Iterator[Finding]:
    """Say whether a server that is a process of this machine has room in ``/dev/shm`` for parallel queries."""
    if scene.runtime != "embedded" or not _SHM.is_dir():
        return
    room = free(_SHM)
    level = Level.OK if room >= _SHM_NEEDED else Level.WARNING
    needed = "" if level is Level.OK else ", through which parallel queries share memory"
    yield Finding("memory", level, f"{size(room)} free in {_SHM}{needed}", next_step="ls -l /dev/shm" if needed else "")


def psql(scene: Scene) -> Iterator[Finding]:
    """Say whether psql is here, and not older than the server."""
    found = shutil.which("psql")
    install = "install a newer one (Debian: apt install postgresql-client)"
    wanted = scene.spec.server.major if scene.spec else 0
    if found is None:
        own = scene.runtime in ("docker", "embedded")
        sentence = "there is no psql on this machine" + ("; `provision psql` uses the server's own" if own else "")
        yield Finding("psql", Level.OK if own else Level.WARNING, sentence, next_step="" if own else install)
        return
    number = processes.major_of(found)
    if number >= wanted:
        yield Finding("psql", Level.OK, f"psql {number} is here")
        return
    sentence = f"psql {number} is older than the server, {wanted}, and does not know all of its catalogs"
    yield Finding("psql", Level.WARNING, sentence, (found,), install)


CHECKS: Final[dict[str, Callable[[Scene], Iterator[Finding]]]] = {
    "image": image,
    "port": port,
    "disk": disk,
    "memory": shared_memory,
    "psql": psql,
}
