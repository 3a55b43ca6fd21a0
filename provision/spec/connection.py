"""A server that others run (``runtime: external``): its keys, most of which are named as libpq's parameters are.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

import math
from collections.abc import Mapping as MappingType
from pathlib import Path
from typing import Any, Final

from provision.spec import several
from provision.spec.model import Direct
from provision.spec.readers import choice, duration, existing, host, number, port, text
from provision.spec.reading import (
    Key,
    Reading,
    Wrong,
    lazily,
    listed,
    mapping,
    read_table,
    report_without_meaning,
    scalar,
)
from provision.spec.yaml import Mapping, Node, Scalar

SSLMODE: Final = "prefer"  # libpq's own default
VERIFYING: Final = ("verify-ca", "verify-full")
ENCRYPTED: Final = ("require", *VERIFYING)
_SECONDS: Final = ("connect_timeout", "keepalives_idle", "keepalives_interval")
_DEFAULTS: Final = {"channel_binding": "prefer"}
SYSTEM: Final = "system"
_SYSTEMS: Final = tuple(
    map(Path, ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
               "/etc/ssl/cert.pem"))
)  # fmt: skip
"""Where Debian, Red Hat, SUSE, and Alpine and macOS have the certificates of public authorities."""
_file = existing("`sslrootcert`", directory=False)
_LEAST_TIMEOUT: Final = 2
"""Libpq takes a shorter ``connect_timeout`` for this one."""


CONNECTION_KEYS: Final = {
    "sslcert": Key(existing("`sslcert`", directory=False), identifies=True),
    "sslkey": Key(existing("`sslkey`", directory=False), identifies=True),
    "channel_binding": Key(choice("disable", "prefer", "require"), identifies=True),
    "connect_timeout": Key(duration),
    "keepalives_idle": Key(duration),
    "keepalives_interval": Key(duration),
    "keepalives_count": Key(number("probes", 999)),
    "options": Key(text("options like `-c search_path=shop`", verbatim=True), identifies=True),
}


def _root(node: Node, reading: Reading) -> Path:
    """Read a file of certificates; `system` is the word of libpq 16, which drivers have not, for that of the system."""
    if reading.text(scalar(node, "a path")) == SYSTEM:
        return next((each for each in _SYSTEMS if each.is_file()), _SYSTEMS[0])
    return _file(node, reading)


TLS_KEYS: Final = {
    "sslmode": Key(choice("disable", "allow", "prefer", *ENCRYPTED), identifies=True),
    "sslrootcert": Key(_root, identifies=True),
}


def parameters(values: MappingType[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return libpq's parameters that are declared, as it takes them: times are whole seconds."""
    found = {}
    for name in CONNECTION_KEYS:
        if (value := values.get(name)) not in (None, _DEFAULTS.get(name)):
            least = _LEAST_TIMEOUT if name == "connect_timeout" else 1
            found[name] = str(max(least, math.ceil(value)) if name in _SECONDS else value)
    return tuple(found.items())


def _check_certificates(server: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
    """Report certificates that are never used, and half of a pair."""
    sslmode = values.get("sslmode", SSLMODE)
    root = server.value("sslrootcert")
    if sslmode == VERIFYING[0] and isinstance(root, Scalar) and root.text == SYSTEM:
        advice = "write `sslmode: verify-full`: anybody can have a certificate of a public authority"
        reading.report(root.mark, "`sslrootcert: system` goes with `sslmode: verify-full` alone", advice)
    if values.get("sslrootcert") and sslmode not in VERIFYING:
        advice = f"write `sslmode: verify-full` beside it (it is used with {listed(VERIFYING)})"
        reading.refuse(server, "sslrootcert", "no certificate is checked with this `sslmode`", advice)
    for name, other in (("sslcert", "sslkey"), ("sslkey", "sslcert")):
        if other not in server.entries:
            what = "the client's private key" if other == "sslkey" else "the client's certificate"
            reading.refuse(server, name, f"`{name}` needs {what}", f"write `{other}: FILE` beside it")
    if values.get("sslcert") and sslmode not in ENCRYPTED:
        advice = f"write `sslmode: verify-full` beside it (it is used with {listed(ENCRYPTED)})"
        what = "a client certificate needs TLS, which this `sslmode` does not demand"
        reading.refuse(server, "sslcert", what, advice)


# The keys of a server that others run, and what such a server cannot have.


NEVER: Final = ("container_name", "data", "golden", "initdb", "resources", "stop_timeout")
"""Keys of a server that provision makes, starts and stops."""


def direct(node: Node, reading: Reading) -> Direct:
    """Read where the server itself listens, past a pooler."""
    values = read_table(mapping(node, "`{host: db, port: 5432}`"), DIRECT_KEYS, reading, "`direct`")
    return Direct(values.get("host", ""), values.get("port", several.DEFAULT_PORT))


def _port_there(node: Node, reading: Reading) -> int:
    """Read a port of a server that others run."""
    if (found := port(node, reading)) is None:
        raise Wrong("`auto` has no meaning with `runtime: external`", "write the port of the server")
    return found


DIRECT_KEYS: Final = {
    "host": Key(host, required=True, example="host: db", identifies=True),
    "port": Key(_port_there, identifies=True),
}


EXTERNAL_KEYS: Final = {
    **TLS_KEYS,
    **CONNECTION_KEYS,
    "hosts": Key(several.hosts, identifies=True),
    "settings_via": Key(choice("alter_system", "patroni")),
    "patroni": Key(lazily("patroni", "patroni")),
    "direct": Key(direct, identifies=True),
}


def check_runtime(server: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
    """Report keys that have no meaning with the declared runtime, and what an external server lacks."""
    runtime = values.get("runtime", "auto")
    for name, only in _ONLY_WITH.items():
        if runtime != only and (only == "external" or runtime != "auto"):
            reading.refuse(server, name, f"`{name}` has a meaning only with `runtime: {only}`")
    if runtime == "external":
        _check_external(server, values, reading)


_ONLY_WITH: Final = {"bin_dir": "embedded", "engine": "docker", **dict.fromkeys(EXTERNAL_KEYS, "external")}


def _check_external(server: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
    report_without_meaning(NEVER, server, reading, "with `runtime: external`")
    if not values.get("major") and "image" in values and not values["image"][1]:
        node = server.entries["image"][1]
        message = "the image does not say which major version the server is, and no image of it is here"
        reading.report(node.mark, message, "write `major: 17` beside it")
    if "port" in values and values["port"] is None:
        node = server.entries["port"][1]
        reading.report(node.mark, "`auto` has no meaning with `runtime: external`", "write the port of the server")
    _check_certificates(server, values, reading)
    several.check(server, values, reading)
    _check_password(server, reading)
    if "patroni" in server.entries or values.get("settings_via") == "patroni":
        from provision.spec.patroni import check_patroni

        check_patroni(server, values, reading)


def _check_password(server: Mapping, reading: Reading) -> None:
    """Report a password that would be generated: this server has its own already."""
    advice = "write `password: ${NAME}`, `{file: …}` or `{command: […]}`"
    if "credentials" not in server.entries:
        message = "`runtime: external` needs `credentials` with the password of its login"
        reading.report(server.mark, message, 'write `credentials: {user: …, password: "${NAME}"}`')
        return
    login = server.value("credentials")
    if not isinstance(login, Mapping) or "password" not in login.entries:
        if isinstance(login, Mapping) and "sslcert" in server.entries:
            return  # the certificate may be all that the server asks for
        reading.refuse(server, "credentials", "`runtime: external` needs the password of its login", advice)
        return
    source = login.value("password")
    if isinstance(source, Mapping) and isinstance(source.value("generate"), Scalar):
        message = "a generated password has no meaning with `runtime: external`"
        reading.refuse(login, "password", message, advice)
