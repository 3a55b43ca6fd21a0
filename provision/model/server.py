"""The server as it is reached, described, and asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from provision.model.secret import Secret


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server listens and how to log in; ``database`` is the declared one.

    ``sslmode`` and ``sslrootcert`` are libpq's: https://www.postgresql.org/docs/current/libpq-ssl.html
    """

    host: str
    port: int
    user: str
    password: Secret
    database: str
    sslmode: str = "prefer"
    sslrootcert: Path | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The server in a few words for people.

    ``server`` is running, stopped, paused, restarting, absent or unreachable, ``detail`` the words of the engine or
    the server where there is trouble. ``process`` is its number and system user, where it is one of this machine.
    ``clients`` is how many others are connected. ``started`` is ISO 8601. ``revisions`` maps a tree's name to its
    version rows.
    """

    server: str
    detail: str = ""
    image: str | None = None
    container: str | None = None
    version: str | None = None
    started: str | None = None
    revisions: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    data: str | None = None
    process: str | None = None
    clients: int | None = None


class Query(Protocol):
    """Read-only questions to the server, over one connection per database."""

    def rows(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of one statement; ``database`` None is the declared one.

        Raises:
            provision.errors.UnavailableError: the server cannot be reached.
        """


class Session(Query, Protocol):
    """Questions, and what the server says of itself at every login."""

    def reported(self, name: str, *, database: str | None = None) -> str:
        """Return a parameter that the server reports at every login (``server_version``), without asking for it.

        Raises:
            provision.errors.UnavailableError: the server cannot be reached.
        """
