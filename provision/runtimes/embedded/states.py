"""What the embedded runtime owns, as states: the data directory, and the process that serves it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from provision.model import State

if TYPE_CHECKING:
    from pathlib import Path

    from provision.system.postmaster import Postmaster

CONFIG_FILE = "config_file="
# A setting of ours that the server only keeps: its command line says whose it is, as a label does on a container.
ENVIRONMENT = "provision.environment="


@dataclass(frozen=True, slots=True)
class DataDirectory(State):
    """A data directory that initdb has made, of which major version."""

    path: Path
    major: str


@dataclass(frozen=True, slots=True)
class Process(State):
    """A server that runs: where it listens, on which data, and from which configuration file."""

    host: str
    port: int
    data: str
    config_file: str


def observed(found: Postmaster) -> Process:
    """Return the state of a process, as its own files tell it."""
    return Process(found.host, found.port, option(found.argv, "-D"), config_file(found.argv))


def config_file(argv: tuple[str, ...]) -> str:
    """Return the configuration file among the arguments that a server was started with."""
    return _setting(argv, CONFIG_FILE)


def environment(argv: tuple[str, ...]) -> str:
    """Return the directory of the environment that started a server."""
    return _setting(argv, ENVIRONMENT)


def _setting(argv: tuple[str, ...], name: str) -> str:
    return next((each.removeprefix(name) for each in argv if each.startswith(name)), "")


def option(argv: tuple[str, ...], name: str) -> str:
    """Return what follows an option among a server's arguments."""
    return next((value for each, value in pairwise(argv) if each == name), "")
