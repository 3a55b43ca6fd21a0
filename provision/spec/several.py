"""``server.hosts``: the hosts of a cluster that others run, of which one takes writes.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from typing import Any, Final

from provision.spec.readers import LARGEST_PORT, is_host, list_of
from provision.spec.reading import Reading, Wrong
from provision.spec.yaml import Mapping, Node, Sequence

DEFAULT_PORT: Final = 5432
_FORMS: Final = r"\[([^\[\]]*)\](?::([^:]*))?|([^:]*):([^:]*)"


def host_and_port(node: Node, reading: Reading) -> tuple[str, int | None]:
    """Read a host, with its port where it has one of its own: ``a``, ``a:5433``, ``::1``, ``[::1]:5433``."""
    found, value = reading.scalar(node, "a host like `db1`, or `db1:5433`")
    match = re.fullmatch(_FORMS, value)
    name, number = (match[1] or match[3], match[2] or match[4]) if match is not None else (value, None)
    is_port = number is None or (re.fullmatch(r"[1-9][0-9]{0,4}", number) and int(number) <= LARGEST_PORT)
    if not is_host(name or "") or not is_port:
        advice = "write a name or an address, and its port where it has one of its own: `db1`, `db1:5433`, `[::1]:5433`"
        raise Wrong(f"{reading.show(found)} is not a host", advice)
    return str(name), None if number is None else int(number)


_listed = list_of(host_and_port, 'hosts: [db1, db2, "db3:5433"]')


def hosts(node: Node, reading: Reading) -> tuple[tuple[str, int | None], ...]:
    """Read the hosts of a cluster."""
    if isinstance(node, Sequence) and not node.items:
        raise Wrong("no host is named", "write `hosts: [db1, db2]`, or `host`")
    return _listed(node, reading)


def check(server: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
    """Report hosts beside ``host`` in the same text, where one above the other counts in its place, or a pooler's."""
    if {"hosts", "direct"} <= server.entries.keys():
        advice = "keep one of the two; for a pooler before a cluster, `host` and `port` are the pooler's"
        reading.refuse(server, "direct", "`direct` contradicts `hosts`", advice)
    if len(_uppermost(server, values, reading)) > 1:
        advice = "keep one of the two; `port` is that of all hosts"
        reading.refuse(server, "hosts", "`hosts` contradicts `host`", advice)


def places(server: Mapping, values: MappingType[str, Any], reading: Reading) -> dict[str, Any]:
    """Return ``host``, ``port`` and ``hosts`` of a server; the declared port is that of the hosts that say none."""
    port = values.get("port", DEFAULT_PORT)
    if "hosts" not in _uppermost(server, values, reading):
        return {"host": values.get("host", "127.0.0.1"), "port": port}
    found = dict.fromkeys([(name, own or port or DEFAULT_PORT) for name, own in values["hosts"]])
    host, port = next(iter(found), ("127.0.0.1", port))
    return {"host": host, "port": port, "hosts": tuple(found)}


def _uppermost(server: Mapping, values: MappingType[str, Any], reading: Reading) -> list[str]:
    return reading.uppermost([each for each in ("host", "hosts") if each in values], server)
