"""Whether anything of an environment is there beside its rendered compose file, which `provision render` writes too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import ProvisionError
from provision.runtimes.docker import compose, inspected

if TYPE_CHECKING:
    from provision.runtimes import Look
    from provision.runtimes.docker.compose import Creation


def are_there(rendered: str, path: Path, look: Look) -> bool:
    """Tell whether the container, a volume or a directory with data is there that a compose file names.

    Where that cannot be found out, it is: data that stays behind is worse than an error.
    """
    try:
        creation = compose.read(rendered, path)
        return _is_in_the_engine(creation, look) or _is_in_a_directory(creation, look)
    except ProvisionError:
        return True


def _is_in_the_engine(creation: Creation, look: Look) -> bool:
    if inspected.container(look, creation.container) is not None:
        return True
    names = {each["Source"] for each in creation.body["HostConfig"]["Mounts"] if each["Type"] == "volume"}
    names |= {each.name for each in creation.volumes}
    return any(look.engine(f"/volumes/{name}") is not None for name in sorted(names - {""}))


def _is_in_a_directory(creation: Creation, look: Look) -> bool:
    """Tell whether something is in a directory that the container may write to, or may be there and cannot be seen."""
    writable = [
        Path(each["Source"])
        for each in creation.body["HostConfig"]["Mounts"]
        if each["Type"] == "bind" and not each.get("ReadOnly")
    ]
    if writable and not look.engine_is_local:
        return True
    return any(look.machine.entries(each) != () for each in writable)
