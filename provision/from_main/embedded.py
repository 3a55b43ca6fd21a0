"""Data of a main checkout for an embedded server."""

from __future__ import annotations

from provision.errors import RefusedError, as_word
from provision.model import Effect, Endpoint, Step, words
from provision.model.effects import CopyCluster, MakeDirectory, MovePath, RemovePath, ServerCall
from provision.model.value import replace
from provision.observe.outside import World
from provision.runtimes.embedded.site import EmbeddedSite
from provision.runtimes.names import DATA_RECORD
from provision.system import cluster_copy
from provision.system.cluster_folder import DATA
from provision.upgrade.copying import TOOLS, Copying

_LEFT_OUT = ("postmaster.opts", "current_logfiles")
"""What says how the server was started on the data, and where its log is."""


def copying(source: Endpoint, main: World, new: World) -> Copying:
    """Run the tools of the new server on this machine.

    Raises:
        RefusedError: it lacks one of them.
    """
    site, server = EmbeddedSite.of(new.site), new.spec.server
    place = site.own_programs.directory
    tools = next((each for each in (site.programs, place) if each is not None and not _lacking(new, each)), None)
    if tools is None:
        raise RefusedError(
            f"PostgreSQL {server.major} is here without the client programs that copy data",
            evidence=[f"{place} has no {', '.join(_lacking(new, place))}"],
            next_step=f"install the client package of PostgreSQL {server.major}",
        )
    return Copying(
        source.host, source.port, main.spec.server.user, server.user, server.major, source.password,
        str(site.port), sockets=str(site.places.sockets), programs=tools,
    )  # fmt: skip


def _lacking(world: World, place: object) -> list[str]:
    return [each for each in TOOLS if not world.look.exists(place / each)]  # type: ignore[operator]


def check(main: World, new: World) -> None:
    """Refuse data of another major version, and a copy for which there is no room.

    Raises:
        RefusedError: why, and what to do.
    """
    data, major = EmbeddedSite.of(main.site).places.data, EmbeddedSite.of(main.site).made_by
    if major != str(new.spec.server.major):
        raise RefusedError(
            f"the data of the main checkout is of PostgreSQL {major}, and this spec is for {new.spec.server.major}",
            next_step=f"provision start {main.spec.path}   (a server that runs is dumped, which fits newer versions)",
        )
    size, place = cluster_copy.size(data), new.spec.home
    if not cluster_copy.shares_blocks(data.parent) and size > (free := cluster_copy.free(place)):
        raise RefusedError(
            f"the data of the main checkout has {words.size(size)}, and {words.size(free)} are free at {place}",
            next_step=f"df -h {as_word(place.parent)}",
        )


def filled(step: Step, main: World, new: World) -> Step:
    """Copy in place of initdb; the copy gets its name when it is whole."""
    site = EmbeddedSite.of(new.site)
    effects: list[Effect] = []
    for each in step.effects:
        if isinstance(each, ServerCall) and each.operation == "initialise":
            effects += _copy(main, site)
        else:
            effects.append(each)
    made = len(effects) != len(step.effects)
    return replace(step, effects=tuple(effects), why=(*step.why, _why(main))) if made else step


def _why(main: World) -> str:
    return f"a copy of that of {main.spec.name!r}, whose server is stopped"


def _copy(main: World, site: EmbeddedSite) -> list[Effect]:
    hidden, data = site.places.generations.hidden, site.places.data
    folder = hidden / "main"
    return [
        MakeDirectory(hidden),
        CopyCluster(EmbeddedSite.of(main.site).places.data, folder, DATA_RECORD),
        *(RemovePath(folder / DATA / each) for each in _LEFT_OUT),
        MovePath(folder / DATA, data),
        RemovePath(hidden),
    ]
