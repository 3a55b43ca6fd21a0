"""Sizes, times and numbers as Compose writes them: https://docs.docker.com/reference/compose-file/extension/#specifying-byte-values."""

from __future__ import annotations

import math
import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmg]?)b?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_NANOSECONDS = {"us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LARGEST = 2**63 - 1
"""The largest number that the engine, which is written in Go, reads."""
_LEAST_CPUS = 0.01


def size_bytes(value: object) -> int:
    """Return bytes.

    >>> size_bytes("256m"), size_bytes(1024), size_bytes("1.5gb")
    (268435456, 1024, 1610612736)
    """
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        message = f"{value!r} is not a size such as 256m"
        raise ValueError(message)
    return int(_bounded(float(match[1]) * 1024 ** "bkmg".index((match[2] or "b").lower()), value))


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
    return round(
        _bounded(sum(round(_bounded(float(number) * _NANOSECONDS[unit], value)) for number, unit in parts), value)
    )


def _bounded(number: float, value: object) -> float:
    """Return a number that the engine can read."""
    if number > _LARGEST:
        message = f"{value!r} is larger than the engine can read"
        raise ValueError(message)
    return number


def cpus_nano(value: object) -> int:
    """Return billionths of a processor; zero is no limit.

    >>> cpus_nano("0.5")
    500000000
    """
    try:
        number = float(value)  # type: ignore[arg-type]  # what does not fit is refused
    except (TypeError, ValueError):
        number = math.nan
    if not (number == 0 or number >= _LEAST_CPUS):
        message = f"{value!r} is not a number of processors such as 0.5"
        raise ValueError(message)
    return round(_bounded(number * 10**9, value))


def whole(value: object, least: int = 0) -> int:
    """Return a whole number of at least ``least``.

    >>> whole("3"), whole(-1, least=-1)
    (3, -1)
    """
    try:
        number: int | None = int(value)  # type: ignore[call-overload]  # what does not fit is refused
    except (OverflowError, TypeError, ValueError):
        number = None
    if number is None or not least <= number <= _LARGEST:
        message = f"{value!r} is not a whole number from {least} to {_LARGEST}"
        raise ValueError(message)
    return number
