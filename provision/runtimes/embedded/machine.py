"""What the embedded runtime may look at on this machine, without changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provision.system.installations import Installation
    from provision.system.postmaster import Postmaster
    from provision.system.users import SystemUser


class Machine(Protocol):
    """Processes, users, installations and logs of this machine."""

    def postmaster(self, data: Path) -> Postmaster | None:
        """Return the server that runs on a data directory."""

    def version(self, data: Path) -> str | None:
        """Return the major version that made a data directory; an empty text where we may not look."""

    def note(self, data: Path, name: str) -> str | None:
        """Return the text of a file in a data directory, None where none is, empty where we may not look."""

    def orphan(self, data: Path) -> Postmaster | None:
        """Return the server whose data directory, at this path, was deleted under it."""

    def last_start(self, data: Path) -> tuple[str, ...]:
        """Return how the last server on a data directory was started, running or not."""

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a server that this run has started, once it has ended."""

    def installations(self, bin_dir: Path | None, major: int) -> Iterator[Installation]:
        """Yield PostgreSQL installations, the preferred first."""

    def server_user(self, data: Path) -> SystemUser | None:
        """Return whom a server on a directory has to run as; None is ourselves."""

    def ourselves(self) -> SystemUser:
        """Return the user that this run belongs to."""

    def owner(self, path: Path) -> SystemUser | None:
        """Return whose a path is; None where nothing is there."""

    def reaches(self, user: SystemUser | None, path: Path) -> bool:
        """Tell whether a user may pass through every directory above a path."""

    def runs(self, user: SystemUser | None, program: Path) -> bool:
        """Tell whether a user may run a program."""

    def build(self, program: Path) -> str:
        """Return what tells a file from the one that replaces it."""

    def link(self, path: Path) -> Path | None:
        """Return what a symbolic link points at; None where there is none."""

    def resolved(self, path: Path) -> Path:
        """Return where a symbolic link leads at last, whether anything is there or not; what is no link stays."""

    def is_mount(self, path: Path) -> bool:
        """Tell whether a file system is mounted there."""

    def entries(self, directory: Path) -> tuple[str, ...] | None:
        """Return the names in a directory, none where it is none; None where we may not look."""

    def last_lines(self, path: Path, count: int) -> list[str]:
        """Return the last lines of a file."""

    def lines(self, path: Path, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Yield the lines of a file; with ``follow`` also those to come."""
