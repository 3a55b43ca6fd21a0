"""How a node becomes a value: tables of keys, a reader for each, and every problem collected on the way.

A reader is a function from a node to a value. It raises :class:`Wrong`, with what to write instead, and the table loop
records that as a problem and continues with the next key, so that one run shows all that is wrong with a file. What
a message shows goes through :meth:`Reading.show`, which never repeats a secret or a value of the environment.
"""

from __future__ import annotations

import re
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from provision.errors import Problem
from provision.model import MASK
from provision.model.value import dataclass, field
from provision.spec.masking import ShownLines, is_public_key, is_secret_key, is_secret_word, mask_text
from provision.spec.yaml import Document, Mapping, Mark, Node, Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping as MappingType

    from provision.spec.model import Worktree
    from provision.spec.variables import Variables

T = TypeVar("T")
N = TypeVar("N", bound="Node")

BASE: Final = 1
"""The ``source`` of what is in the file that the spec extends; 0 is the spec itself, and 2 what ``--set`` says."""
GIVEN: Final = Path("--set")
"""In place of the file of what ``--set`` says."""
_ALMOST = 0.85
"""So alike is the name of a variable that was mistyped; `SHOP_PASSWORD` and `DB_PASSWORD` are two names."""
_LONGEST_SHOWN = 60
_LONGEST_MASKED = 10_000
MOST_PROBLEMS = 100
ONLY_ABSENT: Final = "remove it, or write `state: absent` beside it"
_VARIABLE = r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>:-(?P<default>[^}]*))?\}|(?P<bad>\{))"


class Wrong(Exception):  # noqa: N818  # it is not an error of the program: the table loop turns it into a problem
    """What is wrong with the node that is being read, and what to write instead.

    ``at`` is a node to point at in place of the one that was read.
    """

    def __init__(self, message: str, suggestion: str | None = None, *, at: Node | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion
        self.at = at


class Reported(Wrong):
    """What is wrong is among the problems already."""

    def __init__(self) -> None:
        super().__init__("")


class Unset(Wrong):
    """A variable that the node names is not set."""


class Key(NamedTuple):
    """One key of a section: how its value is read, and the values that are only known by name."""

    read: Callable[[Node, Reading], Any] | None
    """None: the key is known, and this version does not support it yet."""
    required: bool = False
    example: str = ""
    """What to write where the key is required and missing."""
    identifies: bool = False
    """Whether the value says which server it is: no verb works without its variables."""


LATER = Key(None)


class Mention(NamedTuple):
    """A role or a database that is named under the key ``use``, to be looked up once the whole spec is read."""

    kind: Literal["role", "database"]
    name: str
    node: Scalar
    use: str
    shown: str
    """For a message."""

    @property
    def is_in_clear(self) -> bool:
        """Whether the name is written in the file as it is, and no secret, so that it can be compared in a message."""
        return self.shown == f"`{self.name}`"


class Source(NamedTuple):
    """One of the texts that a spec is put together from: its file, and its lines as they may be shown."""

    path: Path
    lines: ShownLines


@dataclass(eq=False)
class Reading:
    """One pass over one spec: where it is, the environment's variables, and the problems found so far."""

    path: Path
    document: Document
    environ: Variables
    homes: Callable[[], MappingType[str, str]]
    """Return where the keys belong that people look for in another section: ``in `server```."""
    major: int = 0
    """The major version of the image, where its name does not say it and something else has shown it."""
    needs_password_file: bool = False
    """Whether a missing password file is a problem of the spec."""
    may_lack: bool = False
    """Whether variables may be unset: values that do not say which server it is are left out then."""
    worktree: Worktree | None = None
    """The linked Git worktree that the file is in."""
    problems: list[Problem] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    """The variables that are not set and may be."""
    identifies: bool = False
    """Whether the value that is being read says which server it is."""
    secret: bool = False
    """Whether the value that is being read is a secret."""
    faulty: set[Mark] = field(default_factory=set)
    """Where the text is not what a spec may hold: what follows from that is not reported."""
    remarks: list[Problem] = field(default_factory=list)
    """What is right, and probably not meant."""
    mentions: list[Mention] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    """What variables put into values that are masked: see :mod:`provision.spec.sections`."""
    is_incomplete: bool = False
    """Whether a key that is required is not there."""
    sources: dict[int, Source] = field(default_factory=dict)
    """The texts that the nodes are from, by the ``source`` of their marks."""

    def __post_init__(self) -> None:
        self.sources[0] = Source(self.path, ShownLines(self.document))

    def report(self, mark: Mark, message: str, suggestion: str | None = None, *, missing: bool = False) -> None:
        """Add a problem at ``mark``, or what is ``missing``, unless the text itself is already wrong there."""
        if mark in self.faulty or self.is_full:
            return
        found = self.missing if missing else self.problems
        found.append(self._problem(mark, message, suggestion))

    def refuse(self, node: Mapping, name: str, message: str, advice: str = "remove it") -> None:
        """Add a problem at a key of a mapping, where it has that key."""
        if name in node.entries:
            self.report(node.entries[name][0].mark, message, advice)

    def remark(self, mark: Mark, message: str, suggestion: str | None = None) -> None:
        """Add what is right at ``mark``, and probably not meant."""
        self.remarks.append(self._problem(mark, message, suggestion))

    def _problem(self, mark: Mark, message: str, suggestion: str | None) -> Problem:
        path, lines = self.sources[mark.source]
        line = min(mark.line, lines.count)
        if suggestion is not None and suggestion.startswith("remove it") and path not in (self.path, GIVEN):
            suggestion += f"; or take it away in {self.path.name}: write the key there, with `null`"
        return Problem(path, line, mark.column, lines.line(line, mark.column), message, suggestion)

    def place(self, mark: Mark) -> str:
        """Return where a mark is, as ``path:line``."""
        return f"{self.sources[mark.source].path}:{mark.line}"

    def line(self, mark: Mark, beside: Mark) -> str:
        """Return the line of a mark in words, for a message about another place."""
        path = self.sources[mark.source].path
        return f"line {mark.line}" + (f" of {path.name}" if mark.source != beside.source else "")

    def uppermost(self, names: Iterable[str], node: Mapping) -> list[str]:
        """Return those of the keys of a mapping that are from the uppermost of the texts that have some of them."""
        found = {name: node.entries[name][0].mark.source for name in names}
        above = {name: (source != BASE, source) for name, source in found.items()}
        return [name for name in found if above[name] == max(above.values())]

    def directory(self, node: Node) -> Path:
        """Return where a relative path starts: in the directory of its file."""
        path = self.sources[node.mark.source].path
        return (self.path if path == GIVEN else path).parent

    @property
    def is_full(self) -> bool:
        """Whether there are more problems than anybody reads, and looking for names that were meant takes too long."""
        return len(self.problems) >= MOST_PROBLEMS

    def show(self, node: Scalar) -> str:
        """Return the text of ``node`` for a message: short, printable, and never a secret or a variable's value."""
        return MASK if self.secret else f"`{shorten(node.text)}`"

    def mention(self, kind: Literal["role", "database"], name: str, node: Scalar, use: str) -> None:
        """Note that ``node`` names something that the spec declares elsewhere."""
        self.mentions.append(Mention(kind, name, node, use, self.show(node)))

    def text(self, node: Scalar) -> str:
        """Return the text of ``node`` with its variables put in.

        Raises:
            Wrong: a variable is not set, or is not written as it has to be.
        """
        if "$" not in node.text:
            return node.text
        return re.sub(_VARIABLE, self._variable, node.text)

    def scalar(self, node: Node, what: str) -> tuple[Scalar, str]:
        """Return ``node`` where it is a text with a value, and that with its variables put in.

        Raises:
            Wrong: it is something else, or a variable is not set.
        """
        found = scalar(node, what)
        return found, self.text(found)

    def given_text(self, node: Scalar) -> str:
        """Return the text of ``node`` with its variables put in, whose values are masked from then on.

        Raises:
            Wrong: a variable is not set, or is not written as it has to be.
        """
        text = self.text(node)
        self.given.update(self.environ.get(name, "") for name in self.variables(node))
        return text

    def filled(self, node: Scalar, instead: str | None) -> str:
        """Return the text of ``node`` with its variables put in, or with ``instead`` of them; no fault is one here."""

        def put(match: re.Match[str]) -> str:
            default = match["default"] or ""
            return instead + default if instead is not None else self.environ.get(match["name"] or "", default)

        return re.sub(_VARIABLE, put, node.text)

    def variables(self, node: Scalar) -> tuple[str, ...]:
        """Return the names of the variables in the text of ``node``."""
        return tuple([match["name"] for match in re.finditer(_VARIABLE, node.text) if match["name"]])

    def _variable(self, match: re.Match[str]) -> str:
        if match["bad"]:
            raise Wrong(
                "`${` begins a variable that is not written as one",
                "write `${NAME}` or `${NAME:-default}`, and `$$` for a `$`",
            )
        name = match["name"]
        if name is None:
            return "$"
        value = self.environ.get(name)
        if value is None or (value == "" and match["rest"]):
            if match["rest"]:
                return match["default"] or ""
            raise Unset(f"the environment variable `{shorten(name)}` is not set", self._advice(shorten(name)))
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise Wrong(f"the variable `{shorten(name)}` is not UTF-8", f"printenv {shorten(name)} | od -c")
        return value

    def _advice(self, name: str) -> str:
        if self.environ.faults:
            return "; ".join(self.environ.faults)
        meant = nearest(name, self.environ.names(), cutoff=_ALMOST)
        guess = f"did you mean `{meant}`? If not, " if meant else ""
        if self.secret:
            return f"{guess}`read -rs {name} && export {name}` asks for it; or write it into the `.env` beside the spec"
        write = f"or write a default: `${{{name}:-default}}`"
        return f"{guess}set it in your shell or in the `.env` beside the spec, {write}"


def shorten(text: str) -> str:
    """Return ``text`` in one short, printable line."""
    text = mask_text(text) if len(text) < _LONGEST_MASKED else MASK
    if len(text) > _LONGEST_SHOWN:
        text = text[: _LONGEST_SHOWN - 1] + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def nearest(word: str, words: Iterable[str], cutoff: float = 0.7) -> str | None:
    """Return the one of ``words`` that ``word`` was probably meant to be."""
    from difflib import get_close_matches

    folded = {each.casefold(): each for each in words}
    found = get_close_matches(word.casefold()[:200], folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def scalar(node: Node, what: str) -> Scalar:
    """Return ``node`` when it is a text with a value.

    Raises:
        Wrong: it is a list, a mapping, or nothing.
    """
    if isinstance(node, Mapping):
        raise Wrong(f"this is a mapping, and must be {what}")
    if isinstance(node, Sequence):
        raise Wrong(f"this is a list, and must be {what}")
    if node.is_null:
        raise Wrong(f"there is no value; it must be {what}", "write one, or leave out the key")
    return node


def read_table(node: Mapping, keys: MappingType[str, Key], reading: Reading, section: str) -> dict[str, Any]:
    """Return the values of ``node`` that could be read, by key; everything else becomes a problem."""
    values: dict[str, Any] = {}
    misspelled: set[str | None] = set()
    for name, (key, value) in node.entries.items():
        if reading.is_full:
            break
        known = keys.get(name)
        if known is None:
            misspelled.add(_report_unknown(key, value, keys, reading))
        elif known.read is None:
            reading.report(key.mark, f"`{name}` is known, but this version does not support it yet", "remove it")
        else:
            before, reading.identifies = reading.identifies, reading.identifies or known.identifies
            outcome = attempt(known.read, value, reading, key=name)
            reading.identifies = before
            if outcome is not _FAILED:
                values[name] = outcome
    for name, known in keys.items():
        if known.required and name not in node.entries:
            reading.is_incomplete = True
            if name not in misspelled:
                reading.report(node.mark, f"{section} needs the key `{name}`", f"for example `{known.example}`")
    return values


_FAILED: Any = object()


def attempt(read: Callable[[N, Reading], T], node: N, reading: Reading, *, key: str = "") -> T:
    """Return what ``read`` makes of ``node``, or ``_FAILED`` with the problem reported."""
    before = reading.secret
    reading.secret = (before or is_secret_key(key)) and not is_public_key(key)
    try:
        return read(node, reading)
    except Reported:
        return _FAILED  # type: ignore[no-any-return]
    except Wrong as wrong:
        message = f"`{shorten(key)}`: {wrong.message}" if key else wrong.message
        missing = isinstance(wrong, Unset) and reading.may_lack and not reading.identifies
        reading.report((wrong.at or node).mark, message, wrong.suggestion, missing=missing)
        return _FAILED  # type: ignore[no-any-return]
    finally:
        reading.secret = before


def failed(value: object) -> bool:
    """Whether ``value`` is what :func:`attempt` returns after a problem."""
    return value is _FAILED


def _report_unknown(key: Scalar, value: Node, keys: MappingType[str, Key], reading: Reading) -> str | None:
    """Report a key that is none, and return the one that was meant, where it is near to one."""
    if reading.secret and is_secret_word(key, value):
        reading.report(key.mark, "unknown key", f"the keys here are {listed(keys)}")
        return None
    message = f"unknown key `{shorten(key.text)}`"
    meant = nearest(key.text, keys)
    # A mapping is a section here with another name, and not a value elsewhere: `database:` is `databases:`.
    if (place := reading.homes().get(key.text)) is not None and not (meant and isinstance(value, Mapping)):
        reading.report(key.mark, message, f"it belongs {place}")
    elif meant is not None:
        reading.report(key.mark, message, f"did you mean `{meant}`?")
        return meant
    else:
        supported = [name for name, known in keys.items() if known.read is not None]
        reading.report(key.mark, message, f"the keys here are {listed(supported)}")
    return None


def all_of(read: Callable[[Node, Reading], T], nodes: Iterable[Node], reading: Reading, *, key: str = "") -> list[T]:
    """Return what ``read`` makes of those nodes that it can read."""
    found = [attempt(read, each, reading, key=key) for each in nodes]
    return [each for each in found if not failed(each)]


def one_or_more(node: Node) -> Iterable[Node]:
    """Return the items of a list, or what stands in its place."""
    return node.items if isinstance(node, Sequence) else (node,)


def by_name(
    entries: Iterable[tuple[Scalar, Node]],
    read_name: Callable[[Scalar, Reading], str],
    read: Callable[[Node, Reading, Scalar], T],
    reading: Reading,
) -> dict[str, T]:
    """Return what stands behind keys that are names of the user's own, where both can be read."""
    found: dict[str, T] = {}
    for key, node in entries:
        if reading.is_full:
            break
        name = attempt(read_name, key, reading)
        value = attempt(partial(_beside, read, key), node, reading, key=shorten(key.text))
        if not failed(name) and not failed(value):
            found[name] = value
    return found


def _beside(read: Callable[[Node, Reading, Scalar], T], key: Scalar, node: Node, reading: Reading) -> T:
    return read(node, reading, key)


def lazily(module: str, name: str) -> Callable[[Node, Reading], Any]:
    """Return the reader of that name in a module of :mod:`provision.spec`, imported where a spec has the key."""

    def read(node: Node, reading: Reading) -> Any:
        return getattr(import_module(f"provision.spec.{module}"), name)(node, reading)

    return read


def unread(node: Node, _reading: Reading) -> Node:
    """Return what can only be read once more is known: the major version of the server, or the rest of a database."""
    return node


def report_without_meaning(names: Iterable[str], node: Mapping, reading: Reading, why: str) -> None:
    """Report those of ``names`` that are keys of ``node``: they have no meaning, which is ``why``."""
    for name in names:
        reading.refuse(node, name, f"`{name}` has no meaning {why}")


def is_absent(values: dict[str, Any], node: Mapping, others: Iterable[str], reading: Reading) -> bool:
    """Take ``state`` out of the values of a mapping; where it is ``absent``, the ``others`` have no meaning."""
    if values.pop("state", "") != "absent":
        return False
    report_without_meaning(others, node, reading, "with `state: absent`")
    return True


def mapping(node: Node, example: str) -> Mapping:
    """Return ``node`` when it is a mapping; nothing at all is an empty one.

    Raises:
        Wrong: it is a text or a list.
    """
    if isinstance(node, Mapping):
        return node
    if isinstance(node, Scalar) and node.is_null:
        return Mapping(node.mark, node.end)
    raise Wrong(
        f"this is a {'list' if isinstance(node, Sequence) else 'text'}, and must be a mapping", f"write {example}"
    )


def listed(words: Iterable[str]) -> str:
    """Return ``words`` as people read them: `a`, `b` and `c`."""
    marked = [f"`{word}`" for word in words]
    return " and ".join([", ".join(marked[:-1]), marked[-1]] if len(marked) > 1 else marked)
