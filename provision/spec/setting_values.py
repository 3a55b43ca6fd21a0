"""Values of settings as PostgreSQL reads them: numbers with units, and texts in one spelling.

The rules are those of ``parse_int``, ``parse_real`` and ``convert_to_base_unit`` in PostgreSQL's
``src/backend/utils/misc/guc.c``, which did not change from 14 to 18: C's ``strtol`` with base 0 (``010`` is eight,
``0x10`` sixteen) and, where it stops at a fraction, an exponent or an overflow, ``strtod``; a fraction with a unit is
rounded to a whole number of the next smaller unit; the result is rounded half to even.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path

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


def units(base: str) -> dict[str, float]:
    """Return the units that a setting takes, the largest first, in its ``base`` unit."""
    table, size = _table(base)
    return {unit: each / size for unit, each in table.items()}


def parse_whole(text: str, base: str | None) -> int:
    """Return the number in ``text``, in the base unit.

    Raises:
        NotANumberError: it is not one.
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
        NotANumberError: it is not one.
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


# Settings that are text, brought to the one spelling that can be compared.
#
# PostgreSQL keeps most texts as they were written, lists among them; a few of its check hooks rewrite them
# (``DateStyle``, time zones, ``client_encoding``). Lists are compared without the white space and the quotes around
# their items, which mean nothing.


# GUC_LIST_INPUT is not exposed by pg_settings: these are the settings that have it in guc_tables.c of 14 to 18.
# `synchronous_standby_names` has a grammar of its own and stays as it is; DateStyle is handled by itself.
_LISTS = frozenset(
    {
        *("createrole_self_grant", "debug_io_direct", "listen_addresses", "local_preload_libraries"),
        *("log_connections", "log_destination", "oauth_validator_libraries", "restrict_nonsystem_relation_kind"),
        *("search_path", "session_preload_libraries", "shared_preload_libraries", "synchronized_standby_slots"),
        *("temp_tablespaces", "unix_socket_directories", "wal_consistency_checking"),
    }
)
_TIME_ZONES = frozenset({"TimeZone", "log_timezone"})
_CUT_TO_NAME = frozenset({"application_name", "cluster_name", "primary_slot_name"})  # GUC_IS_NAME
_LONGEST_NAME = 63
# A text between double quotes (a quote in it is doubled), or anything up to the next comma.
_ITEM = r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"\s*|(?P<plain>[^,"]*))(?P<end>,|$)'
_ENCODINGS = {"unicode": "UTF8", "utf8": "UTF8", "sqlascii": "SQL_ASCII", "latin1": "LATIN1", "iso88591": "LATIN1"}
_STYLES = {"iso": "ISO", "sql": "SQL", "german": "German", "postgres": "Postgres"}
_ORDERS = {
    **dict.fromkeys(("ymd", "yymmdd"), "YMD"),
    **dict.fromkeys(("dmy", "ddmmyy", "euro", "european"), "DMY"),
    **dict.fromkeys(("mdy", "mmddyy", "us", "noneuro", "noneuropean"), "MDY"),
}


def normalise_text(name: str, value: str) -> str:
    """Return the text that ``pg_settings`` shows for ``value``."""
    if name == "DateStyle":
        return _normalise_date_style(value)
    if name in _TIME_ZONES:
        return _time_zones().get(value.casefold(), value)
    if name == "client_encoding":
        return _ENCODINGS.get(re.sub(r"[^0-9a-z]", "", value.casefold()), value)
    if name in _CUT_TO_NAME:
        return value.encode()[:_LONGEST_NAME].decode(errors="ignore")
    return value


def comparable(name: str, value: str) -> str:
    """Return a text that is the same for two spellings of one value."""
    return _comparable_list(value) if name in _LISTS else normalise_text(name, value)


def _comparable_list(value: str) -> str:
    items = list_items(value)
    if items is None:
        return value
    return ", ".join(
        each if re.fullmatch(r'[^\s,"]+', each) else '"{}"'.format(each.replace('"', '""')) for each in items
    )


def is_list(name: str) -> bool:
    """Whether the value of a setting is a list; one is compared, and sent, element by element."""
    return name in _LISTS


def list_items(value: str) -> list[str] | None:
    """Return the items of a list, or None where it is not well-formed (the server judges it then)."""
    if not value.strip():
        return []
    items: list[str] = []
    place = 0
    while True:
        match = re.match(_ITEM, value[place:])
        if match is None:
            return None
        quoted = match["quoted"]
        items.append(match["plain"].strip() if quoted is None else quoted.replace('""', '"'))
        if quoted is None and not items[-1]:
            return None
        if match["end"] == "":
            return items
        place += match.end()


def _normalise_date_style(value: str) -> str:
    """Do what ``check_datestyle`` in variable.c does, from the built-in ``ISO, MDY``; later words win."""
    style, order = "ISO", ""
    for word in value.casefold().split(","):
        key = word.strip().strip('"')
        named = next((_STYLES[each] for each in _STYLES if key.startswith(each[: max(3, len(key))]) and key), None)
        if key in _ORDERS:
            order = _ORDERS[key]
        elif named:
            style = named
            if named == "German" and not order:
                order = "DMY"
        else:
            return value
    return f"{style}, {order or 'MDY'}"


@cache
def _time_zones() -> dict[str, str]:
    names = json.loads((Path(__file__).parent / "catalogue" / "timezones.json").read_bytes())
    return {name.casefold(): name for name in names}
