"""The comment by which yaml-language-server finds the schema of a spec, as its README describes it.

https://github.com/redhat-developer/yaml-language-server#using-inlined-schema: a relative path starts at the YAML file.
"""

from __future__ import annotations

import re
from typing import Final

PLACE: Final = ".provision/spec.schema.json"
"""The file, seen from the directory of the spec."""
MODELINE: Final = f"# yaml-language-server: $schema={PLACE}"
_NAMED: Final = rf"(?m)^\s*#\s+yaml-language-server\s*:.*\$schema=(?:\./)?{re.escape(PLACE)}\s*$"


def is_named(text: str) -> bool:
    r"""Whether a spec names the schema that is kept beside it.

    >>> is_named(f"{MODELINE}\nname: shop\n"), is_named("# yaml-language-server: $schema=other.json")
    (True, False)
    """
    return re.search(_NAMED, text) is not None
