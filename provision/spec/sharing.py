"""What two specs share: a server, or what only one server can have."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from provision.model.words import socket_address
from provision.spec.model import DataPath, Server, Spec, Volume

_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104  # nothing is bound here
_HERE: Final = (*_EVERYWHERE, "localhost", "127.0.0.1", "::1")


class Shared(NamedTuple):
    """What two specs share, in words. ``excludes``: two servers that run cannot both have it."""

    what: str
    excludes: bool


def shared(one: Spec, other: Spec) -> Shared | None:
    """Return the first thing that two specs share; None: nothing that matters to one is touched by the other."""
    external = [each.server.runtime == "external" for each in (one, other)]
    if any(external):
        return _server(one.server, other.server, both=all(external))
    if one.home == other.home:
        return Shared(f"the environment {one.name} of {one.directory}", excludes=True)
    if (data := _data(one.server, other.server)) is not None:
        return Shared(f"the data in {data}", excludes=True)
    if "embedded" not in (one.server.runtime, other.server.runtime) and (found := _of_the_engine(one, other)):
        # With `auto` it may be that no engine answers, and then they do not have it.
        return Shared(found, excludes=one.server.runtime == other.server.runtime == "docker")
    port = one.server.port
    if port is not None and port == other.server.port and _meet(one.server.host, other.server.host):
        return Shared(f"the port {port}", excludes=True)
    return None


def _server(one: Server, other: Server, *, both: bool) -> Shared | None:
    """Return the server of one spec that the other one uses as a server of others."""
    for host, port in one.places:
        for another, number in other.places:
            is_same = host == another if both else {host, another} <= {*_HERE}
            if is_same and port is not None and port == number:
                return Shared(f"the server at {socket_address(host, port)}", excludes=False)
    return None


def _data(one: Server, other: Server) -> Path | None:
    if not isinstance(one.data, DataPath) or not isinstance(other.data, DataPath):
        return None
    first, second = (Path(os.path.realpath(each.data.path)) for each in (one, other))  # type: ignore[union-attr]
    inner, outer = (first, second) if first.is_relative_to(second) else (second, first)
    return outer if inner.is_relative_to(outer) else None


def _of_the_engine(one: Spec, other: Spec) -> str | None:
    if one.server.container_name == other.server.container_name:
        return f"the container {one.server.container_name}"
    if isinstance(one.server.data, Volume) and one.server.data == other.server.data:
        return f"the volume {one.server.data.name}"
    return f"the Compose project {one.name}" if one.name == other.name else None


def _meet(one: str, other: str) -> bool:
    return one == other or one in _EVERYWHERE or other in _EVERYWHERE or {one, other} <= {*_HERE}


def in_order(specs: Sequence[Spec]) -> tuple[tuple[int, ...], ...]:
    """Return groups of specs, by their numbers: those of a group share something, and those of two groups do not."""
    groups: list[list[int]] = []
    for number, spec in enumerate(specs):
        sharing = [each for each in groups if any(shared(specs[other], spec) for other in each)]
        groups = [each for each in groups if each not in sharing]
        groups.append(sorted([number, *(other for each in sharing for other in each)]))
    return tuple(sorted(tuple(each) for each in groups))
