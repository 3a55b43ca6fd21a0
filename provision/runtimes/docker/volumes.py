"""The `volumes:` of a service → mounts of the Engine API, which refuses a missing source instead of making one.

https://docs.docker.com/reference/compose-file/services/#volumes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEYS = {"type", "source", "target", "read_only", "bind", "volume", "tmpfs"}
_TYPES = ("bind", "volume", "tmpfs")


def mount(declared: object, directory: Path, volumes: Mapping[str, str]) -> dict[str, Any]:
    """Translate one entry, short or long; ``volumes`` maps the file's volume keys to the engine's names.

    Raises:
        ValueError: it cannot be translated, and why.
    """
    entry = _short(declared) if isinstance(declared, str) else declared
    if not isinstance(entry, dict) or set(entry) - _KEYS or entry.get("type") not in _TYPES:
        message = "it is not supported here"
        raise ValueError(message)
    if not isinstance(entry.get("target"), str):
        message = "it has no `target`, the path in the container"
        raise TypeError(message)
    translated: dict[str, Any] = {"Type": entry["type"], "Target": entry["target"]}
    if entry["type"] == "bind":
        translated["Source"] = str((directory / entry["source"]).resolve())
    elif entry["type"] == "volume":
        if entry.get("source") not in volumes:
            message = f"{entry.get('source')!r} is not declared under `volumes:`"
            raise ValueError(message)
        translated["Source"] = volumes[entry["source"]]
    if entry.get("read_only"):
        translated["ReadOnly"] = True
    if size := (entry.get("tmpfs") or {}).get("size"):
        translated["TmpfsOptions"] = {"SizeBytes": int(size)}
    return translated


def _short(text: str) -> dict[str, Any]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not target:
        message = "it has no target"
        raise ValueError(message)
    kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    return {"type": kind, "source": source, "target": target, "read_only": mode == "ro"}
