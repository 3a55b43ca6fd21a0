"""The names of what provision keeps in ``.provision/<name>/``, and of the labels of what it makes in an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104  # compared, not bound
"""How an engine, or a kernel, says that a port is taken at all addresses of a host."""
COMPOSE = "docker-compose.yml"
ENGINE = "engine"
"""The file that keeps the address of the engine that the environment was made with."""
DATA_RECORD = "data-directory"
"""The file that records that we made a ``data.path``: in it, or in ours where a container owns what is in it."""
LINK = "server"
"""The link to the data of an embedded server, below the environment's directory."""
PORT = "5432/tcp"
"""The server's port in its container, as an engine names it."""
TUNNEL = "tunnel"
"""The file that says, below the environment's directory, which process and port a tunnel has that stays open."""
BACKUPS = "backups"
"""The directory of the backups, below the environment's directory; `destroy --data` keeps it."""
SUPERUSER = "cache/superuser"
"""Where the name of the superuser is kept, below the environment's directory."""
GOLDEN = "cache/golden.json"
"""What was noted for a golden when all was made, below the environment's directory."""
COPYING = "cache/copying"
"""The file that says, below the environment's directory, that a copy of another one's data is not whole yet."""
CURRENT_LOGFILES = "current_logfiles"
"""The file in a data directory in which a server says where its own log is."""
ENVIRONMENT = "provision.environment"
DIRECTORY = "provision.directory"
"""The labels that say whose a container or a volume is."""
USER = "provision.user"
MACHINE = "provision.machine"
"""The labels that say who has made it, and where; what an earlier version made has none, and no spec says them."""
LISTED = "cache/listed"
"""The file that says where this environment is kept in the user's list."""
ADOPTED = "adopted"
"""The file that says that what was made in a directory that is gone belongs here."""
DECLARED = "provision.declared"
"""The label that keeps what the spec said of a container, as JSON."""
ENVIRONMENT_SETTING = "provision.environment="
"""A setting of ours that the server only keeps: its command line says whose it is, as a label does on a container."""


def whose(labels: Mapping[str, str]) -> str:
    """Return the environment that a container was made for, in words to go after its name."""
    environment = labels.get(ENVIRONMENT)
    return "" if environment is None else f" of the environment {environment!r} of {labels.get(DIRECTORY)}"


def environment(argv: Sequence[str]) -> str:
    """Return the directory of the environment that started a server; empty where its command line names none."""
    return next((each.removeprefix(ENVIRONMENT_SETTING) for each in argv if each.startswith(ENVIRONMENT_SETTING)), "")


def of_home(home: str) -> str:
    """Return the environment whose directory is ``home``, which a server process of this machine names."""
    place = Path(home)
    return f"the environment {place.name!r} of {place.parents[1]}" if len(place.parents) > 1 else home
