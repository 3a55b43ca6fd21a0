"""Goldens, as lines of text and as a document."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from provision.golden.shelf import Kept
from provision.model.words import count, size
from provision.report.console import Paint
from provision.report.words import fields

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))
_DIGITS = 8


def lines(found: Sequence[Kept], paint: Paint) -> Iterator[str]:
    """Yield a line for each golden: key, runtime, revisions, size, when it was used last, and what it was made from."""
    width = max([len(_has(each)) for each in found], default=0)
    for each in found:
        golden = each.golden
        yield (
            f"{paint('bold', golden.key[:_DIGITS])}  {each.runtime:<8}  {_has(each):<{width}}  {size(golden.size):>6}"
            f"  used {ago(time.time() - golden.used)}"
            f"  {', '.join(filter(None, [golden.environment, golden.image]))}".rstrip()
        )


def _has(each: Kept) -> str:
    if each.golden.level == 0:
        return "empty server"
    rows = [" + ".join(tree.rows) for tree in each.golden.inputs.trees if tree.rows]
    return ", ".join(rows) or "no revisions"


def ago(seconds: float) -> str:
    """Say how long ago something was.

    >>> ago(5), ago(61), ago(7300), ago(200_000)
    ('just now', '1 minute ago', '2 hours ago', '2 days ago')
    """
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{count(int(seconds // length), unit)} ago"
    return "just now"


def document(found: Sequence[Kept]) -> dict[str, Any]:
    """Return the document of goldens."""
    return {
        "schema": "provision/goldens/1",
        "goldens": [
            {
                "key": each.golden.key,
                "runtime": each.runtime,
                "level": each.golden.level,
                "revisions": {tree.name: list(tree.rows) for tree in each.golden.inputs.trees},
                **fields(each.golden, "environment image size"),
                "made": round(each.golden.made, 3),
                "used": round(each.golden.used, 3),
            }
            for each in found
        ],
    }
