"""What the engine's root does in a directory of its host, where we may not: a container that is there for one line."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from provision.errors import StepFailedError
from provision.system.engine_calls import unless_gone

if TYPE_CHECKING:
    from docker import APIClient

    from provision.model.effects import ChangeDirectory

_INSIDE = "/directory"
_PATIENCE = 600
_LINES = 5


def change(effect: ChangeDirectory, client: APIClient) -> None:
    """Run the line; the container goes away whatever happens.

    Raises:
        StepFailedError: the engine, or the line, fails; with what it said.
    """
    import docker.errors

    said, code = "", None
    with unless_gone():
        client.remove_container(effect.container, force=True, v=True)  # a run that was killed has left it
    try:
        client.create_container_from_config(_body(effect), effect.container)  # type: ignore[no-untyped-call]
        client.start(effect.container)
        code = client.wait(effect.container, timeout=_PATIENCE)["StatusCode"]
        said = client.logs(effect.container).decode(errors="replace")
    except docker.errors.APIError as error:
        said = error.explanation or str(error)
    finally:
        with suppress(docker.errors.APIError):
            client.remove_container(effect.container, force=True, v=True)
    if code != 0:
        raise StepFailedError(
            f"the engine could not change the directory {effect.path}",
            evidence=said.strip().splitlines()[-_LINES:],
            next_step=f"ls -la {effect.path.parent}",
        )


def _body(effect: ChangeDirectory) -> dict[str, object]:
    mount = {"Type": "bind", "Source": str(effect.path), "Target": _INSIDE}
    # A directory that belongs to a container of SELinux's is closed to all others.
    host = {"Mounts": [mount], "NetworkMode": "none", "SecurityOpt": ["label=disable"]}
    return {
        "Image": effect.image,
        "Entrypoint": ["sh", "-c", effect.script, "sh", _INSIDE],
        "Cmd": [],
        "User": "0",
        "HostConfig": {**host, "UsernsMode": "host"} if effect.unmapped else host,
    }
