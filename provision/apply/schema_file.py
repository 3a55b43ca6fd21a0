"""The JSON Schema of a spec as a file, from which an editor knows its keys.

A spec names it in a comment, which ``provision init`` writes. It is beside the spec in ``.provision/``, which Git
ignores: so each checkout has that of the program that reads the spec there, made by the first apply.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from provision.errors import ProvisionError, as_word
from provision.observe.outside import shipped
from provision.spec.model import Spec
from provision.spec.modeline import PLACE, is_named
from provision.system import files
from provision.version import __version__

_VERSION: Final = r'"\$comment":"provision ([^"]*)"'
_PAGE: Final = Path("docs") / "spec.md"


def made() -> dict[str, Any]:
    """Return the schema of this version of the program.

    Raises:
        ProvisionError: the page that describes the keys is not where it was installed.
    """
    from provision.schema import document

    page = files.read_text(shipped().parent / _PAGE)
    if page is None:
        raise ProvisionError(f"{_PAGE} is missing", next_step=f"ls {as_word(shipped().parent)}   (reinstall provision)")
    return document(page, __version__)


def write(path: Path) -> bool:
    """Write the schema into a file, and return whether that was not in it before."""
    text = json.dumps(made(), ensure_ascii=False, separators=(",", ":")) + "\n"
    if files.read_text(path) == text:
        return False
    files.make_directory(path.parent, 0o755)
    files.write_atomically(path, text, 0o644)
    return True


def refresh(spec: Spec) -> None:
    """Write the schema where a spec names it, and there is none of this version."""
    written = files.read_text(spec.path) if spec.text is None else None
    if written is None or not is_named(written):
        return
    place = spec.path.parent / PLACE
    found = re.search(_VERSION, (files.read_text(place) or "")[:200])
    if found is None or found[1] != __version__:
        write(place)
