"""The kinds, in the order of their steps.

A new kind is its module, a row here, and its keys in :mod:`provision.spec`.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from provision.kinds import Kind, collation, database, file, login, migrations, server, settings
from provision.spec.model import Spec

# The login is mended while the server runs as it is: a container that is replaced forgets the superuser's old name.
BEFORE: tuple[Kind, ...] = (file, login)
"""Their steps come before those of the runtime, which start or replace the server."""
INSIDE: tuple[Kind, ...] = (server, settings, database, collation, migrations)
"""Their steps come once the server runs."""
SHARED = frozenset({"role", "role_setting", "membership"})
"""The names of kinds about what all databases share: what they see is known wherever the server answers."""
ACCESS = SHARED | {"database", "schema", "extension", "default_privilege", "privilege"}
"""The names of all kinds of roles and access."""


def inside(spec: Spec, runtime: str) -> tuple[Kind, ...]:
    """Return the kinds of :data:`INSIDE`, and those of roles and access between them, where a spec declares these.

    ``runtime`` is the one that was chosen, which an option can put in place of the spec's.
    """
    # Each is loaded only where it has something to do: a run with nothing to do is mostly imports.
    seed = _kind("seed", is_needed=bool(spec.seeds))
    if not (spec.roles or spec.databases):
        return (*INSIDE, *seed)
    from provision.kinds import declared_database, membership, privilege, role, role_setting, schema, unmanaged

    # Who becomes a member gets what the group owns then, so owners change before. What migrations make gives its
    # privileges at birth, so defaults change before; on what was there, privileges change in the end.
    shared = (role, declared_database, role_setting, schema, membership)
    ownership = _kind("ownership", is_needed=any(tree.login or tree.role for tree in spec.migrations))
    born: tuple[Kind, ...] = (privilege.FUTURE, collation, *ownership, migrations)
    late: tuple[Kind, ...] = (privilege.EXISTING, unmanaged, *seed)
    preflight = _kind("preflight", is_needed=has_preflight(spec, runtime))
    extension = _kind("extension", is_needed=any(each.extensions for each in spec.databases.values()))
    return (server, settings, *preflight, *shared, *extension, *born, *late)


def has_preflight(spec: Spec, runtime: str) -> bool:
    """Tell whether a login may lack rights for the plan: that of a server of ours is a superuser."""
    return runtime == "external" and bool(spec.roles or spec.databases)


def _kind(name: str, *, is_needed: bool) -> tuple[Kind, ...]:
    return (cast("Kind", import_module(f"provision.kinds.{name}")),) if is_needed else ()
