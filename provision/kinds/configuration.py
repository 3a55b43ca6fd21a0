"""``postgresql.conf``: what it gets, and its grammar: lines as the server reads them, values as it takes them.

https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE
"""

from __future__ import annotations

import re

from provision.spec.model import Ephemeral, Spec

# What initdb would have written into the postgresql.conf that ours takes the place of.
_LIKE_INITDB = {
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "iso, mdy",
    "default_text_search_config": "pg_catalog.english",
}
# https://www.postgresql.org/docs/current/non-durability.html
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def content(spec: Spec) -> dict[str, object]:
    """Return the settings that the configuration file gets: what initdb would set, and on top what the spec says."""
    not_durable = _NOT_DURABLE if isinstance(spec.server.data, Ephemeral) else {}
    return {**_LIKE_INITDB, **not_durable, **{name.lower(): value for name, value in spec.server.settings.items()}}


def assumed(spec: Spec) -> frozenset[str]:
    """Return the settings, in lower case, that the spec does not have and the file sets as initdb would."""
    return frozenset(_LIKE_INITDB) - {name.lower() for name in spec.server.settings}


def parse(text: str) -> dict[str, str]:
    """Read a configuration file: name → raw value, the last one wins, as for the server.

    https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE

    Raises:
        ValueError: a line cannot be read, or includes another file.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found.update([_parse_line(line, number)])
    return found


def _parse_line(line: str, number: int) -> tuple[str, str]:
    match = re.fullmatch(r"\s*([A-Za-z_][\w.$]*)\s*(?:=|\s)\s*('(?:[^'\\]|''|\\.)*'|[^\s#']+)\s*(?:#.*)?", line)
    if match is None:
        message = f"line {number} is not `name = value`: {line.strip()}"
        raise ValueError(message)
    name, value = match[1].lower(), match[2]
    if name in ("include", "include_dir", "include_if_exists"):
        message = f"line {number} includes another file, which is not supported: {line.strip()}"
        raise ValueError(message)
    return name, unquote(value) if value.startswith("'") else value


def quote(value: object) -> str:
    """Quote a value for the configuration file; plain words and numbers stay as they are.

    >>> quote("a'b"), quote(200), quote(True)
    ("'a''b'", '200', 'on')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if re.fullmatch(r"-?[0-9]+[A-Za-z]*|-?[0-9]+\.[0-9]+|[A-Za-z_][A-Za-z0-9_]*", text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def unquote(quoted: str) -> str:
    r"""Undo :func:`quote`, with the server's rules for escapes.

    >>> unquote(r"'a''b\\c'")
    "a'b\\c"
    """

    def replace(match: re.Match[str]) -> str:
        if match[0] == "''":
            return "'"
        if match[1]:
            return chr(int(match[1], 8))
        return {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}.get(match[2], match[2])

    return re.sub(r"''|\\(?:([0-7]{1,3})|(.))", replace, quoted[1:-1])
