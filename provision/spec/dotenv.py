"""A ``.env`` file: what Compose reads in it, and how a shell gets the same out of it."""

from __future__ import annotations

import os
import re
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(r"^\s*(?:export\s+)?(?P<key>[A-Za-z_]\w*)\s*=\s*(?P<value>.*?)\s*$", re.MULTILINE)
_COMMENT = r"(?:\s+#.*)?"
_VALUE = rf"""(?:(?!#)[\w@%+=:,./#-]*|'[^']*'|"[^"$`\\!]*"){_COMMENT}"""
_SHELL = re.compile(rf"\s*(?:#.*|(?:export\s+)?[A-Za-z_]\w*={_VALUE})?\s*", re.ASCII)
"""A line that means the same to a shell."""


def read(text: str) -> dict[str, str]:
    """Return the variables of a ``.env`` file."""
    found = {}
    for match in _LINE.finditer(text):
        value = match["value"]
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        else:
            value = re.sub(r"(?:^|\s+)#.*$", "", value)
        found[match["key"]] = value
    return found


def command(name: str, text: str, path: str) -> str:
    """Return what sets a variable of a file in a shell: the file itself, where a shell reads it as Compose does.

    Compose takes ``s3cr#t p@ss`` for a value; a shell would run ``p@ss``.
    """
    if "\r" not in text and all(_SHELL.fullmatch(line) for line in text.splitlines()):
        return f"set -a; . {quote(path if '/' in path else f'./{path}')}; set +a"
    return f"export {name}='…'  # its value in {path}, which a shell would not read as Compose does"


def beside(spec: Path, name: str) -> str | None:
    """Return what sets a variable that the ``.env`` beside a spec has; None where it has none of that name."""
    path = spec.parent / ".env"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    return command(name, text, os.path.relpath(path)) if name in read(text) else None
