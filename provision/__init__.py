"""Declarative provisioning of PostgreSQL: one YAML file becomes a running, configured, migrated server.

``Environment`` is the Python API, described in ``docs/python.md``. It is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.version import __version__

if TYPE_CHECKING:
    from provision.environment import Environment

__all__ = ["Environment", "__version__"]


def __getattr__(name: str) -> Any:
    if name != "Environment":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from provision.environment import Environment

    return Environment
