"""Roles and privileges at random, as people leave them behind: odd names, grant options, columns, owners, groups."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg2

from provision.model.sql import identifier as quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.foreign import Foreign

SCHEMAS = ("shop", "Odd one")
_TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_OBJECTS = (
    "CREATE TABLE {}.t (a int, b int)",
    'CREATE TABLE {}."T two" (a int)',
    "CREATE VIEW {}.v AS SELECT 1 AS a",
    "CREATE MATERIALIZED VIEW {}.m AS SELECT 1 AS a",
    "CREATE SEQUENCE {}.s",
    "CREATE FUNCTION {}.f(a integer, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE PROCEDURE {}.p() LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE {}.e AS ENUM ('a')",
    "CREATE DOMAIN {}.d AS int",
)
_RELATIONS = ("t", '"T two"', "v", "m")
_KINDS = {"t": "TABLE", '"T two"': "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW"}
_OTHERS = (
    ("SEQUENCE", "s", ("SELECT", "USAGE", "UPDATE")),
    ("FUNCTION", "f(integer, text)", ("EXECUTE",)),
    ("PROCEDURE", "p()", ("EXECUTE",)),
    ("TYPE", "e", ("USAGE",)),
    ("DOMAIN", "d", ("USAGE",)),
)


@contextmanager
def roles_at_random(server: Foreign, seed: int, statements: int = 60) -> Iterator[str]:
    """Have a database with roles and privileges at random; both go away."""
    random, prefix = Random(seed), f"r{uuid4().hex[:6]}"  # noqa: S311  # for tests only
    database, roles = f"{prefix} db", names(prefix)
    server.execute(f"CREATE DATABASE {quoted(database)}", *[f"CREATE ROLE {quoted(each)}" for each in roles])
    try:
        server.execute(*objects(), database=database)
        for _ in range(statements):
            with suppress(psycopg2.Error):
                server.execute(statement(random, roles, database, server.major), database=database)
        yield database
    finally:
        server.execute(f"DROP DATABASE {quoted(database)}")
        server.execute(
            *[each for role in map(quoted, roles) for each in (f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")]
        )


def names(prefix: str) -> list[str]:
    """Return the names of some roles."""
    return [f"{prefix}{each}" for each in ("_a", " B", '"c', "_login", "_PUBLIC")]


def objects() -> Iterator[str]:
    """Yield what makes one object of each kind in two schemas."""
    for schema in map(quoted, SCHEMAS):
        yield f"CREATE SCHEMA {schema}"
        yield from (each.format(schema) for each in _OBJECTS)


def statement(random: Random, roles: list[str], database: str, major: int) -> str:
    """Return one statement about roles and privileges; the server may refuse it."""
    role, other = (quoted(each) for each in random.sample(roles, 2))
    to = random.choice([role, role, "PUBLIC"])
    option = " WITH GRANT OPTION" if to != "PUBLIC" and random.random() < 1 / 4 else ""
    as_ = f"SET ROLE {other}; " if random.random() < 1 / 4 else ""
    if random.random() < 1 / 5:
        return _membership(random, role, other, major)
    if random.random() < 1 / 4:
        return _default(random, role, to, option)
    if random.random() < 1 / 10:
        return _of_role(random, role, database)
    verb = random.choice(["GRANT {} ON {} TO {}{}", "GRANT {} ON {} TO {}{}", "REVOKE {} ON {} FROM {} CASCADE"])
    privileges, on = _subject(random, database, major)
    if random.random() < 1 / 8:
        return f"ALTER {on if ' ' in on else f'TABLE {on}'} OWNER TO {role}"
    return f"{as_}{verb.format(privileges, on, to, option)}; RESET ROLE"


def _membership(random: Random, role: str, other: str, major: int) -> str:
    kind = random.choice(["grant", "grant", "revoke", "attribute", "predefined"])
    if kind == "attribute":
        return f"ALTER ROLE {role} {random.choice(['NOINHERIT', 'INHERIT', 'SUPERUSER', 'NOSUPERUSER', 'LOGIN'])}"
    predefined = ["pg_read_all_data", "pg_write_all_data", *(["pg_maintain"] if major >= 17 else [])]
    group = random.choice(predefined) if kind == "predefined" else other
    if kind == "revoke":
        return f"REVOKE {other} FROM {role}"
    options = [f"{each} {random.choice(['TRUE', 'FALSE'])}" for each in ("INHERIT", "SET", "ADMIN")]
    return f"GRANT {group} TO {role}" + (f" WITH {', '.join(options)}" if major >= 16 else "")


def _default(random: Random, role: str, to: str, option: str) -> str:
    """Return a statement about what will be created."""
    schema = random.choice(["", *[f" IN SCHEMA {quoted(each)}" for each in SCHEMAS]])
    kinds = {
        "TABLES": ("SELECT", "INSERT"),
        "SEQUENCES": ("SELECT", "USAGE"),
        "ROUTINES": ("EXECUTE",),
        "TYPES": ("USAGE",),
    }
    kind, privileges = random.choice(list(kinds.items()))
    given = random.choice([", ".join(privileges), privileges[0]])
    verb = random.choice([f"GRANT {given} ON {kind} TO {to}{option}", f"REVOKE {given} ON {kind} FROM {to}"])
    return f"ALTER DEFAULT PRIVILEGES FOR ROLE {role}{schema} {verb}"


def _of_role(random: Random, role: str, database: str) -> str:
    """Return a statement about a role, or about the database."""
    return random.choice(
        [
            f"ALTER ROLE {role} CONNECTION LIMIT {random.choice([-1, 0, 5])}",
            f"ALTER ROLE {role} VALID UNTIL '{random.choice(['infinity', '2031-01-02 03:04:05.5+02'])}'",
            f"ALTER ROLE {role} SET search_path = 'a, b', \"$user\", shop",
            f"ALTER ROLE {role} IN DATABASE {quoted(database)} SET work_mem = '8192'",
            f"ALTER ROLE {role} SET app.note = '{random.choice(['${HOME}', '', 'default', 'yes'])}'",
            f"ALTER DATABASE {quoted(database)} SET statement_timeout = '5min'",
            f"COMMENT ON ROLE {role} IS '{random.choice(['two lines', 'none', ''])}'",
            f"ALTER SCHEMA {quoted(random.choice(SCHEMAS))} OWNER TO {role}",
            f"ALTER DATABASE {quoted(database)} OWNER TO {role}",
            f"ALTER ROLE {role} {random.choice(['CREATEDB', 'CREATEROLE', 'BYPASSRLS', 'NOLOGIN', 'LOGIN'])}",
            "DROP SCHEMA public",
        ]
    )


def _subject(random: Random, database: str, major: int) -> tuple[str, str]:
    """Return privileges, and what they are on."""
    schema = quoted(random.choice(SCHEMAS))
    table = [*_TABLE, *(["MAINTAIN"] if major >= 17 else [])]
    match random.choice(["table", "table", "columns", "other", "schema", "database"]):
        case "table":
            return ", ".join(random.sample(table, random.randint(1, 3))), f"{schema}.{random.choice(_RELATIONS)}"
        case "columns":
            return f"{random.choice(['SELECT', 'UPDATE'])} ({random.choice('ab')})", f"{schema}.t"
        case "schema":
            return random.choice(["USAGE", "CREATE"]), f"SCHEMA {schema}"
        case "database":
            return random.choice(["CONNECT", "CREATE", "TEMPORARY"]), f"DATABASE {quoted(database)}"
    kind, name, privileges = random.choice(_OTHERS)
    return random.choice(privileges), f"{kind} {schema}.{name}"
