"""Lines of a spec that can be shown: what may be a secret in them is replaced by a mask.

An error shows the line that it is about, and a password may stand on that line, under its own key, under a misspelt
one, or beside the key that is wrong. So every value whose key sounds like a secret is masked, all of ``credentials``
but the user, and passwords inside URLs. Where the text is not YAML there is no tree to ask, and the line is judged by
its words alone: rather too much is masked than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from provision.alembic.child.fill import PLACE
from provision.model import MASK
from provision.spec.model import Migrations
from provision.spec.yaml import Document, Mapping, Mark, Node, Scalar

_SECRET_WORDS = ("pass", "pwd", "secret", "token", "credential", "conninfo", "apikey", "api_key", "private_key")
_PUBLIC_KEYS = frozenset(
    {"bypassrls", "user", "file", "command", "generate", "passphrase_command", "ssl_passphrase_command"}
)
_PUBLIC_SETTINGS = frozenset({"password_encryption", "ssl_passphrase_command_supports_reload"})
_CLOSE_TO_PASSWORD = 0.7
_LOGIN_OF_URL = r"(://[^\s/:@]{0,200}+:)[^\s@]{1,1000}+(?=@)"
_WORD_OF_CONNECTION = r"(?i)((?:password|passwd|pwd)\s*=\s*)('[^']*'|[^\s'\"]+)"
# Possessive, and begun at the start of a word: a line of a megabyte is read once, and not once for each character.
_KEY = r"""^(?P<indent>\s*+)(?:-\s++)*+["']?(?P<key>[^\s"'#:={}\[\],][^"':={}\[\],]*+)["']?\s*+(?::(?=\s|$)|=)"""
_ANY_KEY = r"""(?<![\w.-])["']?(?P<key>[\w.-]++)["']?\s*+[:=]"""
_COMMENT = r"\s#.*$"
_PLAIN_KEY = r"[A-Za-z_-]{1,32}"
_LONGEST_LINE = 5000
_NO_KEY = 1_000_000  # deeper than any key
_ASSIGNED = r"""(?<![\w-])(?P<key>[A-Za-z_-][\w-]*+)=(?P<value>'[^'$]+'|"[^"$]+"|[^\s'"$/(`][^\s'"]*)"""
_HARMLESS = r"(?i)on|off|true|false|yes|no|\d{0,4}"
_CONNECTIONS = frozenset({"primary_conninfo"})


def is_secret_key(key: str) -> bool:
    """Whether the value of ``key`` is treated as a secret: ``password``, ``pasword``, ``api_token``."""
    if key in _PUBLIC_KEYS or key in _PUBLIC_SETTINGS:
        return False
    folded = key.casefold()
    return any(word in folded for word in _SECRET_WORDS) or _sounds_like_password(folded)


def secrets_of(tree: Migrations) -> list[str]:
    """Return what a tree is given by variables or under names of secrets; all that its programs say is masked."""
    given = [each for values in (tree.options, tree.env, tree.x) for each in values.items()]
    values = [value.reveal() for name, value in given if is_secret_key(name)]
    return [*(each for each in values if not re.search(PLACE, each)), *(each.reveal() for each in tree.masked)]


def is_public_key(key: str) -> bool:
    """Whether the value of ``key`` can be shown although it is among secrets."""
    return key in _PUBLIC_KEYS


@cache
def _sounds_like_password(key: str) -> bool:
    if key[:1] not in ("p", "o", "a") or not 4 <= len(key) <= 12:  # noqa: PLR2004  # far from 8 letters
        return False
    common = sum(min(key.count(letter), "password".count(letter)) for letter in set(key))
    if 2 * common / (len(key) + len("password")) < _CLOSE_TO_PASSWORD:  # what the library looks at first
        return False
    from difflib import SequenceMatcher

    alike = SequenceMatcher(None, key, "password")
    return alike.ratio() >= _CLOSE_TO_PASSWORD


def mask_text(text: str) -> str:
    """Return ``text`` without the passwords in URLs, connection strings and assignments (``API_TOKEN=…``)."""
    text = re.sub(_WORD_OF_CONNECTION, rf"\1{MASK}", re.sub(_LOGIN_OF_URL, rf"\1{MASK}", text))
    return re.sub(_ASSIGNED, _without_value, text)


def _without_value(match: re.Match[str]) -> str:
    key = match["key"].casefold()
    is_shown = not is_secret_key(key) or key.endswith(("file", "command"))
    return match[0] if is_shown else f"{match['key']}={MASK}"


def may_hold_secret(setting: str, value: str) -> bool:
    """Whether there may be a secret in the value of a PostgreSQL setting, to judge by its name and by its own words.

    A switch or a small number is no secret, whatever its name is, and a connection string can do without a password.

    >>> may_hold_secret("primary_conninfo", "host=a passfile=/b"), may_hold_secret("primary_conninfo", "password=c")
    (False, True)
    """
    if re.fullmatch(_HARMLESS, value):
        return False
    name = setting.casefold()
    return mask_text(value) != value or (is_secret_key(name) and name not in _CONNECTIONS)


def is_secret_word(key: Scalar, value: Node) -> bool:
    """Whether ``key``, in a place where secrets stand, may be one itself (``password: {hunter2}``)."""
    if key.text in _PUBLIC_KEYS or key.text == "password":
        return False
    return (isinstance(value, Scalar) and value.is_null) or re.fullmatch(_PLAIN_KEY, key.text) is None


class ShownLines:
    """The lines of a document as they may be shown."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._spans: dict[int, list[tuple[Mark, Mark]]] = {}
        for start, end in _secrets(document.top, hidden=False) if document.top else ():
            for number in range(start.line, end.line + 1):
                self._spans.setdefault(number, []).append((start, end))

    @property
    def count(self) -> int:
        """The number of lines."""
        return len(self._document.lines)

    def line(self, number: int, column: int) -> str:
        """Return the line ``number``, so that ``column`` points at the same character as in the file.

        Both count from 1. A mask has a fixed length; in front of ``column``, which tells the length anyway, it has
        that of the secret. What cannot be printed is replaced, and a line that is too long to read is empty.
        """
        return "".join(
            char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}"
            for char in self._masked(number, column)
        )

    def _masked(self, number: int, column: int) -> str:
        text = self._document.lines[number - 1]
        if len(text) > _LONGEST_LINE:
            return ""
        if self._document.top is None:
            return mask_text(_mask_by_words(self._document.lines, number - 1))
        shown, place = "", 0
        spans = sorted(self._spans.get(number, ()))
        for start, end in spans:
            first = start.column - 1 if start.line == number else 0
            last = end.column - 1 if end.line == number else len(text)
            if last > max(place, first):  # a block ends where the next line begins
                shown += text[place:first] + ("*" * (last - first) if last < column else MASK)
                place = last
        rest = text[place:]
        return mask_text(shown + (re.sub(_COMMENT, "", rest) if spans else rest))


def _secrets(node: Node, *, hidden: bool) -> Iterator[tuple[Mark, Mark]]:
    """Yield where secrets begin and end."""
    if isinstance(node, Scalar):
        if hidden:  # where nothing is written, a comment behind it may still tell
            yield node.mark, node.end if node.text else node.mark
    elif isinstance(node, Mapping):
        for key, value in (*node.entries.values(), *node.duplicates):
            if hidden and is_secret_word(key, value):
                yield key.mark, key.end
            below = (hidden or is_secret_key(key.text)) and key.text not in _PUBLIC_KEYS
            yield from _secrets(value, hidden=below)
    else:
        for item in node.items:
            yield from _secrets(item, hidden=hidden)


def _mask_by_words(lines: Sequence[str], index: int) -> str:
    line = lines[index]
    if _below_secret(lines, index):
        match = re.match(_KEY, line)
        return (line[: match.end()] + " " if match else line[: len(line) - len(line.lstrip())]) + MASK
    for match in re.finditer(_ANY_KEY, line):
        if is_secret_key(match["key"]):
            return f"{line[: match.end()]} {MASK}"
    return line


def _below_secret(lines: Sequence[str], index: int) -> bool:
    """Whether a line that the one at ``index`` continues, or is indented under, has a key that sounds like a secret."""
    match = re.match(_KEY, lines[index])
    indentation = len(match["indent"]) if match else _NO_KEY
    for line in reversed(lines[:index]):
        match = re.match(_KEY, line)
        if match and len(match["indent"]) < indentation:
            if any(is_secret_key(each["key"]) for each in re.finditer(_ANY_KEY, line)):
                return True
            indentation = len(match["indent"])
            if indentation == 0:
                return False
    return False
