"""The keys of a service in a compose file, each with its translation into the Engine API's creation call.

https://docs.docker.com/reference/compose-file/services/ ;
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate ; sizes and times:
https://docs.docker.com/reference/compose-file/extension/#specifying-byte-values
"""

from __future__ import annotations

import math
import posixpath
import re
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

_SIZE = r"(?i)(\d+(?:\.\d+)?)\s*([bkmg]?)b?"
_DURATION = r"(\d+(?:\.\d+)?)(us|ms|s|m|h)"
_NANOSECONDS = {"us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LARGEST = 2**63 - 1
"""The largest number that the engine, which is written in Go, reads."""
_LEAST_CPUS = 0.01


def size_bytes(value: object) -> int:
    """Return bytes.

    >>> size_bytes("256m"), size_bytes(1024), size_bytes("1.5gb")
    (268435456, 1024, 1610612736)
    """
    match = re.fullmatch(_SIZE, str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size such as 256m")
    return int(_bounded(float(match[1]) * 1024 ** "bkmg".index((match[2] or "b").lower()), value))


def duration_ns(value: object) -> int:
    """Return nanoseconds.

    >>> duration_ns("1m30s"), duration_ns("250ms")
    (90000000000, 250000000)
    """
    text = str(value).strip()
    parts = re.findall(_DURATION, text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{value!r} is not a duration such as 10s")
    times = (round(_bounded(float(number) * _NANOSECONDS[unit], value)) for number, unit in parts)
    return round(_bounded(sum(times), value))


def _bounded(number: float, value: object) -> float:
    """Return a number that the engine can read."""
    if number > _LARGEST:
        raise ValueError(f"{value!r} is larger than the engine can read")
    return number


def cpus_nano(value: object) -> int:
    """Return billionths of a processor; zero is no limit.

    >>> cpus_nano("0.5")
    500000000
    """
    try:
        number = float(value)  # type: ignore[arg-type]  # what does not fit is refused
    except (TypeError, ValueError):
        number = math.nan
    if not (number == 0 or number >= _LEAST_CPUS):
        raise ValueError(f"{value!r} is not a number of processors such as 0.5")
    return round(_bounded(number * 10**9, value))


def whole(value: object, least: int = 0) -> int:
    """Return a whole number of at least ``least``.

    >>> whole("3"), whole(-1, least=-1)
    (3, -1)
    """
    try:
        number: int | None = int(value)  # type: ignore[call-overload]  # what does not fit is refused
    except (OverflowError, TypeError, ValueError):
        number = None
    if number is None or not least <= number <= _LARGEST:
        raise ValueError(f"{value!r} is not a whole number from {least} to {_LARGEST}")
    return number


# --- keys

Translation = Callable[[dict[str, Any], Any], None]
_GATEWAY = "host-gateway"
_TESTS = ("NONE", "CMD", "CMD-SHELL")
_TIMES = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod"}
_SHORTEST = 10**6
"""Nanoseconds: the engine refuses a time of a health check that is shorter."""


def _to(field: str, convert: Callable[[Any], Any], *, of_host: bool = False) -> Translation:
    """Return what sets a field of the call, or of its ``HostConfig``."""

    def translate(body: dict[str, Any], value: Any) -> None:
        (body["HostConfig"] if of_host else body)[field] = convert(value)

    return translate


def _words(value: Any) -> list[str]:
    import shlex

    return shlex.split(value) if isinstance(value, str) else [str(each) for each in _scalars(value)]


def _scalars(value: Any) -> list[Any]:
    """Return a list of texts and numbers; the engine would be asked for anything else in Python's words."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    for each in value:
        _scalar(each)
    return value


def _pairs(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(k): _scalar(v) for k, v in value.items()}
    return {key: text for key, _, text in (str(each).partition("=") for each in _scalars(value))}


def _scalar(value: Any) -> str:
    if value is None:
        raise ValueError("a value is missing")
    if isinstance(value, list | dict):
        raise TypeError(f"{value!r} is neither a text nor a number")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sysctls(value: Any) -> dict[str, str]:
    pairs = _pairs(value)
    for name, text in pairs.items():
        if not text or not re.fullmatch(r"[a-z]\w*([./][\w*:-]+)+", name):
            raise ValueError(f"{name + '=' + text!r} is not a kernel parameter such as net.core.somaxconn=1024")
    return pairs


def _hosts(value: Any) -> list[str]:
    lines = [f"{name}:{_scalar(at)}" for name, at in value.items()] if isinstance(value, Mapping) else _words(value)
    for line in lines:
        name, _, address = line.partition(":")
        if not name or not (address == _GATEWAY or _is_address(address)):
            raise ValueError(f"{line!r} is not written as 'name:address'")
    return lines


def _is_address(text: str) -> bool:
    import ipaddress

    with suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return False


def _signal(value: Any) -> str:
    name = str(value).upper().removeprefix("SIG")
    known = {each.name.removeprefix("SIG") for each in signal.Signals} | {str(each) for each in range(1, 65)}
    if name.partition("+")[0].partition("-")[0] not in known:
        raise ValueError(f"{value!r} is not a signal such as SIGINT")
    return str(value)


def _ports(body: dict[str, Any], value: Any) -> None:
    bindings: dict[str, list[dict[str, str]]] = {}
    for each in value:
        match = re.fullmatch(r"(?:(\[[0-9a-fA-F:]+\]|[0-9.]+):)?(\d+):(\d+)(?:/(tcp|udp))?", str(each))
        if match is None:
            raise ValueError(f"{each!r} is not written as 'address:port:container port', the address in numbers")
        address, outside, inside, protocol = match.groups()
        target = bindings.setdefault(f"{inside}/{protocol or 'tcp'}", [])
        target.append({"HostIp": (address or "").strip("[]"), "HostPort": outside})
    body["HostConfig"]["PortBindings"] = bindings
    body["ExposedPorts"] = {port: {} for port in bindings}


def _healthcheck(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is not a mapping")
    if value.get("disable"):
        return {"Test": ["NONE"]}
    if unknown := set(value) - {"test", "retries", *_TIMES}:
        raise ValueError(f"{', '.join(sorted(unknown))} is not supported here")
    test = value.get("test")
    if not isinstance(test, str) and (not isinstance(test, list) or not test or test[0] not in _TESTS):
        raise ValueError(f"test: {test!r} is neither a text nor a list that begins with CMD or CMD-SHELL")
    translated: dict[str, Any] = {"Test": ["CMD-SHELL", test] if isinstance(test, str) else _words(test)}
    for key in (each for each in _TIMES if each in value):
        translated[_TIMES[key]] = time = duration_ns(value[key])
        if 0 < time < _SHORTEST:
            raise ValueError(f"{key}: {value[key]!r} is shorter than a millisecond")
    if "retries" in value:
        translated["Retries"] = whole(value["retries"])
    return translated


def _restart(value: Any) -> dict[str, Any]:
    name, _, count = str(value).partition(":")
    if name not in ("no", "always", "on-failure", "unless-stopped"):
        raise ValueError(f"{value!r} is not a restart policy (a plain `no` needs quotes)")
    if count and name != "on-failure":
        raise ValueError(f"{value!r}: only `on-failure` takes a number")
    return {"Name": name, "MaximumRetryCount": whole(count or 0)}


def _tmpfs(value: Any) -> dict[str, str]:
    entries = [value] if isinstance(value, str) else value
    found = {path: options for path, _, options in (str(each).partition(":") for each in _scalars(entries))}
    for path in found:
        if not path.startswith("/") or not posixpath.normpath(path).strip("/"):
            raise ValueError(f"{path!r} is not a directory in the container such as /run")
    return found


def _ulimits(value: Any) -> list[dict[str, Any]]:
    found = []
    for name, limit in sorted(value.items()):
        soft, hard = (limit.get("soft"), limit.get("hard")) if isinstance(limit, Mapping) else (limit, limit)
        least, most = whole(soft, least=-1), whole(hard, least=-1)
        if most != -1 and not 0 <= least <= most:
            raise ValueError(f"{name}: the soft limit {soft!r} is higher than the hard limit {hard!r}")
        found.append({"Name": str(name), "Soft": least, "Hard": most})
    return found


TRANSLATIONS: dict[str, Translation] = {
    "command": _to("Cmd", _words),
    "entrypoint": _to("Entrypoint", _words),
    "environment": _to("Env", lambda value: [f"{name}={text}" for name, text in sorted(_pairs(value).items())]),
    "labels": _to("Labels", _pairs),
    "healthcheck": _to("Healthcheck", _healthcheck),
    "hostname": _to("Hostname", str),
    "user": _to("User", str),
    "stop_signal": _to("StopSignal", _signal),
    "stop_grace_period": _to("StopTimeout", lambda value: -(-duration_ns(value) // 10**9)),
    "ports": _ports,
    "restart": _to("RestartPolicy", _restart, of_host=True),
    "shm_size": _to("ShmSize", size_bytes, of_host=True),
    "mem_limit": _to("Memory", size_bytes, of_host=True),
    "cpus": _to("NanoCpus", cpus_nano, of_host=True),
    "tmpfs": _to("Tmpfs", _tmpfs, of_host=True),
    "ulimits": _to("Ulimits", _ulimits, of_host=True),
    "init": _to("Init", bool, of_host=True),
    "cap_add": _to("CapAdd", _words, of_host=True),
    "cap_drop": _to("CapDrop", _words, of_host=True),
    "security_opt": _to("SecurityOpt", _words, of_host=True),
    "extra_hosts": _to("ExtraHosts", _hosts, of_host=True),
    "sysctls": _to("Sysctls", _sysctls, of_host=True),
}
