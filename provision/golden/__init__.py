"""Goldens: copies of data that an apply made from nothing, so that the next apply from nothing begins with a copy.

A golden is a cache, never a truth. It is looked for only where there is no data yet; what it holds is then seen,
planned and applied like any other data, and at the first doubt it is removed and the data is made without it. ``key``
says what decides the result, ``use`` rewrites a plan, ``saving`` says what may be kept. A runtime has a module of its
name here, found as runtimes are.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from provision.golden.key import Golden
from provision.model import Effect, Step
from provision.model.effects import SaveGolden
from provision.observe.outside import World
from provision.system.look import Look


class Store(Protocol):
    """Where the goldens of one runtime are. Another run may use, save and remove the same ones meanwhile."""

    def candidates(self) -> tuple[Golden, ...]:
        """Return the goldens that are complete, the one that was used last first."""

    user: str
    """Whose the goldens are that this process makes."""

    def dated(self) -> tuple[Golden, ...]:
        """Return the same, each with the time of its last use, which takes longer."""

    def remove(self, key: str) -> None:
        """Remove a golden; one that is not there is fine."""

    def touch(self, key: str) -> None:
        """Note that a golden was used now: the least recently used goes first."""


class Goldens(Protocol):
    """What the module of a runtime offers."""

    def store(self, look: Look) -> Store:
        """Return where the goldens are that may be used with a look.

        Its ``candidates`` raise an UnavailableError where no engine answers.
        """

    def using(self, world: World, golden: Golden, steps: tuple[Step, ...]) -> tuple[World, tuple[Step, ...]]:
        """Return the steps of a plan for new data with those outside the server taking the data from a golden.

        The world has what is declared then.

        Once the server runs, its superuser has the declared name and password. The steps inside are left as they are.
        """

    def discarding(self, world: World, containers: Sequence[str], *, with_data: bool) -> tuple[Effect, ...]:
        """Return what removes a server and the data that a golden gave it, so that nothing is left of both.

        ``containers`` are the ids of those that this run has made, ``with_data`` says whether it made the place of the
        data: what another run has made there is its own.
        """

    def is_in_memory(self, world: World) -> bool:
        """Tell whether the data goes with the server that runs, so that it is copied while that runs."""

    def stops(self, world: World, effect: Effect) -> bool:
        """Tell whether an effect stops the server, after which its data can be copied."""

    def restarting(self, world: World) -> tuple[Effect, ...]:
        """Return what stops a server that runs and starts it again; nothing where none runs."""

    def beginning(self, world: World, effect: SaveGolden, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Return the steps of a plan for new data with ``effect`` where nothing is declared in the server yet."""

    def save(self, world: World, effect: SaveGolden, perform: Callable[[Effect], None]) -> None:
        """Copy the data of a server, take the secrets out of the copy, and put it into the store.

        The server was stopped, unless its data is in memory.

        Raises:
            provision.errors.ProvisionError: it must not be kept, or cannot; nothing is left of it.
        """

    def export(self, look: Look, key: str, file: Path) -> None:
        """Write a golden into a new file. Only goldens of Docker leave their store.

        Raises:
            provision.errors.ProvisionError: it cannot be written.
        """

    def take(self, look: Look, file: Path, sha256: str) -> Golden:
        """Put the golden of a file into the store, and return it.

        Raises:
            provision.errors.ProvisionError: the file has another SHA-256, or is no golden.
        """


RUNTIMES = ("embedded", "docker")
"""Those that have goldens: the data of another is not ours to copy."""


def load(runtime: str) -> Goldens | None:
    """Return the module of a runtime; None where there are no goldens."""
    return importlib.import_module(f"provision.golden.{runtime}") if runtime in RUNTIMES else None
