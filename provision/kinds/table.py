"""The kinds, in the order of their steps.

A new kind is its module, a row here, and its keys in :mod:`provision.spec`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.kinds import collation, database, file, login, migrations, server, settings

if TYPE_CHECKING:
    from provision.kinds import Kind
    from provision.spec.model import Spec

# The login is mended while the server runs as it is: a container that is replaced forgets the superuser's old name.
BEFORE: tuple[Kind, ...] = (file, login)
"""Their steps come before those of the runtime, which start or replace the server."""
INSIDE: tuple[Kind, ...] = (server, settings, database, collation, migrations)
"""Their steps come once the server runs."""


def inside(spec: Spec) -> tuple[Kind, ...]:
    """Return the kinds of :data:`INSIDE`, and those of roles and access between them, where a spec declares these."""
    if not (spec.roles or spec.databases):
        return INSIDE
    # Most specs have none of it.
    from provision.kinds import (
        declared_database,
        default_privilege,
        extension,
        membership,
        ownership,
        preflight,
        privilege,
        role,
        role_setting,
        schema,
        unmanaged,
    )

    # Who becomes a member gets what the group owns then, so owners change before. What migrations make gives its
    # privileges at birth, so defaults change before; on what was there, privileges change in the end.
    shared = (role, declared_database, role_setting, schema, membership)
    rest = (extension, default_privilege, collation, ownership, migrations, privilege, unmanaged)
    return (server, settings, preflight, *shared, *rest)
