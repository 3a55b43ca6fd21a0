"""One environment of this machine or engine, as it was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from provision.model import Endpoint
from provision.model.value import dataclass
from provision.system.register import Tree

RUNNING: Final = ("running", "paused", "restarting")
"""The states in which there is something to stop."""


@dataclass(frozen=True)
class Known:
    """One environment. ``directory`` is that of its spec, and ``is_gone`` whether that is not there any more.

    ``state`` is running, stopped, paused, restarting or absent: only data is left. What is not known is empty, or None:
    the ``version``, where it listens, the ``revisions`` of each tree, and the ``size`` in bytes. ``not_mine`` says why
    it is not taken for one that this user made from this machine; empty: it is. ``container``, ``volumes`` and ``data``
    are what there is of it; ``names`` are all of its containers.
    """

    name: str
    directory: Path
    runtime: str
    state: str
    version: str = ""
    host: str = ""
    port: int = 0
    behind: str = ""
    """The host that has this address, where ssh leads there."""
    revisions: Mapping[str, tuple[str, ...]] | None = None
    size: int | None = None
    spec: Path | None = None
    is_gone: bool = False
    not_mine: str = ""
    container: str = ""
    names: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    data: Path | None = None
    sockets: Path | None = None
    patience: int = 60
    """How many seconds the server gets to shut down."""
    in_memory: bool = False
    """Whether its data goes away when it stops."""
    in_container: bool = False
    """Whether its data goes away with its container."""
    mounted: tuple[str, ...] = ()
    """The directories of the engine's host that its container writes to."""

    @property
    def is_up(self) -> bool:
        """Whether there is something to stop."""
        return self.state in RUNNING

    @property
    def home(self) -> Path:
        """The directory that has its rendered files and secrets, or had."""
        return self.directory / ".provision" / self.name


class Found(NamedTuple):
    """What was found, and how to log in where that takes no program.

    ``trees`` are those of its last apply; None where they are not known.
    """

    listed: Known
    login: Endpoint | None
    trees: tuple[Tree, ...] | None = None


class Listing(NamedTuple):
    """All environments by name, and why those of Docker are not known, where no engine answers."""

    environments: tuple[Known, ...]
    silence: str = ""
