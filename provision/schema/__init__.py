"""The JSON Schema of a spec, for editors: generated from the tables that the program reads a spec by.

What a key may be comes from its reader (:mod:`provision.schema.readers`), what is said of it from its row in
``docs/spec.md``, and what a setting may be from the catalogue of each major version. Draft 7, which is what
https://github.com/redhat-developer/yaml-language-server supports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from provision.schema import settings
from provision.schema.nulls import with_nulls
from provision.schema.readers import fragment
from provision.schema.sections import SECTIONS, TOP
from provision.schema.texts import Text, texts
from provision.schema.values import Fragment, by_name, section, trees
from provision.spec.parameters import MAJORS, catalogue


def _one_of(first: str, *others: str) -> Fragment:
    """Return a fragment that needs one of some keys; an editor would show ``anyOf`` in place of a text."""
    found: Fragment = {"required": [first]}
    for each in others:
        found = {"if": {"not": {"required": [each]}}, "then": found}
    return found


UNREAD: Final[Mapping[tuple[str, str], Fragment]] = {
    (TOP, "server"): section("server"),
    (TOP, "roles"): by_name(section("roles")),
    (TOP, "databases"): by_name(section("databases")),
    ("server", "settings"): section("settings"),
    ("databases", "extensions"): {
        "type": "array",
        "items": {"anyOf": [{"type": ["string", "integer"], "minLength": 1}, section("databases.extensions")]},
    },
    ("databases", "grants"): {"type": "array", "items": section("databases.grants")},
    ("databases", "migrations"): trees(),
    ("databases", "seeds"): {"type": "array", "items": section("seeds")},
}
"""What is read only once other parts of the spec are known."""
_TOGETHER: Final[Mapping[str, Fragment]] = {
    "server.credentials.password": {"minProperties": 1, "maxProperties": 1, "type": "object"},
    "server.data": {"not": {"type": "object", "required": ["volume", "path"]}},
    "databases.grants.on": {"type": "object", "minProperties": 1},
    "seeds": {"type": "object", **_one_of("sql", "csv", "command")},
    "migrations": {"not": {"type": "object", "required": ["script_location", "config"]}},
    "migrations.tenants": _one_of("databases", "schemas"),
}
"""What the keys of a section have to be together, as far as the schema says it."""
_OF_LISTS: Final = ("roles.member_of", "databases.extensions", "databases.grants", "databases.grants.on", "seeds")
"""Sections that are only in lists."""
_TREE: Final[Fragment] = {"if": {"type": "object", "minProperties": 1}, "then": _one_of("script_location", "config")}
_TREES: Final[Fragment] = {"if": {"type": "array"}, "then": {"items": _TREE}, "else": _TREE}
_WHOLE: Final[Fragment] = {
    "if": {"not": {"required": ["extends"]}},
    "then": {
        "required": [name for name, key in SECTIONS[TOP].items() if key.required],
        "properties": {
            "server": {
                "type": "object",
                "required": [name for name, key in SECTIONS["server"].items() if key.required],
            },
            "migrations": _TREES,
            "databases": {"additionalProperties": {"properties": {"migrations": _TREES}}},
        },
    },
}
"""What a spec needs that extends no other one, which could have it."""


def document(page: str, version: str) -> dict[str, Any]:
    """Return the schema; ``page`` is ``docs/spec.md``, and ``version`` that of the program.

    A key that the page does not describe, or a reader that is not described, makes it say less; tests allow neither.
    """
    said = texts(page)
    names = settings.descriptions()
    values: dict[str, Fragment] = {}
    of_server = settings.Values(sessions=False, definitions=values)
    of_sessions = settings.Values(sessions=True, definitions=values)
    definitions: dict[str, Any] = {title: _section(title, said.get(title, {})) for title in SECTIONS if title != TOP}
    definitions["settings"] = settings.named(names)
    definitions["settings-of-sessions"] = settings.named(names, sessions=True)
    definitions |= _versions("settings", of_server) | _versions("settings-of-sessions", of_sessions)
    definitions["setting"], definitions["value"] = names, values
    whole: Fragment = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": f"provision {version}",
        **_section(TOP, said.get(TOP, {})),
        "allOf": [
            _WHOLE,
            {"if": {"anyOf": [_is_major(major) for major in MAJORS]}, "then": _within("known")},
            *(
                {"if": _is_major(major), "then": _within(str(major), max_connections=_connections(major))}
                for major in MAJORS
            ),
        ],
        "definitions": definitions,
    }
    return with_nulls(whole, _OF_LISTS)


def _section(title: str, said: Mapping[str, Text]) -> Fragment:
    keys = {name: key for name, key in SECTIONS[title].items() if key.read is not None}
    properties = {
        name: _described(UNREAD.get((title, name)) or fragment(key.read), said.get(name)) for name, key in keys.items()
    }
    required = [name for name, key in keys.items() if key.required and title not in (TOP, "server")]
    return {
        "type": "object" if required or title == TOP else ["object", "null"],
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
        **_TOGETHER.get(title, {}),
    }


def _described(found: Fragment, text: Text | None) -> Fragment:
    """Return a fragment with a text, beside which a reference would be ignored, and alternatives shown in its place."""
    inside = {"allOf": [found]} if found.keys() & {"$ref", "anyOf"} else found
    if text is None:
        return inside
    return {"description": text.plain, "markdownDescription": text.markdown, **inside}


def _is_major(major: int) -> Fragment:
    """Return the condition that the server has a major version: by its key, else by the tag of the image."""
    pg = r"pg(?:sql)?-?"
    tag = rf"(?:[^/@:]*[-_.])?{pg}{major}(?![0-9])|(?![^/@:]*{pg}[0-9])v?{major}(?=[-_.@]|alpha|beta|rc|$)"
    named = {"required": ["major"], "properties": {"major": {"enum": [major, str(major)]}}}
    tagged = {
        "required": ["image"],
        "not": {"required": ["major"]},
        "properties": {"image": {"type": "string", "pattern": rf":(?:{tag})[^/@:]*(?:@.*)?$"}},
    }
    return {"required": ["server"], "properties": {"server": {"type": "object", "anyOf": [named, tagged]}}}


def _versions(name: str, found: settings.Values) -> dict[str, Fragment]:
    return {f"{name}-known": found.common, **{f"{name}-{major}": each for major, each in found.special.items()}}


def _connections(major: int) -> Fragment:
    parameter = catalogue(major)["max_connections"]
    return {"minimum": int(parameter.minimum or 0), "maximum": int(parameter.maximum or 0)}


def _within(version: str, **more: Fragment) -> Fragment:
    """Return a fragment of a spec whose settings, at each place that has some, are those of a version."""
    of_sessions = section(f"settings-of-sessions-{version}")
    of_role = {"settings": of_sessions, "settings_in": {"additionalProperties": of_sessions}}
    return {
        "properties": {
            "server": {"properties": {"settings": section(f"settings-{version}"), **more}},
            "roles": {"additionalProperties": {"properties": of_role}},
            "databases": {"additionalProperties": {"properties": {"settings": of_sessions}}},
        }
    }
