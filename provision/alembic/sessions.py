"""Where a tree is migrated, and as whom: its database, its login, the role of its sessions, and their search path.

What only looks, holds the lock or makes scratch databases is the server's declared login: it sees who waits for whom,
and reads what others own. It finds a version table without a schema where the tree's own sessions find it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from provision.model import Endpoint, Query
from provision.model.sql import identifier
from provision.model.value import dataclass, replace
from provision.spec.model import Migrations, Spec
from provision.system import secrets

# A session's own path comes from its login, in its database or everywhere; `$user` in it is the role that it is set to.
# What a spec declares counts in place of what is stored: an apply sets it before it migrates.
_PATH = r"""
WITH d AS (SELECT * FROM unnest(%(of_role)s::bool[], %(of_database)s::bool[], %(paths)s::text[])
    AS d (of_role, of_database, path)),
s AS (SELECT setrole <> 0 AS of_role, setdatabase <> 0 AS of_database, substr(config, 13) AS path
    FROM pg_db_role_setting LEFT JOIN pg_roles AS r ON r.oid = setrole, unnest(setconfig) AS config
    WHERE config LIKE 'search\_path=%%' AND (setrole = 0 OR rolname = coalesce(%(login)s, session_user))
        AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
SELECT set_config('search_path', coalesce((
    SELECT path FROM (
        SELECT * FROM d UNION ALL SELECT * FROM s
        WHERE NOT EXISTS (SELECT FROM d WHERE (d.of_role, d.of_database) = (s.of_role, s.of_database))) AS p
    WHERE path IS NOT NULL
    ORDER BY of_role DESC, of_database DESC LIMIT 1), current_setting('search_path')), true),
    (SELECT set_config('role', rolname, true) FROM pg_roles WHERE rolname = %(owner)s);
SELECT current_schemas(false)
"""


def located(tree: Migrations, at: Endpoint) -> Endpoint:
    """Return the same login in the database of a tree."""
    return at if tree.database is None else replace(at, database=tree.database)


def session(spec: Spec, tree: Migrations, at: Endpoint) -> Endpoint:
    """Return how ``env.py`` and the tree's program log in to the database of ``at``; its password is not yet read."""
    if tree.login in (None, at.user):
        return replace(at, role=tree.role)
    assert tree.login is not None  # noqa: S101  # for the type checker
    return replace(at, user=tree.login, password=secrets.of_role(spec, tree.login), role=tree.role)


def entered(spec: Spec, tree: Migrations, at: Endpoint) -> Endpoint:
    """Return the same as :func:`session`, for a session that is opened.

    Raises:
        ProvisionError: the password of its login is not known.
    """
    if tree.login not in (None, at.user) and not secrets.is_known(spec, str(tree.login)):
        raise secrets.not_known(spec, str(tree.login))
    return session(spec, tree, at)


@dataclass(frozen=True)
class Within:
    """A :class:`~provision.model.Query` in the database of a tree, on the search ``path`` of its sessions, if any."""

    query: Query
    database: str | None
    path: str

    def rows(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of one statement.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        path = f"SET LOCAL search_path TO {self.path}; " if self.path else ""
        path = path.replace("%", "%%") if parameters else path
        return self.query.rows(path + sql, parameters, database=database or self.database)


def within(tree: Migrations, query: Query, database: str | None = None, spec: Spec | None = None) -> Query:
    """Return the questions of a tree; those of one that has a login or a role are asked on its search path.

    With ``spec``, that is the path that its sessions will have once what the spec declares is in force.

    Raises:
        UnavailableError: the server cannot be reached.
    """
    if tree.owner is None and database is None:
        return query
    return Within(query, database, search_path(tree, query, database, spec) if tree.owner else "")


def search_path(tree: Migrations, query: Query, database: str | None = None, spec: Spec | None = None) -> str:
    """Return the schemas in which the sessions of a tree look for a table, as SQL writes them.

    Raises:
        UnavailableError: the server cannot be reached.
    """
    declared = dict(_declared(spec, tree)) if spec is not None else {}
    asked = {
        "login": tree.login,
        "owner": tree.owner,
        "of_role": [of_role for of_role, _ in declared],
        "of_database": [of_database for _, of_database in declared],
        "paths": list(declared.values()),
    }
    ((schemas,),) = query.rows(_PATH, asked, database=database)
    return ", ".join([identifier(each) for each in schemas]) or "''"


def _declared(spec: Spec, tree: Migrations) -> Iterator[tuple[tuple[bool, bool], str | None]]:
    """Yield the search paths that a spec declares, for a role or not, in one database or not; None: there is none."""
    name = spec.database_of(tree)
    role, database = spec.roles.get(tree.login or ""), spec.databases.get(name)
    for key, values in (
        ((True, True), role.settings_in.get(name, {}) if role else {}),
        ((True, False), role.settings if role else {}),
        ((False, True), database.settings if database else {}),
    ):
        if "search_path" in values:
            items = values["search_path"]
            yield key, None if items is None else ", ".join(map(identifier, items))
