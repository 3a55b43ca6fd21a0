"""Whether the sessions of a tree may do what migrations do, and what helps where the server says that they may not.

https://www.postgresql.org/docs/current/ddl-priv.html
"""

from __future__ import annotations

import re

from provision.alembic.hidden import hidden
from provision.alembic.state import not_its_own
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.version_table import owner_of_unwritable, table_name
from provision.errors import NextStep, RefusedError, command
from provision.model import Endpoint, Query
from provision.model.sql import identifier
from provision.spec.model import Migrations
from provision.system.login_errors import of_role
from provision.system.postgres import LoginError, connect

INSUFFICIENT_PRIVILEGE = "42501"

_SCHEMA = """
SELECT nspname::text, pg_get_userbyid(nspowner)::text = 'pg_database_owner',
    has_schema_privilege(r.oid, n.oid, 'CREATE')
FROM pg_namespace AS n, pg_roles AS r WHERE nspname = coalesce(%(schema)s, current_schema()) AND rolname = %(owner)s
"""


def check(tree: Migrations, query: Query, session: Endpoint) -> None:
    """See that the sessions of a tree are let in, and may write its version table, or make it.

    Raises:
        UnavailableError: its login is refused.
        RefusedError: its role lacks a privilege, so that the first statement would fail.
    """
    owner = tree.owner
    if owner is None:
        return
    try:
        connect(session, read_only=True).close()
    except LoginError as error:
        raise of_role(error, session, query) from error
    holder = owner_of_unwritable(tree, query)
    if holder is not None:
        raise not_its_own(tree, holder)
    if query.rows("SELECT to_regclass(%s) IS NULL", (table_name(tree),)) == [(True,)]:
        asked = {"schema": tree.version_table_schema, "owner": owner}
        for schema, is_database_owners, may_create in query.rows(_SCHEMA, asked):
            if not may_create:
                database = tree.database or session.database
                raise _cannot_make(owner, schema, database, is_database_owners=is_database_owners)


def refuse_hidden(tree: Migrations, graph: Graph, query: Query) -> None:
    """See that no version table is where the sessions of a tree do not look, or may not: all would run once more.

    Raises:
        RefusedError: there is one, with revisions of this tree.
    """
    if (found := hidden(tree, graph, query)) is not None:
        raise found


def _cannot_make(owner: str, schema: str, database: str, *, is_database_owners: bool) -> RefusedError:
    return RefusedError(
        f"the migrations run as {owner!r}, which may not make tables in the schema {schema} of the database {database}",
        evidence=["nothing was migrated"],
        next_step=_schema_way(owner, schema, database, is_database_owners=is_database_owners),
    )


def _schema_way(owner: str, schema: str, database: str, *, is_database_owners: bool) -> str:
    keys = f"{{owner: {owner}}}" if is_database_owners else f"{{schemas: {{{schema}: {{owner: {owner}}}}}}}"
    return (
        f"write `databases: {{{database}: {keys}}}` into the spec, or as an administrator: "
        f"GRANT USAGE, CREATE ON SCHEMA {identifier(schema)} TO {identifier(owner)}"
    )


_MUST_OWN = r"must be owner of (?P<kind>[a-z ]+?) (?P<name>\S+)$"
_DENIED = r"permission denied for (?P<kind>[a-z ]+?) (?P<name>\S+)$"
_EXTENSION = r'permission denied to create extension "(?P<name>[^"]+)"'
_SET_ROLE = r'(?:permission denied to set role|must be able to SET ROLE) "(?P<name>[^"]+)"'


def way_to(tree: Migrations, message: str, database: str) -> NextStep | None:
    """Return what gives the sessions of a tree the privilege that the server says they lack; None: it is another's."""
    owner, first = tree.owner, (message.splitlines() or [""])[0]
    if owner is None:
        return None
    own = identifier(owner)
    if found := re.search(_EXTENSION, first):
        keys = f"`databases: {{{database}: {{extensions: [{found['name']}]}}}}`"
        return NextStep(f"write {keys} into the spec: provision makes it before the migrations, as the superuser")
    if found := re.search(_SET_ROLE, first):
        return NextStep(_membership(str(tree.login), found["name"]))
    if found := re.search(_MUST_OWN, first):
        statement = f"ALTER {found['kind'].upper()} {found['name']} OWNER TO {own}"
        return (
            command("apply --take-ownership")
            + f" where earlier migrations made it ({owner!r} then owns all that they made), "
            f"or as an administrator: {statement}"
        )
    if not (found := re.search(_DENIED, first)):
        return None
    kind, name = found["kind"], found["name"]
    if kind == "schema":
        return NextStep(_schema_way(owner, name, database, is_database_owners=name == "public"))
    if kind == "database":
        statement = f"GRANT CREATE ON DATABASE {identifier(name)} TO {own}"
        return NextStep(f"write `databases: {{{name}: {{owner: {owner}}}}}`, or as an administrator: {statement}")
    return (
        command("apply --take-ownership")
        + f" where earlier migrations made it, or as an administrator: GRANT … ON {kind.upper()} {name} TO {own}"
    )


def _membership(login: str, role: str) -> str:
    keys = f"{{{login}: {{member_of: [{{role: {role}, set: true}}]}}}}"
    return f"write `roles: {keys}` into the spec (before PostgreSQL 16 `member_of: [{role}]`)"
