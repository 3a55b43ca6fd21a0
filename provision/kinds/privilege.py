"""Privileges on objects: what ``access``, ``public`` and ``grants`` declare, and not more.

Those on objects that will be created (ALTER DEFAULT PRIVILEGES) come before the migrations, so that what these make
gives its privileges at birth. On objects that exist, what is surplus goes first, and what is missing comes after the
migrations, which make objects of their own.
https://www.postgresql.org/docs/current/sql-alterdefaultprivileges.html
"""

from __future__ import annotations

from provision.kinds import Before, Files, Inputs, Look, Scene
from provision.kinds.privileges import access, judgement
from provision.model import UNKNOWN, Address, Observed, Plan, State, Unknown
from provision.spec.model import Spec


class Privileges:
    """The kind of one half of them."""

    def __init__(self, kind: str, *, is_future: bool) -> None:
        self.KIND, self._is_future = kind, is_future

    def wanted(self, spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
        """Return every declared pair of a grantee and a schema or a target."""
        found = access.declared(spec, is_future=self._is_future)
        return {
            access.address(self.KIND, database, pair): access.as_declared(pair, said) for database, pair, said in found
        }

    def seen(self, look: Look) -> Observed:
        """Return the same pairs with what differs; UNKNOWN in a database that cannot be entered."""
        found: dict[Address, State | Unknown] = {}
        for database, pair, _ in access.declared(look.spec, is_future=self._is_future):
            judged = look.once(judgement.judge, database.name)
            state: State | Unknown = UNKNOWN
            if judged is not None:
                state = (judged.future if self._is_future else judged.present)[pair]
            found[access.address(self.KIND, database, pair)] = state
        return found

    def steps(self, address: Address, before: Before, after: State | None, _scene: Scene) -> Plan:
        """Return what takes the surplus, and what gives what is missing.

        Raises:
            RefusedError: see :func:`provision.kinds.privileges.access.steps`.
        """
        return access.steps(address, before, after)


EXISTING = Privileges("privilege", is_future=False)
FUTURE = Privileges("default_privilege", is_future=True)
