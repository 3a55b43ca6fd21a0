"""The tunnel that stays open, for applications that reach the server by a URL: opened, and ended."""

from __future__ import annotations

from typing import NamedTuple

from provision.model import Endpoint
from provision.observe import outside
from provision.spec.model import Spec
from provision.system import lasting_tunnel


class Open(NamedTuple):
    """A way to the server that stays open.

    ``endpoint`` is its address here, ``leads_to`` the one on the engine's host, ``process`` that of ``ssh``; 0: the
    server is reached without one. ``is_new``: it was opened right now.
    """

    endpoint: Endpoint
    leads_to: str = ""
    process: int = 0
    is_new: bool = False


def open_(spec: Spec) -> Open:
    """Have a tunnel to the server stay open.

    Raises:
        UnavailableError: no server runs, or ``ssh`` cannot log in.
    """
    at = outside.world(spec).require_running()
    if (way := at.way) is None:
        return Open(at)
    note, is_new = lasting_tunnel.open_(spec.home, way)
    return Open(at.require_lasting(), str(way), note.process, is_new)


def close(spec: Spec) -> bool:
    """End the tunnel; False: none was open."""
    return lasting_tunnel.close(spec.home)
