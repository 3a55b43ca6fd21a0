r"""A file of SQL as psql reads it: where each statement begins and ends, and the data that follows a COPY.

Commands of psql are refused, but for the two that ``pg_dump`` writes around a dump.
https://www.postgresql.org/docs/current/sql-syntax-lexical.html; where a function's body is written as SQL, a semicolon
in it ends no statement: https://www.postgresql.org/docs/current/sql-createfunction.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_PIECE = r"""(?xs)
    (?P<comment> --[^\n]* | /\* )
  | (?P<string> [eE]'[^'\\]*(?:(?:''|\\.)[^'\\]*)*' | '[^']*(?:''[^']*)*' | "[^"]*(?:""[^"]*)*" )
  | (?P<dollar> \$(?:[A-Za-z_\u0080-\U0010ffff]\w*)?\$ )
  | (?P<word> [A-Za-z_\u0080-\U0010ffff][\w$]* )
  | (?P<number> [0-9][\w.]* )
  | (?P<open> ['"] )
  | (?P<sign> \S )
"""
_COMMENT_EDGE = r"/\*|\*/"
_OF_DUMPS = ("restrict", "unrestrict")
_ENDS_TRANSACTION = ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT")
_FIRST_WORDS = 6


class Statement(NamedTuple):
    """A statement, the line in which it begins, and the lines that ``COPY … FROM stdin`` reads, from ``data_line``."""

    line: int
    text: str
    data: str | None = None
    data_line: int = 0


class ScriptError(Exception):
    """What a seed cannot have in it, and what to write instead."""

    def __init__(self, line: int, message: str, advice: str) -> None:
        super().__init__(message)
        self.line, self.message, self.advice = line, message, advice


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of a file.

    Raises:
        ScriptError: there is a command of psql in it, it ends its transaction, or a quote has no end.
    """
    reader = _Reader(text)
    while (found := reader.read()) is not None:
        yield found


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at, self._line, self._counted = 0, 1, 0
        self._begins: int | None = None
        self._words: list[str] = []
        self._parentheses, self._blocks = 0, 0

    def read(self) -> Statement | None:
        """Return the next statement; None at the end."""
        piece = re.compile(_PIECE)
        self._begins, self._words, self._parentheses, self._blocks = None, [], 0, 0
        while match := piece.search(self._text, self._at):
            kind, found, self._at = match.lastgroup, match[0], match.end()
            if kind == "comment":
                self._skip_comment(match)
                continue
            if found == "\\":
                self._skip_command(match.start())
                continue
            if found == ";" and not (self._parentheses or self._blocks):
                if self._begins is not None:
                    return self._statement(self._begins, match.start())
                continue
            self._begins = match.start() if self._begins is None else self._begins
            self._follow(match)
        self._at = len(self._text)
        return None if self._begins is None else self._statement(self._begins, self._at)

    def _follow(self, match: re.Match[str]) -> None:
        kind, found = match.lastgroup, match[0]
        if kind == "open":
            raise ScriptError(self._line_of(match.start()), f"a quote {found} begins here and has no end", "close it")
        if kind == "dollar":
            end = self._text.find(found, self._at)
            if end < 0:
                line = self._line_of(match.start())
                raise ScriptError(line, f"a quote {found} begins here and has no end", "close it")
            self._at = end + len(found)
        elif kind == "word":
            self._follow_word(found.upper())
        elif found in "()":
            self._parentheses = max(0, self._parentheses + (1 if found == "(" else -1))

    def _follow_word(self, word: str) -> None:
        if not self._parentheses and _makes_routine(self._words):
            if word == "BEGIN" or (word == "CASE" and self._blocks):
                self._blocks += 1
            elif word == "END" and self._blocks:
                self._blocks -= 1
        self._words.append(word)

    def _statement(self, begin: int, end: int) -> Statement:
        line, text = self._line_of(begin), self._text[begin:end].rstrip()
        first = self._words[0] if self._words else ""
        savepoint = first == "ROLLBACK" and "TO" in self._words[:_FIRST_WORDS]
        prepared = self._words[:2] == ["PREPARE", "TRANSACTION"]
        if prepared or (first in _ENDS_TRANSACTION and not savepoint):
            advice = "remove it, or run the file with `command: [psql, …]`"
            raise ScriptError(line, f"a seed is a transaction of its own, and {first} would end it", advice)
        if first == "COPY" and ("FROM", "STDIN") in zip(self._words, self._words[1:], strict=False):
            return Statement(line, text, *self._data())
        return Statement(line, text)

    def _data(self) -> tuple[str, int]:
        r"""Return the lines up to ``\.`` behind a COPY, and the number of the first."""
        begin = self._text.find("\n", self._at) + 1 or len(self._text)
        end = re.compile(r"(?m)^\\\.[ \t]*$").search(self._text, begin)
        data = self._text[begin : end.start()] if end else self._text[begin:]
        self._at = end.end() if end else len(self._text)
        return data, self._line_of(begin)

    def _skip_comment(self, match: re.Match[str]) -> None:
        if match[0] != "/*":
            return
        depth, edge = 1, re.compile(_COMMENT_EDGE)
        while depth:
            found = edge.search(self._text, self._at)
            if found is None:
                raise ScriptError(self._line_of(match.start()), "a comment begins here and has no end", "close it")
            depth += 1 if found[0] == "/*" else -1
            self._at = found.end()

    def _skip_command(self, at: int) -> None:
        name = re.compile(r"\\(\w*|\S)").match(self._text, at)
        word = name[1] if name else ""
        if word not in _OF_DUMPS:
            advice = "write SQL, or run the file with `command: [psql, …]`"
            raise ScriptError(self._line_of(at), f"`\\{word}` is a command of psql", advice)
        end = self._text.find("\n", at)
        self._at = end if end >= 0 else len(self._text)

    def _line_of(self, at: int) -> int:
        """Return the line of a place; places come in their order, but for the beginning of what is being read."""
        if at < self._counted:
            return self._line - self._text.count("\n", at, self._counted)
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        return self._line


def _makes_routine(words: Sequence[str]) -> bool:
    if not words or words[0] != "CREATE":
        return False
    rest = words[3:] if words[1:3] == ["OR", "REPLACE"] else words[1:]
    return rest[:1] in (["FUNCTION"], ["PROCEDURE"])
