"""Which settings a configuration that did not work should be blamed on, and where people find them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provision.kinds.configuration import parse

_SHOWN = 3
_TELLING = 4  # shorter values are in many words


def suspects(old: str, new: str, said: Sequence[str]) -> tuple[str, ...]:
    """Return the settings in which two files differ; where the server's words have some of them, only those.

    Raises:
        ValueError: a line is none of a configuration file.
    """
    before, after = parse(old), parse(new)
    changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    words = "\n".join(said).casefold()
    # A library that is missing is named itself, and not the setting that loads it.
    named = [
        name
        for name in changed
        if re.search(rf"\b{re.escape(name.casefold())}\b", words)
        or (len(value := after.get(name, "")) >= _TELLING and value.casefold() in words)
    ]
    return tuple(named or changed)


def places(names: Sequence[str], texts: Mapping[str, str]) -> tuple[str, ...]:
    """Return settings with the lines of a spec that have them, as people can go there.

    ``texts`` are those that the spec is put together from, by their paths; the first that has a setting counts.
    """
    lines = [
        (path, number, line)
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if not line.lstrip().startswith("#")
    ]
    found = []
    for name in names[:_SHOWN]:
        key = re.compile(rf"(?:^|[\s{{,])[\"']?{re.escape(name)}[\"']?\s*:", re.IGNORECASE)
        place = next((f"{path}:{number}" for path, number, line in lines if key.search(line)), None)
        found.append(f"`{name}` ({place})" if place else f"`{name}`")
    return tuple(found) or (f"the settings in {next(iter(texts))}",)
