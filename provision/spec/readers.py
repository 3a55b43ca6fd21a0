"""Readers of single values: what a key's text means, and what to write where it means nothing.

Sizes are written as Docker writes them (https://docs.docker.com/reference/compose-file/extension/#specifying-byte-values)
and times as Compose does (https://docs.docker.com/reference/compose-file/extension/#specifying-durations); both
need their unit, because a bare number is bytes to one reader and megabytes to the next.
"""

from __future__ import annotations

import contextlib
import os.path
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from provision.model import OWN_DATABASES
from provision.spec.reading import Reading, Wrong, attempt, failed, listed, nearest, scalar, shorten
from provision.spec.yaml import Node, Scalar, Sequence

T = TypeVar("T")

LONGEST_IDENTIFIER = 63  # NAMEDATALEN - 1: https://www.postgresql.org/docs/current/limits.html
NAME = r"[a-z0-9][a-z0-9_-]+"
NAME_RULE = (
    "it names a container, a volume and a project of Compose, so it has at least two characters, which are "
    "lower-case letters, digits, `-` and `_`, and begins with a letter or a digit"
)
LONGEST_NAME = 48  # with `-data` and the like behind it still a host name
LARGEST_PORT = 65535
SMALLEST_CPUS = 0.01  # what the engine accepts
LARGEST_CPUS = 4096
LONGEST_TIME = 7 * 86400

# What readers of YAML 1.1 take a plain word for, when it is not text: https://yaml.org/type/
_BOOLEAN_WORDS = {word: word in ("yes", "on", "true") for word in ("yes", "no", "on", "off", "true", "false")}
_MISREAD = (
    (r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?", "a number of base 60"),
    (r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9_]+)([eE][-+]?[0-9]+)?|[-+]?\.(?i:inf)|\.(?i:nan)", "a fraction"),
    (r"[-+]?0[0-7_]+|[-+]?0[xob][0-9a-fA-F_]+|[-+]?[0-9]+_[0-9_]*", "a number"),
    (r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*", "a date"),
)
_SIZE = r"(?i)(?P<number>[0-9]+(\.[0-9]+)?) ?(?P<unit>[bkmgtp]?)(?:i?b)?"
_SIZE_UNITS = {unit: int(1024**power) for power, unit in enumerate("bkmgtp")}
_TIME = r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|us|s|m|h|d))+"
_TIME_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|us|s|m|h|d)"
_TIME_UNITS = {"us": 0.000001, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_HOST = 253
_HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
_NUMBER = r"[0-9]+(\.[0-9]+)?"


def text(what: str, example: str = "", *, verbatim: bool = False) -> Callable[[Node, Reading], str]:
    """Return a reader of text that refuses what other readers of YAML take for something else, unless ``verbatim``."""

    def read(node: Node, reading: Reading) -> str:
        found = scalar(node, what)
        refuse_misread(found, reading, booleans_only=verbatim)
        value = reading.text(found)
        if not value:
            raise Wrong(f"the text is empty; it must be {what}", f"for example `{example}`" if example else None)
        if any(ord(char) < ord(" ") or char == "\x7f" for char in value):
            raise Wrong("the text has a line break or a control character in it", "write it in one line")
        return value

    return read


def refuse_misread(node: Scalar, reading: Reading, *, booleans_only: bool = False) -> None:
    """Refuse a plain word that is text to us and a boolean, a fraction … to every other reader of the file.

    Raises:
        Wrong: it is one of them.
    """
    if node.quoted:
        return
    what = "a boolean" if node.text.lower() in _BOOLEAN_WORDS else None
    if not booleans_only and node.text[0] in "0123456789+-.":
        what = next((what for pattern, what in _MISREAD if re.fullmatch(pattern, node.text)), None)
    if what is not None:
        advice = "put quotes around it" if reading.secret else f'put quotes around it: `"{shorten(node.text)}"`'
        raise Wrong(f"YAML reads {reading.show(node)} as {what}, and it must be text", advice)


def boolean(node: Node, reading: Reading) -> bool:
    """Read ``true`` or ``false`` (or yes, no, on, off, which mean the same to YAML 1.1)."""
    found = scalar(node, "`true` or `false`")
    value = _BOOLEAN_WORDS.get(reading.text(found).lower())
    if value is None:
        raise Wrong(f"{reading.show(found)} is not a boolean", "write `true` or `false`")
    return value


def choice(*words: str) -> Callable[[Node, Reading], str]:
    """Return a reader of one of ``words``."""

    def read(node: Node, reading: Reading) -> str:
        found, value = reading.scalar(node, f"one of {listed(words)}")
        if value not in words:
            meant = nearest(found.text, words)
            raise Wrong(
                f"{reading.show(found)} is not one of {listed(words)}", f"did you mean `{meant}`?" if meant else None
            )
        return value

    return read


def named(
    kind: str, pattern: str, rule: str, longest: int = 63, *, verbatim: bool = False
) -> Callable[[Node, Reading], str]:
    """Return a reader of a name that fits ``pattern``, which people know as ``rule``."""

    def read(node: Node, reading: Reading) -> str:
        value = text(kind, verbatim=verbatim)(node, reading)
        if not re.fullmatch(pattern, value):
            raise Wrong(f"{reading.show(scalar(node, kind))} is not {kind}: {rule}")
        if len(value) > longest:
            raise Wrong(f"{len(value)} characters are too many for {kind}", f"use at most {longest}")
        return value

    return read


def identifier(node: Node, reading: Reading) -> str:
    """Read the name of something inside PostgreSQL, which would cut off what is longer than 63 bytes."""
    value = text("a name")(node, reading)
    if (size := len(value.encode())) > LONGEST_IDENTIFIER:
        raise Wrong(
            f"the name has {size} bytes, and PostgreSQL keeps {LONGEST_IDENTIFIER} of them", "write a shorter one"
        )
    return value


def number(what: str, largest: int) -> Callable[[Node, Reading], int]:
    """Return a reader of a number of things, of which there is at least one."""

    def read(node: Node, reading: Reading) -> int:
        found, value = reading.scalar(node, f"a number of {what}")
        if not re.fullmatch(r"[1-9][0-9]{0,2}", value) or int(value) > largest:
            raise Wrong(f"{reading.show(found)} is not a number of {what}", f"write a number from 1 to {largest}")
        return int(value)

    return read


def limit(what: str) -> Callable[[Node, Reading], int]:
    """Return a reader of a number that PostgreSQL keeps in 32 bits; ``none`` is no limit, which is -1 there."""

    def read(node: Node, reading: Reading) -> int:
        found, value = reading.scalar(node, f"a number of {what}, or `none`")
        if value == "none":
            return -1
        if not re.fullmatch(r"0|[1-9][0-9]{0,9}", value) or int(value) >= 1 << 31:
            advice = "write `none` for no limit" if value == "-1" else "write a whole number, or `none`"
            raise Wrong(f"{reading.show(found)} is not a number of {what}", advice)
        return int(value)

    return read


def comment(node: Node, reading: Reading) -> str:
    """Read a comment, which may have several lines; ``none`` is an empty one, which PostgreSQL takes for none."""
    value = reading.scalar(node, "a text, or `none`")[1]
    if "\0" in value:
        raise Wrong("the text has a NUL in it")
    return "" if value == "none" else value


def list_of(read: Callable[[Node, Reading], T], example: str) -> Callable[[Node, Reading], tuple[T, ...]]:
    """Return a reader of a list, which may be empty and has nothing twice."""

    def read_all(node: Node, reading: Reading) -> tuple[T, ...]:
        if not isinstance(node, Sequence):
            raise Wrong("it must be a list", f"for example `{example}`")
        found: dict[T, None] = {}
        for item in node.items:
            value = attempt(read, item, reading)
            if not failed(value) and value in found:
                reading.report(item.mark, "this is in the list already", "keep one of the two")
            elif not failed(value):
                found[value] = None
        return tuple(found)

    return read_all


def port(node: Node, reading: Reading) -> int | None:
    """Read a port of this host; None is ``auto``."""
    found, value = reading.scalar(node, "a port number")
    if value == "auto":
        return None
    if value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= LARGEST_PORT:  # noqa: PLR2004  # int() of a long text is slow
        if value[0] == "0":
            raise Wrong(f"YAML reads {reading.show(found)} as an octal number", f"write `{int(value)}`")
        return int(value)
    advice = f"write a number from 1 to {LARGEST_PORT}, or `auto`"
    if ":" in found.text and "$" not in found.text:
        first = found.text.split(":")[0].strip()
        if first.isascii() and first.isdigit():
            advice = f"write the port of this host only: `{first}`"
        raise Wrong(f"{reading.show(found)} is two numbers (which YAML 1.1 reads as one of base 60)", advice)
    raise Wrong(f"{reading.show(found)} is not a port", advice)


def size(smallest: int) -> Callable[[Node, Reading], int]:
    """Return a reader of a size in bytes."""

    def read(node: Node, reading: Reading) -> int:
        found = scalar(node, "a size with its unit")
        value = reading.text(found).strip()
        match = re.fullmatch(_SIZE, value) if len(value) < 40 else None  # noqa: PLR2004  # far more digits than any size
        if match is None:
            raise Wrong(f"{reading.show(found)} is not a size", "write a number with `k`, `m`, `g` or `t`, like `512m`")
        if re.fullmatch(_NUMBER, value):
            example = found.text if re.fullmatch(_NUMBER, found.text) else "512"
            raise Wrong(
                f"the size {reading.show(found)} has no unit", f"write `{example}m` for MiB, or `{example}g` for GiB"
            )
        number = int(float(match["number"]) * _SIZE_UNITS[match["unit"].lower() or "b"])
        if not smallest <= number < 1 << 60:
            raise Wrong(
                f"{reading.show(found)} is out of range",
                f"write at least `{max(1, smallest >> 20)}m`, and less than `1024p`",
            )
        return number

    return read


def cpus(node: Node, reading: Reading) -> float:
    """Read a number of CPUs, which may have a fraction."""
    found, value = reading.scalar(node, "a number of CPUs")
    if (
        not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", value)
        or not SMALLEST_CPUS <= float(value) <= LARGEST_CPUS
    ):
        raise Wrong(f"{reading.show(found)} is not a number of CPUs", "write a number like `2` or `0.5`")
    return float(value)


def duration(node: Node, reading: Reading) -> float:
    """Read a time in seconds: ``500ms``, ``60s``, ``1h30m``."""
    found = scalar(node, "a time with its unit")
    value = reading.text(found).strip()
    if re.fullmatch(_NUMBER, value):
        example = found.text if re.fullmatch(_NUMBER, found.text) else "60"
        raise Wrong(
            f"the time {reading.show(found)} has no unit",
            f"write `{example}s` for seconds, or `{example}m` for minutes",
        )
    if not re.fullmatch(_TIME, value):
        raise Wrong(
            f"{reading.show(found)} is not a time",
            "write a number with `ms`, `s`, `m`, `h` or `d`, like `90s` or `1h30m`",
        )
    seconds = sum(float(number) * _TIME_UNITS[unit] for number, unit in re.findall(_TIME_PART, value))
    if not 0 < seconds <= LONGEST_TIME:
        raise Wrong(f"the time {reading.show(found)} is out of range", "write more than zero, and at most `7d`")
    return seconds


def path(node: Node, reading: Reading) -> Path:
    """Read a path, made absolute: it starts in the directory of the spec."""
    value = text("a path", verbatim=True)(node, reading)
    if value == "~" or value.startswith("~/"):
        home = reading.environ.get("HOME")
        if not home:
            raise Wrong("`~` is the home directory, and `HOME` is not set", "write the whole path")
        value = home + value[1:]
    elif value.startswith("~"):
        raise Wrong("other users' home directories are not looked up", "write the whole path")
    return Path(os.path.normpath(reading.directory(node) / value))


def existing(what: str, *, directory: bool) -> Callable[[Node, Reading], Path]:
    """Return a reader of a path where a directory, or a file, has to be."""

    def read(node: Node, reading: Reading) -> Path:
        value = path(node, reading)
        kind = "directory" if directory else "file"
        shown = reading.show(scalar(node, "a path"))
        try:
            if value.is_dir() if directory else value.is_file():
                return value
            exists = value.exists()
        except OSError as error:
            raise Wrong(f"{shown} cannot be looked up: {error.strerror}") from None
        if exists:
            raise Wrong(f"{shown} is not a {kind}", f"{what} must be one")
        raise Wrong(f"there is no {kind} {shown}", _advice_on_missing(value, node, reading, directory=directory))

    return read


def _advice_on_missing(missing: Path, node: Node, reading: Reading, *, directory: bool) -> str:
    """Say which neighbour was probably meant, or where the path led to."""
    start = reading.directory(node)
    names: list[str] = []
    if "$" not in scalar(node, "a path").text:  # what is near a variable's value tells the value
        with contextlib.suppress(OSError):
            names = [each.name for each in missing.parent.iterdir() if each.is_dir() == directory]
    if meant := nearest(missing.name, names):
        return f"did you mean `{os.path.relpath(missing.parent / meant, start)}`?"
    return f"relative paths start in the directory of the spec, {start}"


def host(node: Node, reading: Reading) -> str:
    """Read an address, or the name of a host."""
    found, value = reading.scalar(node, "an address like `127.0.0.1`")
    if is_host(value):
        return value
    if value.startswith("[") and value.endswith("]"):
        raise Wrong(
            f"{reading.show(found)} has brackets", f"write `{found.text[1:-1]}`" if "$" not in found.text else None
        )
    advice = "write an address like `127.0.0.1` or `::1`, or the name of a host; the port has a key of its own"
    raise Wrong(f"{reading.show(found)} is neither an address nor the name of a host", advice)


def is_host(value: str) -> bool:
    """Whether ``value`` is an address, or can be the name of a host."""
    if is_ipv4(value) or (value.isascii() and ":" in value and _is_ipv6(value)):
        return True
    is_name = len(value) <= LONGEST_HOST and re.fullmatch(_HOST, value) is not None
    return is_name and not value.rsplit(".", 1)[-1].isdigit()


def is_ipv4(value: str) -> bool:
    """Whether ``value`` is an IPv4 address in its usual notation."""
    return re.fullmatch(r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(?!$)|$)){4}", value) is not None


def _is_ipv6(value: str) -> bool:
    import ipaddress  # 8 ms; most specs say 127.0.0.1

    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


def refuse_own(name: str) -> None:
    """Refuse a name that a snapshot, or another database that provision makes by itself, may have."""
    if re.match(OWN_DATABASES, name):
        beginning = "_".join(name.split("_")[:2]) + "_"
        raise Wrong(f"`{beginning}…` are databases that provision makes by itself", "write another name")
