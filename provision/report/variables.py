"""Variables of the environment as the text that a shell, direnv or a reader of `.env` files takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_SAFE: Final = r"[\w@%+=:,./-]+"
_DOLLAR: Final = "PROVISION_DOLLAR"
_BY_NAME: Final = {
    r"\.envrc": "direnv",
    r"(.*\.)?env(\..*)?|\.env.*": "dotenv",
    r".*\.fish": "fish",
    r".*\.json": "json",
}


def shell(text: str) -> str:
    """Quote a value for every POSIX shell."""
    return text if re.fullmatch(_SAFE, text, re.ASCII) else "'" + text.replace("'", "'\\''") + "'"


def fish(text: str) -> str:
    """Quote a value for fish: https://fishshell.com/docs/current/language.html#quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def dotenv(text: str) -> str:
    """Quote a value so that python-dotenv and Docker Compose read the same.

    Both take what is between single quotes as it is, but not these: python-dotenv makes one backslash of two, and puts
    a variable in the place of ``${…}``. Between double quotes both know the same escapes, but none for a dollar sign:
    there it is a variable, which :func:`dotenv_lines` sets before.
    """
    if re.fullmatch(_SAFE, text, re.ASCII):
        return text
    if not re.search(r"\\\\|\\'|\\\Z|\$\{|\r", text):
        return "'" + text.replace("'", "\\'") + "'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("$", f"${{{_DOLLAR}}}")
    return f'"{escaped}"'


def _dotenv_lines(given: Mapping[str, str]) -> list[str]:
    lines = [f"{name}={dotenv(value)}" for name, value in given.items()]
    needs_dollar = any(f"${{{_DOLLAR}}}" in each for each in lines)
    return [*([f"{_DOLLAR}='$'"] if needs_dollar else []), *lines]


def lines(form: str, given: Mapping[str, str], watched: Sequence[Path] = ()) -> list[str]:
    """Return the lines in a format; ``watched`` are files after whose change direnv asks again."""
    if form == "json":
        return [json.dumps(dict(given), indent=2, ensure_ascii=False)]
    if form == "dotenv":
        return _dotenv_lines(given)
    if form == "fish":
        return [f"set -gx {name} {fish(value)}" for name, value in given.items()]
    watch = [f"watch_file {shell(str(each))}" for each in watched] if form == "direnv" else []
    return [*watch, *(f"export {name}={shell(value)}" for name, value in given.items())]


def format_of(name: str) -> str:
    """Return the format that a file's name asks for.

    >>> format_of(".env.local"), format_of("dev.env"), format_of(".envrc"), format_of("login.sh")
    ('dotenv', 'dotenv', 'direnv', 'shell')
    """
    return next((form for pattern, form in _BY_NAME.items() if re.fullmatch(pattern, name)), "shell")


def github_masks(texts: Sequence[str]) -> list[str]:
    """Return the lines that have GitHub hide texts in the log from here on.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#masking-a-value-in-a-log
    """
    return ["::add-mask::" + each.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A") for each in texts]
