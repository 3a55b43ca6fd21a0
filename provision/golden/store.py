"""The goldens of embedded servers: a directory of the user's cache, with one directory a golden."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.golden.key import Golden


class DirectoryStore:
    """The goldens of one user of this machine."""

    def candidates(self) -> tuple[Golden, ...]:
        """Return those that are complete, the one that was used last first."""
        return ()

    def remove(self, key: str) -> None:
        """Remove one."""

    def touch(self, key: str) -> None:
        """Note that one was used now."""
