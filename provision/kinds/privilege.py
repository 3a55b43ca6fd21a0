"""Privileges on objects that exist: what ``access``, ``public`` and ``grants`` declare, and not more.

What is surplus goes first, and what is missing comes after the migrations, which make objects of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.kinds.privileges import access
from provision.kinds.privileges.judgement import judge
from provision.model import UNKNOWN

if TYPE_CHECKING:
    from provision.kinds import Before, Files, Inputs, Look, Scene
    from provision.model import Address, Observed, Plan, State
    from provision.spec.model import Spec

KIND = "privilege"


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return every declared pair of a grantee and a schema or a target."""
    found = access.declared(spec, is_future=False)
    return {access.address(KIND, database, pair): access.as_declared(pair, said) for database, pair, said in found}


def seen(look: Look) -> Observed:
    """Return the same pairs with what differs; UNKNOWN in a database that cannot be entered."""
    found = {}
    for database, pair, _ in access.declared(look.spec, is_future=False):
        judged = look.once(judge, database.name)
        found[access.address(KIND, database, pair)] = judged.present[pair] if judged else UNKNOWN
    return found


def steps(address: Address, before: Before, after: State | None, _scene: Scene) -> Plan:
    """Return what takes the surplus, and what gives what is missing.

    Raises:
        RefusedError: see :func:`provision.kinds.privileges.access.steps`.
    """
    return access.steps(address, before, after)
