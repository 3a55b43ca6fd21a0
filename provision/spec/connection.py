"""How a connection to a server that others run is made: keys of ``server`` that are named as libpq's parameters are.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

import math
from collections.abc import Mapping as MappingType
from pathlib import Path
from typing import Any, Final

from provision.spec.readers import choice, duration, existing, number, text
from provision.spec.reading import Key, Reading, listed, scalar
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


def check(server: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
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
