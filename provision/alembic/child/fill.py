"""``{url}``, ``{host}`` and the like in values of the spec, replaced by what they stand for.

In a value that is itself a URL the names are written as a URL needs them, so that ``postgresql://{user}:{password}@…``
is right whatever the password is. ``{{user}}`` is the text ``{user}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

NAMES = ("url", "host", "port", "user", "password", "database", "tenant")
IN_URL = "@url"
"""Behind a name: how its value is written in a URL, where that is not just percent-encoded."""

PLACE = r"\{\{([A-Za-z_]+)\}\}|\{([A-Za-z_]+)\}"


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return a template with its names replaced."""
    in_url = "://" in template

    def put(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal is not None:
            return "{" + str(literal) + "}"
        value = values.get(name)
        if value is None:
            return str(match.group())
        if not in_url or name in ("url", "port"):
            return value
        if name == "host":
            return f"[{value}]" if ":" in value else value
        return values.get(name + IN_URL) or quote(value, safe="")

    return re.sub(PLACE, put, template)


def unknown(template: str) -> list[str]:
    """Return the names in a template that stand for nothing."""
    return [match.group(2) for match in re.finditer(PLACE, template) if match.group(2) and match.group(2) not in NAMES]
