"""Whether a file is in a Git repository: where it is not, no command of Git's is worth typing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_in_repository(path: Path) -> bool:
    """Tell whether a directory above a path has a ``.git``, which in a worktree is a file."""
    return any((each / ".git").exists() for each in path.absolute().parents)
