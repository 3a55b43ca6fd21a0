"""Data of a main checkout for a server in a container."""

from __future__ import annotations

from provision.errors import RefusedError
from provision.model import Effect, Endpoint, Step
from provision.model.effects import EngineCall
from provision.model.value import replace
from provision.observe.outside import World
from provision.runtimes.docker import golden_image
from provision.runtimes.docker.data_location import Place
from provision.runtimes.docker.site import DockerSite
from provision.spec.model import Ephemeral
from provision.upgrade.copying import Copying

_PORT = 5432
_FROM, _TO = "/from", "/to"
_FILL = """set -e
cd "$1"
mkdir -p "$2"
find . -mindepth 1 -maxdepth 1 ! -name PG_VERSION ! -name postmaster.pid ! -name postmaster.opts \\
  -exec cp -a {} "$2/" \\;
chown "$(stat -c %u:%g .)" "$2"
chmod 0700 "$2"
cp -a PG_VERSION "$2/"
sync -f "$2" || sync
"""
"""Copies a data directory. The file that says that there is one comes last; that a server ran there is left out."""


def copying(source: Endpoint, main: World, new: World) -> Copying:
    """Run the tools in the new container, which reaches that of the main checkout in the network that both are in.

    Raises:
        RefusedError: there is none.
    """
    server, site = new.spec.server, DockerSite.of(new.site)
    theirs = _addresses(DockerSite.of(main.site)) if isinstance(main.site, DockerSite) else {}
    address = next((theirs[each] for each in _addresses(site) if theirs.get(each)), None)
    if address is None:
        raise RefusedError(
            "the new container cannot reach the server of the main checkout: they have no network in common",
            evidence=[f"that server is at {source.address}"],
            next_step=f"provision stop {main.spec.path}   (the data of a server that is stopped is copied)",
        )
    return Copying(
        address, _PORT, main.spec.server.user, server.user, server.major, source.password, str(_PORT),
        container=site.container_name,
    )  # fmt: skip


def _addresses(site: DockerSite) -> dict[str, str]:
    """Return the addresses of a container by network."""
    networks = ((site.container or {}).get("NetworkSettings") or {}).get("Networks") or {}
    return {name: str((each or {}).get("IPAddress") or "") for name, each in networks.items()}


def check(main: World, new: World) -> None:
    """Refuse data that is in memory, here or there.

    Raises:
        RefusedError: why, and what to do.
    """
    if any(isinstance(each.spec.server.data, Ephemeral) for each in (main, new)):
        raise RefusedError(
            "data in memory is not copied while its server is stopped",
            next_step=f"provision apply {main.spec.path}   (a server that runs is dumped)",
        )


def filled(step: Step, main: World, new: World) -> Step:
    """Fill the data after the container was made, and before it is started."""
    effects: list[Effect] = []
    for each in step.effects:
        if isinstance(each, EngineCall) and each.operation == "start_container":
            effects.append(_filling(DockerSite.of(main.site), DockerSite.of(new.site)))
        effects.append(each)
    if len(effects) == len(step.effects):
        return step
    why = f"with a copy of the data of {main.spec.name!r}, whose server is stopped"
    return replace(step, effects=tuple(effects), why=(*step.why, why))


def _filling(main: DockerSite, site: DockerSite) -> EngineCall:
    source, place = main.current_place or main.declared_place, site.declared_place
    assert source is not None  # noqa: S101  # only ephemeral data has none
    assert place is not None  # noqa: S101  # as above
    mounts = [
        {"Type": source.kind, "Source": source.source, "Target": _FROM, "ReadOnly": True},
        {"Type": place.kind, "Source": place.source, "Target": _TO},
    ]
    body = {
        "Image": site.creation.image,
        "Entrypoint": ["sh", "-c", _FILL, "sh", _within(_FROM, source), _within(_TO, place)],
        "Cmd": [],
        "User": "0",
        "Healthcheck": {"Test": ["NONE"]},
        # A directory that belongs to a container of SELinux's is closed to all others.
        "HostConfig": {"NetworkMode": "none", "Mounts": mounts, "SecurityOpt": ["label=disable"]},
    }
    return EngineCall("run_container", golden_image.helper(site.container_name), body)


def _within(mount: str, place: Place) -> str:
    return f"{mount}/{place.below}" if place.below else mount
