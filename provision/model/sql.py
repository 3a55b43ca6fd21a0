"""Names and texts as they stand in a statement, and in what libpq reads.

https://www.postgresql.org/docs/current/sql-syntax-lexical.html
"""

from __future__ import annotations

IS_STANDBY = """(state IS NULL OR replay_lsn IS NOT NULL) AND NOT EXISTS (
    SELECT FROM pg_replication_slots AS s WHERE s.active_pid = r.pid AND slot_type = 'logical')"""
"""Whether a row of ``pg_stat_replication AS r`` is a standby's.

What only archives (pg_receivewal) or copies (pg_basebackup) replays nothing, and who subscribes to a publication has a
logical slot. A role without pg_monitor sees neither the state nor what is replayed.
https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW
"""


def identifier(*names: str) -> str:
    r"""Return a quoted name, or a qualified one.

    >>> identifier("public", 'a"b')
    '"public"."a""b"'
    """
    return ".".join('"{}"'.format(name.replace('"', '""')) for name in names)


def owned(create: str, schema: str, table: str, owner: str | None) -> str:
    """Return statements that make a table, and a schema where it is missing, so that they belong to ``owner``.

    None: they belong to our login.
    """
    if owner is None:
        return create
    made = f"SCHEMA IF NOT EXISTS {schema}"
    create = create.replace(made, f"{made} AUTHORIZATION {identifier(owner)}")
    return f"{create}; ALTER TABLE {table} OWNER TO {identifier(owner)}"


def literal(text: str) -> str:
    r"""Return a quoted text, whatever `standard_conforming_strings` says.

    >>> print(literal("it's"), literal("a\\b"))
    'it''s' E'a\\\\b'
    """
    doubled = text.replace("'", "''")
    return "E'{}'".format(doubled.replace("\\", "\\\\")) if "\\" in text else f"'{doubled}'"


def conninfo(database: str) -> str:
    r"""Return a connection string that means this database, whatever its name looks like.

    >>> conninfo("it's")
    "dbname='it\\'s'"
    """
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def passfile(password: str) -> str:
    """Return the content of a password file that holds for every server.

    It has a line for each password, so one with a line break has none.
    https://www.postgresql.org/docs/current/libpq-pgpass.html
    """
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"
