"""Where an image keeps its data, and which mount holds that: its ``PGDATA``, and the nearest ``VOLUME`` above it.

https://github.com/docker-library/docs/blob/master/postgres/README.md#pgdata ;
https://docs.docker.com/reference/dockerfile/#volume
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from provision.model.value import dataclass
from provision.spec.model import Layout, Spec
from provision.spec.parameters import MAJORS

_FIRST_MAJOR_WITH_ITS_OWN_DIRECTORY = 18
_ROOT = "/var/lib/postgresql"
_ANONYMOUS = r"[0-9a-f]{64}"
# Kernel file systems, and what the compose file mounts itself.
_OTHERS = ("/proc", "/sys", "/dev", "/run/secrets", "/etc/postgresql")


@dataclass(frozen=True)
class Place:
    """The mount that holds a data directory; ``below`` is the directory's path in it, empty for the mount itself."""

    source: str
    target: str
    below: str
    kind: str

    @property
    def directory(self) -> str:
        """The data directory as the container sees it."""
        return posixpath.join(self.target, self.below) if self.below else self.target

    @property
    def is_anonymous(self) -> bool:
        """Whether the engine made the volume for this container only, because of a ``VOLUME`` of the image."""
        return is_anonymous(self.kind, self.source)


def official(major: int) -> Layout:
    """Return the layout of the official image: from 18 on it keeps a directory per major version below the mount."""
    if major >= _FIRST_MAJOR_WITH_ITS_OWN_DIRECTORY:
        return Layout(f"{_ROOT}/{major}/docker", _ROOT)
    return Layout(f"{_ROOT}/data", f"{_ROOT}/data")


OFFICIAL = frozenset({f"{_ROOT}/data", _ROOT})
"""Where the official images have their volume."""


def of_image(config: Mapping[str, Any], major: int) -> Layout:
    """Return the layout of an image: the data directory, and the nearest volume above it or the directory itself.

    The official image's mount counts as a volume, so that a directory below it is where it always was.
    """
    usual = official(major)
    directory = data_directory(config, major)
    volumes = [*map(posixpath.normpath, config.get("Volumes") or ()), usual.mount]
    above = [each for each in volumes if each != "/" and holds(each, directory)]
    return Layout(directory, max(above, key=len, default=directory))


def data_directory(config: Mapping[str, Any], major: int) -> str:
    """Return the ``PGDATA`` in the configuration of an image or a container, or else the official image's."""
    return posixpath.normpath(variables(config).get("PGDATA") or official(major).directory)


def of_spec(spec: Spec) -> Layout:
    """Return the layout of the declared image; one that was not pulled yet counts as an official one."""
    return spec.server.layout or official(spec.server.major or MAJORS[-1])


def place(mounts: Iterable[Mapping[str, Any]], directory: str) -> Place | None:
    """Return the mount that holds a directory, in a creation call or an inspected container; None: its own layer."""
    found = None
    for each in mounts:
        target = target_of(each)
        if holds(target, directory) and (found is None or len(target) > len(found.target)):
            source, below = str(each.get("Name") or each.get("Source") or ""), posixpath.relpath(directory, target)
            found = Place(source, target, "" if below == "." else below, str(each["Type"]))
    return found


def kept(mounts: Iterable[Mapping[str, Any]], directory: str) -> Place | None:
    """Return the mount of a volume or a directory that holds a data directory; None: memory, or the own layer."""
    found = place(mounts, directory)
    return found if found is not None and found.kind != "tmpfs" else None


def anonymous(mounts: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """Return target → name of the volumes that the engine made for the ``VOLUME`` lines of an image."""
    return {
        str(each["Destination"]): str(each["Name"])
        for each in mounts
        if is_anonymous(str(each["Type"]), str(each.get("Name") or ""))
    }


def is_anonymous(kind: str, name: str) -> bool:
    """Tell whether a mount is a volume whose name the engine made up."""
    return kind == "volume" and re.fullmatch(_ANONYMOUS, name) is not None


def why_not(
    directory: str,
    config: Mapping[str, Any],
    mounts: Sequence[Mapping[str, Any]],
    *,
    is_fresh: bool = True,
    used: Container[str] = (),
) -> str | None:
    """Say why the mounts of a creation call do not keep the data of an image; None: they do.

    ``is_fresh``: there is no data yet. ``used``: the targets of the mounts that a server works with already.
    """
    if not directory.startswith("/") or directory == "/" or any(holds(each, directory) for each in _OTHERS):
        return "no volume can be mounted there"
    if any(holds(directory, each) for each in _OTHERS):
        return "it holds more than data"
    targets = [target_of(each) for each in mounts]
    if (found := place(mounts, directory)) is None:
        return "nothing is mounted there"
    if targets.count(found.target) > 1:
        return f"more than one mount has the target {found.target}"
    if found.kind == "tmpfs":
        return f"the tmpfs at {found.target} is memory, which each stop empties"
    parts = [each for each in map(posixpath.normpath, config.get("Volumes") or ()) if each != directory]
    for each in sorted(parts):
        if holds(directory, each) and each not in targets:
            return f"a part of it is in a volume of its own, `VOLUME {each}`, which no name keeps"
    # initdb takes an empty directory only, and a mount point makes it one that is not.
    for each in mounts:
        target, in_memory = target_of(each), each["Type"] == "tmpfs"
        if target != directory and holds(directory, target) and target not in used and (is_fresh or in_memory):
            return f"a {each['Type']} is mounted below it, at {target}"
    return _why_not_wal(config, mounts)


def _why_not_wal(config: Mapping[str, Any], mounts: Sequence[Mapping[str, Any]]) -> str | None:
    if not (wal := variables(config).get("POSTGRES_INITDB_WALDIR")):
        return None
    found = place(mounts, posixpath.normpath(wal))
    if found is None:
        return f"its WAL is in {wal} (POSTGRES_INITDB_WALDIR), and nothing is mounted there"
    return f"its WAL is in memory, the tmpfs at {found.target}" if found.kind == "tmpfs" else None


def target_of(mount: Mapping[str, Any]) -> str:
    """Return where a mount is in the container, in a creation call or an inspected container, normalised."""
    # normpath keeps two slashes at the beginning, which POSIX allows to mean something else.
    return "/" + posixpath.normpath(str(mount.get("Target") or mount.get("Destination"))).lstrip("/")


def holds(directory: str, path: str) -> bool:
    """Tell whether a path is a directory or in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def major(config: Mapping[str, Any]) -> int:
    """Return the major version in the environment of an image or a container, or 0 where none is."""
    text = variables(config).get("PG_MAJOR", "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def variables(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of an image or a container."""
    return dict(each.partition("=")[::2] for each in config.get("Env") or ())
