"""Sizes and times as Compose writes them: https://docs.docker.com/reference/compose-file/extension/#specifying-byte-values."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmg]?)b?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_NANOSECONDS = {"us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def size_bytes(value: object) -> int:
    """Return bytes.

    >>> size_bytes("256m"), size_bytes(1024), size_bytes("1.5gb")
    (268435456, 1024, 1610612736)
    """
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        message = f"{value!r} is not a size such as 256m"
        raise ValueError(message)
    return int(float(match[1]) * 1024 ** "bkmg".index((match[2] or "b").lower()))


def duration_ns(value: object) -> int:
    """Return nanoseconds.

    >>> duration_ns("1m30s"), duration_ns("250ms")
    (90000000000, 250000000)
    """
    text = str(value).strip()
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        message = f"{value!r} is not a duration such as 10s"
        raise ValueError(message)
    return sum(round(float(number) * _NANOSECONDS[unit]) for number, unit in parts)
