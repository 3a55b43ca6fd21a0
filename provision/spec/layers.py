"""What a spec is put together from: the file that it ``extends``, below it, and what ``--set`` says, above it.

Mappings are merged key by key, and everything else is replaced. ``null`` takes away what is below. Of keys that exclude
each other the upper one wins. Every node keeps its mark, so that a problem is shown in the text that it is from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence as Sequence_
from pathlib import Path
from typing import Final

from provision.errors import UsageError
from provision.model import MASK
from provision.spec.masking import ShownLines, is_public_key, is_secret_key, may_hold_secret
from provision.spec.model import Spec
from provision.spec.readers import existing
from provision.spec.reading import BASE, GIVEN, Reading, Source, Wrong, attempt, failed, shorten
from provision.spec.yaml import Document, Mapping, Mark, Node, Scalar, Sequence, parse

Place = tuple[str, ...]

_SET: Final = 2
_OPTION: Final = "--set "
_ANY: Final = "*"
_PASSWORD: Final[dict[str, tuple[str, ...]]] = {
    "file": ("command", "generate"),
    "command": ("file", "generate"),
    "generate": ("file", "command"),
}
_LOCATION: Final[dict[str, tuple[str, ...]]] = {
    "script_location": ("config", "section"),
    "config": ("script_location",),
}
_EXCLUDED: Final[dict[Place, dict[str, tuple[str, ...]]]] = {
    ("server",): {"image": ("major",)},
    ("server", "data"): {
        "volume": ("path", "ephemeral"),
        "path": ("volume", "ephemeral"),
        "ephemeral": ("volume", "path"),
    },
    ("server", "credentials", "password"): _PASSWORD,
    ("roles", _ANY, "password"): _PASSWORD,
    ("migrations",): _LOCATION,
    ("databases", _ANY, "migrations"): _LOCATION,
}
"""Which keys of the lower mapping go where the upper one has a key, by the place of the mappings."""
_WHOLE: Final = (("roles", _ANY), ("databases", _ANY), ("databases", _ANY, "schemas", _ANY))
"""What cannot have other keys beside ``state: absent`` and ``external: true``."""
_SETTINGS: Final = (
    ("server", "settings"),
    ("roles", _ANY, "settings"),
    ("roles", _ANY, "settings_in", _ANY),
    ("databases", _ANY, "settings"),
)
"""Where the case of a key does not matter."""
_TREES: Final = (("migrations",), ("databases", _ANY, "migrations"))
_NAMES: Final = (*_SETTINGS, *[(*tree, each) for tree in _TREES for each in ("env", "options", "x", "attributes")])
"""Where a key is the name of something else, and may have a point in it."""
_NO: Final = r"(?i)no|off|false"
_YES: Final = r"(?i)yes|on|true"
_PART: Final = r'"(?P<quoted>[^"]*)"|(?P<bare>[^."=\s]+)'
_HARMLESS: Final = r"(\$\{[A-Za-z_][A-Za-z0-9_]*\})+|none|(?i:true)"
_UNPRINTABLE: Final = r"[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]"
_EXAMPLE: Final = "write a key and a value, like: --set server.port=5433"


def assemble(reading: Reading, overrides: Sequence_[str], content: Callable[[Path], bytes]) -> Document:
    """Return the document of a spec with what is below and above it; without ``top`` where that cannot be.

    ``reading`` has the spec alone, and gets the sources of the others, and what is wrong with them. ``content`` reads
    a file.

    Raises:
        UsageError: an override is not written as one, or holds a secret.
    """
    document = reading.document
    top = document.top
    if top is not None and "extends" in top.entries:
        base = attempt(lambda node, _: _base(node, reading, content), top.entries["extends"][1], reading, key="extends")
        if failed(base) or base.top is None:
            return Document(document.lines, None, (*document.faults, *([] if failed(base) else base.faults)))
        if "name" not in top.entries and not _lacks(base.top):
            mark, path = top.entries["extends"][0].mark, reading.sources[BASE].path
            advice = "write a `name`, unless this is another way to say the same"
            reading.remark(mark, f"`name` is that of {path.name}: both specs are one environment", advice)
        document = document._replace(top=merged(base.top, top), faults=(*document.faults, *base.faults))
    return _with_overrides(document, overrides, reading)


def _base(node: Node, reading: Reading, content: Callable[[Path], bytes]) -> Document:
    path = existing("`extends`", directory=False)(node, reading)
    if os.path.realpath(path) == os.path.realpath(reading.path):
        raise Wrong("a spec cannot extend itself", "name the spec that has what both need")
    try:
        base = parse(content(path), BASE)
    except UsageError as error:
        raise Wrong(error.sentence) from None
    # The spec of a stranger may name a file of ours that is no spec: nothing of it is shown.
    lines = base if base.top is not None else Document(("",) * len(base.lines), None, ())
    reading.sources[BASE] = Source(path, ShownLines(lines))
    if base.top is not None and "extends" in base.top.entries:
        mark, advice = base.top.entries["extends"][0].mark, "write what is needed of that into one of the two"
        reading.report(mark, f"{reading.path.name} extends this file, so it cannot extend another one", advice)
        return base._replace(top=None)
    return base


def _lacks(top: Mapping) -> bool:
    """Tell whether a mapping is no whole spec."""
    server = top.value("server")
    return "name" not in top.entries or not isinstance(server, Mapping) or "image" not in server.entries


def merged(lower: Mapping, upper: Mapping, place: Place = ()) -> Mapping:
    """Return the mapping of both; where a key has a mapping in both, that is merged too. ``place`` is theirs."""
    mark = min(lower.mark, upper.mark, key=lambda mark: (mark.source == _SET, mark.source))
    if _replaces(upper, place):
        return Mapping(mark, upper.end, dict(upper.entries), upper.duplicates)
    entries = {name: entry for name, entry in lower.entries.items() if name not in set(_excluded(upper, place))}
    if place == ("server",):
        _move_max_connections(entries, upper)
    folded = {name.casefold(): name for name in entries} if _is_at(place, _SETTINGS) else {}
    for name, (key, value) in upper.entries.items():
        below = folded.get(name.casefold(), name)
        _, before = entries.pop(below) if below != name else entries.get(name, (None, None))
        if _is_null(value) and below in lower.entries:
            entries.pop(name, None)
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            entries[name] = (key, merged(before, value, (*place, name)))
        else:
            entries[name] = (key, value)
    return Mapping(mark, upper.end, entries, [*lower.duplicates, *upper.duplicates])


def _is_at(place: Place, patterns: Sequence_[Place]) -> bool:
    return any(
        len(each) == len(place) and all(wanted in (_ANY, name) for wanted, name in zip(each, place, strict=True))
        for each in patterns
    )


def _is_null(node: Node | None) -> bool:
    return isinstance(node, Scalar) and node.is_null


def _says(mapping: Mapping, key: str, pattern: str) -> bool:
    value = mapping.value(key)
    return isinstance(value, Scalar) and re.fullmatch(pattern, value.text) is not None


def _replaces(upper: Mapping, place: Place) -> bool:
    return _is_at(place, _WHOLE) and (_says(upper, "state", "absent") or _says(upper, "external", _YES))


def _excluded(upper: Mapping, place: Place) -> Iterator[str]:
    """Yield the keys of the lower mapping that do not go with those of the upper one."""
    for pattern, excluded in _EXCLUDED.items():
        for name in excluded if _is_at(place, (pattern,)) else ():
            value = upper.value(name)
            # A variable may say that it is not ephemeral, so the reader of `data` decides that.
            is_said = isinstance(value, Scalar) and ("$" in value.text or _says(upper, name, _NO))
            if value is not None and not _is_null(value) and not (name == "ephemeral" and is_said):
                yield from excluded[name]


def _move_max_connections(entries: dict[str, tuple[Scalar, Node]], upper: Mapping) -> None:
    """Take the number of connections away where the upper mapping has it in the other of its two places."""
    name = "max_connections"
    key, settings = entries.get("settings", (None, None))
    if name in upper.entries and key is not None and isinstance(settings, Mapping):
        rest = {each: entry for each, entry in settings.entries.items() if each.casefold() != name}
        entries["settings"] = (key, Mapping(settings.mark, settings.end, rest, settings.duplicates))
    above = upper.value("settings")
    if isinstance(above, Mapping) and any(each.casefold() == name for each in above.entries):
        entries.pop(name, None)


# What ``--set KEY=VALUE`` says. All of them are one text, in which each is a line.


def shown_lines(spec: Spec, path: Path) -> ShownLines:
    """Return the lines of one of the texts of a spec as they may be shown."""
    if path == GIVEN:
        return _lines_of(spec.overrides)
    return ShownLines(parse(path.read_bytes() if spec.text is None or path != spec.path else spec.text))


def _lines_of(overrides: Sequence_[str]) -> ShownLines:
    lines = tuple(_OPTION + _shown(each) for each in overrides)
    return ShownLines(Document(lines, Mapping(Mark(1, 1, _SET), Mark(1, 1, _SET)), ()))


def _shown(text: str) -> str:
    """Return an override without what may be a secret, also where it cannot be read."""
    name, _, value = text.partition("=")
    is_open = not is_secret_key(name) or is_public_key(name.rpartition(".")[2]) or re.fullmatch(_HARMLESS, value)
    return f"{_named(name)}={value if is_open else MASK}"


def _named(key: str) -> str:
    """Return a key without the secret that is in it where its sign is not `=`, as in ``password:hunter2==``."""
    names = key.split(".")
    for number, name in enumerate(names):
        if any(map(is_secret_key, names[: number + 1])) and not re.fullmatch(r'"?[A-Za-z_-]{1,32}"?', name):
            return ".".join((*names[:number], MASK))
    return key


def _with_overrides(document: Document, overrides: Sequence_[str], reading: Reading) -> Document:
    if not overrides or document.top is None:
        return document
    top, faults = document.top, document.faults
    reading.sources[_SET] = Source(GIVEN, _lines_of(overrides))
    for number, text in enumerate(overrides, 1):
        found = _override(text, number, top)
        if found.top is not None:
            _refuse_secret(found.top, (), hidden=False)
            top = merged(top, found.top)
        faults = (*faults, *found.faults)
    return document._replace(top=top, faults=faults)


def _override(text: str, number: int, top: Mapping) -> Document:
    """Return the document that one override is, with its marks in the line of that number."""
    parts, at = _key(text)
    value = text[at:]
    if re.search(_UNPRINTABLE, text):
        raise UsageError("--set takes one line of text, without control characters", next_step=_EXAMPLE)
    if not value.strip():
        sentence = f"--set {MASK if is_secret_key(text) else shorten(text)} has no value"
        raise UsageError(sentence, next_step="write one; `null` takes the key away, and \"''\" is an empty text")
    names = [name for name, _ in parts]
    _check_place(names, top)
    column = len(_OPTION) + at + 1
    document = parse(("\n" * (number - 1) + "v:" + " " * (column - 3) + value).encode(), _SET)
    if document.top is None or set(document.top.entries) != {"v"}:
        faults = [each._replace(mark=max(each.mark, Mark(number, column, _SET))) for each in document.faults]
        return document._replace(top=None, faults=tuple(faults))
    node: Node = document.top.entries["v"][1]
    for name, begins in reversed(parts):
        mark = Mark(number, len(_OPTION) + begins + 1, _SET)
        key = Scalar(mark, mark._replace(column=mark.column + len(name)), name, quoted=True)
        node = Mapping(mark, key.end, {name: (key, node)})
    return document._replace(top=node if isinstance(node, Mapping) else None)


def _key(text: str) -> tuple[list[tuple[str, int]], int]:
    """Return the parts of the key with where they begin, and where the value begins.

    Raises:
        UsageError: it is not written as a key and a value.
    """
    parts: list[tuple[str, int]] = []
    at = 0
    while match := re.compile(_PART).match(text, at):
        names = tuple(name for name, _ in parts)
        end = match.end()
        if match["bare"] is not None and _is_at(names, _NAMES):  # the rest is one name
            end = text.find("=", at) if "=" in text[at:] else len(text)
        parts.append((match["quoted"] if match["quoted"] is not None else text[at:end], at))
        if text[end : end + 1] == "=":
            return parts, end + 1
        if text[end : end + 1] != ".":
            break
        at = end + 1
    name = text.partition("=")[0]
    shown = MASK if is_secret_key(name) else shorten(name)
    raise UsageError(f"`{shown}` is not a key with a value", next_step=_EXAMPLE)


def _check_place(names: list[str], top: Mapping) -> None:
    """Refuse a key that decides which file is read, and one that is inside of a list.

    Raises:
        UsageError: it is one of them.
    """
    if names[0] == "extends":
        raise UsageError("--set cannot change `extends`: it changes what the files say", next_step=_EXAMPLE)
    node: Node | None = top
    for number, name in enumerate(names):
        if isinstance(node, Sequence):
            place = ".".join(names[:number])
            sentence = f"`{place}` is a list, and --set cannot change a part of one"
            raise UsageError(sentence, next_step=f"set all of it: --set '{place}=[…]'")
        node = node.value(name) if isinstance(node, Mapping) else None


def _refuse_secret(node: Node, place: Place, *, hidden: bool) -> None:
    """Refuse a secret: others see the command lines of processes, and shells keep them.

    Raises:
        UsageError: there may be one; it is not repeated.
    """
    if isinstance(node, Mapping):
        for name, (_, value) in node.entries.items():
            _refuse_secret(value, (*place, name), hidden=(hidden or is_secret_key(name)) and not is_public_key(name))
    elif isinstance(node, Sequence):
        for item in node.items:
            _refuse_secret(item, place, hidden=hidden)
    elif not node.is_null and re.fullmatch(_HARMLESS, node.text) is None:
        key = _named(".".join(place))
        if hidden or may_hold_secret("".join(place[-1:]), node.text):
            raise UsageError(
                f"--set {shorten(key)}=… may hold a secret: a command line can be seen by every user, "
                "and stays in the history of the shell",
                evidence=["a variable can have it, in single quotes: --set '" + key + "=${NAME}'"],
                next_step="write it into a file that only you can read: {file: PATH} as a password, or `.env`",
            )
