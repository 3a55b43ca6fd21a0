"""What it means that the schema is another one after a revision was undone, or run a second time: in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_SHORT = 120


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that differs. ``phase``: after the downgrade (``down``), or after the second upgrade (``again``).

    ``wanted`` is its definition before that, ``found`` the one after it; None: it is not there.
    """

    revision: str
    phase: Literal["down", "again"]
    kind: str
    name: str
    wanted: str | None
    found: str | None

    def __str__(self) -> str:
        what = f"{self.kind} {self.name}"
        if self.phase == "down":
            if self.wanted is None:
                return f"downgrade() leaves {what} behind"
            if self.found is None:
                return f"downgrade() removes {what}, which was there before the revision"
            return f"downgrade() does not bring back {what}: {_changed(self.wanted, self.found)}"
        if self.wanted is None:
            return f"the second upgrade() makes {what}, which the first did not"
        if self.found is None:
            return f"the second upgrade() does not make {what}, which the first did"
        return f"the second upgrade() makes another {what}: {_changed(self.wanted, self.found)}"


def sentences(found: list[Difference]) -> list[str]:
    """Return what differs, a sentence each; columns go with their table, and an index with its constraint."""
    gone: set[tuple[str, str]] = {
        (each.phase, each.name)
        for each in found
        if each.kind.endswith(("table", "view")) and (each.wanted is None or each.found is None)
    }
    keys = {(each.phase, _index_of(each.name)) for each in found if each.kind == "constraint"}
    return [
        str(each)
        for each in found
        if not _is_part(each, gone) and not (each.kind == "index" and (each.phase, each.name) in keys)
    ]


def _index_of(constraint: str) -> str:
    """Return the name of the index that a constraint may have: ``public.t_pkey`` for ``public.t.t_pkey``."""
    table, _, name = constraint.rpartition(".")
    return f"{table.rpartition('.')[0]}.{name}"


def _is_part(each: Difference, gone: set[tuple[str, str]]) -> bool:
    if each.kind in {"column", "constraint", "trigger", "policy", "rule"}:
        return (each.phase, each.name.rpartition(".")[0]) in gone
    definition = each.wanted or each.found or ""
    if each.kind == "index":
        return any(phase == each.phase and f" ON {name} " in definition for phase, name in gone)
    if each.kind == "sequence":
        plain = each.name.removesuffix(" as")
        return any(phase == each.phase and plain.startswith(f"{name}_") for phase, name in gone)
    return False


def _changed(wanted: str, found: str) -> str:
    return f"it was `{_short(wanted)}` and is `{_short(found)}`"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 2]} …"
