"""PostgreSQL's settings: what exists in which major version, what a value may be, and when two texts are the same.

``256MB``, ``262144kB`` and ``32768`` are one value of ``shared_buffers``. :func:`normalise` gives the text that
``pg_settings.setting`` shows for any of them, so that declared and effective values can be compared with ``==``. The
catalogue beside this module is read out of real servers by ``scripts/settings_catalogue.py``; the rules are those of
PostgreSQL's ``guc.c`` (and ``bool.c``, ``datetime.c`` for what they are named after).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from provision.spec.setting_values import LARGEST_INT, comparable, normalise_text, parse_real, parse_whole

CATALOGUE = Path(__file__).parent / "catalogue"
MAJORS = tuple(sorted(int(each.stem.rpartition("-")[2]) for each in CATALOGUE.glob("postgresql-*.json")))
"""The major versions whose settings the program knows; those of another one are read from its server."""
_READ: dict[int, Mapping[str, Parameter]] = {}

# Settings that pg_settings shows in octal: their show hooks in guc_tables.c print "%04o".
_OCTAL = frozenset({"data_directory_mode", "log_file_mode", "unix_socket_permissions"})
# Settings that exist in pg_settings and that no configuration file may have: GUC_DISALLOW_IN_FILE in guc_tables.c.
NOT_IN_FILE = frozenset({"config_file", "transaction_deferrable", "transaction_isolation", "transaction_read_only"})
# Names that changed, for those who know the old one: map_old_guc_names in guc.c and the release notes.
_RENAMED = {
    "force_parallel_mode": "debug_parallel_query",
    "ssl_ecdh_curve": "ssl_groups",
    "sort_mem": "work_mem",
    "vacuum_mem": "maintenance_work_mem",
    "wal_keep_segments": "wal_keep_size",
    "checkpoint_segments": "max_wal_size",
}
# QUALIFIED_ID in guc-file.l, the grammar of postgresql.conf: two words, where what is not ASCII counts as a letter.
_CUSTOM_WORD = r"[^\0-@\[-^`{-\x7f][^\0-/:-@\[-^`{-\x7f]*"
CUSTOM_NAME = rf"{_CUSTOM_WORD}\.{_CUSTOM_WORD}"
_LONGEST_NAME = 63


class Parameter(NamedTuple):
    """One row of ``pg_settings``; ``hidden`` are the words that an enumeration takes for one of its values."""

    name: str
    vartype: str
    unit: str | None
    context: str
    minimum: str | None = None
    maximum: str | None = None
    boot: str | None = None
    values: Sequence[str] = ()
    hidden: Mapping[str, str] = {}


class Complaint(NamedTuple):
    """What is wrong with a setting, and what to write instead."""

    message: str
    suggestion: str | None = None


class OutOfRangeError(ValueError):
    """The value is understood, and is too small or too large; the message says what the range is."""


def catalogue(major: int) -> Mapping[str, Parameter]:
    """Return the settings of a major version by name, as ``pg_settings`` spells it (``DateStyle``, ``work_mem``).

    There are none where neither the program knows them nor :func:`learn` was called.
    """
    return _shipped(major) if major in MAJORS else _READ.get(major, {})


def is_known(major: int) -> bool:
    """Whether the settings of a major version can be checked."""
    return major in MAJORS or major in _READ


def learn(major: int, rows: Mapping[str, Sequence[Any]]) -> None:
    """Take the rows of ``pg_settings`` for the catalogue of a major version that the program does not know.

    The words that an enumeration takes without listing them are those of the newest version that it knows.
    """
    newest = _shipped(MAJORS[-1])
    found = {name: Parameter(name, *row) for name, row in rows.items()}
    for name, each in found.items():
        if each.vartype == "enum" and name in newest:
            found[name] = each._replace(hidden=newest[name].hidden)
    _READ[major] = found
    _folded.cache_clear()


@cache
def _shipped(major: int) -> Mapping[str, Parameter]:
    rows = json.loads((CATALOGUE / f"postgresql-{major}.json").read_bytes())
    return {name: Parameter(name, *row) for name, row in rows.items()}


def canonical_name(major: int, name: str) -> str:
    """Return ``name`` as ``pg_settings`` spells it; PostgreSQL does not care about the case of its names."""
    return name if name in catalogue(major) else _folded(major).get(name.casefold(), name)


@cache
def _folded(major: int) -> Mapping[str, str]:
    return {name.casefold(): name for name in catalogue(major)}


def normalise(parameter: Parameter, value: str) -> str:
    """Return what ``pg_settings.setting`` shows when the configuration says ``value``.

    Raises:
        ValueError: PostgreSQL would not take the value; the message says why.
    """
    if parameter.vartype == "bool":
        return "on" if _boolean(value) else "off"
    if parameter.vartype == "enum":
        return _enumerated(parameter, value)
    if parameter.vartype == "integer":
        number = parse_whole(value, parameter.unit)
        _check_range(parameter, number)
        return f"{number:04o}" if parameter.name in _OCTAL else str(number)
    if parameter.vartype == "real":
        real = parse_real(value, parameter.unit)
        _check_range(parameter, real)
        return f"{real:g}"
    return normalise_text(parameter.name, value)


def shows(parameter: Parameter, value: str, shown: str) -> bool:
    """Whether a server that shows ``shown`` in ``pg_settings.setting`` runs with ``value``.

    Raises:
        ValueError: PostgreSQL would not take the value.
    """
    # show_archive_command in xlogarchive.c: without archive_mode the command itself is not shown.
    if parameter.name == "archive_command" and shown == "(disabled)":
        return True
    if parameter.vartype == "string":
        return comparable(parameter.name, shown) == comparable(parameter.name, value)
    return shown == normalise(parameter, value)


def check(major: int, name: str, value: str, *, shown: str | None = None) -> Complaint | None:
    """Return what is wrong with a setting in the configuration of this major version, or None.

    ``shown`` takes the place of the value in messages, where the value itself must not be shown.
    """
    if wrong := check_name(major, name):
        return wrong
    if "\0" in value:
        return Complaint("the value has a NUL in it")
    parameter = catalogue(major).get(name)
    if parameter is None:
        return None
    shown = shown or f"`{value}`"
    try:
        normalise(parameter, value)
    except OutOfRangeError as error:
        bare = f"; a number without a unit counts in {parameter.unit}" if parameter.unit and value.isdigit() else ""
        return Complaint(f"{shown} is out of range", f"{error}{bare}")
    except ValueError as error:
        return Complaint(f"{shown} is not a value of this setting", str(error))
    return None


def check_name(major: int, name: str) -> Complaint | None:
    """Return why no configuration of this major version can have a setting ``name``, or None."""
    from provision.spec.reading import shorten

    parameter = catalogue(major).get(name)
    if parameter is None and not is_known(major):
        return None  # it is checked as soon as the settings are known
    if parameter is None:
        return _complaint_about_custom(name) if "." in name else _complaint_about_unknown(major, name)
    if parameter.context == "internal":
        return Complaint(f"`{shorten(name)}` cannot be set: the server computes it", "remove it")
    if name in NOT_IN_FILE:
        return Complaint(f"`{shorten(name)}` cannot be set in a configuration", "remove it")
    return None


# --- Values ------------------------------------------------------------------------------------------------------


def _boolean(value: str) -> bool:
    """Read a boolean, or a prefix of one that could not be another: ``parse_bool_with_len`` in PostgreSQL's bool.c."""
    word = value.casefold()
    if word and ("true".startswith(word) or "yes".startswith(word) or word in ("on", "1")):
        return True
    if word and ("false".startswith(word) or "no".startswith(word) or word in ("of", "off", "0")):
        return False
    raise ValueError("write `on` or `off`")


def _enumerated(parameter: Parameter, value: str) -> str:
    word = value.casefold()
    for hidden, meaning in parameter.hidden.items():
        if hidden == word:
            return meaning
    for each in parameter.values:
        if each.casefold() == word:
            return each
    names = [f"`{each}`" for each in parameter.values if each]
    raise ValueError(f"the values are {', '.join(names[:-1])} and {names[-1]}")


def _check_range(parameter: Parameter, number: float) -> None:
    low = float(parameter.minimum) if parameter.minimum is not None else -LARGEST_INT
    high = float(parameter.maximum) if parameter.maximum is not None else LARGEST_INT
    if low <= number <= high:
        return
    raise OutOfRangeError(
        f"the range is {bound(parameter, parameter.minimum)} to {bound(parameter, parameter.maximum)}"
    )


def bound(parameter: Parameter, end: str | None) -> str:
    """Return one end of a range, in blocks too where people count in kilobytes."""
    if end is None or parameter.unit is None:
        return str(end)
    blocks = re.fullmatch(r"([0-9]+)(\w+)", parameter.unit)
    if blocks is None:
        return f"{end} {parameter.unit}"
    return f"{int(end) * int(blocks[1])} {blocks[2]}"


# --- Names -------------------------------------------------------------------------------------------------------


def _complaint_about_custom(name: str) -> Complaint | None:
    from provision.spec.reading import shorten

    if re.fullmatch(CUSTOM_NAME, name) and len(name.encode()) <= _LONGEST_NAME:
        return None
    return Complaint(f"`{shorten(name)}` is not two words with a dot between them", "write it like `extension.setting`")


def _complaint_about_unknown(major: int, name: str) -> Complaint:
    from provision.spec.reading import nearest, shorten

    message = f"unknown setting `{shorten(name)}` of PostgreSQL {major}"
    if (renamed := _RENAMED.get(name)) in catalogue(major):
        return Complaint(message, f"it is `{renamed}` there")
    others = [other for other in MAJORS if other != major and canonical_name(other, name) in catalogue(other)]
    if others:
        newer = min(others) > major
        return Complaint(message, f"it arrived in {min(others)}" if newer else f"it was removed in {max(others) + 1}")
    meant = nearest(name, catalogue(major))
    return Complaint(message, f"did you mean `{meant}`?" if meant else None)
