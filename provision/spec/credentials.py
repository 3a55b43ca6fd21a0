"""The section ``server.credentials``: the superuser, and where the password comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.model import Secret
from provision.spec.model import PasswordCommand, PasswordFile, PasswordGenerated, PasswordValue
from provision.spec.readers import boolean, identifier, path, refuse_misread
from provision.spec.reading import Key, Wrong, attempt, failed, mapping, read_table, scalar
from provision.spec.yaml import Mapping, Sequence

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType

    from provision.spec.model import PasswordSource
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node


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
        before = len(reading.problems)
        values = read_table(node, PASSWORD_KEYS, reading, "`password`")
        if len(reading.problems) > before:
            return PasswordGenerated()
        if len(values) != 1:
            raise Wrong(f"there must be one source, and there are {len(values)}", f"write {forms}")
        return next(iter(values.values()))  # type: ignore[no-any-return]
    if node.is_null:
        raise Wrong("there is no password", f"write {forms}")
    refuse_misread(node, reading)
    value = reading.text(node)
    if not value:
        raise Wrong("the password is empty", "`{generate: true}` makes one")
    if any(char in value for char in "\0\r\n"):
        raise Wrong("the password has a line break or a NUL in it", "write it in one line")
    return PasswordValue(Secret(value))


def _password_file(node: Node, reading: Reading) -> PasswordFile:
    return PasswordFile(path(node, reading))


def _password_command(node: Node, reading: Reading) -> PasswordCommand:
    if not isinstance(node, Sequence) or not node.items:
        raise Wrong("it must be a list: the program, then its arguments", "for example `[pass, show, shop]`")
    argv = [attempt(_argument, item, reading) for item in node.items]
    return PasswordCommand(tuple(each for each in argv if not failed(each)), reading.path.parent)


def _argument(node: Node, reading: Reading) -> str:
    found = scalar(node, "a text")
    value = reading.text(found)
    if "\0" in value:
        raise Wrong("an argument cannot have a NUL in it")
    return value


def _password_generated(node: Node, reading: Reading) -> PasswordGenerated:
    if not boolean(node, reading):
        raise Wrong("it can only be `true`", "leave out the key, and give another source")
    return PasswordGenerated()


PASSWORD_KEYS = {
    "file": Key(_password_file),
    "command": Key(_password_command),
    "generate": Key(_password_generated),
}
CREDENTIALS_KEYS = {"user": Key(user), "password": Key(password)}


def credentials(node: Node, reading: Reading) -> MappingType[str, Any]:
    """Read the superuser's name and password."""
    return read_table(
        mapping(node, "`{user: postgres, password: {generate: true}}`"), CREDENTIALS_KEYS, reading, "`credentials`"
    )
