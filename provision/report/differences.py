"""A survey as differences: what is declared against what is, field by field, without the steps that would mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.errors import command
from provision.kinds.migrations import Revisions
from provision.model import NOT_KNOWN, UNKNOWN, Change, State, changes
from provision.model.words import count
from provision.report.words import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.alembic.tree.version_table import Edit
    from provision.errors import ProvisionError
    from provision.model import Address, Step
    from provision.report.console import Paint
    from provision.report.facts import Comparison

_MISSING = "is missing"
_STILL = "does not run"
_DIFFERS = "is not as declared"
_UNSET = "the default"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a thing that is not as declared; where no field says it, ``text`` does alone."""

    address: Address
    field: str | None
    declared: str | None
    real: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared: the differences, the things that could not be seen, and how many could."""

    differences: tuple[Difference, ...]
    unseen: tuple[Address, ...]
    compared: int
    refusal: ProvisionError | None
    notes: tuple[str, ...]
    next_step: str | None = None
    unknown: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether everything is as declared."""
        return not (self.differences or self.unseen or self.refusal or self.notes or self.unknown)


def verification(found: Comparison) -> Verification:
    """Compare what was declared with what was found."""
    unseen = tuple(address for address in found.desired if found.observed.get(address) is UNKNOWN)
    differing = _of_states(found) if found.refusal else _of_steps(found)
    mendable = [each for each in differing if each.address not in unseen]
    edits = {
        address: state.known.edits
        for address, state in found.observed.items()
        if isinstance(state, Revisions) and state.known and state.known.edits
    }
    return Verification(
        differences=(*mendable, *[_edited(address, each) for address, some in edits.items() for each in some]),
        unseen=unseen,
        compared=len(found.desired) - len(unseen),
        refusal=found.refusal,
        notes=(*found.plan.overrides, *found.plan.notes),
        unknown=found.plan.unknown,
        partial=found.plan.partial,
        next_step=_next_step(found.refusal, is_mendable=bool(mendable or unseen), edits=[*edits.values()]),
    )


def _edited(address: Address, edit: Edit) -> Difference:
    """Return the difference between a revision's file and what the database has of it."""
    return Difference(
        address,
        f"sha256 of revision {edit.revision.id}",
        declared=edit.revision.sha256,
        real=edit.entry.sha256,
        text=str(edit),
    )


def _next_step(refusal: ProvisionError | None, *, is_mendable: bool, edits: list[tuple[Edit, ...]]) -> str | None:
    if refusal and refusal.next_step:
        return refusal.next_step
    if is_mendable or refusal:
        return command("apply")
    if not edits:
        return None
    if not edits[0][0].is_in_repository:
        return "take back the edit, or write a new revision"
    return f"{edits[0][0].difference}   # checkout for diff takes it back; log -p for diff HEAD, once it is committed"


def _of_steps(found: Comparison) -> Iterator[Difference]:
    for step in found.plan.steps:
        yield from _of_step(step)


def _of_step(step: Step) -> Iterator[Difference]:
    address, before, after = step.address, step.before, step.after
    if (isinstance(after, Revisions) or isinstance(before, Revisions)) and before != after:
        at = [
            " + ".join(each.rows) if isinstance(each, Revisions) and each.rows else "base" for each in (before, after)
        ]
        yield _field(address, Change("revision", at[0], at[1]))
        return
    if not isinstance(before, State):
        yield Difference(address, None, None, None, _absence(address))
        return
    if isinstance(before, Revisions):
        yield from (Difference(address, None, None, None, f"pending: {reason}") for reason in step.why)
        return
    for reason in step.why or (_DIFFERS,):
        yield _field(address, reason) if isinstance(reason, Change) else Difference(address, None, None, None, reason)


def _absence(address: Address) -> str:
    """Say that something is not there; a server that was only stopped is not missing."""
    return _STILL if address.kind in ("server", "process") else _MISSING


def _field(address: Address, change: Change) -> Difference:
    real, declared = [each or _UNSET for each in change.shown]
    return Difference(
        address, change.field, change.after, change.before, f"{change.field}: {real}, declared {declared}"
    )


def _of_states(found: Comparison) -> Iterator[Difference]:
    """Compare without a plan, because none can be made."""
    for address, after in found.desired.items():
        before = found.observed.get(address)
        if before is None:
            yield Difference(address, None, None, None, _absence(address))
        elif isinstance(before, State) and before != after:
            fields = () if address.kind == "file" else changes(before, after)
            yield from (_field(address, each) for each in fields if each.field != "fingerprint")
            if not fields:
                yield Difference(address, None, None, None, _DIFFERS)


def lines(found: Comparison, seen: Verification, elapsed: float, paint: Paint) -> Iterator[str]:
    """Yield the verdict, then each thing that differs with its fields, and what could not be seen."""
    name = paint("bold", found.spec.name)
    if seen.is_clean:
        word = "nothing known to differ" if seen.partial else "as declared"
        yield f"{name}: {paint('green', word)} ({count(seen.compared, 'thing')} compared)  {seconds(elapsed)}"
        yield from (f"  {paint('dim', NOT_KNOWN)} {each}" for each in seen.partial)
        return
    things = dict.fromkeys(each.address for each in seen.differences)
    verdict = f"{len(things)} of {count(seen.compared, 'thing')} not as declared" if things else "not as declared"
    if seen.unknown and not (things or seen.notes or seen.refusal):
        verdict = "not all of it could be compared"
    yield f"{name}: {paint('yellow', verdict)}  {seconds(elapsed)}"
    for address in things:
        yield f"  {paint('yellow', '≠')} {paint('bold', str(address))}"
        yield from (f"      {each.text}" for each in seen.differences if each.address == address)
    if seen.unseen:
        why = f" (the server is {found.status.server})" if found.status.server != "running" else ""
        yield f"  {paint('dim', '?')} cannot be seen{why}: {', '.join(map(str, seen.unseen))}"
    yield from (f"  {paint('dim', NOT_KNOWN)} {each}" for each in (*seen.unknown, *seen.partial))
    yield from (f"  {paint('yellow', '!')} {note}" for note in seen.notes)
    if seen.refusal:
        yield f"  {paint('red', '✗')} apply refuses: {seen.refusal.sentence}"
        yield from (f"      {line}" for line in seen.refusal.evidence)
