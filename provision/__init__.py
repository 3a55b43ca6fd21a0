"""Declarative provisioning of PostgreSQL: one YAML file becomes a running, configured, migrated server.

``Environment`` and ``environments`` are the Python API, which ``docs/python.md`` describes; each is loaded when it is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.version import __version__

if TYPE_CHECKING:
    from provision.api import environments
    from provision.environment import Environment

__all__ = ["Environment", "__version__", "environments"]


def __getattr__(name: str) -> Any:
    if name == "Environment":
        from provision.environment import Environment

        return Environment
    if name == "environments":
        from provision.api import environments

        return environments
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
