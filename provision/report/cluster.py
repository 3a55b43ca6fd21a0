"""The members of a cluster that Patroni runs, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.model.words import socket_address
from provision.report.amounts import size
from provision.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.model.cluster import Cluster, Member
    from provision.report.console import Paint

_KILO = 1024


def members(cluster: Cluster, paint: Paint) -> Iterator[str]:
    """Yield the cluster in a line, then each member in one: role, state, lag, another timeline, what it waits for."""
    leader = cluster.leader
    facts = [f"the leader is {leader.name}" if leader else paint("red", "there is no leader")]
    facts += [f"timeline {leader.timeline}"] if leader and leader.timeline is not None else []
    facts += [paint("yellow", "paused")] if cluster.is_paused else []
    yield f"  {clean(cluster.title)}: {', '.join(facts)}"
    rows = [_row(each, leader.timeline if leader else None) for each in cluster.members]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, each in zip(rows, cluster.members, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width)
        names = f" ({', '.join(each.pending)})" if each.pending else ""
        waits = "  " + paint("yellow", f"pending restart{names}") if each.is_pending else ""
        yield f"    {paint('red', line) if not each.is_well else line}{waits}".rstrip()


def _row(member: Member, timeline: int | None) -> tuple[str, ...]:
    where = socket_address(member.host, member.port) if member.host is not None else "?"
    lag = "" if member.leads else f"lag {_amount(member.lag)}"
    other = f"timeline {member.timeline}" if member.timeline not in (None, timeline) else ""
    return tuple(map(clean, (member.name, member.role.replace("_", " "), member.state, where, lag, other)))


def _amount(lag: int | None) -> str:
    if lag is None:
        return "?"
    return size(lag) if lag >= _KILO else f"{lag} B"
