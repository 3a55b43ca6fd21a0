"""Settings that are text, brought to the one spelling that can be compared.

PostgreSQL keeps most texts as they were written, lists among them; a few of its check hooks rewrite them
(``DateStyle``, time zones, ``client_encoding``). Lists are compared without the white space and the quotes around their
items, which mean nothing.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

# GUC_LIST_INPUT is not exposed by pg_settings: these are the settings that have it in guc_tables.c of 14 to 18.
# `synchronous_standby_names` has a grammar of its own and stays as it is; DateStyle is handled by itself.
_LISTS = frozenset(
    {
        "createrole_self_grant",
        "debug_io_direct",
        "listen_addresses",
        "local_preload_libraries",
        "log_connections",
        "log_destination",
        "oauth_validator_libraries",
        "restrict_nonsystem_relation_kind",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "synchronized_standby_slots",
        "temp_tablespaces",
        "unix_socket_directories",
        "wal_consistency_checking",
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
