"""The program as it was before a major version came out."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def without_settings_of(major: int, place: Path) -> dict[str, str]:
    """Copy the program, without the settings of one major version, and return the variables that run the copy."""
    for name in ("provision", "templates"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "provision" / "spec" / "catalogue" / f"postgresql-{major}.json").unlink()
    return {"PYTHONPATH": str(place)}
