"""Specs that are made of a spec: the server of a test run beside its own, and a database of another name in it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping

from provision.errors import UsageError
from provision.model import CLONE, Endpoint, Secret
from provision.model.value import replace
from provision.spec.access import Database, Grant, Role
from provision.spec.model import Ephemeral, Migrations, Spec
from provision.spec.passwords import PasswordValue

_ROOM = 34
"""So much of a name is kept: an environment's has 48 characters at most."""
_FOR_TESTS = {"autovacuum": "off"}


def for_tests(spec: Spec, slot: int) -> Spec:
    """Return the spec of the server of a test run: another name, data in memory, a free port, no autovacuum.

    ``slot`` tells apart the runs that are under way at once; 0 is the spec itself. The name has a part of its own for
    each directory and host, because several checkouts can use one engine. What the spec says of autovacuum is kept.
    """
    if not slot:
        return spec
    name = f"{spec.name[:_ROOM].rstrip('-_.')}-test-{place_of(spec)[:6]}" + (f"-{slot}" if slot > 1 else "")
    declared = {each.lower() for each in spec.server.settings}
    settings = {key: value for key, value in _FOR_TESTS.items() if key not in declared}
    server = replace(
        spec.server,
        container_name=name,
        port=None,
        first_port=None,
        data=Ephemeral(),
        settings={**spec.server.settings, **settings},
    )
    return replace(spec, name=name, server=server, seeds=(), history=False, fetched={}, main=None, plain_name="")


def place_of(spec: Spec) -> str:
    """Return a word for the spec of this host and directory: others may have the same one, with the same name."""
    return hashlib.sha256(f"{os.uname().nodename}:{spec.path}".encode()).hexdigest()[:16]


def _trees(spec: Spec, source: str, name: str) -> Iterator[Migrations]:
    """Yield the trees of a copy; it is itself a tenant of one with tenants, where it has no other tree.

    Raises:
        UsageError: the tenants are schemas, of which a copy has none.
    """
    own = [tree for tree in spec.migrations if spec.database_of(tree) == source]
    plain = [tree for tree in own if tree.tenants is None]
    for tree in plain or own[:1]:
        if tree.tenants is not None and tree.tenants.kind == "schemas":
            raise UsageError(
                f"the migrations {tree.name!r} are for the schemas of tenants, and a copy of a database has none",
                next_step="use a spec of the tests' own, whose `migrations` have no `tenants`",
            )
        yield replace(tree.for_tenant(name) if tree.tenants else tree, database=None)


def for_template(spec: Spec, source: str, name: str, at: Endpoint, passwords: Mapping[str, Secret]) -> Spec:
    """Return the spec that makes the database ``name`` as the spec makes ``source``, in the server that is ``at``.

    It is one for a server that others run, so nothing of the server itself changes. ``name`` needs no quotes in SQL.
    ``passwords`` are those of roles that are known.
    """
    server = replace(
        spec.server,
        runtime="external",
        host=at.host,
        port=at.port,
        hosts=at.hosts,
        user=at.user,
        password=PasswordValue(at.password),
        database=name,
        settings={},
        settings_via=None,
        direct=None,
        initdb=(),
        sslmode=at.sslmode,
        sslrootcert=at.sslrootcert,
        connection=at.connection,
    )
    declared = spec.databases.get(source)
    roles = {each.name: _role(each, source, name, passwords) for each in spec.roles.values() if not each.is_absent}
    trees = list(_trees(spec, source, name))
    return replace(
        spec,
        name=name,
        server=server,
        roles=roles,
        databases={name: _database(declared, name)} if declared is not None else {},
        migrations=tuple(trees),
        seeds=(),
        history=False,
        fetched={},
    )


def _role(role: Role, source: str, name: str, passwords: Mapping[str, Secret]) -> Role:
    inside = {name: role.settings_in[source]} if source in role.settings_in else {}
    known = {"password": PasswordValue(passwords[role.name])} if role.name in passwords else {}
    return replace(role, settings_in=inside, renamed_from=None, **known)  # type: ignore[arg-type]


def _database(declared: Database, name: str) -> Database:
    grants = tuple([_grant(each, name) for each in declared.grants])
    return replace(declared, name=name, grants=grants, comment=None, connection_limit=None, allow_connections=None)


def _grant(grant: Grant, name: str) -> Grant:
    return replace(grant, on=replace(grant.on, name=name)) if grant.on.kind == "database" else grant


def slot_of(name: str | None) -> int:
    """Return the slot of the test run whose server has a database; 0: it is in the server of the spec.

    >>> slot_of("provision_clone_test2_gw0_12"), slot_of("provision_clone_orders"), slot_of(None)
    (2, 0, 0)
    """
    found = re.match(rf"{CLONE}test([0-9]+)_", name or "")
    return int(found[1]) if found else 0


def of_test(slot: int, *parts: str) -> str:
    """Return the name of a database of a test; parts are words like ``gw0`` and ``12``."""
    return f"{CLONE}test{slot}_{'_'.join(parts)}"
