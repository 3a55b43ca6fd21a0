"""A plan that was saved as a document, as the lines that ``provision plan`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from provision.model import UNKNOWN, Action, Address, Effect, Plan, Step
from provision.model.effects import Migrate
from provision.model.value import dataclass
from provision.model.words import count
from provision.report import plan as report
from provision.report.console import Paint
from provision.report.words import clean

_FLAGS: Final = {"no_restart", "restart_cluster", "reset_overrides", "data", "take_ownership", "allow_downgrade"}


@dataclass(frozen=True)
class _Shown(Effect):
    """An effect of which only the words are known."""

    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class _Moves(Migrate):
    """The revisions that a step runs; the words of its effects say the rest."""

    lines = ()


def lines(document: Mapping[str, Any], paint: Paint, *, verbose: bool = False) -> Iterator[str]:
    """Yield the heading, the steps and what a document has of files and SQL."""
    given = [f"--{name.replace('_', '-')}" for name, value in document["options"].items() if name in _FLAGS and value]
    asked = f", with {' '.join(given)}" if given else ""
    name, runtime = clean(document["environment"]), clean(document["runtime"]["name"])
    about = paint("dim", f"(planned for {clean(document['spec'])}{asked})")
    yield f"{paint('bold', name)} on {runtime} {about}"
    found = _plan(document)
    yield from report.lines(found, paint, verbose=verbose) if document["changes_pending"] else ("  nothing to do",)
    for each in document.get("files", ()):
        yield from (clean(line) for line in each["diff"])
    for each in document.get("sql", ()):
        yield from _sql(each)


def _plan(document: Mapping[str, Any]) -> Plan:
    steps = tuple([_step(each) for each in document["steps"]])
    notes, overrides, remarks = (tuple(map(clean, document[key])) for key in ("notes", "overrides", "remarks"))
    return Plan(
        steps, notes, overrides, remarks, tuple([clean(each).removeprefix("? ") for each in document["unknown"]])
    )


def _step(found: Mapping[str, Any]) -> Step:
    kind, _, name = found["address"].partition("/")
    return Step(
        Address(clean(kind), clean(name)),
        Action(found["action"]),
        None if found["certain"] else UNKNOWN,
        None,
        (*_moves(found), *[_Shown(clean(line)) for line in found["effects"]]),
        tuple([clean(why["text"]) for why in found["why"]]),
        clean(found["consequence"]),
        destroys=found["destroys_data"],
        clients=found["clients"],
        title=found["title"],
    )


def _moves(found: Mapping[str, Any]) -> Iterator[_Moves]:
    """Yield the migration of a step, so that its revisions are counted as in any plan."""
    if revisions := tuple([(each["id"], Path()) for each in found["revisions"]]):
        down = any(line.startswith("downgrade ") for line in found["effects"])
        yield _Moves(found["address"], (), "downgrade" if down else "upgrade", revisions)


def _sql(script: Mapping[str, Any]) -> Iterator[str]:
    """Yield what one tree would run."""
    yield ""
    where = " + ".join(script["from"]) or "base"
    number = count(len(script["revisions"]), "revision")
    yield f"-- migrations/{clean(script['tree'])}: {script['direction']} from {clean(where)}, {number}"
    for part in (
        script["before"],
        *[each["sql"] or f"-- NOT RENDERED: {each['reason']}" for each in script["revisions"]],
    ):
        yield from (clean(line) for line in part.strip("\n").splitlines())
