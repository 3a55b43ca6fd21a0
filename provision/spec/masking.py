"""Lines of a spec that can be shown: what may be a secret in them is replaced by a mask.

An error shows the line that it is about, and a password may stand on that line, under its own key, under a misspelt
one, or beside the key that is wrong. So every value whose key sounds like a secret is masked, all of ``credentials``
but the user, and passwords inside URLs. Where the text is not YAML there is no tree to ask, and the line is judged by
its words alone: rather too much is masked than too little.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.model import MASK
from provision.spec.yaml import Mapping, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.spec.yaml import Document, Mark, Node

_SECRET_WORDS = re.compile(r"pass|pwd|secret|token|credential|conninfo|pgpass|api_?key|private_?key", re.IGNORECASE)
_PUBLIC_KEYS = frozenset({"user", "file", "command", "generate", "passphrase_command", "ssl_passphrase_command"})
_PUBLIC_SETTINGS = frozenset({"password_encryption", "ssl_passphrase_command_supports_reload"})
_CLOSE_TO_PASSWORD = 0.7
_PASSWORD_IN_URL = re.compile(r"(://[^\s/:@]*:)[^\s@]+(?=@)")
_PASSWORD_IN_TEXT = re.compile(r"(?i)((?:password|passwd|pwd)\s*=\s*)('[^']*'|[^\s'\"]+)")
_KEY = re.compile(r"""^(?P<indent>\s*)(?:-\s+)*["']?(?P<key>[^\s"'#:{}\[\],][^"':{}\[\],]*)["']?\s*(?::(?=\s|$)|=)""")
_ANY_KEY = re.compile(r"""["']?(?P<key>[\w.-]+)["']?\s*[:=]""")
_COMMENT = re.compile(r"\s#.*$")
_PLAIN_KEY = re.compile(r"[A-Za-z_-]{1,32}")
_NO_KEY = 1_000_000  # deeper than any key


def is_secret_key(key: str) -> bool:
    """Whether the value of ``key`` is treated as a secret: ``password``, ``pasword``, ``api_token`` …"""
    if key in _PUBLIC_KEYS or key in _PUBLIC_SETTINGS:
        return False
    return _SECRET_WORDS.search(key) is not None or _sounds_like_password(key)


def is_public_key(key: str) -> bool:
    """Whether the value of ``key`` can be shown although it stands among secrets."""
    return key in _PUBLIC_KEYS


def _sounds_like_password(key: str) -> bool:
    if not key[:1].casefold() in ("p", "q", "o") or not 4 <= len(key) <= 12:  # noqa: PLR2004  # far from 8 letters
        return False
    from difflib import SequenceMatcher

    return SequenceMatcher(None, key.casefold(), "password").ratio() >= _CLOSE_TO_PASSWORD


def mask_text(text: str) -> str:
    """Return ``text`` without the passwords in URLs and connection strings."""
    return _PASSWORD_IN_TEXT.sub(rf"\1{MASK}", _PASSWORD_IN_URL.sub(rf"\1{MASK}", text))


def is_secret_word(key: Scalar, value: Node) -> bool:
    """Whether ``key``, in a place where secrets stand, may be one itself (``password: {hunter2}``)."""
    return (isinstance(value, Scalar) and value.is_null) or _PLAIN_KEY.fullmatch(key.text) is None


class ShownLines:
    """The lines of a document as they may be shown; columns in front of a mask stay what they were."""

    def __init__(self, document: Document) -> None:
        self._parsed = document.top is not None
        self._lines = list(document.lines)
        if document.top is not None:
            spans = set(_secrets(document.top, hidden=False))
            for start, end in sorted(spans, key=lambda span: (span[0].line, span[0].column), reverse=True):
                _mask_span(self._lines, start, end)

    def line(self, number: int) -> str:
        """Return the line ``number``, counted from 1."""
        return mask_text(self._lines[number - 1] if self._parsed else _mask_by_words(self._lines, number - 1))


def _secrets(node: Node, *, hidden: bool) -> Iterator[tuple[Mark, Mark]]:
    """Yield where secrets begin and end."""
    if isinstance(node, Scalar):
        if hidden and node.text:
            yield node.mark, node.end
    elif isinstance(node, Mapping):
        for key, value in (*node.entries.values(), *node.duplicates):
            if hidden and is_secret_word(key, value):
                yield key.mark, key.end
            below = (hidden or is_secret_key(key.text)) and key.text not in _PUBLIC_KEYS
            yield from _secrets(value, hidden=below)
    else:
        for item in node.items:
            yield from _secrets(item, hidden=hidden)


def _mask_span(lines: list[str], start: Mark, end: Mark) -> None:
    first, last = start.line - 1, end.line - 1
    if last >= len(lines) or (end.column == 1 and last > first):  # a block ends where the next line begins
        last, tail = last - 1, ""
    else:
        tail = _COMMENT.sub("", lines[last][end.column - 1 :])
    head = lines[first][: start.column - 1] + MASK
    lines[first : last + 1] = [head, *[MASK] * (last - first)]
    lines[last] += tail


def _mask_by_words(lines: list[str], index: int) -> str:
    line = lines[index]
    if _below_secret(lines, index):
        match = _KEY.match(line)
        return (line[: match.end()] + " " if match else line[: len(line) - len(line.lstrip())]) + MASK
    for match in _ANY_KEY.finditer(line):
        if is_secret_key(match["key"]):
            return f"{line[: match.end()]} {MASK}"
    return line


def _below_secret(lines: list[str], index: int) -> bool:
    """Whether a line that the one at ``index`` continues, or is indented under, has a key that sounds like a secret."""
    match = _KEY.match(lines[index])
    indentation = len(match["indent"]) if match else _NO_KEY
    for line in reversed(lines[:index]):
        match = _KEY.match(line)
        if match and len(match["indent"]) < indentation:
            if any(is_secret_key(each["key"]) for each in _ANY_KEY.finditer(line)):
                return True
            indentation = len(match["indent"])
            if indentation == 0:
                return False
    return False
