"""The section ``server.credentials``: the superuser, and where the password comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingType
from pathlib import Path
from shlex import quote
from typing import Any

from provision.model import Secret
from provision.spec.passwords import (
    PasswordCommand,
    PasswordFile,
    PasswordGenerated,
    PasswordMissing,
    PasswordSource,
    PasswordValue,
)
from provision.spec.readers import boolean, identifier, path, refuse_misread
from provision.spec.reading import Key, Reading, Wrong, all_of, listed, mapping, read_table, scalar, shorten
from provision.spec.yaml import Mapping, Node, Scalar, Sequence


def user(node: Node, reading: Reading) -> str:
    """Read the superuser's name."""
    value = identifier(node, reading)
    if value.startswith("pg_"):
        raise Wrong("names that begin with `pg_` are PostgreSQL's own", "write another one", at=node)
    if found := sorted(set(value) & set("\"$'\\")):
        # "invalid character in extension owner" in extension.c ends initdb, and it does not quote the name before.
        raise Wrong(f"no superuser of PostgreSQL can have {' '.join(found)} in its name", "write another one", at=node)
    return value


def password(node: Node, reading: Reading) -> PasswordSource:
    """Read where the password comes from."""
    forms = "a text, `{file: …}`, `{command: […]}` or `{generate: true}`"
    if isinstance(node, Sequence):
        raise Wrong(f"this is a list, and must be {forms}")
    if isinstance(node, Mapping):
        before = len(reading.problems) + len(reading.missing)
        values = read_table(node, PASSWORD_KEYS, reading, "`password`")
        if len(reading.problems) + len(reading.missing) > before:
            return PasswordGenerated()  # it is not used
        if len(values) != 1:
            raise Wrong(f"there must be one source, and there are {len(values)}", f"write {forms}")
        return next(iter(values.values()))  # type: ignore[no-any-return]
    if node.is_null:
        raise Wrong("there is no password", f"write {forms}")
    refuse_misread(node, reading)
    value = reading.text(node)
    if not value:
        raise _empty(node, reading)
    if "\0" in value:
        raise Wrong("the password has a NUL in it, which no server takes", "write another one")
    return PasswordValue(Secret(value))


def _of_superuser(node: Node, reading: Reading) -> PasswordSource:
    """Read a password that initdb is given in a file, of which it reads the first line."""
    found = password(node, reading)
    if isinstance(found, PasswordValue) and any(char in found.value.reveal() for char in "\r\n"):
        raise Wrong(
            "the superuser's password has a line break in it, and initdb reads one line", "write it in one line"
        )
    return found


def _empty(node: Scalar, reading: Reading) -> Wrong:
    names = [name for name in reading.variables(node) if reading.environ.get(name) == ""]
    if not names:
        return Wrong("the password is empty", "write it, or one of `{file: …}`, `{command: […]}` or `{generate: true}`")
    many = len(names) > 1
    what = f"the variable{'s' if many else ''} {listed(map(shorten, names))} {'are' if many else 'is'} empty"
    return Wrong(what, f"`read -rs {shorten(names[0])} && export {shorten(names[0])}` asks for the password")


def _password_file(node: Node, reading: Reading) -> PasswordFile:
    found = path(node, reading)
    if reading.needs_password_file and not os.path.lexists(found):
        is_shown = "$" not in scalar(node, "a path").text  # the value of a variable is not repeated
        raise Wrong("the password file does not exist", making(found) if is_shown else "write the password into it")
    return PasswordFile(found)


def making(file: Path) -> str:
    """Return the command that makes a password file."""
    shown = os.path.relpath(file) if file.is_relative_to(os.getcwd()) else str(file)  # noqa: PTH109  # keeps links
    directory = os.path.dirname(shown)  # noqa: PTH120  # empty for the current directory
    make = f"mkdir -p {quote(directory)}; " if directory and not os.path.isdir(directory) else ""  # noqa: PTH112
    return f"(umask 077; {make}openssl rand -base64 24 > {quote(shown)})   (a new password; or write your own there)"


def _password_command(node: Node, reading: Reading) -> PasswordCommand:
    if not isinstance(node, Sequence) or not node.items:
        raise Wrong("it must be a list: the program, then its arguments", "for example `[pass, show, shop]`")
    return PasswordCommand(tuple(all_of(_argument, node.items, reading)), reading.directory(node))


def _argument(node: Node, reading: Reading) -> str:
    value = reading.scalar(node, "a text")[1]
    if "\0" in value:
        raise Wrong("an argument cannot have a NUL in it")
    return value


def _password_generated(node: Node, reading: Reading) -> PasswordGenerated:
    if not boolean(node, reading):
        raise Wrong("it can only be `true`", "leave out the key, and give another source")
    return PasswordGenerated()


PASSWORD_KEYS = {"file": Key(_password_file), "command": Key(_password_command), "generate": Key(_password_generated)}
CREDENTIALS_KEYS = {"user": Key(user), "password": Key(_of_superuser)}


def credentials(node: Node, reading: Reading) -> MappingType[str, Any]:
    """Read the superuser's name and password."""
    before = len(reading.missing)
    login = mapping(node, "`{user: postgres, password: {generate: true}}`")
    values = read_table(login, CREDENTIALS_KEYS, reading, "`credentials`")
    if missing := reading.missing[before:]:
        values["password"] = PasswordMissing(tuple(missing))
    return values
