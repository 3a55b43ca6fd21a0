"""The section ``roles``: who can log in, what belongs to which group, and what each role is.

https://www.postgresql.org/docs/current/sql-createrole.html
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from provision.spec.access import NEVER, Member, NoPassword, Role
from provision.spec.credentials import password
from provision.spec.model import Server
from provision.spec.passwords import PasswordGenerated, PasswordMissing, PasswordSource
from provision.spec.readers import boolean, choice, comment, identifier, limit, list_of
from provision.spec.reading import (
    ONLY_ABSENT,
    Key,
    Reading,
    Reported,
    Unset,
    Wrong,
    by_name,
    is_absent,
    mapping,
    read_table,
    report_without_meaning,
)
from provision.spec.role_names import declared_role, key_name, mentioned_role, remark_twins
from provision.spec.role_settings import settings
from provision.spec.yaml import Mapping, Node, Scalar

OPTIONS_SINCE = 16
"""The major version from which on a membership has the options ``inherit`` and ``set``."""
_INSTANT = (
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt]| +)(?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r" ?(?P<zone>[Zz]|[-+][0-9]{2}(?::?[0-9]{2})?)"
)


def _password(node: Node, reading: Reading) -> PasswordSource | NoPassword:
    if isinstance(node, Scalar) and node.text == "none":
        return NoPassword()
    before = len(reading.missing)
    found: PasswordSource | None = None
    try:
        found = password(node, reading)
    except Unset as unset:
        if not reading.may_lack:
            raise
        reading.report(node.mark, f"`password`: {unset.message}", unset.suggestion, missing=True)
    missing = reading.missing[before:]
    return PasswordMissing(tuple(missing)) if found is None or missing else found


def _valid_until(node: Node, reading: Reading) -> str:
    from datetime import UTC, datetime

    found, value = reading.scalar(node, "an instant like `2027-01-01T00:00:00Z`, or `never`")
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


def _member(node: Node, reading: Reading, *, major: int) -> Member:
    if not isinstance(node, Mapping):
        return Member(_group(node, reading))
    values = read_table(node, MEMBER_KEYS, reading, "a membership")
    if 0 < major < OPTIONS_SINCE:
        for name in values.keys() & {"inherit", "set"}:
            message = f"memberships have the option `{name}` from PostgreSQL {OPTIONS_SINCE} on, and this is {major}"
            reading.refuse(node, name, message)
    if "role" not in values:
        raise Reported
    absent = is_absent(values, node, ("admin", "inherit", "set"), reading)
    return Member(values.pop("role"), is_absent=absent, **values)


_group = mentioned_role("member_of")
MEMBER_KEYS = {
    "role": Key(_group, required=True, example="role: shop_owner"),
    "admin": Key(boolean),
    "inherit": Key(boolean),
    "set": Key(boolean),
    "state": Key(choice("present", "absent")),
}


def _groups(node: Node, reading: Reading, *, major: int) -> tuple[Member, ...]:
    found: tuple[Member, ...] = list_of(partial(_member, major=major), "[shop_read]")(node, reading)
    if len({each.group for each in found}) < len(found):
        reading.report(node.mark, "a group is in the list twice", "keep one of the two")
    return found


def _settings_in(node: Node, reading: Reading, *, major: int) -> dict[str, Any]:
    def name(key: Scalar, reading: Reading) -> str:
        found = key_name(key, reading)
        reading.mention("database", found, key, "settings_in")
        return found

    entries = mapping(node, "`shop: {search_path: [shop]}` and the like below it").entries.values()
    return by_name(entries, name, lambda node, reading, _: settings(major)(node, reading), reading)


def role_keys(major: int) -> dict[str, Key]:
    """Return the keys of a role; what some of them may be depends on the major version, 0 where it is not known."""
    return {
        "state": Key(choice("present", "absent")),
        "login": Key(boolean),
        "password": Key(_password),
        "superuser": Key(boolean),
        "createdb": Key(boolean),
        "createrole": Key(boolean),
        "replication": Key(boolean),
        "bypassrls": Key(boolean),
        "inherit": Key(boolean),
        "connection_limit": Key(limit("connections")),
        "valid_until": Key(_valid_until),
        "comment": Key(comment),
        "settings": Key(settings(major)),
        "settings_in": Key(partial(_settings_in, major=major)),
        "member_of": Key(partial(_groups, major=major)),
        "external": Key(boolean),
        "renamed_from": Key(identifier),
        "reassign_to": Key(mentioned_role("reassign_to")),
        "drop_owned": Key(boolean),
        "sessions": Key(choice("refuse", "end")),
    }


_OF_ABSENT = ("reassign_to", "drop_owned", "sessions")
_OF_PRESENT = tuple(name for name in role_keys(0) if name not in ("state", *_OF_ABSENT))
_FIELDS = {"state": "is_absent", "external": "is_external", "sessions": "ends_sessions"}


def roles(node: Node, reading: Reading, server: Server) -> dict[str, Role]:
    """Read every role by name; what they say of each other is judged by :mod:`provision.spec.inside`."""
    entries = mapping(node, "`app: {login: true}` and the like below it").entries.values()
    remark_twins([key for key, _ in entries], "roles", reading)
    read = partial(_role, keys=role_keys(server.major), server=server)
    return by_name(entries, declared_role(server.user), read, reading)


def _role(node: Node, reading: Reading, key: Scalar, *, keys: dict[str, Key], server: Server) -> Role:
    entries = mapping(node, "`{login: true}`, or `{}` for a group")
    before = len(reading.missing)
    values = read_table(entries, keys, reading, "a role")
    source = values.get("password")
    if len(reading.missing) - before > (len(source.problems) if isinstance(source, PasswordMissing) else 0):
        raise Reported  # a variable that it needs is not set
    values["state"] = values.get("state") == "absent"
    values["sessions"] = values.get("sessions") == "end"
    has_password = not isinstance(values.get("password", NoPassword()), NoPassword)
    values.setdefault("login", has_password)
    fields = {_FIELDS.get(each, each): value for each, value in values.items()}
    role = Role(key.text, place=reading.place(key.mark), **fields)
    _check(role, entries, reading, server)
    return role


def _check(role: Role, entries: Mapping, reading: Reading, server: Server) -> None:
    """Report keys that contradict each other."""
    if role.is_absent:
        report_without_meaning(_OF_PRESENT, entries, reading, "with `state: absent`")
        if role.reassign_to and role.drop_owned:
            advice = "keep `reassign_to` to give away what the role owns, or `drop_owned` to remove it"
            reading.refuse(entries, "drop_owned", "`drop_owned` contradicts `reassign_to`", advice)
        return
    for name in _OF_ABSENT:
        reading.refuse(entries, name, f"`{name}` has a meaning only with `state: absent`", ONLY_ABSENT)
    if role.is_external:
        others = [name for name in _OF_PRESENT if name != "external"]
        report_without_meaning(others, entries, reading, "with `external: true`: it is made elsewhere")
        return
    _check_password(role, entries, reading, server)


def _check_password(role: Role, entries: Mapping, reading: Reading, server: Server) -> None:
    source = role.password
    if source is not None and not isinstance(source, NoPassword) and not role.login:
        advice = "remove it, or write `login: true`"
        reading.refuse(entries, "password", "`password` has no meaning with `login: false`", advice)
    if server.runtime == "external" and role.login and isinstance(source, PasswordGenerated):
        advice = "write `password: ${NAME}`, `{file: …}` or `{command: […]}`; `none` where it logs in without one"
        value = entries.value("password")
        if not isinstance(value, Mapping) or "generate" in value.entries:
            message = "a generated password has no meaning with `runtime: external`"
            reading.refuse(entries, "password", message, advice)
