"""``server.initdb`` for a server of this machine: SQL files are run, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.model import Scripts
from provision.runtimes.embedded.commands import server_argv

if TYPE_CHECKING:
    from pathlib import Path

    from provision.runtimes import Look
    from provision.runtimes.embedded.places import Places
    from provision.spec.model import Spec

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
    argv = (*server_argv(directory, places), "-c", "listen_addresses=")
    return Scripts(
        server.initdb,
        server.database,
        server.user,
        directory / "psql",
        argv,
        places.sockets,
        port,
        places.log,
        server.ready_timeout,
    )
