"""Variables of Compose → those of a spec: docs.docker.com/reference/compose-file/interpolation has the rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.spec.masking import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLE = re.compile(r"\$(?:\$|(?P<bare>\w+)|\{(?P<name>\w+)(?:(?P<how>:?[-?+])(?P<word>[^}]*))?\})")


def for_spec(text: str, known: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return a text of Compose as one of a spec.

    ``known`` are the variables of ``.env``; they become defaults, unless their names are those of secrets.

    Raises:
        LookupError: it has a variable that cannot be had there, with the reason.
    """
    return "".join(_pieces(text, known, environ))


def plain(text: str, known: Mapping[str, str]) -> str:
    """Return a text of Compose as Compose reads it: with the variables of ``.env``, and their defaults.

    Raises:
        LookupError: it has a variable without a value.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        key, word = match["name"] or match["bare"], match["word"] if (match["how"] or "")[-1:] == "-" else None
        found = known.get(key) or word
        if found is None:
            raise LookupError(f"the variable {key} is not set")
        return found

    return VARIABLE.sub(value, text)


def expression(match: re.Match[str]) -> str:
    """Return one variable as a spec writes it, with the default that the compose file has."""
    key, is_default = match["name"] or match["bare"], (match["how"] or "").endswith("-")
    word = match["word"] if is_default and not set("${}") & set(match["word"] or "") else ""
    return f"${{{key}:-{word}}}" if word else f"${{{key}}}"


def _pieces(text: str, known: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[str]:
    at = 0
    for match in VARIABLE.finditer(text):
        yield text[at : match.start()].replace("$", "$$")
        at = match.end()
        if match[0] == "$$":
            yield "$$"
            continue
        key, how = match["name"] or match["bare"], (match["how"] or "")[-1:]
        word = "" if is_secret_key(key) else known.get(key, (match["word"] or "") if how == "-" else "")
        if how == "+" or any(char in word for char in "${}"):
            raise LookupError(f"a spec cannot say {match[0]}")
        if not word and key not in environ:
            raise LookupError(f"the variable {key} is not set")
        yield f"${{{key}:-{word}}}" if word else f"${{{key}}}"
    yield text[at:].replace("$", "$$")


def split_port(text: str) -> tuple[str, str, str]:
    """Split at the last ``:`` that is not part of a ``${NAME:-default}``."""
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += (text[at] == "}") - (text[at] == "{")
        if text[at] == ":" and depth == 0:
            return text[:at], ":", text[at + 1 :]
    return "", "", text
