"""This machine, looked at: its server processes, its users and its PostgreSQL installations. Nothing is changed."""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import TYPE_CHECKING

from provision.system import installations, logfile, postmaster, users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.system.installations import Installation
    from provision.system.postmaster import Postmaster
    from provision.system.users import SystemUser


class Machine:
    """What the embedded runtime may look at."""

    def postmaster(self, data: Path) -> Postmaster | None:
        """Return the server that runs on a data directory."""
        return postmaster.find(data)

    def version(self, data: Path) -> str | None:
        """Return the major version that made a data directory; an empty text where we may not look."""
        return postmaster.version(data)

    def note(self, data: Path, name: str) -> str | None:
        """Return the text of a file in a data directory, None where none is, empty where we may not look."""
        return postmaster.note(data, name)

    def orphan(self, data: Path) -> Postmaster | None:
        """Return the server whose data directory, at this path, was deleted under it."""
        return postmaster.orphan(data)

    def last_start(self, data: Path) -> tuple[str, ...]:
        """Return how the last server on a data directory was started, running or not."""
        return postmaster.options(data)

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a server that this run has started, once it has ended."""
        return postmaster.ended(pid)

    def installations(self, bin_dir: Path | None, major: int) -> Iterator[Installation]:
        """Yield PostgreSQL installations, the preferred first."""
        return installations.find(bin_dir, major)

    def server_user(self, data: Path) -> SystemUser | None:
        """Return whom a server on a directory has to run as; None is ourselves."""
        return users.server_user(data)

    def ourselves(self) -> SystemUser:
        """Return the user that this run belongs to."""
        return users.ourselves()

    def owner(self, path: Path) -> SystemUser | None:
        """Return whose a path is."""
        return users.owner(path)

    def reaches(self, user: SystemUser | None, path: Path) -> bool:
        """Tell whether a user may pass through every directory above a path."""
        return users.reaches(user, path)

    def runs(self, user: SystemUser | None, program: Path) -> bool:
        """Tell whether a user may run a program."""
        return users.runs(user, program)

    def build(self, program: Path) -> str:
        """Return what tells a file from the one that replaces it: its path, size and time."""
        seen = program.stat()
        return f"{program} {seen.st_size} {seen.st_mtime_ns}"

    def link(self, path: Path) -> Path | None:
        """Return what a symbolic link points at; None where there is none."""
        return path.readlink() if path.is_symlink() else None

    def resolved(self, path: Path) -> Path:
        """Return where a symbolic link leads at last, whether anything is there or not; what is no link stays."""
        return Path(os.path.realpath(path)) if path.is_symlink() else path

    def is_mount(self, path: Path) -> bool:
        """Tell whether a file system is mounted there."""
        return path.is_mount()

    def entries(self, directory: Path) -> tuple[str, ...] | None:
        """Return the names in a directory, none where it is none; None where we may not look."""
        try:
            return tuple(sorted(each.name for each in directory.iterdir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError:
            return None

    def last_lines(self, path: Path, count: int) -> list[str]:
        """Return the last lines of a file."""
        return logfile.last(path, count)

    def lines(self, path: Path, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Yield the lines of a file; with ``follow`` also those to come."""
        return logfile.lines(path, follow=follow, tail=tail)
