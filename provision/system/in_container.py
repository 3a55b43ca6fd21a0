"""Programs that are run in a container: one that has to succeed, and two that have to print the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import StepFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.model import CompareOutput, RunInContainer, Secret
    from provision.system.engine_calls import Engine

_LINES = 12


def run(engine: Engine, effect: RunInContainer) -> None:
    """Run a program.

    Raises:
        StepFailedError: it failed, with its last words, or those of the container when that has ended.
    """
    _output(engine, effect.container, effect.argv, effect.secret, effect.what)


def compare(engine: Engine, effect: CompareOutput) -> None:
    """Run two programs and compare their output, whatever the order of its lines.

    Raises:
        StepFailedError: one failed, or they differ.
    """
    one, other = (
        set(_output(engine, effect.container, argv, effect.secret, effect.what).splitlines())
        for argv in (effect.one, effect.other)
    )
    if one == other:
        return
    lines = [f"before: {line}" for line in sorted(one - other)] + [f"after:  {line}" for line in sorted(other - one)]
    lines.sort(key=lambda line: line.partition(": ")[2].strip())
    more = [f"… and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    raise StepFailedError(f"{effect.what}: they differ", evidence=[*lines[:_LINES], *more])


def _output(engine: Engine, container: str, argv: Sequence[str], secret: Secret, what: str) -> str:
    import docker.errors
    import requests

    try:
        code, output = engine.execute(container, tuple(argv), secret)
    except (docker.errors.APIError, requests.RequestException, OSError) as error:
        raise StepFailedError(f"{what}: it failed", evidence=_last_words(engine, container) or [str(error)]) from error
    if code != 0:
        said = [line for line in output.splitlines() if line.strip()][-_LINES:]
        raise StepFailedError(f"{what}: it failed", evidence=[*said, *_last_words(engine, container)])
    return output


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
