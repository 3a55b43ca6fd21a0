"""What the Compose plugin says of a compose file, completed from the file's own text.

The plugin sorts by name, names each project, and keeps the services that exist only to be extended. Without
interpolation it splits ``${NAME:-./data}:/target`` at the first colon (Compose 2.26).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.init.compose_files import assigned, items, mapping, placed, text

if TYPE_CHECKING:
    from collections.abc import Mapping


def completed(model: Mapping[str, Any], read: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the plugin's ``model`` with what only the text says, ``read`` by :class:`Files`.

    Paths of the model are relative to the directory of the compose file, also those of files that it includes.
    """
    own = mapping(read.get("services"))
    found = {
        name: mapping(each) for name, each in mapping(model.get("services")).items() if name not in read["<bases>"]
    }
    services = {name: _service(each, mapping(own.get(name))) for name, each in _ordered(found, own).items()}
    return {**model, "name": read.get("name"), "services": services}


def _service(found: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: value for key, value in found.items() if value is not None or key in own}
    if "environment" in said:
        said["environment"] = _ordered(assigned(said["environment"]), assigned(own.get("environment")))
    if any("$" in text(mapping(each).get("source")) for each in items(said.get("volumes"))) and own.get("volumes"):
        said["volumes"] = placed(own, "volumes", "")
    return _ordered(said, own)


def _ordered(found: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping in the order of the text."""
    first = [key for key in own if key in found]
    return {key: found[key] for key in (*first, *(key for key in found if key not in own))}
