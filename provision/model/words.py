"""Counts and paths as people read them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

SSH = "ssh://"
_MEGABYTE = 1_000_000
_GIGABYTE = 1_000_000_000


def count(number: int, noun: str) -> str:
    """Return ``1 step`` or ``3 steps``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size(number: int) -> str:
    """Return a number of bytes as people read it.

    >>> size(7_834), size(84_000_000), size(1_250_000_000)
    ('8 kB', '84 MB', '1.2 GB')
    """
    if number < _MEGABYTE:
        return f"{number / 1e3:.0f} kB"
    return f"{number / 1e9:.1f} GB" if number >= _GIGABYTE else f"{number / 1e6:.0f} MB"


def socket_address(host: str, port: int | None) -> str:
    """Return where something listens.

    >>> socket_address("127.0.0.1", 5432), socket_address("::1", 5432), socket_address("db1", None)
    ('127.0.0.1:5432', '[::1]:5432', 'db1')
    """
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def some(lines: Sequence[str], most: int) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = len(lines) - most
    return [*lines] if more <= 0 else [*lines[:most], f"… and {more} more"]


def some_of(names: Iterable[str], *, most: int = 3) -> str:
    """Return the first of many names: ``a, b, c and 14 more``.

    >>> some_of("abc"), some_of("abcde")
    ('a, b, c', 'a, b, c and 2 more')
    """
    listed = list(names)
    more = len(listed) - most
    return ", ".join(listed) if more <= 0 else f"{', '.join(listed[:most])} and {more} more"


def short(text: str, most: int) -> str:
    """Return a text as one line, cut off where it is longer than so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 2]} …"


def shown(path: Path | str) -> str:
    """Return a path as short as it is unambiguous: relative when it is below the current directory."""
    here, text = os.getcwd(), str(path)  # noqa: PTH109  # a plain string is wanted
    return text[len(here) + 1 :] if here != "/" and text.startswith(f"{here}/") else text
