"""What belongs to a database and is in no copy of it: privileges, the connection limit, settings, the comment.

PostgreSQL's own copy of a template leaves them out, and so does a dump that is restored under another name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from provision.errors import StepFailedError, command
from provision.model.sql import identifier, literal
from provision.system.driver_errors import failure
from provision.system.postgres import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg2.extensions

_LISTS = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})
"""Settings that PostgreSQL keeps as a list of names, which cannot be written as one text."""
_PRIVILEGES = """
SELECT CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee)::text END, privilege_type, is_grantable
FROM pg_database, aclexplode(datacl) WHERE datname = %s
"""
_ITSELF = "SELECT datacl IS NULL, datconnlimit FROM pg_database WHERE datname = %s"
_OWNER = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = %s"
_SETTINGS = """
SELECT r.rolname::text, split_part(e, '=', 1), substr(e, strpos(e, '=') + 1)
FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase AND d.datname = %s
    LEFT JOIN pg_roles AS r ON r.oid = s.setrole, unnest(s.setconfig) AS e
WHERE s.setrole = 0 OR r.oid IS NOT NULL
"""

Privilege = tuple[str | None, str, bool]
"""To whom (None: to all), what (``CONNECT``), and whether they may pass it on."""


class Properties(NamedTuple):
    """What a copy is given. ``privileges`` None: those of a new one; ``settings``: (role or None, name, value)."""

    privileges: tuple[Privilege, ...] | None
    connection_limit: int
    settings: tuple[tuple[str | None, str, str], ...]

    @property
    def is_plain(self) -> bool:
        """Whether a new database has all of it."""
        return self.privileges is None and self.connection_limit < 0 and not self.settings


def read(connection: psycopg2.extensions.connection, database: str) -> Properties:
    """Return what a database has.

    Raises:
        StepFailedError: there is no such database.
    """
    found = asked(connection, _ITSELF, (database,))
    if not found:
        raise StepFailedError(f"there is no database {database!r}", next_step=command("status"))
    ((is_default, limit),) = found
    privileges = None if is_default else tuple(asked(connection, _PRIVILEGES, (database,)))
    return Properties(privileges, limit, tuple(asked(connection, _SETTINGS, (database,))))


def give(
    connection: psycopg2.extensions.connection, properties: Properties, database: str, comment: str | None
) -> tuple[str, ...]:
    """Give it to a database, in one transaction; return which settings the server refuses.

    None: no comment is made.
    """
    ((owner,),) = asked(connection, _OWNER, (database,))
    left: list[str] = []
    execute(connection, "BEGIN")
    for each in _statements(properties, identifier(database), owner):
        execute(connection, each)
    for role, setting, value in properties.settings:
        whose = f"ALTER ROLE {identifier(role)} IN DATABASE" if role else "ALTER DATABASE"
        alter = f"{whose} {identifier(database)} SET {identifier(setting)}"
        if not _set(connection, alter, setting, value):
            left.append(setting + (f" of the role {role!r}" if role else ""))  # no value: it may be a secret
    if comment is not None:
        execute(connection, f"COMMENT ON DATABASE {identifier(database)} IS {literal(comment)}")
    execute(connection, "COMMIT")
    return tuple(left)


def _statements(properties: Properties, name: str, owner: str) -> Iterator[str]:
    if properties.privileges is not None:
        yield f"REVOKE ALL ON DATABASE {name} FROM PUBLIC, {identifier(owner)}"
    for grantee, privilege, is_grantable in properties.privileges or ():
        who = "PUBLIC" if grantee is None else identifier(grantee)
        option = " WITH GRANT OPTION" if is_grantable else ""
        yield f"GRANT {privilege} ON DATABASE {name} TO {who}{option}"
    if properties.connection_limit >= 0:
        yield f"ALTER DATABASE {name} CONNECTION LIMIT {properties.connection_limit}"


def _set(connection: psycopg2.extensions.connection, alter: str, setting: str, value: str) -> bool:
    """Set what is in force from the next session on; whether the server accepts it."""
    from psycopg2 import Error

    try:
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT one")
            set_value(cursor, alter, setting, value, is_local=True)
    except Error:
        execute(connection, "ROLLBACK TO SAVEPOINT one")
        return False
    return True


def set_value(cursor: Any, alter: str, setting: str, value: str, *, is_local: bool) -> None:
    """Carry out ``ALTER … SET``; what PostgreSQL keeps as a list of names cannot be written as one text.

    ``is_local``: a list that is set on the way there holds in this session until its transaction ends.
    """
    if setting in _LISTS:
        cursor.execute("SELECT set_config(%s, %s, %s)", (setting, value, is_local))
        cursor.execute(f"{alter} FROM CURRENT")
    else:
        cursor.execute(f"{alter} TO {literal(value)}")


def execute(connection: psycopg2.extensions.connection, statement: str) -> None:
    """Run a statement.

    Raises:
        StepFailedError: the server refuses it, with its words.
    """
    from psycopg2 import Error

    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except Error as error:
        raise failure(error) or error from error


def asked(connection: psycopg2.extensions.connection, question: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Return the rows of one statement.

    Raises:
        StepFailedError: the server did not answer.
    """
    from psycopg2 import Error

    try:
        return rows(connection, question, parameters)
    except Error as error:
        raise StepFailedError(
            "the server did not answer a question about its databases",
            evidence=str(error).splitlines(),
            next_step=command("status"),
        ) from error
