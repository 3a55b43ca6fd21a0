"""An interactive psql: the one of this machine, or the one in the container."""

from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING

from provision.errors import ProvisionError
from provision.system import processes
from provision.system.engine_address import PODMAN
from provision.system.files import nameless
from provision.system.libpq import PLACE
from provision.system.postgres import tls
from provision.system.variables import without

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from provision.model import Endpoint
    from provision.system.engine import EngineReader


def run(
    endpoint: Endpoint,
    major: int,
    arguments: Sequence[str],
    *,
    container: str | None = None,
    programs: Path | None = None,
    engine: EngineReader | None = None,
) -> int:
    """Run psql on the terminal and return its exit code.

    The psql of this machine is taken if it is at least as new as the server (an older one does not know its catalogs),
    else the server's own: among its ``programs``, or in its ``container``, which lives in ``engine``.

    Raises:
        ProvisionError: there is none.
    """
    local = shutil.which("psql")
    if local is not None and ((container is None and programs is None) or _major(local) >= major):
        return _local(local, endpoint, arguments)
    if programs is not None and (own := shutil.which("psql", path=programs)) is not None:
        return _local(own, endpoint, arguments)
    enter = _entrance(engine) if container is not None and engine is not None else None
    if container is not None and enter is not None:
        flags = "-it" if sys.stdin.isatty() and sys.stdout.isatty() else "-i"
        place = (f"--username={endpoint.user}", f"--dbname={endpoint.database}")
        return processes.run((*enter, "exec", flags, container, "psql", *place, *arguments)).returncode
    if local is not None:
        return _local(local, endpoint, arguments)
    raise ProvisionError(
        "there is no psql on this machine, and no program to use the container's with",
        next_step="install psql (Debian: apt install postgresql-client)",
    )


def _entrance(engine: EngineReader) -> tuple[str, ...] | None:
    """Return the program that enters containers of an engine, told which engine; Podman's can be entered by both.

    A context, and what DOCKER_HOST says, ``docker`` finds by itself, certificates included.
    """
    docker, podman = shutil.which("docker"), shutil.which("podman")
    if engine.program == PODMAN and podman is not None:
        return (podman, "--remote", "--url", engine.address.url)
    if docker is not None:
        return (docker,) if engine.address.is_named else (docker, "--host", engine.address.url)
    return None


def _major(psql: str) -> int:
    said = processes.run((psql, "--version"), capture_output=True, text=True).stdout
    match = re.search(r"(\d+)", said)
    return int(match[1]) if match else 0


def _local(psql: str, endpoint: Endpoint, arguments: Sequence[str]) -> int:
    """Hand the password over in a file that has no name, so that nothing stays behind whatever is killed.

    It is never in argv or the environment. What decides where psql connects is said by us alone; what the caller's
    shell says about the session (PGOPTIONS, PGTZ …) is psql's as always.
    https://www.postgresql.org/docs/current/libpq-pgpass.html
    """
    escaped = endpoint.password.reveal().replace("\\", "\\\\").replace(":", "\\:")
    with nameless(f"*:*:*:*:{escaped}\n".encode()) as file:
        place = (
            f"--host={endpoint.host}",
            f"--port={endpoint.port}",
            f"--username={endpoint.user}",
            f"--dbname={endpoint.database}",
        )
        environment = {**without(PLACE), "PGPASSFILE": f"/dev/fd/{file.fileno()}", **tls(endpoint)}
        argv = (psql, *place, *arguments)
        return processes.run(argv, env=environment, pass_fds=(file.fileno(),)).returncode
