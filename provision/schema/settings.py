"""PostgreSQL's settings as JSON Schema: a text for each, and for each major version what a value may be.

A text with a unit is checked for its unit, and not for its range, which no expression can say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from provision.schema.values import VARIABLE, Fragment, any_case, pattern
from provision.spec.parameters import CATALOGUE, CUSTOM_NAME, MAJORS, NOT_IN_FILE, Parameter, bound, catalogue
from provision.spec.role_settings import NAMES, OURS, ROLE, SETTABLE
from provision.spec.setting_values import is_list, units
from provision.spec.settings import OWNED

_COSTS: Final = {
    "postmaster": "A change restarts the server.",
    "sighup": "A change is reloaded.",
    "superuser-backend": "A change is reloaded, and is in force for new sessions.",
    "backend": "A change is reloaded, and is in force for new sessions.",
    "superuser": "A change is reloaded; a role or a database can have its own value, which a superuser sets.",
    "user": "A change is reloaded; a role or a database can have its own value.",
    "internal": "It cannot be set: the server computes it.",
}
"""What a change costs, by ``pg_settings.context``."""
_TYPES: Final = {"bool": "on or off", "integer": "a whole number", "real": "a number", "string": "a text"}
_NUMBER: Final = r"\s*[-+]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
_SCALAR: Final = ["string", "number", "boolean"]
_OTHER_CASE: Final = "[A-Z]"
"""PostgreSQL does not care about the case of names. An expression cannot do without it, so these are not judged."""


def descriptions() -> dict[str, Fragment]:
    """Return the text of each setting by name: PostgreSQL's own (``pg_settings.short_desc``), and what it may be."""
    texts: dict[str, str] = json.loads((CATALOGUE / "descriptions.json").read_bytes())
    found: dict[str, Fragment] = {}
    for name in sorted({each for major in MAJORS for each in catalogue(major)}):
        majors = [major for major in MAJORS if name in catalogue(major)]
        found[name] = {"description": _description(catalogue(majors[-1])[name], majors, texts[name])}
        if name.lower() != name:
            found[name.lower()] = found[name]
    return found


def _description(parameter: Parameter, majors: list[int], text: str) -> str:
    about = _TYPES.get(parameter.vartype, "one of " + ", ".join(each for each in parameter.values if each))
    if parameter.minimum is not None and parameter.maximum is not None:
        about += f", {_shown(parameter, parameter.minimum)} to {_shown(parameter, parameter.maximum)}"
    if parameter.unit:
        about += f"; a number without a unit counts in {parameter.unit}"
    if parameter.boot:
        about += f"; the default is {_shown(parameter, parameter.boot)}"
    owned = f"It cannot be set here: {OWNED[parameter.name].replace('`', '')}." if parameter.name in OWNED else ""
    cost = owned or _COSTS[parameter.context]
    return "\n".join(each for each in (text, f"{about[0].upper()}{about[1:]}.", cost, _where(majors)) if each)


def _shown(parameter: Parameter, value: str) -> str:
    """Return a value of a setting in the unit that people would write it in."""
    if parameter.unit is None or float(value) <= 0:
        return value
    sizes = units(parameter.unit)
    unit = next((unit for unit, size in sizes.items() if float(value) >= size), [*sizes][-1])
    return f"{float(value) / sizes[unit]:.4g} {unit}"


def _where(majors: list[int]) -> str:
    if majors[0] != MAJORS[0] and majors[-1] == MAJORS[-1]:
        return f"From PostgreSQL {majors[0]} on."
    if majors[-1] != MAJORS[-1]:
        return (
            f"Up to PostgreSQL {majors[-1]}." if majors[0] == MAJORS[0] else f"PostgreSQL {majors[0]} to {majors[-1]}."
        )
    return ""


def named(names: Mapping[str, Fragment], *, sessions: bool = False) -> Fragment:
    """Return a fragment of settings of any version: their texts, and what can never be set."""
    newest = {name: each for major in MAJORS for name, each in catalogue(major).items()}
    folded = {name.lower(): each for name, each in newest.items()} | newest
    properties: dict[str, Any] = {
        name: {"$ref": f"#/definitions/setting/{name}"}
        for name in names
        if folded[name].context in SETTABLE or not sessions
    }
    values: Fragment = {"type": ["array", *_SCALAR]} if sessions else {"type": _SCALAR}
    refused: dict[str, Any] = {} if sessions else dict.fromkeys(OWNED, False)
    if sessions:
        properties[ROLE] = {"description": "The role that its sessions are set to (SET ROLE); it is a member of it."}
    return {"type": ["object", "null"], "properties": {**properties, **refused}, "patternProperties": {"": values}}


class Values:
    """What settings may be in each major version; equal fragments of several are one definition.

    ``common`` is what is so in every version, and ``special`` what is not, by version: what one does not have, and what
    differs there.
    """

    def __init__(self, *, sessions: bool, definitions: dict[str, Fragment]) -> None:
        self._sessions, self._definitions = sessions, definitions
        self._names = {json.dumps(each): name for name, each in definitions.items()}
        known = {major: self._known(major) for major in MAJORS}
        everywhere = dict(pair for each in known.values() for pair in each.items())
        same = {
            name for name in everywhere if len({json.dumps(each[name]) for each in known.values() if name in each}) == 1
        }
        self.common = self._closed({name: each if name in same else {} for name, each in everywhere.items()})
        self.special = {
            major: {
                "properties": {
                    name: here.get(name, False) for name in everywhere if name not in here or name not in same
                }
            }
            for major, here in known.items()
        }

    def _known(self, major: int) -> dict[str, Any]:
        found = {
            name: self._ref(each)
            for name, each in catalogue(major).items()
            if name not in NOT_IN_FILE and (each.context in SETTABLE if self._sessions else each.context != "internal")
        }
        return {name.lower(): each for name, each in found.items()} | found

    def _ref(self, parameter: Parameter) -> Fragment:
        found = _session_value(parameter) if self._sessions else _value(parameter)
        text = json.dumps(found)
        if text not in self._names:
            self._names[text] = f"{parameter.name}-{len(self._names)}"
            self._definitions[self._names[text]] = found
        return {"$ref": f"#/definitions/value/{self._names[text]}"}

    def _closed(self, known: dict[str, Any]) -> Fragment:
        before = rf"(?!{re.escape(OURS)})" if self._sessions else ""
        if self._sessions:
            known = {**known, ROLE: {"type": _SCALAR}}
        others: dict[str, Any] = {f"^{before}{CUSTOM_NAME}$": {}, _OTHER_CASE: {}}
        return {"properties": known, "patternProperties": others, "additionalProperties": False}


def _value(parameter: Parameter) -> Fragment:
    if parameter.vartype == "bool":
        return pattern("|".join(_booleans()), "write `on` or `off`", "boolean", "integer", minimum=0, maximum=1)
    if parameter.vartype == "enum":
        return _enumerated(parameter)
    if parameter.vartype == "string":
        return {"type": _SCALAR}
    unit = rf"[ \t\n\v\f\r]*(?:{'|'.join(units(parameter.unit))})?" if parameter.unit else ""
    range_ = f"the range is {bound(parameter, parameter.minimum)} to {bound(parameter, parameter.maximum)}"
    names = ", ".join(reversed(units(parameter.unit))) if parameter.unit else ""
    message = f"write a number, with one of the units {names}; {range_}" if names else f"write a number; {range_}"
    ends = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    limits = {end: float(value) for end, value in ends.items() if value is not None}
    return pattern(rf"{_NUMBER}{unit}\s*", message, "number", **{end: _short(value) for end, value in limits.items()})


def _short(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value


def _booleans() -> Iterator[str]:
    """Yield expressions of the words of ``parse_bool_with_len`` and what they may be shortened to."""
    for word in ("true", "false", "yes", "no"):
        yield from (any_case(word[:end]) for end in range(1, len(word) + 1))
    yield from map(any_case, ("on", "off", "of", "1", "0"))


def _enumerated(parameter: Parameter) -> Fragment:
    words = [*(each for each in parameter.values if each), *parameter.hidden]
    folded = {each.casefold() for each in words}
    values: list[Any] = list(dict.fromkeys(each for each in parameter.values if each))
    values += [True] if folded & {"on", "true"} else []
    values += [False] if folded & {"off", "false"} else []
    values += [int(each) for each in words if each.isdigit()]
    spelled = pattern("|".join(map(any_case, sorted(folded))), "write one of the values")
    return {"anyOf": [{"enum": values}, spelled]}


def _session_value(parameter: Parameter) -> Fragment:
    if not is_list(parameter.name):
        if parameter.vartype == "string":
            return {"type": _SCALAR}
        return {"anyOf": [_value(parameter), {"enum": ["default"]}]}
    if parameter.name not in NAMES:
        return {"type": ["array", *_SCALAR], "items": {"type": _SCALAR}}
    empty = "(?!$)" if parameter.name.endswith("_preload_libraries") else ""
    one = pattern(rf'{empty}\s*(?:"(?:[^"]|"")*"\s*|[^,"]*)', "write a list: `[a, b]`", "number", "boolean", "array")
    item = {"type": _SCALAR, "pattern": rf'^(?!".*"$)|^"$|{VARIABLE}'}
    return {**one, "items": item}
