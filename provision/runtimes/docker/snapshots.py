"""Snapshots of a whole cluster in Docker: each is a volume of its own, filled by a container that is thrown away.

Labels cannot be changed, but a volume is made in one call. So a copy counts once a second, empty volume says so
(``….complete``), and another one (``….restoring``) says that the data is being replaced, from what, and where the data
so far was copied before. The data stays in its place. Without ``pg_control``, which goes first and comes last, no
server starts on data that is half replaced, and nothing initialises it, because ``PG_VERSION`` stays: the next apply
replaces it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision.model import Action, Address, Effect, Step
from provision.model.effects import EngineCall
from provision.model.value import dataclass
from provision.runtimes import removal
from provision.runtimes.docker import generations
from provision.runtimes.docker.data_location import Place
from provision.runtimes.docker.inspection import Inspection
from provision.runtimes.names import DIRECTORY, ENVIRONMENT
from provision.runtimes.ownership import is_ours
from provision.spec.model import DataPath, Volume

KIND = "provision.snapshot"
"""The label with what a volume is: one of the words below."""
SNAPSHOT, REPLACED, COMPLETE, RESTORING = "snapshot", "replaced", "complete", "restoring"
ABOUT = "provision.snapshot.about"
OF = "provision.snapshot.of"
"""The volume that is complete, or that gets a copy of what is replaced."""
FROM = "provision.snapshot.from"
"""The volume that is copied to the place of the data."""
_DATA, _COPY = "/data", "/copy"
_SYNC = 'sync -f "$2" 2>/dev/null || sync'
_SAVE = f"""set -e
rm -rf "$2/data"
if [ -n "$(find "$1" -type l)" ]; then
  echo "a part of the cluster is outside of its data directory: $(find "$1" -type l | head -n 3)" >&2
  exit 1
fi
cp -a "$1" "$2/data"
cd "$2/data"
rm -f postmaster.pid provision.restored
mv global/pg_control provision.control
{_SYNC}
"""
_REPLACE = f"""set -e
if [ -e "$2/global/pg_control" ]; then
  [ "$4" = begin ] || exit 0
  rm "$2/global/pg_control"
  {_SYNC}
fi
find "$2" -mindepth 1 -maxdepth 1 ! -name PG_VERSION ! -name lost+found -exec rm -rf {{}} +
cp -a "$1/data/." "$2/"
{_SYNC}
printf %s "$3" > "$2/provision.restored"
mv "$2/provision.control" "$2/global/pg_control"
{_SYNC}
"""
"""Again, it does only what is left: with ``pg_control`` it is done, or was not begun and a server may have run."""
_RESTORED, _CONTROL = "provision.restored", "global/pg_control"


@dataclass(frozen=True)
class Found:
    """The volumes of one environment: those that count, what is said of each, and what nothing uses."""

    base: str
    complete: Mapping[str, Mapping[str, str]]
    left: tuple[str, ...]
    restoring: Mapping[str, str] | None
    every: tuple[str, ...]

    def of(self, kind: str) -> Mapping[str, str]:
        """Return what is said of the snapshots, or of what was replaced, by volume."""
        return {name: labels[ABOUT] for name, labels in self.complete.items() if labels[KIND] == kind}


def base(seen: Inspection) -> str:
    """Return what the names of an environment's snapshots begin with."""
    data = seen.spec.server.data
    return generations.declared(data) if isinstance(data, Volume) else seen.container_name


def find(seen: Inspection) -> Found:
    """Look at the volumes that have the environment's label; one look sees them once."""
    ours = {
        name: each.get("Labels") or {}
        for name, each in generations.volumes(seen.spec, seen.look).items()
        if KIND in (each.get("Labels") or {}) and is_ours(seen.spec, each.get("Labels") or {}, seen.look)
    }
    marks = {labels[OF]: name for name, labels in ours.items() if labels[KIND] == COMPLETE}
    restoring = next((labels for labels in ours.values() if labels[KIND] == RESTORING), None)
    copies = {name: labels for name, labels in ours.items() if labels[KIND] in (SNAPSHOT, REPLACED)}
    complete = {name: labels for name, labels in copies.items() if name in marks}
    used = {restoring[OF]} if restoring is not None else set()
    left = sorted((copies.keys() - marks.keys() - used) | {marks[each] for each in marks.keys() - copies.keys()})
    return Found(base(seen), complete, tuple(left), restoring, tuple(sorted(ours, key=_marks_first)))


def _marks_first(name: str) -> tuple[bool, str]:
    return not name.endswith((f".{COMPLETE}", f".{RESTORING}")), name


def is_looked_for(seen: Inspection) -> bool:
    """Tell whether to look for what an interrupted run has left: where that costs a question, only at need."""
    data = seen.spec.server.data
    return isinstance(data, Volume) or (isinstance(data, DataPath) and seen.state != "running")


def leftovers(seen: Inspection) -> tuple[Step, ...]:
    """Remove copies that were not completed, and the container that fills one."""
    if not is_looked_for(seen):
        return ()
    filling = EngineCall("remove_container", helper(seen), {"force": True})
    why = "an interrupted run has left it; nothing uses it"
    left = find(seen).left
    return tuple(removal("volume", each, filling, EngineCall("remove_volume", each), why=why) for each in left)


def interrupted(seen: Inspection) -> Step | None:
    """Return the step that ends a restore that was interrupted; None: none was."""
    found = find(seen) if is_looked_for(seen) else None
    place = seen.current_place or seen.declared_place
    if found is None or found.restoring is None or place is None:
        return None
    source, kept = found.restoring[FROM], found.restoring[OF]
    address = Address("volume" if place.kind == "volume" else "directory", place.source)
    filling = EngineCall("remove_container", helper(seen), {"force": True})
    if not _was_begun(seen, place, kept):
        gone = [EngineCall("remove_volume", each) for each in (f"{base(seen)}.{RESTORING}", kept)]
        why = "a restore was interrupted before it replaced anything; the data is where it was"
        return Step(address, Action.UPDATE, None, None, (filling, *gone), (why,), reveals=True)
    effects = (
        filling,
        *((EngineCall("stop_container", seen.container_name, {"timeout": 1}),) if seen.container is not None else ()),
        _run(seen, _REPLACE, (volume(source), data(place)), kept, "again"),
        *kept_now(seen, kept),
        *(older(found, kept) if seen.container is not None else ()),
    )
    why = f"a restore was interrupted; what it replaces is in the volume {kept}"
    return Step(address, Action.UPDATE, None, None, effects, (why,), reveals=True)


def _was_begun(seen: Inspection, place: Place, kept: str) -> bool:
    """Tell whether the data is replaced, or half replaced; without a container nothing shows that."""
    if seen.container is None:
        return True
    name, reader = seen.container_name, seen.look.reader
    if not reader.has(name, f"{place.directory}/{_CONTROL}"):
        return True
    return (reader.file(name, f"{place.directory}/{_RESTORED}") or "").strip() == kept


def removals(seen: Inspection) -> tuple[Step, ...]:
    """Return the steps that remove all of them, for good."""
    every = find(seen).every
    return tuple(removal("volume", each, EngineCall("remove_volume", each), destroys=True) for each in every)


# --- the effects


def helper(seen: Inspection) -> str:
    """Return the name of the container that copies."""
    return f"{seen.container_name}.snapshot"


def labels(seen: Inspection, kind: str) -> dict[str, str]:
    """Return the labels of a volume of ours."""
    return {ENVIRONMENT: seen.spec.name, DIRECTORY: str(seen.spec.kept_in), KIND: kind}


def saving(seen: Inspection, place: Place, name: str, kind: str, about: str) -> tuple[Effect, ...]:
    """Return what fills a volume with the data; it does not count yet."""
    said = {**labels(seen, kind), ABOUT: about}
    run = _run(seen, _SAVE, (data(place), volume(name)))
    return (EngineCall("create_volume", name, {"labels": said}), run)


def counting(seen: Inspection, name: str) -> Effect:
    """Return what has a filled volume count."""
    said = {**labels(seen, COMPLETE), OF: name}
    return EngineCall("create_volume", f"{name}.{COMPLETE}", {"labels": said})


def removing(name: str) -> tuple[Effect, ...]:
    """Return what removes a volume that counts: its mark first."""
    return (EngineCall("remove_volume", f"{name}.{COMPLETE}"), EngineCall("remove_volume", name))


def replacing(seen: Inspection, place: Place, source: str, kept: str, about: str) -> tuple[Effect, ...]:
    """Return what replaces the data with that of a volume, after it was copied to the volume ``kept``."""
    said = {**labels(seen, RESTORING), FROM: source, OF: kept}
    return (
        *saving(seen, place, kept, REPLACED, about),
        EngineCall("create_volume", f"{base(seen)}.{RESTORING}", {"labels": said}),
        _run(seen, _REPLACE, (volume(source), data(place)), kept, "begin"),
        *kept_now(seen, kept),
    )


def kept_now(seen: Inspection, kept: str) -> tuple[Effect, ...]:
    """Return what ends a restore: what it has replaced counts, and the data is in its place."""
    return (counting(seen, kept), EngineCall("remove_volume", f"{base(seen)}.{RESTORING}"))


def older(found: Found, kept: str) -> tuple[Effect, ...]:
    """Return what removes what was kept before of what restores have replaced."""
    return tuple([effect for each in found.of(REPLACED) if each != kept for effect in removing(each)])


def data(place: Place) -> tuple[dict[str, Any], str]:
    """Return the mount of the data, and where it is in it."""
    mount = {"Type": place.kind, "Source": place.source, "Target": _DATA}
    return mount, f"{_DATA}/{place.below}" if place.below else _DATA


def volume(name: str) -> tuple[dict[str, Any], str]:
    """Return the mount of a copy, and where it is in it."""
    return {"Type": "volume", "Source": name, "Target": _COPY}, _COPY


def _run(seen: Inspection, script: str, places: tuple[tuple[dict[str, Any], str], ...], *words: str) -> Effect:
    """Return what runs a script that copies from the first place to the second."""
    image = str(seen.container["Image"]) if seen.container is not None else seen.creation.image
    body = {
        "Image": image,
        "Entrypoint": ["sh", "-c", script, "sh", *(path for _, path in places), *words],
        "Cmd": [],
        "User": "0",
        "Healthcheck": {"Test": ["NONE"]},
        # A directory that belongs to a container of SELinux's is closed to all others.
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [mount for mount, _ in places],
            "SecurityOpt": ["label=disable"],
        },
    }
    return EngineCall("run_container", helper(seen), body)
