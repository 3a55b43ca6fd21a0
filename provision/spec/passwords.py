"""Where a password comes from, as a spec says it; :mod:`provision.system.secrets` fetches it."""

from __future__ import annotations

from pathlib import Path

from provision.errors import Problem
from provision.model import Secret
from provision.model.value import dataclass


@dataclass(frozen=True)
class PasswordValue:
    """Written in the spec, usually as ``${NAME}``."""

    value: Secret


@dataclass(frozen=True)
class PasswordFile:
    """The first line of a file."""

    path: Path


@dataclass(frozen=True)
class PasswordCommand:
    """The first line that a program prints."""

    argv: tuple[str, ...]
    cwd: Path


@dataclass(frozen=True)
class PasswordGenerated:
    """Made once by provision and kept in the environment's directory, readable by its owner only."""


@dataclass(frozen=True)
class PasswordMissing:
    """Not known, because a variable is not set; who needs the password reports the problem."""

    problems: tuple[Problem, ...]


PasswordSource = PasswordValue | PasswordFile | PasswordCommand | PasswordGenerated | PasswordMissing
