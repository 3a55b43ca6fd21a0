"""Linked Git worktrees, found by reading what Git keeps about them; Git itself is not needed.

A linked worktree has a file ``.git`` that names its folder ``worktrees/ID`` in the repository, and the file
``commondir`` in that folder leads to what all worktrees share. A path in either may be relative to its own file.
https://git-scm.com/docs/gitrepository-layout and https://git-scm.com/docs/git-worktree#_details
"""

from __future__ import annotations

import os.path
import re
from contextlib import suppress
from pathlib import Path

from provision.errors import ProvisionError
from provision.spec.model import Worktree
from provision.system import files

_LINE = "gitdir: "
_TRUE = ("true", "yes", "on", "1", "")
_VARIABLE = r"\s*(?P<name>[A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(?P<value>.*?)\s*)?(?:[#;].*)?"


def of(mark: Path) -> Worktree | None:
    """Return the linked worktree that a file ``.git`` belongs to; None: it is that of another kind of checkout.

    A submodule has such a file too, and is a part of the worktree around it.
    """
    text = _text(mark)
    if not text.startswith(_LINE):
        return None
    folder = _joined(mark.parent, text.removeprefix(_LINE))
    common = _text(folder / "commondir")
    if not common and folder.exists():  # else the repository is not on this machine, as in a container
        outer = files.git_file(mark.parent.parent) if "modules" in folder.parts else None
        return of(outer) if outer is not None else None
    if folder.parent.name != "worktrees":
        return None
    return Worktree(folder.name, mark.parent, _main(_joined(folder, common)) if common else None)


def _text(path: Path) -> str:
    with suppress(ProvisionError):
        return files.read_text(path) or ""
    return ""


def _joined(place: Path, path: str) -> Path:
    return Path(os.path.normpath(place / path.rstrip("\r\n")))


def _main(common: Path) -> Path | None:
    """Return the top directory of the main checkout; None where the repository has none."""
    core: dict[str, str] = {}
    for name in ("config", "config.worktree"):
        core |= _core(_text(common / name))
    if core.get("bare", "false").lower() in _TRUE:
        return None
    if place := core.get("worktree"):
        return _joined(common, place)
    return common.parent if common.name == ".git" else None


def _core(config: str) -> dict[str, str]:
    """Return the variables of the section ``core``, as far as they are in one line.

    https://git-scm.com/docs/git-config#_syntax
    """
    found, section = {}, ""
    for line in config.splitlines():
        if header := re.match(r"\s*\[([^]]*)\]", line):
            section = header[1].strip().lower()
        elif section == "core" and (variable := re.fullmatch(_VARIABLE, line)):
            found[variable["name"].lower()] = (variable["value"] or "").strip('"')
    return found
