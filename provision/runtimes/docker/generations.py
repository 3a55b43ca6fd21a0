"""The volumes of one environment over the major versions: an upgrade fills a new one, and keeps the old one.

The state of an upgrade is what is in the engine, and nothing else. The first volume has the name of the spec; an
upgrade to 18 fills a volume of that name with ``-18``. It counts only once the copy was verified, which a second, empty
volume says (``…-18.verified``): labels cannot be changed, but a volume is made in one call. The data is in the newest
volume that counts. A copy stops to count when the old server was started again after it, because the old one may have
rows then that the copy has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision.model import Step
from provision.model.effects import EngineCall
from provision.model.value import dataclass, replace
from provision.runtimes import removal
from provision.runtimes.docker import containers
from provision.runtimes.docker.compose import MAJOR
from provision.runtimes.names import ENVIRONMENT
from provision.runtimes.ownership import is_ours
from provision.spec.model import Spec, Volume
from provision.system.look import Look

BASE = "provision.base"
FROM_VOLUME = "provision.from-volume"
FROM_MAJOR = "provision.from-major"
FROM_IMAGE = "provision.from-image"
FROM_START = "provision.from-start"
"""When the server that was copied had been started, as the engine tells it."""
VERIFIED = "provision.verified"


@dataclass(frozen=True)
class Generation:
    """One volume with the data of one major version; None: the volume does not say which."""

    name: str
    major: int | None
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Generations:
    """The volumes of one environment.

    ``kept`` are the older ones, not in use; ``unfinished`` is what an interrupted upgrade has left:
    copies that do not count, and the marks of those that counted once.
    """

    current: Generation | None = None
    kept: tuple[Generation, ...] = ()
    unfinished: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def is_upgraded(self) -> bool:
        """Whether the data is in a volume that an upgrade has filled."""
        return self.current is not None and BASE in self.current.labels


def declared(data: Volume) -> str:
    """Return the name in the spec."""
    return data.declared or data.name


def copy_name(declared: str, major: int) -> str:
    """Return the name of the volume that an upgrade to a major version fills."""
    return f"{declared}-{major}"


def mark_name(copy: str) -> str:
    """Return the name of the empty volume that says that a copy was verified."""
    return f"{copy}.verified"


def temporary_name(container: str) -> str:
    """Return the name of the container in which an upgrade fills the new volume."""
    return f"{container}.upgrade"


def volumes(spec: Spec, look: Look) -> Mapping[str, Mapping[str, Any]]:
    """Return the volumes by name that have the environment's label, whoever's they are; one look sees them once."""
    return look.volumes(f"{ENVIRONMENT}={spec.name}")


def find(spec: Spec, look: Look) -> Generations:
    """Look for the volumes of the environment. Without any that an upgrade made, there is nothing to tell."""
    data = spec.server.data
    if not isinstance(data, Volume):
        return Generations()
    name = declared(data)
    ours = {each: seen for each, seen in volumes(spec, look).items() if is_ours(spec, seen.get("Labels") or {}, look)}
    copies = {each: seen for each, seen in ours.items() if seen["Labels"].get(BASE) == name}
    marks = {each: seen for each, seen in ours.items() if seen["Labels"].get(VERIFIED, "").startswith(f"{name}-")}
    if not copies and not marks:
        return Generations()
    first = ours.get(name) or look.engine(f"/volumes/{name}")
    olds = {name: first} if first is not None else {}
    container = containers.inspect(look, spec.server.container_name)
    counting = {
        name: each
        for name, each in copies.items()
        if (mark := marks.get(mark_name(name))) is not None
        and not _is_outdated(mark, container, {*olds, *(n for n in copies if major_of(copies[n]) < major_of(each))})
    }
    there = {**olds, **counting}.items()
    found = [Generation(each, major_of(seen) or None, seen.get("Labels") or {}) for each, seen in there]
    found.sort(key=lambda each: (BASE in each.labels, each.major or 0))
    valid = {mark_name(name) for name in counting}
    rest = sorted(({*copies} - {*counting}) | ({*marks} - valid))
    current, kept = found[-1] if found else None, tuple(found[-2::-1])
    return Generations(current, kept, tuple(rest), tuple(sorted({*marks} & valid)))


def located(spec: Spec, look: Look) -> Spec:
    """Return the spec with the volume that holds the data now in place of the declared one."""
    data = spec.server.data
    if not isinstance(data, Volume):
        return spec
    current = find(spec, look).current
    name = current.name if current is not None else declared(data)
    return spec if data == Volume(name) else moved(spec, name)


def moved(spec: Spec, name: str) -> Spec:
    """Return the spec with its data in another volume."""
    data = spec.server.data
    assert isinstance(data, Volume)  # noqa: S101  # asked by the callers
    place = Volume(name, None if name == declared(data) else declared(data))
    return replace(spec, server=replace(spec.server, data=place))


def leftovers(found: Generations, container: str) -> tuple[Step, ...]:
    """Remove what an interrupted upgrade has left: copies that were never used, and the container on one of them."""
    filling = EngineCall("remove_container", temporary_name(container), {"force": True})
    why = "an interrupted upgrade has left it; the data is where it was"
    return tuple(
        removal("volume", each, filling, EngineCall("remove_volume", each), why=why) for each in found.unfinished
    )


def major_of(volume: Mapping[str, Any]) -> int:
    """Return the major version that a volume says, or 0 where it says none."""
    label = (volume.get("Labels") or {}).get(MAJOR, "")
    return int(label) if label.isdecimal() else 0


def _is_outdated(mark: Mapping[str, Any], container: Mapping[str, Any] | None, older: set[str]) -> bool:
    """Tell whether the server was started on one of the older volumes after a copy was verified.

    The mark holds when it had been started last. Two times are never put in order: a clock may be set back in between.
    """
    if container is None or not older & {each.get("Name") for each in container["Mounts"]}:
        return False
    return bool(container["State"]["StartedAt"] != mark["Labels"].get(FROM_START))
