"""Where a server lives: one module a runtime, found by its name.

A runtime decides and describes, and does nothing itself. Its module offers ``TEMPLATES`` (the templates it renders),
``port``, ``render`` and ``examine``; the last one looks at the world once, through a :class:`Look` that can only read,
and returns a :class:`Site`: what shall be there, what is there, and the steps between the two.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from provision.kinds import Ground
    from provision.model import Desired, Endpoint, Observed, Secret, Status, Step, WriteFile
    from provision.spec.model import Spec


class Look(Protocol):
    """What a runtime may look at, without changing it."""

    engine_host: str
    """The host on which the engine publishes ports."""
    engine_is_local: bool
    """Whether the engine sees this machine's files."""

    def engine(self, path: str, **parameters: str | int) -> Any:
        """Return the JSON of a GET to the Docker engine, or None for 404."""

    def text(self, path: Path) -> str | None:
        """Return a file's text, or None where there is no file."""

    def exists(self, path: Path) -> bool:
        """Tell whether there is anything at a path."""

    def listener(self, host: str, port: int) -> str | None:
        """Return who listens on a port of this machine, in words; None where the port is free."""

    def free_port(self, host: str, name: str) -> int:
        """Return a port that nobody listens on, the same for the same name as long as it is free."""


class Site(Protocol):
    """One environment's server, as it was seen once."""

    is_ours: bool
    """Whether provision runs the server, and may start it, restart it and enter it."""
    container_name: str | None
    """The container, where the server lives in one."""
    config_file: str
    """The path of the configuration file as the server sees it."""
    desired: Desired
    observed: Observed
    is_fresh: bool
    """Whether there is no data yet, so that what is inside the server is known to be absent."""
    status: Status

    def plan(self) -> tuple[Step, ...]:
        """Return the steps that lead to a running server.

        Raises:
            provision.errors.RefusedError: they would disturb what is not ours, or cost data.
        """

    def endpoint(self, password: Secret) -> Endpoint | None:
        """Return where the running server is reached, or None where none runs."""

    def target(self, password: Secret) -> Endpoint:
        """Return where the server will be reached once it is as declared."""

    def ground(self, *, starting: bool) -> Ground:
        """Return what kinds may build on."""

    def start(self) -> tuple[Step, ...]:
        """Return the steps that start a server that was made before."""

    def stop(self) -> tuple[Step, ...]:
        """Return the steps that stop the server and keep everything."""

    def restart(self) -> tuple[Step, ...]:
        """Return the steps that stop and start the server."""

    def destroy(self, *, data: bool) -> tuple[Step, ...]:
        """Return the steps that remove the server, and its data only if asked."""


class RuntimeModule(Protocol):
    """What the module of a runtime offers."""

    TEMPLATES: tuple[str, ...]
    FILES: tuple[str, ...]
    """The paths of the rendered files below the environment's directory, in the order of ``render``."""

    def port(self, spec: Spec, look: Look) -> int:
        """Return the declared port; for ``auto`` the remembered one, or one that is free."""

    def render(self, spec: Spec, texts: Mapping[str, str], port: int) -> tuple[WriteFile, ...]:
        """Render the templates; ``texts`` maps a template's name to its text."""

    def examine(self, spec: Spec, files: Sequence[WriteFile], look: Look) -> Site:
        """Look at everything outside the server."""


def load(name: str) -> RuntimeModule:
    """Return the module of a runtime."""
    return importlib.import_module(f"provision.runtimes.{name}")
