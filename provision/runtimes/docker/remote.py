"""An engine on another host cannot mount files of this one, so they are copied into the container instead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provision.runtimes.docker import compose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Secret
    from provision.model.effects import WriteFile


def without_host_files(
    creation: compose.Creation, files: Mapping[str, WriteFile]
) -> tuple[compose.Creation, Mapping[str, tuple[str | Secret, int]]]:
    """Take the mounts of rendered files out of a creation call; return it and path → (content, mode) to copy.

    A mount of anything else of this host stays, and the engine says what it thinks of it.
    """
    uploads: dict[str, tuple[str | Secret, int]] = {}
    kept = []
    for mount in creation.body["HostConfig"]["Mounts"]:
        below = [
            each for each in files.values() if mount["Type"] == "bind" and str(each.path).startswith(mount["Source"])
        ]
        for each in below:
            inside = mount["Target"] + str(each.path).removeprefix(mount["Source"])
            uploads[inside] = (each.content, each.mode)
        if not below:
            kept.append(mount)
    host = {**creation.body["HostConfig"], "Mounts": kept}
    return compose.relabelled(replace(creation, body={**creation.body, "HostConfig": host})), uploads
