"""The keys of a server that somebody else runs (``runtime: external``), and what such a server cannot have.

TLS modes: https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from provision.spec.readers import choice, existing
from provision.spec.reading import Key, listed
from provision.spec.yaml import Mapping, Scalar

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType

    from provision.spec.reading import Reading

SSLMODE: Final = "prefer"  # libpq's own default
VERIFYING: Final = ("verify-ca", "verify-full")
NEVER: Final = ("container_name", "data", "initdb", "resources", "stop_timeout")
"""Keys of a server that provision makes, starts and stops."""

EXTERNAL_KEYS: Final = {
    "sslmode": Key(choice("disable", "allow", "prefer", "require", *VERIFYING), identifies=True),
    "sslrootcert": Key(existing("`sslrootcert`", directory=False), identifies=True),
    "settings_via": Key(choice("alter_system")),
}


def check(server: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
    """Report keys that have no meaning with the declared runtime, and what an external server lacks."""
    if "bin_dir" in server.entries and values.get("runtime") in ("docker", "external"):
        key, _ = server.entries["bin_dir"]
        reading.report(key.mark, "`bin_dir` has a meaning only with `runtime: embedded`", "remove it")
    if values.get("runtime") == "external":
        _check_external(server, values, reading)
        return
    for name in EXTERNAL_KEYS:
        if name in server.entries:
            key, _ = server.entries[name]
            reading.report(key.mark, f"`{name}` has a meaning only with `runtime: external`", "remove it")


def _check_external(server: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
    for name in NEVER:
        if name in server.entries:
            key, _ = server.entries[name]
            reading.report(key.mark, f"`{name}` has no meaning with `runtime: external`", "remove it")
    if not values.get("major") and "image" in values and not values["image"][1]:
        _, node = server.entries["image"]
        message = "the image does not say which major version the server is, and no image of it is here"
        reading.report(node.mark, message, "write `major: 17` beside it")
    if "port" in values and values["port"] is None:
        _, node = server.entries["port"]
        reading.report(node.mark, "`auto` has no meaning with `runtime: external`", "write the port of the server")
    if values.get("sslrootcert") and values.get("sslmode") not in VERIFYING:
        key, _ = server.entries["sslrootcert"]
        advice = f"write `sslmode: verify-full` beside it (it is used with {listed(VERIFYING)})"
        reading.report(key.mark, "no certificate is checked with this `sslmode`", advice)
    _check_password(server, reading)


def _check_password(server: Mapping, reading: Reading) -> None:
    """Report a password that would be generated: this server has its own already."""
    advice = "write `password: ${NAME}`, `{file: …}` or `{command: […]}`"
    if "credentials" not in server.entries:
        message = "`runtime: external` needs `credentials` with the password of its login"
        reading.report(server.mark, message, 'write `credentials: {user: …, password: "${NAME}"}`')
        return
    key, login = server.entries["credentials"]
    if not isinstance(login, Mapping) or "password" not in login.entries:
        reading.report(key.mark, "`runtime: external` needs the password of its login", advice)
        return
    at, password = login.entries["password"]
    source = password.entries if isinstance(password, Mapping) else {}
    if "generate" in source and isinstance(source["generate"][1], Scalar):
        reading.report(at.mark, "a generated password has no meaning with `runtime: external`", advice)
