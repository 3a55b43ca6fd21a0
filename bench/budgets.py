"""What the project wants to reach: how many times as long a peer takes."""

from __future__ import annotations

from typing import NamedTuple

from bench import tenants

_COMPOSE, _BY_HAND = "compose + alembic", "by hand"
GOLDEN = ", from a golden"
MEMORY = ", in memory"
EMBEDDED = ", embedded"


class Budget(NamedTuple):
    """A row of the results, the peer in it, and the least ratio."""

    what: str
    peer: str
    least: float


_BY_ROW = {
    "": (_COMPOSE, 1.6, 1.5),
    GOLDEN: (_COMPOSE, 1.7, 1.2),
    f"{MEMORY}{GOLDEN}": (_COMPOSE, 3.5, 5.0),
    EMBEDDED: (_BY_HAND, 1.4, 1.0),
    f"{EMBEDDED}{GOLDEN}": (_BY_HAND, 2.5, 2.0),
}
BUDGETS = (
    *(Budget(f"from nothing, 1 revision{row}", peer, one) for row, (peer, one, _) in _BY_ROW.items()),
    *(Budget(f"from nothing, 500 revisions{row}", peer, many) for row, (peer, _, many) in _BY_ROW.items()),
    Budget("nothing to do, 1 revision", _COMPOSE, 8.0),
    Budget(tenants.LABEL, tenants.LOOP, 1 / 1.3),
    Budget(tenants.LABEL, tenants.EACH, 6.0),
    Budget(tenants.NOTHING[0], tenants.ALLOWED, 1.0),
    Budget(tenants.NOTHING[1], tenants.SCHEMA, 1 / 1.5),
)


def lines(ratios: dict[str, dict[str, float]]) -> list[str]:
    """Return the budgets as lines of a Markdown table; a row that was not measured has no number."""
    found = ["| budget | times as long takes | wanted | found | |", "| --- | --- | --- | --- | --- |"]
    for each in BUDGETS:
        ratio = ratios.get(each.what, {}).get(each.peer)
        said = ("-", "not measured") if ratio is None else (f"{ratio:.2f}", "met" if ratio >= each.least else "missed")
        found.append(f"| {each.what} | {each.peer} | {each.least:.2f} | {said[0]} | {said[1]} |")
    return found


def document(ratios: dict[str, dict[str, float]]) -> list[dict[str, str | float | None]]:
    """Return the budgets as JSON."""
    return [{**each._asdict(), "found": ratios.get(each.what, {}).get(each.peer)} for each in BUDGETS]
