"""Privileges on objects that exist: what ``access``, ``public`` and ``grants`` declare, and not more.

What is surplus goes first, and what is missing comes after the migrations, which make objects of their own.
"""

from __future__ import annotations

from provision.kinds import Before, Files, Inputs, Look, Scene
from provision.kinds.privileges import access, judgement
from provision.model import Address, Observed, Plan, State
from provision.spec.model import Spec

KIND = "privilege"


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return every declared pair of a grantee and a schema or a target."""
    return access.wanted(KIND, spec, is_future=False)


def seen(look: Look) -> Observed:
    """Return the same pairs with what differs."""
    return judgement.seen(KIND, look, is_future=False)


def steps(address: Address, before: Before, after: State | None, _scene: Scene) -> Plan:
    """Return what takes the surplus, and what gives what is missing.

    Raises:
        RefusedError: see :func:`provision.kinds.privileges.access.steps`.
    """
    return access.steps(address, before, after)
