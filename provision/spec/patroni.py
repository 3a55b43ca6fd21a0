"""The section ``server.patroni``: the REST API of the cluster, and which settings Patroni keeps for itself.

https://patroni.readthedocs.io/en/latest/rest_api.html
https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from typing import Any, Final

from provision.spec.credentials import password
from provision.spec.model import Patroni
from provision.spec.passwords import PasswordGenerated, PasswordMissing, PasswordSource
from provision.spec.readers import existing, text
from provision.spec.reading import Key, Reading, Wrong, all_of, mapping, one_or_more, read_table
from provision.spec.yaml import Mapping, Node, Scalar

_EXAMPLE: Final = "api: [https://db1:8008, https://db2:8008]"
ADDRESS: Final = r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?/?"

# What Patroni takes from elsewhere, and the least that it takes of others before it uses its default in place of the
# value: `ConfigHandler.CMDLINE_OPTIONS` and `_RECOVERY_PARAMETERS` in patroni/postgresql/config.py.
_LISTEN: Final = "it is `postgresql.listen` in the patroni.yml of each member"
OWNED_BY_PATRONI: Final = {
    "listen_addresses": _LISTEN,
    "port": _LISTEN,
    "cluster_name": "it is `scope` in the patroni.yml of each member",
    "hot_standby": "Patroni has it `on` always",
    "data_directory": "it is `postgresql.data_dir` in the patroni.yml of each member",
    "unix_socket_directories": "it is about one machine: `postgresql.parameters` in the patroni.yml of each member",
    "external_pid_file": "it is about one machine: `postgresql.parameters` in the patroni.yml of each member",
    "config_file": "Patroni writes the postgresql.conf of each member",
    "hba_file": "Patroni writes pg_hba.conf, from `postgresql.pg_hba`",
    "ident_file": "Patroni writes pg_ident.conf, from `postgresql.pg_ident`",
    "primary_conninfo": "Patroni writes it for each standby",
    "primary_slot_name": "Patroni writes it for each standby",
    "recovery_target_timeline": "Patroni writes it for each standby",
}
_LEAST: Final = {
    "max_connections": 25,
    "max_wal_senders": 3,
    "max_locks_per_transaction": 32,
    "max_replication_slots": 4,
    "max_worker_processes": 2,
}


def patroni(node: Node, reading: Reading) -> Patroni:
    """Read where the REST API is and who may use it."""
    before = len(reading.missing)
    values = read_table(mapping(node, f"`{{{_EXAMPLE}}}`"), PATRONI_KEYS, reading, "`patroni`")
    if missing := reading.missing[before:]:
        values["password"] = PasswordMissing(tuple(missing))
    return Patroni(**{"api": (), **values})


def _addresses(node: Node, reading: Reading) -> tuple[str, ...]:
    if not (items := one_or_more(node)):
        raise Wrong("the list is empty", f"for example `{_EXAMPLE}`")
    return tuple(dict.fromkeys(all_of(_address, items, reading)))


def _address(node: Node, reading: Reading) -> str:
    found, value = reading.scalar(node, "an address like `https://db1:8008`")
    if re.fullmatch(ADDRESS, value):
        return value.rstrip("/")
    shown = reading.show(found)
    if "@" in value:
        raise Wrong(f"{shown} has a login in it", "write it as `user` and `password` beside `api`")
    if re.fullmatch(ADDRESS, f"https://{value}") and "$" not in found.text:
        raise Wrong(f"{shown} does not begin with http:// or https://", f"write `https://{found.text}`")
    raise Wrong(f"{shown} is not the address of a REST API", "write it without a path: `https://db1:8008`")


def _password(node: Node, reading: Reading) -> PasswordSource:
    found = password(node, reading)
    if isinstance(found, PasswordGenerated) and isinstance(node, Mapping) and "generate" in node.entries:
        raise Wrong("a generated password has no meaning here", "write the one that `restapi.authentication` has")
    return found


PATRONI_KEYS: Final = {
    "api": Key(_addresses, required=True, example=_EXAMPLE),
    "user": Key(text("the name of a user", "patroni")),
    "password": Key(_password),
    "ca": Key(existing("`ca`", directory=False)),
    "cert": Key(existing("`cert`", directory=False)),
    "key": Key(existing("`key`", directory=False)),
}


def check_patroni(server: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
    """Report what is missing for `settings_via: patroni`, and values that Patroni does not take."""
    if isinstance(node := server.value("patroni"), Mapping):
        pairs = (("user", "password"), ("cert", "key"))
        for name, other in (*pairs, *[each[::-1] for each in pairs]):
            if other not in node.entries:
                reading.refuse(node, name, f"`{name}` needs `{other}` beside it", f"write `{other}` too")
    if values.get("settings_via") != "patroni":
        return
    if "patroni" not in server.entries:
        message = "`settings_via: patroni` needs `patroni` beside it"
        reading.refuse(server, "settings_via", message, f"write `patroni: {{{_EXAMPLE}}}`")
    for key, node in _settings(server, values):
        _check_setting(key.text.lower(), node, reading)


def _settings(server: Mapping, values: MappingType[str, Any]) -> list[tuple[Scalar, Node]]:
    declared = [server.entries["max_connections"]] if "max_connections" in values else []
    return [*declared, *(values["settings"].entries.values() if "settings" in values else ())]


def _check_setting(name: str, node: Node, reading: Reading) -> None:
    value = node.text if isinstance(node, Scalar) else ""
    if name in _LEAST and value.isdigit() and len(value) < 10 and int(value) < _LEAST[name]:  # noqa: PLR2004  # int() of a long text is slow
        message = f"Patroni takes no `{name}` below {_LEAST[name]}, and would use its default"
        reading.report(node.mark, message, f"write at least `{_LEAST[name]}`")
    if name == "wal_level" and value == "minimal":
        reading.report(node.mark, "Patroni takes no `wal_level: minimal`", "write `replica` or `logical`")
