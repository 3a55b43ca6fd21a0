"""Declarative provisioning of PostgreSQL: one YAML file becomes a running, configured, migrated server.

``Environment`` is the Python API, described in ``docs/python.md``. It is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.version import __version__

if TYPE_CHECKING:
    from provision.environment import Environment, environments

__all__ = ["Environment", "__version__", "environments"]


def __getattr__(name: str) -> Any:
    if name not in ("Environment", "environments"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from provision import environment

    return getattr(environment, name)
