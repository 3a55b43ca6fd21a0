"""The sections of a spec by the headings of ``docs/spec.md``, each with the table of keys that it is read by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provision.spec.backup import BACKUP_KEYS
from provision.spec.connection import DIRECT_KEYS
from provision.spec.credentials import CREDENTIALS_KEYS, PASSWORD_KEYS
from provision.spec.databases import EXTENSION_KEYS, SCHEMA_KEYS, database_keys
from provision.spec.grants import grant_keys, on_keys
from provision.spec.migrations import MIGRATIONS_KEYS
from provision.spec.patroni import PATRONI_KEYS
from provision.spec.reading import Key
from provision.spec.roles import MEMBER_KEYS, role_keys
from provision.spec.sections import SPEC_KEYS
from provision.spec.seeds import SEED_KEYS
from provision.spec.server import DATA_KEYS, RESOURCES_KEYS, SERVER_KEYS
from provision.spec.tenants import TENANTS_KEYS

TOP: Final = "The top of the file"
SECTIONS: Final[Mapping[str, Mapping[str, Key]]] = {
    TOP: SPEC_KEYS,
    "server": SERVER_KEYS,
    "server.credentials": CREDENTIALS_KEYS,
    "server.credentials.password": PASSWORD_KEYS,
    "server.patroni": PATRONI_KEYS,
    "server.data": DATA_KEYS,
    "server.resources": RESOURCES_KEYS,
    "server.direct": DIRECT_KEYS,
    "migrations": MIGRATIONS_KEYS,
    "migrations.tenants": TENANTS_KEYS,
    "roles": role_keys(0),
    "roles.member_of": MEMBER_KEYS,
    "backup": BACKUP_KEYS,
    "databases": database_keys(0),
    "databases.schemas": SCHEMA_KEYS,
    "databases.extensions": EXTENSION_KEYS,
    "databases.grants": grant_keys(0),
    "databases.grants.on": on_keys(0),
    "seeds": SEED_KEYS,
}
