"""Names of roles: where a spec declares one, and where it uses one that it has declared.

https://www.postgresql.org/docs/current/sql-createrole.html, https://www.postgresql.org/docs/current/predefined-roles.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from provision.spec.access import PUBLIC, Grantee
from provision.spec.readers import identifier
from provision.spec.reading import (
    MOST_PROBLEMS,
    Key,
    Mention,
    Reading,
    Reported,
    Wrong,
    mapping,
    nearest,
    read_table,
    scalar,
    shorten,
)
from provision.spec.yaml import Mapping, Node, Scalar

EVERYBODY: Final = "public"
OWNER_OF_THE_DATABASE: Final = "pg_database_owner"
PREDEFINED: Final = {
    14: (
        "pg_execute_server_program",
        "pg_monitor",
        "pg_read_all_data",
        "pg_read_all_settings",
        "pg_read_all_stats",
        "pg_read_server_files",
        "pg_signal_backend",
        "pg_stat_scan_tables",
        "pg_write_all_data",
        "pg_write_server_files",
        OWNER_OF_THE_DATABASE,
    ),
    15: ("pg_checkpoint",),
    16: ("pg_create_subscription", "pg_use_reserved_connections"),
    17: ("pg_maintain",),
    18: ("pg_signal_autovacuum_worker",),
}
"""The roles that every server has, by the major version that they came with."""
_ONLY_PUBLIC: Final = f"write `{EVERYBODY}` for everybody, or `{{role: PUBLIC}}` for the role of that name"


def key_name(key: Scalar, reading: Reading) -> str:
    """Read a name that is the key of a mapping.

    Raises:
        Wrong: it cannot be the name of anything inside PostgreSQL.
    """
    if "${" in key.text or "$$" in key.text:
        raise Wrong(f"`{shorten(key.text)}` is a key, and variables are put into values only", "write the name itself")
    return identifier(key, reading)


def remark_twins(keys: Iterable[Scalar], what: str, reading: Reading) -> None:
    """Remark on names that differ in case only."""
    first: dict[str, Scalar] = {}
    for key in keys:
        other = first.setdefault(key.text.casefold(), key)
        if other is not key and not reading.secret and len(reading.remarks) < MOST_PROBLEMS:
            first_, place = f"`{shorten(other.text)}`", reading.line(other.mark, key.mark)
            message = f"`{shorten(key.text)}` and {first_} in {place} are two {what}"
            advice = "without quotes, SQL means the name in lower case; rename one unless you need both"
            reading.remark(key.mark, message, advice)


def declared_role(user: str) -> Callable[[Scalar, Reading], str]:
    """Return a reader of the name of a role that is declared; ``user`` is the login of ``server.credentials``."""

    def read(key: Scalar, reading: Reading) -> str:
        name = key_name(key, reading)
        if name in ("none", EVERYBODY):
            advice = f"`{EVERYBODY}` is everybody, and needs no declaration" if name == EVERYBODY else None
            raise Wrong(f"no role can be called `{name}`: PostgreSQL reserves the word", advice or "write another name")
        if name.startswith("pg_"):
            is_there = any(name in names for names in PREDEFINED.values())
            advice = "remove it: the other keys can name it anyway" if is_there else "write another name"
            raise Wrong("names of roles that begin with `pg_` are PostgreSQL's own", advice)
        if name == user:
            raise Wrong(
                f"`{shorten(name)}` is the role that provision logs in as: `server.credentials` says what it is",
                "remove it: the other keys can name it anyway",
            )
        return name

    return read


def mentioned_role(use: str) -> Callable[[Node, Reading], str]:
    """Return a reader of the name of a role that is declared elsewhere; ``{role: NAME}`` is the same.

    Whether there is one is judged by :mod:`provision.spec.mentions` once the whole spec is read.
    """

    def read(node: Node, reading: Reading) -> str:
        if isinstance(node, Mapping):
            return _in_mapping(node, reading, use)
        name = identifier(node, reading)
        reading.mention("role", name, scalar(node, "a name"), use)
        return name

    return read


def _in_mapping(node: Mapping, reading: Reading, use: str) -> str:
    keys = {"role": Key(mentioned_role(use), required=True, example="role: app")}
    before = len(reading.problems) + len(reading.missing)
    values = read_table(mapping(node, "`{role: app}`"), keys, reading, "the role")
    if len(reading.problems) + len(reading.missing) > before or "role" not in values:
        raise Reported
    return str(values["role"])


def mentioned_grantee(use: str) -> Callable[[Node, Reading], Grantee]:
    """Return a reader of a role, or of ``public``: everybody."""
    read_role = mentioned_role(use)

    def read(node: Node, reading: Reading) -> Grantee:
        if isinstance(node, Scalar) and reading.text(node).casefold() == EVERYBODY:
            if reading.text(node) != EVERYBODY:
                raise Wrong(f"{reading.show(node)} can be read as everybody, and as a role", _ONLY_PUBLIC)
            return PUBLIC
        return read_role(node, reading)

    return read


def complaint(mention: Mention, major: int, declared: Collection[str]) -> tuple[str, str] | None:
    """Return what is wrong with a role that is none of the ``declared``, and what to write; None: PostgreSQL has it."""
    name, shown = mention.name, mention.shown
    if name == OWNER_OF_THE_DATABASE and mention.use == "member_of":
        return f"{shown} has the owner of each database as its only member", "name another role"
    if name.startswith("pg_"):
        return _not_predefined(name, shown, major)
    if name == EVERYBODY:
        return f"`{EVERYBODY}` is everybody and not a role", "write the name of a role"
    if mention.is_in_clear and (meant := nearest(name, declared)):
        return f"there is no role {shown} below `roles`", f"did you mean `{shorten(meant)}`?"
    entry = f"`{shorten(name)}: {{}}`" if mention.is_in_clear else "it"
    advice = f"add {entry} there, or with `{{external: true}}` where it is made elsewhere"
    return f"there is no role {shown} below `roles`", advice


def _not_predefined(name: str, shown: str, major: int) -> tuple[str, str] | None:
    since: Any = next((each for each, names in PREDEFINED.items() if name in names), None)
    if since is not None:
        advice = "remove it, or name another role"
        return (
            (f"{shown} exists from PostgreSQL {since} on, and this is {major}", advice) if 0 < major < since else None
        )
    if major > max(PREDEFINED):
        return None  # it may be one of a version that is newer than this program
    meant = nearest(name, [each for names in PREDEFINED.values() for each in names])
    advice = f"did you mean `{meant}`?" if meant else "name a role that is declared below `roles`"
    return f"PostgreSQL has no predefined role {shown}", advice
