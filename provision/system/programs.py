"""Programs that are run, in a container or here: one that has to succeed, and two that have to print the same."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from provision.errors import ProvisionError, StepFailedError, translated
from provision.model.words import some
from provision.system import processes
from provision.system.engine_address import PODMAN
from provision.system.files import nameless
from provision.system.libpq import PLACE
from provision.system.postgres import tls
from provision.system.variables import without

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.model.effects import CompareOutput, RunProgram
    from provision.system.engine_calls import Engine

    Engines = Callable[[], Engine]
    from collections.abc import Sequence
    from pathlib import Path

    from provision.model import Endpoint
    from provision.system.engine import EngineReader

PASSFILE = "PROVISION_PASSFILE"
"""The variable that names the open file with the passwords: :mod:`provision.upgrade.copying` reads it."""
_LINES = 12


def run(effect: RunProgram, engine: Engines) -> None:
    """Run a program; ``engine`` returns the engine, where it is one in a container.

    Raises:
        StepFailedError: it failed, with its last words, or those of the container when that has ended.
    """
    _output(effect, engine)


def compare(effect: CompareOutput, engine: Engines) -> None:
    """Run two programs and compare their output, whatever the order of its lines.

    Raises:
        StepFailedError: one failed, or they differ.
    """
    one, other = (set(_output(each, engine).splitlines()) for each in (effect.one, effect.other))
    if one == other:
        return
    lines = [f"before: {line}" for line in sorted(one - other)] + [f"after:  {line}" for line in sorted(other - one)]
    lines.sort(key=lambda line: line.partition(": ")[2].strip())
    raise StepFailedError(f"{effect.one.what}: they differ", evidence=some(lines, _LINES))


def _output(effect: RunProgram, engine: Engines) -> str:
    return _here(effect) if effect.container is None else _inside(effect, effect.container, engine())


def _here(effect: RunProgram) -> str:
    from provision.system.servers import environment

    variables = environment()
    places = (str(effect.programs or ""), variables.get("PATH", os.defpath))
    variables["PATH"] = os.pathsep.join(each for each in places if each)
    secret = effect.secret.reveal().encode()
    given: dict[str, Any] = {"input": secret}
    with translated(OSError, into=StepFailedError(f"{effect.what}: it failed")), nameless(secret) as file:
        if sys.platform == "linux":  # elsewhere only one of several readers would get it
            variables[PASSFILE] = f"/dev/fd/{file.fileno()}"
            given = {"stdin": processes.DEVNULL, "pass_fds": (file.fileno(),)}
        given |= {"stdout": processes.PIPE, "stderr": processes.STDOUT, "env": variables}
        done = processes.run(effect.argv, cwd="/", **given)
    said: str = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise StepFailedError(f"{effect.what}: it failed", evidence=_said(said))
    return said


def _inside(effect: RunProgram, container: str, engine: Engine) -> str:
    import docker.errors
    import requests

    try:
        code, output = engine.execute(container, effect.argv, effect.secret)
    except (docker.errors.APIError, requests.RequestException, OSError) as error:
        evidence = _last_words(engine, container) or [str(error)]
        raise StepFailedError(f"{effect.what}: it failed", evidence=evidence) from error
    if code != 0:
        raise StepFailedError(f"{effect.what}: it failed", evidence=[*_said(output), *_last_words(engine, container)])
    return output


def _said(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.strip()][-_LINES:]


def _last_words(engine: Engine, container: str) -> list[str]:
    """Return what a container that has ended said last, and nothing while it runs."""
    import docker.errors

    try:
        state = engine.client.inspect_container(container)["State"]
        if state["Running"]:
            return []
        lines = list(engine.logs(container, follow=False, tail=_LINES))
    except docker.errors.APIError:
        return [f"the container {container!r} is gone"]
    return [f"the container {container!r} ended with exit code {state['ExitCode']}", *lines]


# An interactive psql: the one of this machine, or the one in the container.


def run_psql(
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
        ProvisionError: there is no psql.
    """
    local = shutil.which("psql")
    if local is not None and ((container is None and programs is None) or processes.major_of(local) >= major):
        return _local(local, endpoint, arguments)
    if programs is not None and (own := shutil.which("psql", path=programs)) is not None:
        return _local(own, endpoint, arguments)
    enter = _entrance(engine) if container is not None and engine is not None else None
    if container is not None and enter is not None:
        flags = "-it" if sys.stdin.isatty() and sys.stdout.isatty() else "-i"
        argv = (*enter, "exec", flags, container, "psql", *_login(endpoint), *arguments)
        return processes.run(argv).returncode
    if local is not None:
        return _local(local, endpoint, arguments)
    raise ProvisionError(
        "there is no psql on this machine, and no program to use the container's with",
        next_step="install psql (Debian: apt install postgresql-client)",
    )


def _entrance(engine: EngineReader) -> tuple[str, ...] | None:
    """Return the program that enters containers, with the engine's address; both programs can enter Podman's.

    A context, and what DOCKER_HOST says, ``docker`` finds by itself, certificates included.
    """
    docker, podman = shutil.which("docker"), shutil.which("podman")
    if engine.program == PODMAN and podman is not None:
        return (podman, "--remote", "--url", engine.address.url)
    if docker is not None:
        return (docker,) if engine.address.is_named else (docker, "--host", engine.address.url)
    return None


def _local(psql: str, endpoint: Endpoint, arguments: Sequence[str]) -> int:
    """Hand the password over in a file that has no name, so that nothing stays behind whatever is killed.

    It is never in argv or the environment. What decides where psql connects is said by us alone; what the caller's
    shell says about the session (PGOPTIONS, PGTZ …) is psql's as always.
    https://www.postgresql.org/docs/current/libpq-pgpass.html
    """
    escaped = endpoint.password.reveal().replace("\\", "\\\\").replace(":", "\\:")
    with nameless(f"*:*:*:*:{escaped}\n".encode()) as file:
        place = (f"--host={endpoint.host}", f"--port={endpoint.port}", *_login(endpoint))
        environment = {**without(PLACE), "PGPASSFILE": f"/dev/fd/{file.fileno()}", **tls(endpoint)}
        argv = (psql, *place, *arguments)
        return processes.run(argv, env=environment, pass_fds=(file.fileno(),)).returncode


def _login(endpoint: Endpoint) -> tuple[str, str]:
    return f"--username={endpoint.user}", f"--dbname={endpoint.database}"
