"""The settings that a compose file gives PostgreSQL: on its command line, and in a ``postgresql.conf``."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from provision.init import variables
from provision.init.compose_files import text
from provision.kinds.configuration import parse
from provision.spec.masking import is_secret_key, may_hold_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHELLS = re.compile(r"(?:.*/)?(?:ba|da|a)?sh")
_SHORT = {"-N": "max_connections", "-B": "shared_buffers"}


def read(command: Any) -> dict[str, str] | None:
    """Return the settings of a command, also of one that a shell runs; None where it cannot be read."""
    try:
        words = [text(each) for each in command] if isinstance(command, list) else shlex.split(text(command))
        if words and _SHELLS.fullmatch(words[0]) and len(words) > 1:
            words = shlex.split(words[-1].replace(";", " ; "))
            at = next(
                (at for at, word in enumerate(words) if word.rpartition("/")[2] in ("postgres", "postgresql")), None
            )
            words = words[at:] if at is not None else []
    except ValueError:
        return None
    return dict(_options(words))


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        if word in (";", "&&", "||", "|", "&"):
            return
        if word in ("-c", "--config"):
            option = next(rest, "")
        elif word in _SHORT:
            option = f"{_SHORT[word]}={next(rest, '')}"
        elif word.startswith(("-c", "--")):
            option = word[2:]
        else:
            continue
        key, sign, value = option.partition("=")
        if sign:
            yield key.strip().replace("-", "_"), value


def configuration(content: str) -> tuple[dict[str, str], list[str]]:
    """Return the settings of a configuration file, and what is wrong with its other lines."""
    found: dict[str, str] = {}
    wrong = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            found |= parse(line)
        except ValueError as error:
            wrong.append(str(error).replace("line 1 ", f"line {number} "))
    return found, wrong


def may_hold_password(key: str, value: str) -> bool:
    """Tell whether a setting may have a secret in it."""
    names = [match["name"] or match["bare"] or "" for match in variables.VARIABLE.finditer(value)]
    return any(is_secret_key(each.casefold()) for each in names) or may_hold_secret(key, value)
