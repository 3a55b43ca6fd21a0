"""How an ``env.py`` can be told the URL, found out by reading it: what it asks for is what the spec can give it."""

from __future__ import annotations

import re

from provision.alembic.tree import variables

_NAME = r"""\(?\s*f?["']([A-Za-z_][\w.-]*)["']"""
_URL_LIKE = re.compile(r"(?i)(url|uri|dsn|database|conn|postgres|pg|db)")
_CONNECTIONS = re.compile(r"(?i)conn|engine|bind")
_READS = (
    ("x", rf"get_x_argument\s*\([^)]*\)\s*(?:\.get\s*\(|\[)\s*{_NAME}", "{}: '{{url}}'"),
    ("options", rf"get_(?:main|alembic)_option\s*{_NAME}", "{}: '{{url}}'"),
    ("options", rf"get_section_option\s*\([^,]+,\s*{_NAME}", "{}: '{{url}}'"),
    ("env", rf"(?:environ\s*(?:\.get\s*\(|\[)|getenv\s*\(|\benv\s*\()\s*{_NAME}", "{}: '{{url}}'"),
    ("attributes", rf"attributes\s*(?:\.get\s*\(|\[)\s*{_NAME}", "{}: true"),
)
_SETTINGS = re.compile(
    r"(?m)^\s*from\s+([\w.]+)\s+import\s+[^#\n]*\b(\w*settings\w*|\w*config\w*|engine|\w*_url)\b", re.IGNORECASE
)
_UNPREPARED = {"SystemExit", "NoEventLoopError", "NoSuchOptError", "ConfigurationError"}
_OURS = {"sqlalchemy.url", "version_table", "version_table_schema", "script_location"}


def ways_in(env: str) -> tuple[str, ...]:
    """Return what can be written under ``migrations`` so that this ``env.py`` finds the URL, most likely first.

    What it reads for other ends is left out as far as its name tells.
    """
    found: dict[str, None] = {}
    for key, pattern, form in _READS:
        for name in re.findall(pattern, env):
            wanted = _CONNECTIONS if key == "attributes" else _URL_LIKE
            if name not in _OURS and wanted.search(name) and variables.part(name) in (None, "url"):
                found[f"{key}: {{{form.format(name)}}}"] = None
    return tuple(found)


def settings_module(env: str) -> str | None:
    """Return the application's module that ``env.py`` takes its URL from, as far as an import tells."""
    found = [match for match in _SETTINGS.findall(env) if not match[0].startswith(("alembic", "sqlalchemy", "logging"))]
    return f"{found[0][0]}.{found[0][1]}" if found else None


def wants_preparation(kind: str, message: str) -> bool:
    """Tell whether ``env.py`` failed, with an error of this type, because its program usually prepares something."""
    return (
        kind in _UNPREPARED
        or message.startswith("Working outside of application context")
        or (kind == "AttributeError" and message.startswith("'Config' object has no attribute"))
    )
