"""Servers that a provider manages: known by the roles that it makes, and what differs there from PostgreSQL as it is.

Nobody but the provider is a superuser there. Members of its group may make extensions that are otherwise a superuser's,
and settings are changed where the provider keeps them. docs/managed.md names the pages that say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Provider(NamedTuple):
    """A provider: the role by which it is known, whether its members make extensions, and its own superusers.

    ``settings`` is where a setting is changed, ``hashed`` whether a password may be a verifier already.
    """

    name: str
    role: str
    extends: bool
    superusers: tuple[str, ...]
    settings: str
    hashed: bool = True


PROVIDERS = (
    Provider(
        "Amazon RDS", "rds_superuser", True, ("rdsadmin",), "the DB parameter group (Aurora: or the DB cluster's)"
    ),
    Provider(
        "Google Cloud SQL",
        "cloudsqlsuperuser",
        True,
        ("cloudsqladmin", "cloudsqlagent", "cloudsqlreplica"),
        "the instance's database flags",
    ),
    Provider(
        "Azure Database for PostgreSQL",
        "azure_pg_admin",
        True,
        ("azuresu",),
        "the server parameters: az postgres flexible-server parameter set",
    ),
    Provider("Neon", "neon_superuser", True, ("cloud_admin",), "the compute settings of the project", hashed=False),
    Provider(
        "Supabase",
        "supabase_admin",
        False,
        ("supabase_admin",),
        "the project's Postgres config: supabase postgres-config update",
    ),
)
ROLES = [each.role for each in PROVIDERS]


def of(roles: Iterable[str]) -> Provider | None:
    """Return the provider that has made one of these roles; None: there is none that is known here."""
    there = frozenset(roles)
    return next((each for each in PROVIDERS if each.role in there), None)
