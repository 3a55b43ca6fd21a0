"""A database that a spec declares on a server of others, and roles that are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.environment import Environment
    from support.foreign import Foreign


class Shop:
    """One environment with a declared database."""

    def __init__(self, server: Foreign, environment: Environment) -> None:
        self.server, self.environment = server, environment
        server.declare(environment)
        self.name = str(environment.document["server"]["database"])
        self.owner, self.read, self.other = [server.role() for _ in range(3)]
        environment.declare(roles={each: {"external": True} for each in (self.owner, self.read, self.other)})
        self.declare(owner=self.owner)

    def declare(self, name: str | None = None, **keys: Any) -> Environment:
        """Merge keys into the declared database, or into another one."""
        return self.environment.declare(databases={name or self.name: keys})

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in the database, as its server's superuser."""
        return self.server.execute(*statements, database=self.name)

    def row(self, column: str, name: str | None = None) -> Any:
        """Return a column of ``pg_database``; None: there is no such database."""
        query = f"SELECT {column} FROM pg_database WHERE datname = '{name or self.name}'"  # noqa: S608  # our own names
        found = self.server.execute(query)
        return found[0][0] if found else None

    def may_connect(self, role: str) -> bool:
        """Tell whether a role may connect to the database."""
        return bool(self.server.execute(f"SELECT has_database_privilege('{role}', '{self.name}', 'CONNECT')")[0][0])
