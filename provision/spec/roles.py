"""The section ``roles``: who can log in, what belongs to groups, and what each role is.

https://www.postgresql.org/docs/current/sql-createrole.html
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from provision.spec.access import NEVER, NO_LIMIT, PUBLIC, Member, NoPassword, Role
from provision.spec.credentials import PASSWORD_KEYS, password
from provision.spec.passwords import PasswordMissing
from provision.spec.readers import boolean, choice, identifier
from provision.spec.reading import Key, Mention, Wrong, attempt, failed, mapping, read_table, scalar
from provision.spec.role_settings import settings
from provision.spec.yaml import Mapping, Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.spec.access import Grantee
    from provision.spec.passwords import PasswordSource
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

EVERYBODY = "public"
_LARGEST = 2**31 - 1
_INSTANT = (
    r"(?P<day>\d{4}-\d{2}-\d{2})[Tt ]+(?P<time>\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?) ?(?P<zone>[Zz]|[-+]\d{2}(:?\d{2})?)"
)


def role_name(use: str) -> Callable[[Node, Reading], str]:
    """Return a reader of the name of a role that is declared elsewhere: the name, or ``{role: NAME}``."""

    def read(node: Node, reading: Reading) -> str:
        if isinstance(node, Mapping):
            values = read_table(node, {"role": Key(role_name(use), required=True, example="role: app")}, reading, "it")
            if "role" not in values:
                raise Wrong("it must be the name of a role", "write it alone")
            return str(values["role"])
        value = identifier(node, reading)
        reading.mentions.append(Mention("role", value, node.mark, use))
        return value

    return read


def grantee(use: str) -> Callable[[Node, Reading], Grantee]:
    """Return a reader of a role, or of ``public``: everybody."""

    def read(node: Node, reading: Reading) -> Grantee:
        if isinstance(node, Scalar) and reading.text(node) == EVERYBODY:
            return PUBLIC
        return role_name(use)(node, reading)

    return read


def names(read: Callable[[Node, Reading], Any], example: str) -> Callable[[Node, Reading], tuple[Any, ...]]:
    """Return a reader of a list; one that is empty is a value too."""

    def read_all(node: Node, reading: Reading) -> tuple[Any, ...]:
        if not isinstance(node, Sequence):
            raise Wrong("it must be a list", f"for example `{example}`")
        found = [attempt(read, each, reading) for each in node.items]
        return tuple(dict.fromkeys(each for each in found if not failed(each)))

    return read_all


def connection_limit(node: Node, reading: Reading) -> int:
    """Read how many connections there may be; ``none`` is no limit."""
    found = scalar(node, "a number of connections")
    value = reading.text(found)
    if value == "none":
        return NO_LIMIT
    if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) > _LARGEST:
        raise Wrong(f"{reading.show(found)} is not a number of connections", "write a whole number, or `none`")
    return int(value)


def comment(node: Node, reading: Reading) -> str:
    """Read a comment, which may have several lines; ``none`` takes one away, and is empty here."""
    found = scalar(node, "a text")
    value = reading.text(found)
    if "\0" in value:
        raise Wrong("the text has a NUL in it")
    return "" if value == "none" else value


def valid_until(node: Node, reading: Reading) -> str:
    """Read until when the password is valid, in UTC."""
    from datetime import UTC, datetime

    found = scalar(node, "an instant like `2027-01-01T00:00:00Z`, or `never`")
    value = reading.text(found)
    if value == "never":
        return NEVER
    match = re.fullmatch(_INSTANT, value)
    text = f"{match['day']}T{match['time']}{match['zone'].upper()}" if match else ""
    try:
        instant = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        advice = "write date, time and time zone, like `2027-01-01T00:00:00Z`, or `never`"
        raise Wrong(f"{reading.show(found)} is not an instant", advice) from None
    return instant.replace(tzinfo=None).isoformat() + "Z"


def _password(node: Node, reading: Reading) -> PasswordSource | NoPassword:
    if isinstance(node, Scalar) and node.text == "none":
        return NoPassword()
    before = len(reading.missing)
    found = password(node, reading)
    missing = reading.missing[before:]
    return PasswordMissing(tuple(missing)) if missing else found


def _member(node: Node, reading: Reading) -> Member:
    if not isinstance(node, Mapping):
        return Member(role_name("member_of")(node, reading))
    values = read_table(node, MEMBER_KEYS, reading, "a membership")
    if "role" not in values:
        raise Wrong("it names no role", "for example `{role: shop_owner, set: true}`")
    return Member(values.pop("role"), is_absent=values.pop("state", "present") == "absent", **values)


MEMBER_KEYS = {
    "role": Key(role_name("member_of")),
    "admin": Key(boolean),
    "inherit": Key(boolean),
    "set": Key(boolean),
    "state": Key(choice("present", "absent")),
}


def role_keys(major: int) -> dict[str, Key]:
    """Return the keys of a role; what its settings may be depends on the major version."""
    return {**ROLE_KEYS, "settings": Key(settings(major)), "settings_in": Key(partial(_settings_in, major=major))}


def _settings_in(node: Node, reading: Reading, *, major: int) -> dict[str, Any]:
    found = {}
    for name, (key, value) in mapping(node, "`shop: {search_path: [shop]}` and the like below it").entries.items():
        reading.mentions.append(Mention("database", name, key.mark, "settings_in"))
        here = attempt(settings(major), value, reading)
        if not failed(here):
            found[name] = here
    return found


ROLE_KEYS: dict[str, Key] = {
    "state": Key(choice("present", "absent")),
    "login": Key(boolean),
    "password": Key(_password),
    "superuser": Key(boolean),
    "createdb": Key(boolean),
    "createrole": Key(boolean),
    "replication": Key(boolean),
    "bypassrls": Key(boolean),
    "inherit": Key(boolean),
    "connection_limit": Key(connection_limit),
    "valid_until": Key(valid_until),
    "comment": Key(comment),
    "settings": Key(settings(0)),
    "settings_in": Key(partial(_settings_in, major=0)),
    "member_of": Key(names(_member, "[shop_read]")),
    "external": Key(boolean),
    "renamed_from": Key(identifier),
    "reassign_to": Key(role_name("reassign_to")),
    "drop_owned": Key(boolean),
    "sessions": Key(choice("refuse", "end")),
}
_FIELDS = {"state": "is_absent", "external": "is_external", "sessions": "ends_sessions"}


def roles(node: Node, reading: Reading, major: int) -> dict[str, Role]:
    """Read every role by name."""
    found: dict[str, Role] = {}
    for name, (key, value) in mapping(node, "`app: {login: true}` and the like below it").entries.items():
        if reading.is_full:
            break
        if not failed(attempt(_name, key, reading)):
            role = attempt(partial(_role, name=name, key=key, major=major), value, reading)
            if not failed(role) and role is not None:
                found[name] = role
    return found


def _name(key: Node, reading: Reading) -> str:
    return identifier(key, reading)


def _role(node: Node, reading: Reading, *, name: str, key: Scalar, major: int) -> Role | None:
    entries = mapping(node, "`{login: true}`, or `{}` for a group")
    values = read_table(entries, role_keys(major), reading, "a role")
    if reading.may_lack and not values.keys() >= entries.entries.keys():
        return None  # a variable that it needs is not set, and that was reported
    values["state"] = values.get("state") == "absent"
    values["sessions"] = values.get("sessions") == "end"
    values.setdefault("login", "password" in values and not isinstance(values["password"], NoPassword))
    place = f"{reading.path}:{key.mark.line}"
    return Role(name, place=place, **{_FIELDS.get(each, each): value for each, value in values.items()})


__all__ = ["MEMBER_KEYS", "PASSWORD_KEYS", "ROLE_KEYS", "roles"]
