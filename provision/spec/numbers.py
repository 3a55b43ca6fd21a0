"""Numbers with units, read exactly as PostgreSQL reads them in its configuration.

The rules are those of ``parse_int``, ``parse_real`` and ``convert_to_base_unit`` in PostgreSQL's
``src/backend/utils/misc/guc.c``, which did not change from 14 to 18: C's ``strtol`` with base 0 (``010`` is eight,
``0x10`` sixteen) and, where it stops at a fraction, an exponent or an overflow, ``strtod``; a fraction with a unit is
rounded to a whole number of the next smaller unit; the result is rounded half to even.
"""

from __future__ import annotations

import math
import re

_WHOLE = r"(?a)\s*([-+]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)"
_REAL = (
    r"(?ai)\s*[-+]?(?:0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][-+]?[0-9]+)?"
    r"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|(?:inf(?:inity)?|nan))"
)
_UNIT = r"[ \t\n\v\f\r]*(\S*?)[ \t\n\v\f\r]*"
_LARGEST_LONG = 2**63 - 1
LARGEST_INT = 2**31 - 1

_MEMORY = {"TB": 1024.0**4, "GB": 1024.0**3, "MB": 1024.0**2, "kB": 1024.0, "B": 1.0}
_TIME = {"d": 86_400_000.0, "h": 3_600_000.0, "min": 60_000.0, "s": 1000.0, "ms": 1.0, "us": 0.001}
# pg_settings.unit → its family and its size there; blocks are written as `8kB`.
_BASE_UNIT = r"([0-9]*)(\w+)"


class NotANumberError(ValueError):
    """The text is not a number that PostgreSQL accepts; the message says why, for people."""


def _table(base: str) -> tuple[dict[str, float], float]:
    """Return the units of the family of ``base``, the largest first, and the size of ``base`` itself."""
    match = re.fullmatch(_BASE_UNIT, base)
    if match is None:
        raise ValueError(base)
    table = _MEMORY if match[2] in _MEMORY else _TIME
    return table, int(match[1] or 1) * table[match[2]]


def parse_whole(text: str, base: str | None) -> int:
    """Return the number in ``text``, in the base unit.

    Raises:
        NotANumberError: it is none.
    """
    match = re.match(_WHOLE, text)
    number: float
    end = match.end() if match else len(text) - len(text.lstrip(" \t\n\v\f\r"))
    number = _long(match) if match and end - match.start() < 40 else math.inf if match else 0  # noqa: PLR2004  # longer than any long
    if text[end : end + 1] in (".", "e", "E") or (match and abs(number) > _LARGEST_LONG):
        number, end = _double(text)
    elif match is None:
        raise NotANumberError("it must be a whole number")
    number = _with_unit(number, text[end:], base)
    if math.isinf(number) or abs(round(number)) > LARGEST_INT + 1:
        raise NotANumberError("it is larger than any whole number that PostgreSQL keeps")
    return round(number)


def parse_real(text: str, base: str | None) -> float:
    """Return the number in ``text``, in the base unit.

    Raises:
        NotANumberError: it is none.
    """
    number, end = _double(text)
    return _with_unit(number, text[end:], base)


def _long(match: re.Match[str]) -> int:
    digits = match[2]
    radix = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    number = int(digits, radix)
    return -number if match[1] == "-" else number


def _double(text: str) -> tuple[float, int]:
    match = re.match(_REAL, text)
    if match is None:
        raise NotANumberError("it must be a number")
    word = match.group().strip()
    try:
        number = float.fromhex(word) if "x" in word.casefold() else float(word)
    except OverflowError:
        number = math.inf
    if math.isnan(number) or (math.isinf(number) and "inf" not in word.casefold()):
        raise NotANumberError("it must be a number")
    return number, match.end()


def _with_unit(number: float, rest: str, base: str | None) -> float:
    match = re.fullmatch(_UNIT, rest)
    unit = match[1] if match else rest.strip()
    if match and not unit:
        return number
    if rest[:1].isdigit():
        raise NotANumberError("a number that begins with 0 is octal, and has no 8 and no 9")
    if base is None:
        raise NotANumberError("it takes no unit")
    table, base_size = _table(base)
    if match is None or unit not in table:
        raise NotANumberError(_unknown_unit(unit, table))
    sizes = list(table.items())
    place = list(table).index(unit)
    converted = number * (sizes[place][1] / base_size)
    if place + 1 < len(sizes) and not math.isinf(converted):
        smaller = sizes[place + 1][1] / base_size
        converted = round(converted / smaller) * smaller
    return converted


def _unknown_unit(unit: str, table: dict[str, float]) -> str:
    names = [f"`{each}`" for each in reversed(table)]
    message = f"the units are {', '.join(names[:-1])} and {names[-1]}"
    meant = next((each for each in table if each.casefold() == unit.casefold()), None)
    return f"{message}, and upper and lower case differ" if meant else message
