"""Where output goes, and how loud and how colourful it is.

Three kinds of text leave the program: *data* for programs (a document, a URL, a log), *talk* for people (plans,
progress, recaps; silent with ``--quiet``, and on standard error in JSON mode, where standard output carries one
document and nothing else) and *errors*. When the reader of a pipe goes away, the program continues in silence:
``provision apply | head -1`` must not end in the middle of a step.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TextIO

from provision.model import Outcome, Step

CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36", "alarm": "1;31"}

_NARROWEST: Final = 20
_STYLE: Final = r"\x1b\[[0-9;]*m"
_S: Final = r"(?:\x1b\[[0-9;]*m)*"
_COMMAND: Final = (
    rf"{_S}(?:provision|git|docker (?:compose|volume|image|network|logs|ps|rm|start|stop)|\S+ -m pip) [a-z-].*"
)
_PIECE: Final = rf"( *)({_COMMAND}|(?:`[^`]*`|\S)+)"
_WHOLE: Final = rf"{_S}next:{_S} (?:read -rs |cd |{_COMMAND})"
"""A line that is a command and nothing else."""
_LABEL: Final = r" *(?:error|next|note|line \d+): "
_COLUMN: Final = r" *\S(?: ?\S)*  +(?=\S)"
"""The first column of a table, with the space behind it."""
_WIDEST_COLUMN: Final = 24


class Paint:
    """Colours a text, or leaves it alone."""

    __slots__ = ("on",)

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def __call__(self, style: str, text: str) -> str:
        """Return the text in a style of :data:`CODES`."""
        return f"\x1b[{CODES[style]}m{text}\x1b[0m" if self.on and text else text


PLAIN: Final = Paint(on=False)


class Console:
    """The two streams of the program and the switches that the command line sets on them."""

    def __init__(
        self, out: TextIO | None = None, err: TextIO | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        self.environ = os.environ if environ is None else environ
        self.began = time.monotonic()
        self.quiet = self.verbose = self.no_commands = self.colourless = self.json = False
        self.prints_data = False  # standard output is for data alone, also without --json
        self.format = "text"  # for whom results are written beside the text: github, sarif, gitlab, junit
        self.verb = "provision"  # the command without its options, for the title of what it reports
        self.command = ""  # the whole command line, which an interrupted user may repeat
        self.path = ""  # of the spec, as it was typed
        self.overrides: list[str] = []  # of the spec, for this run: KEY=VALUE
        self.spec = ""  # both of them as they were typed, for suggested commands
        self.tree = ""  # the name of the tree that is meant, where the spec has several
        self.outcomes: list[Outcome] = []  # of the steps of this run, for the error that may end it
        self.planned: Sequence[Step] = ()  # the newest plan's steps, for the same
        self.reader_gone = False
        self.is_part = False  # one of several runs, whose output is kept until it is whole, and then shown
        self._colours: bool | None = None  # of a part, and so is its width
        self._width: int | None = None
        for stream in (self.out, self.err):
            if hasattr(stream, "reconfigure"):  # a terminal that cannot show an arrow shows a question mark
                stream.reconfigure(errors="replace")

    @property
    def talk(self) -> TextIO:
        """The stream for progress, recaps and hints."""
        return self.err if self.json or self.prints_data else self.out

    def is_terminal(self, stream: TextIO) -> bool:
        """Tell whether a person watches this stream on a screen that can move its cursor."""
        return stream.isatty() and self.environ.get("TERM", "") not in {"dumb", ""}

    @property
    def fills_a_file(self) -> bool:
        """Whether what is printed goes into a file, as with ``>>``."""
        import stat

        try:
            return stat.S_ISREG(os.fstat(self.out.fileno()).st_mode)
        except (OSError, ValueError):  # a stream in memory has no number
            return False

    def paint(self, stream: TextIO) -> Paint:
        """Return the colours for a stream: none in a pipe, none with ``--no-color`` or ``NO_COLOR``."""
        if self._colours is not None:
            return Paint(on=self._colours)
        if self.colourless or self.environ.get("NO_COLOR"):
            return PLAIN
        return Paint(on=bool(self.environ.get("FORCE_COLOR")) or self.is_terminal(stream))

    def part(self) -> Console:
        """Return the console of one of several runs, whose output is shown by this one when it is whole."""
        made = Console(self.out, self.err, self.environ)
        made.quiet, made.verbose, made.no_commands, made.json = self.quiet, self.verbose, self.no_commands, self.json
        made.overrides, made.format, made.verb = self.overrides, self.format, self.verb
        made.prints_data, made.is_part = self.prints_data, self.is_terminal(self.talk)
        made._colours, made._width = self.paint(self.talk).on, self.columns(self.talk)
        return made

    def line(self, verb: str, *rest: str) -> str:
        """Return a command of ours to type, with the spec behind the verb where one was typed."""
        return " ".join(word for word in ("provision", verb, self.spec, *rest) if word)

    def elapsed(self) -> float:
        """Return the seconds since the program began."""
        return time.monotonic() - self.began

    def put(self, *texts: str, prose: bool = False) -> None:
        """Write lines of data; ``prose`` is wrapped on a terminal."""
        for text in texts:
            self._put(self.out, self.wrapped(self.out, text) if prose else text)

    def say(self, text: str, *, whole: bool = False) -> None:
        """Write one line of talk; a ``whole`` one, such as a line of a file, is never wrapped."""
        if not self.quiet:
            self._put(self.talk, text if whole else self.wrapped(self.talk, text))

    def instruct(self, command: str) -> None:
        """Write a command to the runner of a pipeline, which reads both streams: never into data for a program."""
        is_data = self.json or self.prints_data or self.quiet or self.fills_a_file
        self._write(self.err if is_data else self.out, f"{command}\n")

    def complain(self, *texts: str) -> None:
        """Write lines of an error."""
        for text in texts:
            self._put(self.err, self.wrapped(self.err, text))

    def _put(self, stream: TextIO, text: str) -> None:
        """Write lines of text; what a server or a file has put there is no command for the runner of a pipeline."""
        if self.environ.get("GITHUB_ACTIONS") == "true" and ("::" in text or "##[" in text):
            text = re.sub(r"(?m)^(\s*):(?=:)", r"\1: ", text).replace("##[", "# #[")
        self._write(stream, f"{text}\n")

    def wrapped(self, stream: TextIO, text: str) -> str:
        """Return a line as a person reads it on a terminal: wrapped at words. In a pipe it stays one line."""
        columns = self.columns(stream)
        if len(text) <= columns or not columns or "\n" in text:
            return text
        return "\n".join(wrap(text, columns))

    def document(self, value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Write the one JSON document of this run."""
        import json

        self.put(json.dumps(value, indent=2, ensure_ascii=False))

    def lines(self, texts: Iterable[str], *, whole: bool = False) -> None:
        """Write lines of talk."""
        for text in texts:
            self.say(text, whole=whole)

    def show(
        self,
        document: Callable[[], Any],
        texts: Iterable[str],
        *,
        prose: bool = False,
        talk: bool = False,
        recap: str = "",
    ) -> None:
        """Write a result: as the document that was asked for, else as lines of data, or of ``talk``, and a recap."""
        if self.json:
            self.document(document())
            return
        if talk:
            self.lines(texts)
        else:
            self.put(*texts, prose=prose)
        if recap:
            self.say(recap)

    def screen(self, text: str) -> None:
        """Write to the terminal that shows the talk as it is, control characters included."""
        self._write(self.talk, text)

    def columns(self, stream: TextIO) -> int:
        """Return the width of a terminal, 0 where it has none or the stream leads elsewhere."""
        if self._width is not None:
            return self._width
        try:
            return os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Flush both streams, so that nothing is left to fail when the interpreter ends."""
        for stream in (self.out, self.err):
            self._write(stream, "")

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            self.reader_gone = self.reader_gone or stream is self.out
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def wrap(line: str, width: int) -> list[str]:
    """Return the lines that a line becomes on a terminal of ``width`` columns."""
    if _width(line) <= width or width < _NARROWEST:
        return [line]
    if re.match(_WHOLE, line):  # a command stays whole; what is said of it comes below
        command, *remarks = re.split(r" {3}(?=[(#])", line, maxsplit=1)
        return [command, *(each for said in remarks for each in wrap(f"{' ' * len('next: ')}{said}", width))]
    plain = re.sub(_STYLE, "", line)
    indent = " " * _hanging(plain)
    found, begun = [""], False
    for space, word in _pieces(line, width - len(indent)):
        if begun and _width(found[-1] + space + word) > width:
            found.append(indent + word)
        else:
            found[-1] += space + word
        begun = bool(re.sub(_STYLE, "", found[-1]).strip())
    return found


def _pieces(line: str, room: int) -> Iterator[tuple[str, str]]:
    """Yield what is not broken, each with the space before it: words, commands, and what is quoted if it fits."""
    for space, piece in re.findall(_PIECE, line):
        is_quote = "`" in piece and not re.match(_COMMAND, piece)
        yield from re.findall(r"( *)(\S+)", space + piece) if is_quote and _width(piece) > room else [(space, piece)]


def _hanging(plain: str) -> int:
    """Return where the continuation of a line begins: below its text, behind a label or the first column of a table."""
    label, column = re.match(_LABEL, plain), re.match(_COLUMN, plain)
    if label:
        return label.end()
    if column and column.end() <= _WIDEST_COLUMN:
        return column.end()
    return len(plain) - len(plain.lstrip(" "))


def _width(text: str) -> int:
    return len(re.sub(_STYLE, "", text))
