"""What can exist: one file a kind, each with its states and three pure functions.

``desired`` says what the spec asks for, ``observe`` reads what is there (through a read-only query), and ``plan``
returns the steps from one to the other. Only :mod:`provision.apply` performs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.model import Effect, Secret
    from provision.model.effects import RunLocalSql


@dataclass(frozen=True, slots=True)
class Ground:
    """What a kind may build on: how the server's home does what only it can do.

    ``publish`` brings a newly rendered configuration to where the server reads it (nothing to do where it is mounted);
    ``restart`` restarts the server in place; ``local_sql`` runs a script, with a verifier of a password in it, over the
    server's own socket; ``starting`` is true when the plan (re)starts the server anyway, which then reads its settings
    anew; ``restart_destroys`` is true when the data is in memory and goes with the server. ``superuser`` is the name
    that the superuser was given, where that is known; ``admitting`` is the command that lets logins from here in again.
    """

    publish: tuple[Effect, ...]
    restart: tuple[Effect, ...]
    local_sql: Callable[[str, Secret], RunLocalSql]
    starting: bool
    restart_destroys: bool = False
    superuser: str = ""
    admitting: str = ""
