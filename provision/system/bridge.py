"""The way to a container of this machine that does not lead through the engine's proxy.

That proxy (``docker-proxy``) is a process that copies what goes to a port on the loopback interface, and wakes up twice
for each message: a migration of many small revisions takes half as long without it. The server sees no difference: its
client is the bridge's own address either way.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_TIMEOUT = 0.1
"""In seconds. On a bridge of this machine it takes less than one thousandth; a firewall may let none through."""


def place(container: Mapping[str, Any], published: int) -> tuple[str, int] | None:
    """Return where a running container has the port that it publishes as another, where it is sure to be that one.

    The connection comes from the gateway of the container's network, which is an address of this machine only where the
    network is: not with an engine in a virtual machine, on another host or without root. Another network can have the
    same addresses, so the connection has to show up among those of the container's process.
    https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt
    """
    seen = Path(f"/proc/{container['State'].get('Pid')}/net/tcp")
    bindings = (container["HostConfig"]["PortBindings"] or {}).items()
    ports = [name for name, places in bindings if any(each.get("HostPort") == str(published) for each in places or ())]
    port = int(ports[0].partition("/")[0]) if ports else 0
    for network in (container["NetworkSettings"].get("Networks") or {}).values():
        at, gateway = network.get("IPAddress"), network.get("Gateway")
        if not (port and at and gateway):
            continue
        with suppress(OSError), socket.socket() as probe:  # create_connection() would load what resolves names
            probe.settimeout(_TIMEOUT)
            probe.bind((gateway, 0))
            probe.connect((at, port))
            if f" {_word(at, port)} {_word(*probe.getsockname())} " in seen.read_text(encoding="ascii"):
                return at, port
    return None


def _word(host: str, port: int) -> str:
    """Return an address as Linux shows it: the four bytes are a number of this machine's."""
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
