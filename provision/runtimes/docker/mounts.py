"""The `volumes:` of a service → mounts of the Engine API, which refuses a missing source instead of making one.

https://docs.docker.com/reference/compose-file/services/#volumes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_TYPES = {
    "bind": {"propagation", "selinux", "recursive", "create_host_path"},
    "volume": {"nocopy", "subpath"},
    "tmpfs": {"size", "mode"},
}
"""The types of a mount, each with the keys below the key of its own name."""
_KEYS = {"type", "source", "target", "read_only", *_TYPES}
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_LABELS = ("z", "Z")
_CONSISTENCIES = ("cached", "delegated", "consistent")  # of Docker Desktop once; Compose passes over them too
LABEL = "SELinux"
"""Where a mount keeps its SELinux label. The engine takes that in the older form of a mount only: see :func:`binds`."""


def mount(declared: object, directory: Path, volumes: Mapping[str, str]) -> dict[str, Any]:
    """Translate one entry, short or long; ``volumes`` maps the file's volume keys to the engine's names.

    Raises:
        ValueError: it cannot be translated, and why.
    """
    entry, label = _short(declared) if isinstance(declared, str) else (declared, None)
    if not isinstance(entry, dict) or set(entry) - _KEYS or entry.get("type") not in _TYPES:
        raise ValueError("it is not supported here")
    if not isinstance(entry.get("target"), str):
        raise TypeError("it has no `target`, the path in the container")
    translated: dict[str, Any] = {"Type": entry["type"], "Target": entry["target"]}
    if entry["type"] == "bind":
        translated["Source"] = str((directory / entry["source"]).resolve())
    elif entry["type"] == "volume":
        if entry.get("source") not in volumes:
            raise ValueError(f"{entry.get('source')!r} is not declared under `volumes:`")
        translated["Source"] = volumes[entry["source"]]
    if entry.get("read_only"):
        translated["ReadOnly"] = True
    options = dict(entry.get(entry["type"]) or {})
    label = _one_of("selinux", options.pop("selinux", label), _LABELS)
    if label and ":" in translated["Source"]:
        raise ValueError("the engine takes no path with `:` together with an SELinux label")
    return translated | _options(entry["type"], options) | ({LABEL: label} if label else {})


def _options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a mount of one kind, none of which is left out.

    Raises:
        ValueError: one of them is not supported.
    """
    if unknown := sorted(set(options) - _TYPES[kind]):
        raise ValueError(f"{', '.join(map(repr, unknown))} of {kind!r} is not supported here")
    said: dict[str, Any]
    if kind == "tmpfs":
        said = {"SizeBytes": int(options.get("size") or 0), "Mode": int(options.get("mode") or 0)}
    elif kind == "volume":
        said = {"NoCopy": options.get("nocopy"), "Subpath": options.get("subpath")}
    else:
        recursive = _one_of("recursive", options.get("recursive"), ("enabled", "disabled"))
        propagation = _one_of("propagation", options.get("propagation"), _PROPAGATIONS)
        said = {"Propagation": propagation, "NonRecursive": recursive == "disabled"}
    found = {key: value for key, value in said.items() if value}
    return {f"{kind.capitalize()}Options": found} if found else {}


def _one_of(key: str, value: Any, values: Sequence[str]) -> str | None:
    if value is not None and value not in values:
        raise ValueError(f"{key} {value!r} is not one of {', '.join(values)}")
    return value  # type: ignore[no-any-return]


def _short(text: str) -> tuple[dict[str, Any], str | None]:
    """Return ``SOURCE:TARGET:MODE,MODE`` as a long entry, and its SELinux label, which a volume can have as well."""
    source, _, rest = text.partition(":")
    target, _, modes = rest.partition(":")
    if not target:
        raise ValueError("it has no target")
    kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    entry: dict[str, Any] = {"type": kind, "source": source, "target": target, kind: {}}
    label = None
    for mode in filter(None, modes.split(",")):
        if mode in ("ro", "rw"):
            entry["read_only"] = mode == "ro"
        elif mode in _LABELS:
            label = mode
        elif mode in _PROPAGATIONS and kind == "bind":
            entry[kind]["propagation"] = mode
        elif mode == "nocopy" and kind == "volume":
            entry[kind]["nocopy"] = True
        elif mode not in _CONSISTENCIES:
            raise ValueError(f"the option {mode!r} of a {kind} is not supported here")
    return entry, label


def binds(host: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part ``HostConfig`` of a creation call with each mount that has an SELinux label in the older form."""
    labelled = [_bind(each) for each in host.get("Mounts") or () if LABEL in each]
    if not labelled:
        return dict(host)
    return {**host, "Mounts": [each for each in host["Mounts"] if LABEL not in each], "Binds": labelled}


def _bind(mount: Mapping[str, Any]) -> str:
    propagation = (mount.get("BindOptions") or {}).get("Propagation")
    nocopy = "nocopy" if (mount.get("VolumeOptions") or {}).get("NoCopy") else ""
    modes = ("ro" if mount.get("ReadOnly") else "rw", mount[LABEL], propagation, nocopy)
    return f"{mount['Source']}:{mount['Target']}:{','.join(filter(None, modes))}"
