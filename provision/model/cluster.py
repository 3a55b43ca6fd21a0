"""A cluster that Patroni runs, as its REST API shows it.

https://patroni.readthedocs.io/en/latest/rest_api.html#cluster-status-endpoints
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from provision.model.value import dataclass, field

KEPT: Final = "provision"
"""The key of the dynamic configuration under which it is noted which settings came from which spec."""
_LEADERS: Final = ("leader", "master", "primary", "standby_leader")
_WELL: Final = ("running", "streaming", "in archive recovery")
"""What Patroni says of a member whose PostgreSQL can be asked."""


@dataclass(frozen=True)
class Member:
    """One server of the cluster.

    ``lag`` is how many bytes of WAL it has not replayed: None for the leader, and where it is not known. ``pending``
    are the settings that wait for its restart; Patroni before 4 does not name them. ``host`` and ``port`` are where it
    says that its PostgreSQL listens, ``api`` is the address of its REST API.
    """

    name: str
    role: str
    state: str
    api: str
    host: str | None = None
    port: int | None = None
    timeline: int | None = None
    lag: int | None = None
    is_pending: bool = False
    pending: tuple[str, ...] = ()

    @property
    def leads(self) -> bool:
        """Whether it is the leader."""
        return self.role in _LEADERS

    @property
    def is_well(self) -> bool:
        """Whether its PostgreSQL runs, and follows the leader where it is a standby."""
        return self.state in _WELL


@dataclass(frozen=True)
class Cluster:
    """The members, and the dynamic configuration that all of them have.

    ``parameters`` are the settings in it, as text. ``kept`` says which of them came from which environment.
    ``loop_wait`` is how often a member looks, in seconds.
    """

    members: tuple[Member, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    loop_wait: float = 10.0
    is_paused: bool = False
    scope: str = ""

    @property
    def leader(self) -> Member | None:
        """The member that leads."""
        return next((each for each in self.members if each.leads), None)

    @property
    def title(self) -> str:
        """The cluster in words."""
        return f"the cluster {self.scope!r}" if self.scope else "the cluster"


def parsed(listed: Any, config: Any) -> Cluster:
    """Return what the answers to ``GET /cluster`` and ``GET /config`` say.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: they are not Patroni's.
    """
    parameters = (config.get("postgresql") or {}).get("parameters")
    kept = config.get(KEPT)
    return Cluster(
        members=tuple([_member(each) for each in listed["members"]]),
        parameters={name.lower(): _text(value) for name, value in (parameters or {}).items() if value is not None},
        kept={name: tuple(map(str, names)) for name, names in kept.items()} if isinstance(kept, dict) else {},
        loop_wait=float(config.get("loop_wait") or 10),
        is_paused=bool(listed.get("pause") or config.get("pause")),
        scope=str(listed.get("scope") or ""),
    )


def _member(found: Any) -> Member:
    reasons = found.get("pending_restart_reason")
    lag = found.get("replay_lag", found.get("lag"))
    return Member(
        name=str(found["name"]),
        role=str(found.get("role", "")),
        state=str(found.get("state", "")),
        api=str(found.get("api_url", "")).removesuffix("/patroni"),
        host=found.get("host"),
        port=int(found["port"]) if found.get("port") else None,
        timeline=found.get("timeline"),
        lag=lag if isinstance(lag, int) else None,
        is_pending=bool(found.get("pending_restart")),
        pending=tuple(sorted(reasons)) if isinstance(reasons, dict) else (),
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
