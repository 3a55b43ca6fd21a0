"""The command lines of ``initdb`` and ``postgres``, and the programs that the server's user can run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.model import CopyPath
from provision.runtimes.embedded.states import CONFIG_FILE, ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    from provision.model import Effect
    from provision.runtimes import Look
    from provision.runtimes.embedded.places import Places
    from provision.spec.model import Spec
    from provision.system.installations import Installation

_FIRST_MAJOR_WITH_ITS_OWN_LOCALE = 17


@dataclass(frozen=True, slots=True)
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
        name = user.name if user else ""
        raise RefusedError(
            f"the system user {name!r}, whom the server has to run as, cannot run {found.programs / 'postgres'}",
            evidence=["PostgreSQL refuses to run as root, so as root it runs as another user"],
            next_step=f"ls -ld {found.programs} {found.programs.parent}",
        )
    copied = places.root / f"programs-{found.version}"
    directory = copied / found.programs.relative_to(found.root)
    if all(look.exists(copied / tree) for tree in found.trees):
        return Programs(directory, ())
    return Programs(directory, (CopyPath(found.root, copied, found.trees),))


def initdb_argv(directory: Path, spec: Spec, *, durable: bool) -> tuple[str, ...]:
    """Return the arguments that make a data directory, but for its place and the password.

    Over the socket nobody is asked for a password, because only the server's owner can open it; over TCP everybody is.
    Text is UTF-8 and sorts by code point, the same on every machine: from 17 on by PostgreSQL's own rules.
    https://www.postgresql.org/docs/current/app-initdb.html
    """
    if spec.server.major >= _FIRST_MAJOR_WITH_ITS_OWN_LOCALE:
        locale: tuple[str, ...] = ("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    else:
        locale = ("--locale=C.UTF-8",) if sys.platform == "linux" else ("--no-locale",)
    return (
        str(directory / "initdb"),
        f"--username={spec.server.user}",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        *locale,
        *(() if durable else ("--no-sync",)),
    )


def server_argv(
    directory: Path,
    places: Places,
    *,
    data: Path | None = None,
    config: Path | None = None,
    sockets: Path | None = None,
) -> tuple[str, ...]:
    """Return the arguments of the server; where it listens is in the configuration file.

    ``data``, ``config`` and ``sockets`` are for a second server of the same environment.
    """
    return (
        str(directory / "postgres"),
        *("-D", str(data or places.data)),
        *("-c", f"{CONFIG_FILE}{config or places.config}"),
        *("-c", f"{ENVIRONMENT}{places.home}"),
        *("-k", str(sockets or places.sockets)),
        *("-c", "unix_socket_permissions=0700"),
    )
