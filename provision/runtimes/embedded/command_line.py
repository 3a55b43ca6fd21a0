"""The command lines of ``initdb`` and ``postgres``: how provision writes them, and what it reads from a running one."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

from provision.errors import RefusedError, as_word
from provision.model import Effect, State
from provision.model.effects import CopyPath, Scripts
from provision.model.value import dataclass
from provision.runtimes.embedded.checks import powerless
from provision.runtimes.embedded.directories import Places
from provision.runtimes.names import ENVIRONMENT_SETTING
from provision.spec.model import Spec
from provision.system.look import Look
from provision.system.machine import Installation
from provision.system.postmaster import Postmaster

CONFIG_FILE = "config_file="


@dataclass(frozen=True)
class DataDirectory(State):
    """A data directory that initdb has made, of which major version."""

    path: Path
    major: str


@dataclass(frozen=True)
class Process(State):
    """A server that runs: where it listens, on which data, and from which configuration file."""

    host: str
    port: int
    data: str
    config_file: str


def observed_process(found: Postmaster) -> Process:
    """Return the state of a process, as its own files tell it."""
    config_file = next((each.removeprefix(CONFIG_FILE) for each in found.argv if each.startswith(CONFIG_FILE)), "")
    return Process(found.host, found.port, option(found.argv, "-D"), config_file)


def option(argv: tuple[str, ...], name: str) -> str:
    """Return what follows an option among a server's arguments."""
    return next((value for each, value in pairwise(argv) if each == name), "")


# --- programs and their arguments

_FIRST_MAJOR_WITH_ITS_OWN_LOCALE = 17


@dataclass(frozen=True)
class Programs:
    """Where the programs are run from, and what has to be copied there first."""

    directory: Path
    copies: tuple[Effect, ...]


def programs(found: Installation, places: Places, look: Look) -> Programs:
    """Return programs that the server's user can run: those of the installation, or copies of them.

    Raises:
        RefusedError: it cannot, and they cannot be copied.
    """
    user, machine = places.user, look.machine
    if machine.runs(user, found.programs / "postgres"):
        return Programs(found.programs, ())
    if found.root is None:
        advice = f"ls -ld {as_word(found.programs)} {as_word(found.programs.parent)}"
        raise powerless(user or machine.ourselves(), f"run {found.programs / 'postgres'}", advice)
    copied = places.root / f"programs-{found.version}"
    is_there = all(look.exists(copied / tree) for tree in found.trees)
    copies = () if is_there else (CopyPath(found.root, copied, found.trees),)
    return Programs(copied / found.programs.relative_to(found.root), copies)


def initdb_argv(directory: Path, spec: Spec, *, durable: bool) -> tuple[str, ...]:
    """Return the arguments that make a data directory, but for its place and the password.

    Over the socket the server asks for no password, because only its owner can open that; over TCP it always asks.
    Text is UTF-8 and sorts by code point, the same on every machine: from 17 on by PostgreSQL's own rules.
    https://www.postgresql.org/docs/current/app-initdb.html
    """
    if spec.server.major >= _FIRST_MAJOR_WITH_ITS_OWN_LOCALE:
        locale: tuple[str, ...] = ("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    else:
        locale = ("--locale=C.UTF-8",) if sys.platform == "linux" else ("--no-locale",)
    access = (f"--username={spec.server.user}", "--auth-local=trust", "--auth-host=scram-sha-256")
    return (str(directory / "initdb"), *access, "--encoding=UTF8", *locale, *(() if durable else ("--no-sync",)))


def server_argv(directory: Path, places: Places, *, second: tuple[Path, Path, Path] | None = None) -> tuple[str, ...]:
    """Return the arguments of the server; where it listens is in the configuration file.

    ``second``: data, configuration and sockets of another server of the same environment.
    """
    data, config, sockets = second or (places.data, places.config, places.sockets)
    return (
        *(str(directory / "postgres"), "-D", str(data), "-k", str(sockets)),
        *("-c", f"{CONFIG_FILE}{config}", "-c", f"{ENVIRONMENT_SETTING}{places.home}"),
        *("-c", "unix_socket_permissions=0700"),
    )


# --- server.initdb: an embedded server runs SQL files only

_SUPPORTED = (".sql", ".sql.gz", ".sql.xz")


def scripts(spec: Spec, places: Places, programs: tuple[Path, Path | None], port: int, look: Look) -> Scripts | None:
    """Return what runs on a new data directory.

    ``programs`` are the directory that the server's programs are run from, and the one where they are installed.

    Raises:
        RefusedError: a script is not SQL, or there is no psql.
    """
    server = spec.server
    if not server.initdb:
        return None
    if others := [each for each in server.initdb if not each.name.endswith(_SUPPORTED)]:
        raise RefusedError(
            f"{others[0].name} of `server.initdb` does not run on this machine: an embedded server runs SQL files only",
            evidence=[str(each) for each in others],
            next_step="set `runtime: docker`, where the image runs it in the container, or write it as SQL",
        )
    directory, installed = programs
    if installed is None or not look.exists(installed / "psql"):
        raise RefusedError(
            "`server.initdb` needs psql, which this installation of PostgreSQL does not have",
            evidence=[f"there is no {installed or directory}/psql"],
            next_step="install it (Debian: apt install postgresql-client), or set `runtime: docker`",
        )
    psql, argv = directory / "psql", (*server_argv(directory, places), "-c", "listen_addresses=")
    return Scripts(
        server.initdb, server.database, server.user, psql, argv, places.sockets, port, places.log, server.ready_timeout
    )
