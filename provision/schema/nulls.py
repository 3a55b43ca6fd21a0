"""What a spec that extends another one may say besides: ``null``, which takes a key of its base away.

The schema cannot see the base. So each key of a mapping takes null, and a second, small schema beside the first one
refuses it again where nothing is extended. A list is replaced as a whole: what is in it takes no null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from provision.schema.values import Fragment

_NULL: Final[Fragment] = {"type": "null"}
_REFUSED: Final[Fragment] = {"not": _NULL, "errorMessage": "write a value, or leave out the key"}
_ALONE: Final = "alone."
_PLACE: Final = "#/definitions/"
_KEYS: Final = ("properties", "patternProperties")


def with_nulls(whole: Fragment, of_lists: Iterable[str]) -> Fragment:
    """Return a schema in which keys may be taken away; ``of_lists`` are the definitions of what is only in lists."""
    definitions: Mapping[str, Any] = whole["definitions"]
    sections = [name for name in definitions if name not in ("setting", "value") and "-" not in name]
    sections += ["settings-of-sessions"]
    refusing = {f"{_ALONE}{name}": _refusing(definitions[name], definitions) for name in sections}
    loose = {name: _loosened(definitions[name], definitions) for name in {*sections} - {*of_lists}}
    values = {name: _loose(each, definitions) for name, each in definitions["value"].items()}
    alone = {
        "if": {"not": {"required": ["extends"]}},
        "then": _refusing({**whole, "type": ["object", "null"]}, definitions),
    }
    return {
        **_loosened(whole, definitions),
        "allOf": [*whole["allOf"], alone],
        "definitions": {**definitions, **loose, "value": values, **refusing},
    }


def _loosened(section: Fragment, definitions: Mapping[str, Any]) -> Fragment:
    """Return a mapping whose keys may be null; ``extends`` says that there is a base."""
    return section | {
        each: {
            name: found if name == "extends" else _loose(found, definitions) for name, found in section[each].items()
        }
        for each in _KEYS
        if each in section
    }


def _loose(fragment: Any, definitions: Mapping[str, Any]) -> Any:
    if _takes_null(fragment, definitions):
        return fragment
    if "$ref" in fragment:
        return {"anyOf": [fragment, _NULL]}
    if "allOf" in fragment:
        return {**fragment, "allOf": [_loose(each, definitions) for each in fragment["allOf"]]}
    found = dict(fragment)
    if "type" in found:
        types = [found["type"]] if isinstance(found["type"], str) else found["type"]
        found["type"] = [*dict.fromkeys((*types, "null"))]
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    if "anyOf" in found:
        found["anyOf"] = [*found["anyOf"], _NULL]
    return found


def _refusing(fragment: Any, definitions: Mapping[str, Any]) -> Fragment:
    """Return what refuses null at each place where a schema does, and nothing else."""
    return {**_inside(fragment, definitions), **({} if _takes_null(fragment, definitions) else _REFUSED)}


def _inside(fragment: Any, definitions: Mapping[str, Any]) -> Fragment:
    if not isinstance(fragment, dict):
        return {}
    found: Fragment = {}
    for each in _KEYS:
        parts = {name: _refusing(value, definitions) for name, value in fragment.get(each, {}).items()}
        found |= {each: some} if (some := {name: part for name, part in parts.items() if part}) else {}
    for each in ("additionalProperties", "items"):
        found |= {each: part} if (part := _refusing(fragment.get(each, True), definitions)) else {}
    parts_of = [_inside(each, definitions) for word in ("allOf", "anyOf") for each in fragment.get(word, ())]
    place = str(fragment.get("$ref", "")).removeprefix(_PLACE)
    parts_of += [{"$ref": f"{_PLACE}{_ALONE}{place}"}] if place and "/" not in place else []
    return {**found, **({"allOf": every} if (every := [each for each in parts_of if each]) else {})}


def _takes_null(fragment: Any, definitions: Mapping[str, Any]) -> bool:
    if isinstance(fragment, bool):
        return True  # a key that may not be there is refused by itself
    if place := str(fragment.get("$ref", "")).removeprefix(_PLACE):
        found: Any = definitions
        for part in place.split("/"):
            found = found[part]
        return _takes_null(found, definitions)
    types = fragment.get("type", "null")
    return (
        "null" in ([types] if isinstance(types, str) else types)
        and None in fragment.get("enum", [None])
        and all(_takes_null(each, definitions) for each in fragment.get("allOf", ()))
        and any(_takes_null(each, definitions) for each in fragment.get("anyOf", [True]))
    )
