"""Where a tree is migrated, and as whom: its database, its login, the role of its sessions, and their search path.

What only looks, holds the lock or makes scratch databases is the server's declared login: it sees who waits for whom,
and reads what others own. It finds a version table without a schema where the tree's own sessions find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.model.sql import identifier
from provision.model.value import dataclass, replace
from provision.system import secrets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.model import Endpoint, Query
    from provision.spec.model import Migrations, Spec

# A session's own path comes from its login, in its database or everywhere; `$user` in it is the role that it is set to.
_PATH = r"""
SELECT set_config('search_path', coalesce((
    SELECT substr(config, 13)
    FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = setrole, unnest(setconfig) AS config
    WHERE config LIKE 'search\_path=%%' AND (setrole = 0 OR rolname = coalesce(%(login)s, session_user))
        AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    ORDER BY setrole <> 0 DESC, setdatabase <> 0 DESC LIMIT 1), current_setting('search_path')), true),
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


def within(tree: Migrations, query: Query, database: str | None = None) -> Query:
    """Return the questions of a tree; those of one that has a login or a role are asked on its search path.

    Raises:
        UnavailableError: the server cannot be reached.
    """
    if tree.owner is None and database is None:
        return query
    return Within(query, database, search_path(tree, query, database) if tree.owner else "")


def search_path(tree: Migrations, query: Query, database: str | None = None) -> str:
    """Return the schemas in which the sessions of a tree look for a table, as SQL writes them.

    Raises:
        UnavailableError: the server cannot be reached.
    """
    asked = {"login": tree.login, "owner": tree.owner}
    ((schemas,),) = query.rows(_PATH, asked, database=database)
    return ", ".join([identifier(each) for each in schemas]) or "''"
