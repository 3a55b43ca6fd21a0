"""Roles and access on a big server: what their declaration adds to a run with nothing to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.embedded import ByHand
from bench.peers import PASSWORD, run

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL = "nothing to do, 200 roles, 500 tables, 2,000 functions, embedded"
_SERVER = f"""
name: bench-access
server: {{image: 'postgres:18', runtime: embedded, port: PORT, database: shop, credentials: {{password: {PASSWORD}}}}}
"""
_ROLES = """
roles:
  shop_owner: {}
  shop_read: {}
  shop_write: {member_of: [shop_read]}
""" + "".join(f"  login{each}: {{login: true, member_of: [shop_write]}}\n" for each in range(5))
_ACCESS = "databases:\n  shop:\n    owner: shop_owner\n    schemas:\n" + "".join(
    f"      s{each}: {{owner: shop_owner, access: {{shop_read: read, shop_write: write}}}}\n" for each in range(5)
)
_OBJECTS = """DO $$ BEGIN
FOR i IN 0..199 LOOP EXECUTE format('CREATE ROLE bulk%s LOGIN', i); END LOOP;
FOR i IN 5..9 LOOP EXECUTE format('CREATE SCHEMA s%s', i); END LOOP;
FOR i IN 0..499 LOOP EXECUTE format('CREATE TABLE s%s.t%s (id serial, a text, b text, c text)', i % 10, i); END LOOP;
FOR i IN 0..1999 LOOP
  EXECUTE format('CREATE FUNCTION s%s.f%s(a int) RETURNS int LANGUAGE sql AS ''SELECT 1''', i % 10, i);
END LOOP; END $$"""


class Access:
    """Two specs of one server: one declares roles and access, the other neither."""

    is_available = staticmethod(ByHand.is_available)

    def __init__(self, directory: Path, port: int) -> None:
        directory.mkdir()
        self._program = Path(sys.executable).with_name("provision")
        self._with, self._without = directory / "with.yml", directory / "without.yml"
        server = _SERVER.replace("PORT", str(port))
        self._with.write_text(server + _ROLES + _ACCESS)
        self._without.write_text(server)

    def start(self) -> None:
        """Start the server and fill it."""
        run(self._program, "apply", self._with)
        run(self._program, "psql", self._with, "--", "-qc", _OBJECTS)
        run(self._program, "apply", self._with)

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return the runs to be measured in turn."""
        return {
            "provision": lambda: run(self._program, "apply", self._with),
            "without roles": lambda: run(self._program, "apply", self._without),
        }

    def destroy(self) -> None:
        """Destroy the environment with its data."""
        run(self._program, "destroy", "--data", "--yes", self._with)
