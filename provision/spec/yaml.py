"""YAML text → nodes that know where they stand, strictly.

A spec is read by people who also read YAML 1.1 and 1.2, so nothing here is resolved to a type: a scalar keeps the
text that was written, its position and whether it was quoted, and the reader of its key decides (``22:22`` stays
``22:22``). What hides meaning is refused: duplicate keys, aliases and merge keys, tags, several documents. The tree is
built from parser events (https://yaml.org/spec/1.1/, section 3.1) and not by ``yaml.compose``: events still show the
aliases and tags, and a loop over them cannot be driven into a ``RecursionError`` by deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from provision.model.value import dataclass, field


class _Pattern:
    """A pattern that is compiled when it is used."""

    def __init__(self, *asked: Any) -> None:
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        return getattr(re.compile(*self._asked), name)


@contextmanager
def _patterns_when_used() -> Iterator[None]:
    compiled, re.compile = re.compile, _Pattern  # type: ignore[assignment]
    try:
        yield
    finally:
        re.compile = compiled


with _patterns_when_used():  # one of all of Unicode, which libyaml does not need, takes a twentieth of a run
    import yaml

MAXIMUM_DEPTH = 20
MAXIMUM_BYTES = 1024 * 1024
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# What libyaml counts as a line break (section 4.1.4 of YAML 1.1): our line numbers are its line numbers.
_LINE_BREAK = "\r\n|[\r\n\x85\u2028\u2029]"
_UNPRINTABLE = "[\0-\b\v\f\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]"


class Mark(NamedTuple):
    """A position in a text, counted from 1; ``source`` says in which, where a spec is put together from several."""

    line: int
    column: int
    source: int = 0


class Scalar(NamedTuple):
    """A text as written. ``end`` is the position behind its last character."""

    mark: Mark
    end: Mark
    text: str
    quoted: bool

    @property
    def is_null(self) -> bool:
        """Whether nothing was written, or YAML's word for it."""
        return not self.quoted and self.text in _NULLS


@dataclass(eq=False)
class Mapping:
    """Keys with their values, in the order of the file, each key once; the ``duplicates`` are kept to be masked."""

    mark: Mark
    end: Mark
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    duplicates: list[tuple[Scalar, Node]] = field(default_factory=list)

    def value(self, name: str) -> Node | None:
        """Return what stands behind a key; None where there is no such key."""
        return self.entries[name][1] if name in self.entries else None


@dataclass(eq=False)
class Sequence:
    """A list."""

    mark: Mark
    end: Mark
    items: list[Node] = field(default_factory=list)


Node = Scalar | Mapping | Sequence


class Fault(NamedTuple):
    """Something that the text may not hold, its position, and what to write instead."""

    mark: Mark
    message: str
    suggestion: str | None = None


class Document(NamedTuple):
    """What was understood of a text: its lines, the top mapping as far as it could be read, and the faults."""

    lines: tuple[str, ...]
    top: Mapping | None
    faults: tuple[Fault, ...]


def parse(raw: bytes, source: int = 0) -> Document:
    """Return the document in ``raw``; whatever is wrong with it is among its ``faults``, never an exception.

    ``source`` is that of its marks.
    """
    text, fault = _decode(raw)
    lines = tuple(re.split(_LINE_BREAK, text))
    if fault is not None:
        return Document(lines, None, (_from(source, fault),))
    builder = _Builder(len(lines), source)
    try:
        builder.feed(yaml.parse(text, Loader=_safe_loader()))
    except yaml.YAMLError as error:
        return Document(lines, None, (_from(source, _syntax_fault(error, lines)),))
    return Document(lines, builder.top(), tuple(builder.faults))


def _from(source: int, fault: Fault) -> Fault:
    return fault._replace(mark=fault.mark._replace(source=source))


def _decode(raw: bytes) -> tuple[str, Fault | None]:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", Fault(Mark(1, 1), "the file is UTF-16, not UTF-8", "save it as UTF-8")
    if len(raw) > MAXIMUM_BYTES:
        return "", Fault(Mark(1, 1), "the file is larger than 1 MiB", "is it a spec?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = raw.decode("utf-8", errors="replace")
        mark = _mark_of_index(text, len(raw[: error.start].decode("utf-8")))
        return text, Fault(mark, f"byte 0x{raw[error.start]:02x} is not UTF-8", "save the file as UTF-8")
    if found := re.search(_UNPRINTABLE, text):
        code = f"U+{ord(found.group()):04X}"
        mark = _mark_of_index(text, found.start())
        return text, Fault(mark, f"the character {code} may not stand in YAML", "remove it")
    return text, None


def _mark_of_index(text: str, index: int) -> Mark:
    before = re.split(_LINE_BREAK, text[:index])
    return Mark(len(before), len(before[-1]) + 1)


class _Builder:
    """Events → nodes, with a stack of its own."""

    def __init__(self, line_count: int, source: int) -> None:
        self.faults: list[Fault] = []
        self._line_count = line_count
        self._source = source
        self._stack: list[Mapping | Sequence] = []
        self._keys: list[Scalar | None] = []  # one place for each open collection
        self._documents: list[Node] = []

    def feed(self, events: Iterator[Any]) -> None:
        for event in events:
            line = min(event.start_mark.line + 1, self._line_count)
            mark = Mark(line, event.start_mark.column + 1, self._source)
            if isinstance(event, yaml.ScalarEvent):
                self._refuse_tag(event, mark)
                quoted = event.style not in (None, "")
                self._add(Scalar(mark, self._end(event), event.value, quoted))
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._refuse_tag(event, mark)
                if len(self._stack) == MAXIMUM_DEPTH:
                    self.faults.append(Fault(mark, f"nested more than {MAXIMUM_DEPTH} levels deep"))
                    return
                kind = Mapping if isinstance(event, yaml.MappingStartEvent) else Sequence
                node = kind(mark, self._end(event))
                self._add(node)
                self._stack.append(node)
                self._keys.append(None)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._stack.pop()
                self._keys.pop()
            elif isinstance(event, yaml.AliasEvent):
                self.faults.append(Fault(mark, "aliases are not supported", "write the value itself"))
                self._add(Scalar(mark, self._end(event), "*", quoted=False))
            elif isinstance(event, yaml.DocumentStartEvent) and self._documents:
                self.faults.append(Fault(mark, "a second document begins here", "write one spec per file"))
                return

    def top(self) -> Mapping | None:
        top = self._documents[0] if self._documents else None
        if isinstance(top, Mapping):
            return top
        if self.faults:
            return None
        example = "begin with `name: shop-dev`"
        if top is None or (isinstance(top, Scalar) and top.is_null):
            self.faults.append(Fault(Mark(1, 1, self._source), "the file is empty", example))
        else:
            what = "a list" if isinstance(top, Sequence) else "a text"
            self.faults.append(Fault(top.mark, f"a spec is a mapping of keys, and this is {what}", example))
        return None

    def _end(self, event: Any) -> Mark:
        return Mark(event.end_mark.line + 1, event.end_mark.column + 1, self._source)

    def _refuse_tag(self, event: Any, mark: Mark) -> None:
        if event.tag is not None:
            self.faults.append(
                Fault(mark, "tags are not supported", "write the value without the word that begins with `!`")
            )

    def _add(self, node: Node) -> None:
        if not self._stack:
            self._documents.append(node)
            return
        parent = self._stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif self._keys[-1] is None:
            self._keys[-1] = self._key(node)
        else:
            self._enter(parent, self._keys[-1], node)
            self._keys[-1] = None

    def _key(self, node: Node) -> Scalar:
        if isinstance(node, Scalar):
            return node
        self.faults.append(Fault(node.mark, "a key must be a word, and this is a list or a mapping"))
        return Scalar(node.mark, node.mark, "", quoted=True)

    def _enter(self, parent: Mapping, key: Scalar, value: Node) -> None:
        if key.text == "<<" and not key.quoted:
            self.faults.append(Fault(key.mark, "merge keys are not supported", "write the keys themselves"))
            parent.duplicates.append((key, value))
        elif (first := parent.entries.get(key.text)) is not None:
            line = first[0].mark.line
            self.faults.append(Fault(key.mark, f"duplicate key; line {line} has it already", "keep one of the two"))
            parent.duplicates.append((key, value))
        else:
            parent.entries[key.text] = (key, value)


# libyaml's words (its scanner.c and parser.c) → what people can do about it.
_ADVICE = (
    (
        "mapping values are not allowed",
        "this `:` is in a place where no key can be",
        "put quotes around the value, or check the indentation",
    ),
    (
        "found character that cannot start any token",
        "no value can begin with this character",
        "put quotes around the value; indent with spaces, not tabs",
    ),
    ("found a tab character", "YAML needs spaces here, and this is a tab", "indent with spaces"),
    (
        "did not find expected key",
        "the indentation does not fit, or a bracket or quote is open",
        "align this line with its neighbours",
    ),
    ("could not find expected ':'", "this key has no `:` behind it", "write `key: value`"),
    (
        "did not find expected ',' or",
        "a bracket is not closed, or a comma is missing",
        "check the brackets before this place; within them, `${NAME}` needs quotes: `'${NAME}'`",
    ),
    (
        "did not find expected '-' indicator",
        "the indentation of this list does not fit",
        "align the `-` of all its items",
    ),
    ("did not find expected node content", "a value is missing here", None),
    ("block sequence entries are not allowed", "a list cannot begin here", "begin it on the next line"),
    (
        "found unexpected end of stream",
        "a quote is not closed",
        "close it, or double it (`''`) where it belongs to the text",
    ),
    (
        "found unknown escape character",
        "unknown escape after `\\` in double quotes",
        "use single quotes, or write `\\\\`",
    ),
)


def _syntax_fault(error: yaml.YAMLError, lines: tuple[str, ...]) -> Fault:
    place = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or "")
    if "end of stream" in problem or "expected ':'" in problem:
        place = getattr(error, "context_mark", None) or place
    mark = Mark(1, 1)
    if place is not None:
        mark = Mark(min(place.line + 1, len(lines)), place.column + 1)
        # An end of the file that comes too early is shown behind the last thing that was written.
        while mark.line > 1 and not lines[mark.line - 1].strip():
            mark = Mark(mark.line - 1, len(lines[mark.line - 2]) + 1)
    for words, message, suggestion in _ADVICE:
        if words in problem:
            return Fault(mark, message, suggestion)
    return Fault(mark, f"this is not YAML: {problem.splitlines()[0] if problem else 'it cannot be read'}")


# YAML text of any kind → plain data, unless it expands to much more than it shows.
#
# Aliases and merge keys can make a megabyte of text stand for more data than fits into memory, or refer to
# themselves. So the size of what they stand for is computed from the parser's events before anything is made of it.


MOST_NODES: Final = 100_000
DEEPEST: Final = 50


class BoundError(yaml.YAMLError):
    """The text expands to too much; ``problem`` says how."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(f"{problem} (line {mark.line + 1})")
        self.problem, self.problem_mark = problem, mark


def load_data(text: str) -> Any:
    """Return the data of the one document in ``text``.

    Raises:
        yaml.YAMLError: it is not YAML, its values cannot be read, or it expands to too much.
    """
    check_size(text)
    try:
        return yaml.load(text, Loader=_safe_loader())  # noqa: S506  # both are safe loaders
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # of PyYAML's constructors
        message = f"a value cannot be read: {error}"
        raise yaml.YAMLError(message) from error


def check_size(text: str) -> None:
    """Refuse a text that is nested too deep, refers to itself, or expands to too many values.

    Raises:
        BoundError: it does. A text that is not YAML is left to the one who loads it.
    """
    with suppress(yaml.scanner.ScannerError, yaml.parser.ParserError, yaml.reader.ReaderError):
        _measure(yaml.parse(text, Loader=_safe_loader()))


def _measure(events: Iterator[Any]) -> None:
    sizes: dict[str, int] = {}
    stack: list[tuple[str | None, int]] = []  # of each open collection: its anchor, and the size before it
    size = 0
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = stack.pop()
            if anchor:
                sizes[anchor] = size - before
            continue
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == each for each, _ in stack):
                raise BoundError("an alias refers to what it is in", event.start_mark)
            size += sizes.get(anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            size += 1
            sizes[anchor or ""] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(stack) == DEEPEST:
                raise BoundError(f"it is nested more than {DEEPEST} levels deep", event.start_mark)
            stack.append((anchor, size))
            size += 1
        if size > MOST_NODES:
            raise BoundError(f"it expands to more than {MOST_NODES} values", event.start_mark)


def _safe_loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
