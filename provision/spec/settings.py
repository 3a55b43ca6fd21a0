"""The section ``server.settings``: PostgreSQL's parameters as the spec gives them.

A value is kept as the text that was written (``on`` stays ``on``, ``256MB`` stays ``256MB``); whether two texts mean
the same is decided in :mod:`provision.spec.parameters`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from provision.spec.masking import is_secret_key, may_hold_secret
from provision.spec.parameters import canonical_name, check, check_name
from provision.spec.reading import Reading, Wrong, attempt, failed, shorten
from provision.spec.yaml import Node, Scalar, Sequence

# What provision sets itself, and the key that says it.
OWNED = {
    "port": "`server.port` is the port of the host; inside the container it is always 5432",
    "listen_addresses": "`server.host` says on which address the port is published",
    "data_directory": "`server.data` says where the data lives",
    "config_file": "provision renders `postgresql.conf`; `templates` replaces the template",
    "hba_file": "the image's `pg_hba.conf` is used",
    "ident_file": "the image's `pg_ident.conf` is used",
    "external_pid_file": "the server's state is read from the engine",
    "unix_socket_directories": "provision reaches the server through the image's own socket",
}

_ELSEWHERE = (
    "name a file that holds it: `passfile=…` or `service=…` in a connection string, a file that a command reads; "
    "what is no secret needs another name"
)


def read_settings(
    declared: Iterable[tuple[Scalar, Node]], major: int, reading: Reading, owned: Mapping[str, str] = OWNED
) -> dict[str, str]:
    """Return the settings that are right, under the names that ``pg_settings`` has; report the others.

    ``owned`` are those that cannot be set here, each with the place that it belongs to.
    """
    settings: dict[str, str] = {}
    first: dict[str, Scalar] = {}
    for key, node in declared:
        if reading.is_full:
            break
        name = canonical_name(major, key.text)
        if name in first:
            hint = "" if key.text == first[name].text else "; case does not matter"
            reading.report(
                key.mark,
                f"the same setting as in {reading.line(first[name].mark, key.mark)}{hint}",
                "keep one of the two",
            )
            continue
        first[name] = key
        if name in owned:
            reading.report(key.mark, f"`{name}` cannot be set here", owned[name])
            continue
        if wrong := check_name(major, name):
            reading.report(key.mark, wrong.message, wrong.suggestion)
            continue
        value = attempt(partial(_value, name=name, major=major), node, reading, key=key.text)
        if not failed(value):
            settings[name] = value
    return settings


def _value(node: Node, reading: Reading, *, name: str, major: int) -> str:
    if isinstance(node, Sequence):
        raise Wrong("this is a list, and must be one text", "write the items with commas between them: `'a, b'`")
    found, value = reading.scalar(node, "a text or a number")
    refuse_secret(found, reading, name, value)
    if wrong := check(major, name, value, shown=reading.show(found)):
        raise Wrong(wrong.message, wrong.suggestion)
    return value


def refuse_secret(node: Scalar, reading: Reading, name: str, value: str) -> None:
    """Refuse what may be a secret: `postgresql.conf` can be read by all, and plans show it."""
    for variable in reading.variables(node):
        if is_secret_key(variable.casefold()):
            raise Wrong(
                f"the variable `{shorten(variable)}` sounds like a secret, and settings are shown to all", _ELSEWHERE
            )
    if may_hold_secret(name, value):
        raise Wrong("this may be a secret, and settings are shown to all", _ELSEWHERE)
