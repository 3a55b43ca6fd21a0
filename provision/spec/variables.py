"""The variables of a spec: the caller's environment first, then the ``.env`` beside the spec, or ``env_file``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

# A ``.env`` file, read as Compose reads it: quotes, escapes, comments, ``export``, and variables within values.
#
# https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax


_SPACE = " \t\v\f\r\x85\xa0"
_KEY = rf"(?:export[{_SPACE}]+)?(?P<key>[\w.\[\]-]+)[{_SPACE}]*(?:(?P<sign>[=:])[{_SPACE}]*|(?=\n|\Z))"
_BLANK = r"(?:\s+|#[^\n]*)*"
_ESCAPE = r'\\(?:[abcfnrtv$"\\]|0[0-7]{0,3})'
_ESCAPED = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    '"': '"',
    "\\": "\\",
    "$": "$$",
}
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_BRACED = r"(?s)(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?[-+?])(?P<word>.*))?"
_NO_ASSIGNMENT = "it is not written as NAME=value"
_NO_VARIABLE = "`${` begins a variable that is not written as one"


class MalformedError(ValueError):
    """A line that Compose refuses; ``found`` is what was read before it."""

    def __init__(self, line: int, why: str, found: Mapping[str, str]) -> None:
        super().__init__(f"line {line}: {why}")
        self.found = found


def variables_of(text: str) -> Mapping[str, str]:
    """Return the variables of a file, as far as it can be read."""
    try:
        return parse(text, {})
    except MalformedError as malformed:
        return malformed.found


def parse(text: str, known: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a file; ``known`` ones are preferred to those of the file where a value names them.

    Raises:
        MalformedError: Compose would refuse it. Values are not repeated in the message.
    """
    text, at = text.removeprefix("\ufeff").replace("\r\n", "\n"), 0
    found: dict[str, str] = {}
    while (at := _end(_BLANK, text, at)) < len(text):
        start, key = at, re.compile(_KEY).match(text, at)
        try:
            if key is None:
                raise ValueError(_NO_ASSIGNMENT)  # noqa: TRY301  # its line is added below
            value, at = (
                _value(text, key.end(), {**found, **known}) if key["sign"] else (known.get(key["key"]), key.end())
            )
        except ValueError as error:
            raise MalformedError(text.count("\n", 0, start) + 1, str(error), found) from None
        if value is not None:
            found[key["key"]] = value
    return found


def _end(pattern: str, text: str, at: int) -> int:
    match = re.compile(pattern).match(text, at)
    return match.end() if match else at


def _value(text: str, at: int, known: Mapping[str, str]) -> tuple[str, int]:
    """Return the value that begins at ``at``, and where it ends."""
    quote = text[at : at + 1]
    if quote not in ("'", '"') or not quote:
        end = text.find("\n", at) % (len(text) + 1)
        return substitute(text[at:end].split(" #", maxsplit=1)[0].rstrip(), known), end
    match = re.compile(rf"{quote}((?:\\.|[^\\{quote}])*){quote}", re.DOTALL).match(text, at)
    if match is None:
        message = f"a value has no {quote} at its end"
        raise ValueError(message)
    value = match[1].replace(f"\\{quote}", quote) if quote == "'" else match[1]
    return (value if quote == "'" else substitute(re.sub(_ESCAPE, _unescape, value), known)), match.end()


def _unescape(match: re.Match[str]) -> str:
    letter = match[0][1]
    return chr(int(match[0][1:], 8)) if letter == "0" else _ESCAPED.get(letter, match[0])


def substitute(text: str, known: Mapping[str, str]) -> str:
    """Return a text with its variables put in, as Compose does it: ``$NAME``, ``${NAME:-word}``, ``$$``.

    Raises:
        ValueError: a variable is not written as one, or has to be set and is not.
    """
    pieces, at = [], 0
    while (dollar := text.find("$", at)) >= 0:
        pieces.append(text[at:dollar])
        at = dollar + 1
        if text.startswith("$", at):
            pieces.append("$")
            at += 1
        elif (name := re.compile(_NAME).match(text, at)) is not None:
            pieces.append(known.get(name[0], ""))
            at = name.end()
        elif text.startswith("{", at):
            end = _closing(text, at)
            pieces.append(_braced(text[at + 1 : end], known))
            at = end + 1
        else:
            pieces.append("$")
    return "".join([*pieces, text[at:]])


def _closing(text: str, at: int) -> int:
    """Return where the brace that opens at ``at`` closes."""
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "{" and text[end - 1] == "$") - (text[end] == "}")
        if depth == 0:
            return end
    raise ValueError(_NO_VARIABLE)


def _braced(inner: str, known: Mapping[str, str]) -> str:
    match = re.fullmatch(_BRACED, inner)
    if match is None:
        raise ValueError(_NO_VARIABLE)
    value, how = known.get(match["name"]), match["how"] or ""
    is_set = value is not None and (value != "" or not how.startswith(":"))
    if how.endswith("+"):
        return substitute(match["word"], known) if is_set else ""
    if is_set or not how:
        return value or ""
    if how.endswith("?"):
        message = f"the variable {match['name']} has to be set"
        raise ValueError(message)
    return substitute(match["word"], known)


BESIDE = ".env"
MAXIMUM_BYTES = 1024 * 1024


class UnreadableError(Exception):
    """A file of variables that cannot be read, and why."""


def read_file(path: Path, known: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a file.

    Raises:
        UnreadableError: it is not a file of variables.
    """
    try:
        if not os.path.isfile(path):  # noqa: PTH113  # Path.is_file raises where a link leads to a closed directory
            raise UnreadableError("it is not a file")
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
        if len(content) > MAXIMUM_BYTES:
            raise UnreadableError("it is longer than 1 MiB")
        return parse(content.decode(), known)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise UnreadableError("it is not UTF-8") from None
    except MalformedError as error:
        raise UnreadableError(str(error)) from None


class Variables:
    """Variables by name. A file is read when a variable is asked for that the environment does not have."""

    def __init__(self, environ: Mapping[str, str], files: Sequence[Path]) -> None:
        self._environ = environ
        self._files = files
        self.used: dict[str, Path] = {}
        """The variables that came from a file, and from which."""
        self.faults: list[str] = []
        """The files that could not be read, with the reason."""

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of a variable, or ``default``."""
        if name in self._environ:
            return self._environ[name]
        value, path = self._of_files.get(name, (default, None))
        if path is not None:
            self.used[name] = path
        return value

    def names(self) -> set[str]:
        """Return the names of all variables."""
        return {*self._environ, *self._of_files}

    @cached_property
    def _of_files(self) -> Mapping[str, tuple[str, Path]]:
        """The variables of all files; later files are preferred."""
        found: dict[str, tuple[str, Path]] = {}
        for path in self._files:
            known = {**{name: value for name, (value, _) in found.items()}, **self._environ}
            try:
                found |= {name: (value, path) for name, value in read_file(path, known).items()}
            except UnreadableError as error:
                is_there = os.path.lexists(path) and not os.path.isdir(path)  # noqa: PTH112  # as above
                if path.name != BESIDE or is_there:  # a virtual environment may have that name
                    self.faults.append(f"`{os.path.relpath(path)}` cannot be read: {error}")
        return found
