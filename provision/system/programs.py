"""Programs that are run, in a container or here: one that has to succeed, and two that have to print the same."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from provision.errors import StepFailedError, translated
from provision.model.words import some
from provision.system import processes
from provision.system.files import nameless

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.model.effects import CompareOutput, RunProgram
    from provision.system.engine_calls import Engine

    Engines = Callable[[], Engine]


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
