"""Roles and privileges at random, as people leave them behind: odd names, grant options, columns, owners, groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.model.sql import identifier as quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

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
