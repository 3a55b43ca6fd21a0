"""Servers as cloud providers hand them out: made by hand, with their roles and rights, on a server of ours.

What a provider has patched into its PostgreSQL (extensions that its administrators may make, settings that they may
change) is not here; what the documents of docs/managed.md say of roles, attributes and databases is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from support.foreign import PASSWORD

if TYPE_CHECKING:
    from support.environment import Environment
    from support.foreign import Foreign


@dataclass(frozen=True)
class Provider:
    """What a provider's administrator is: the group and what it has, attributes of the login, and the provider's own.

    ``grants`` are roles that the group is in, or may give away. ``database`` is one that only the provider enters.
    """

    name: str
    group: str
    attributes: str
    admin: str
    database: str
    of_group: str = ""
    grants: tuple[str, ...] = ()
    administers: tuple[str, ...] = ()


PROVIDERS = (
    Provider(
        "rds",
        "rds_superuser",
        "CREATEDB CREATEROLE VALID UNTIL 'infinity'",
        "rdsadmin",
        "rdsadmin",
        administers=("pg_monitor", "pg_signal_backend", "rds_replication", "rds_password"),
    ),
    Provider(
        "cloudsql",
        "cloudsqlsuperuser",
        "CREATEDB CREATEROLE",
        "cloudsqladmin",
        "cloudsqladmin",
        of_group="CREATEDB CREATEROLE",
        grants=("pg_monitor",),
    ),
    Provider(
        "neon",
        "neon_superuser",
        "CREATEDB CREATEROLE BYPASSRLS REPLICATION",
        "cloud_admin",
        "cloud_admin",
        of_group="CREATEDB CREATEROLE BYPASSRLS REPLICATION",
        grants=("pg_read_all_data", "pg_write_all_data"),
    ),
)


class Managed:
    """A server as a provider hands it out, and an environment whose login is the administrator that customers get."""

    def __init__(self, server: Foreign, environment: Environment, provider: Provider) -> None:
        self.server, self.environment, self.provider = server, environment, provider
        self.mark = uuid4().hex[:6]
        self.login, self.shop = self.name("admin"), self.name("shop")
        self._make()
        server.declare(environment, credentials={"user": self.login}, database=None)

    def name(self, word: str) -> str:
        """Return a name that no other test has."""
        return f"{word}_{self.mark}"

    def _make(self) -> None:
        each, quoted = self.provider, PASSWORD.replace("'", "''")
        there = {name for (name,) in self.server.execute("SELECT rolname FROM pg_roles")}
        if each.group not in there:
            own = [f"CREATE ROLE {name}" for name in each.administers if name not in there]
            self.server.execute(
                f"CREATE ROLE {each.admin} SUPERUSER LOGIN",
                f"CREATE ROLE {each.group} {each.of_group}",
                f"CREATE DATABASE {each.database} OWNER {each.admin}",
                f"REVOKE ALL ON DATABASE {each.database} FROM PUBLIC",
                *own,
                *[f"GRANT {name} TO {each.group}" for name in each.grants],
                *[f"GRANT {name} TO {each.group} WITH ADMIN OPTION" for name in each.administers],
            )
        self.server.execute(
            f"CREATE ROLE {self.login} LOGIN PASSWORD '{quoted}' {each.attributes}",
            f"GRANT {each.group} TO {self.login}",
        )

    def declare(self, **more: Any) -> Environment:
        """Have a spec with every kind of thing that an administrator like this one may make."""
        owner, read, app = self.name("owner"), self.name("read"), self.name("app")
        owning = {"role": owner, "set": True} if self.server.major >= 16 else owner
        login = {"login": True, "password": "${PW}"}
        shop: dict[str, Any] = {
            "owner": owner,
            "connect": [read, app],
            "settings": {"search_path": ["shop", "ext"], "statement_timeout": "1min"},
            "schemas": {
                "shop": {"public": "none", "access": {read: "read", app: "write"}},
                "ext": {"access": {read: "usage"}},
            },
            "extensions": [{"name": "citext", "schema": "ext"}],
        }
        is_given = self.provider.name == "neon"  # which takes no hashed password, so logins are made in its console
        login = {} if is_given else login
        roles = {owner: {}, read: {}, app: {**login, "member_of": [owning], "settings": {"lock_timeout": "5s"}}}
        self.environment.migrations("customers", "orders")
        tree = {"role": owner} if is_given else {"as": app, "role": owner}
        return self.environment.declare(roles=roles, databases={self.shop: shop}, migrations=tree, **more)

    def allow_migrations(self) -> None:
        """Do what the login needs first where it migrates as the owner itself, and makes no role of its own."""
        if self.provider.name == "neon" and self.server.major < 16:  # see OWN_ROLES_SINCE
            self.server.execute(f"CREATE ROLE {self.name('owner')}", f"GRANT {self.name('owner')} TO {self.login}")
