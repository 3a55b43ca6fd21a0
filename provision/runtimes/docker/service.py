"""The keys of a service in a compose file, each with its translation into the Engine API's creation call.

https://docs.docker.com/reference/compose-file/services/ ;
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from provision.runtimes.docker.quantities import duration_ns, size_bytes

Translation = Callable[[dict[str, Any], Any], None]


def _config(field: str, convert: Callable[[Any], Any]) -> Translation:
    def translate(body: dict[str, Any], value: Any) -> None:
        body[field] = convert(value)

    return translate


def _host(field: str, convert: Callable[[Any], Any]) -> Translation:
    def translate(body: dict[str, Any], value: Any) -> None:
        body["HostConfig"][field] = convert(value)

    return translate


def _words(value: Any) -> list[str]:
    import shlex

    return shlex.split(value) if isinstance(value, str) else [str(each) for each in value]


def _pairs(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(k): _scalar(v) for k, v in value.items()}
    pairs = dict(str(each).partition("=")[::2] for each in value)
    return {str(k): str(v) for k, v in pairs.items()}


def _scalar(value: Any) -> str:
    if value is None:
        message = "a value is missing"
        raise ValueError(message)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _environment(value: Any) -> list[str]:
    return [f"{name}={text}" for name, text in sorted(_pairs(value).items())]


def _ports(body: dict[str, Any], value: Any) -> None:
    bindings: dict[str, list[dict[str, str]]] = {}
    for each in value:
        match = re.fullmatch(r"(?:(\[[0-9a-fA-F:]+\]|[0-9.]+):)?(\d+):(\d+)(?:/(tcp|udp))?", str(each))
        if match is None:
            message = f"{each!r} is not written as 'address:port:container port'"
            raise ValueError(message)
        address, outside, inside, protocol = match.groups()
        target = bindings.setdefault(f"{inside}/{protocol or 'tcp'}", [])
        target.append({"HostIp": (address or "").strip("[]"), "HostPort": outside})
    body["HostConfig"]["PortBindings"] = bindings
    body["ExposedPorts"] = {port: {} for port in bindings}


def _healthcheck(value: Any) -> dict[str, Any]:
    if value.get("disable"):
        return {"Test": ["NONE"]}
    test = value["test"]
    known = {"test", "interval", "timeout", "retries", "start_period"}
    if unknown := set(value) - known:
        message = f"{', '.join(sorted(unknown))} is not supported here"
        raise ValueError(message)
    translated: dict[str, Any] = {"Test": ["CMD-SHELL", test] if isinstance(test, str) else [str(t) for t in test]}
    times = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod"}
    translated |= {times[key]: duration_ns(value[key]) for key in times if key in value}
    if "retries" in value:
        translated["Retries"] = int(value["retries"])
    return translated


def _restart(value: Any) -> dict[str, Any]:
    name, _, count = str(value).partition(":")
    if name not in ("no", "always", "on-failure", "unless-stopped"):
        message = f"{value!r} is not a restart policy (a plain `no` needs quotes)"
        raise ValueError(message)
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _tmpfs(value: Any) -> dict[str, str]:
    entries = [value] if isinstance(value, str) else value
    return {path: options for path, _, options in (str(each).partition(":") for each in entries)}


def _ulimits(value: Any) -> list[dict[str, Any]]:
    return [
        {"Name": name, "Soft": int(limit["soft"]), "Hard": int(limit["hard"])}
        if isinstance(limit, Mapping)
        else {"Name": name, "Soft": int(limit), "Hard": int(limit)}
        for name, limit in sorted(value.items())
    ]


TRANSLATIONS: dict[str, Translation] = {
    "command": _config("Cmd", _words),
    "entrypoint": _config("Entrypoint", _words),
    "environment": _config("Env", _environment),
    "labels": _config("Labels", _pairs),
    "healthcheck": _config("Healthcheck", _healthcheck),
    "hostname": _config("Hostname", str),
    "user": _config("User", str),
    "stop_signal": _config("StopSignal", str),
    "stop_grace_period": _config("StopTimeout", lambda value: -(-duration_ns(value) // 10**9)),
    "ports": _ports,
    "restart": _host("RestartPolicy", _restart),
    "shm_size": _host("ShmSize", size_bytes),
    "mem_limit": _host("Memory", size_bytes),
    "cpus": _host("NanoCpus", lambda value: round(float(value) * 10**9)),
    "tmpfs": _host("Tmpfs", _tmpfs),
    "ulimits": _host("Ulimits", _ulimits),
    "init": _host("Init", bool),
    "cap_add": _host("CapAdd", _words),
    "cap_drop": _host("CapDrop", _words),
    "security_opt": _host("SecurityOpt", _words),
    "extra_hosts": _host("ExtraHosts", _words),
    "sysctls": _host("Sysctls", _pairs),
}
