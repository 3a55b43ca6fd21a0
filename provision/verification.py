"""What is declared against what is there, field by field, without the steps that would mend it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from provision.alembic import Edit, Revisions, edit_remarks
from provision.errors import ProvisionError, command
from provision.kinds.tenant_states import Standing
from provision.kinds.unmanaged import Unmanaged
from provision.model import UNKNOWN, Action, Address, Change, State, Step, changes
from provision.model.value import dataclass
from provision.observe import Survey

_MISSING = "is missing"
_STILL = "does not run"
_PENDING = "did not run yet"
_DIFFERS = "is not as declared"
_HIDDEN = "as declared"  # in place of a password
_UNSET = "the default"


@dataclass(frozen=True)
class Difference:
    """One field of a thing that is not as declared; where no field says it, ``text`` does alone."""

    address: Address
    text: str
    field: str | None = None
    declared: str | None = None
    real: str | None = None


@dataclass(frozen=True)
class Verification:
    """A survey as differences; ``unseen`` are the things that could not be looked at."""

    survey: Survey
    differences: tuple[Difference, ...]
    unseen: tuple[Address, ...]
    next_step: str | None = None

    @property
    def compared(self) -> int:
        """How many things could be compared."""
        return len(self.survey.desired) - len(self.unseen)

    @property
    def notes(self) -> tuple[str, ...]:
        """What differs and is for others to change, a sentence each."""
        return (*self.survey.plan.overrides, *self.survey.plan.notes)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth knowing, and no difference; edited revisions are differences here.

        What decides about access and is in no spec is named here only: a plan has nothing to do with it.
        """
        known = [each.known for each in self.survey.observed.values() if isinstance(each, Revisions) and each.known]
        edits = {line for each in known for line in edit_remarks(each.edits)}
        observed = self.survey.observed.items()
        unmanaged = [f"not managed in {at.name}: {each.found}" for at, each in observed if isinstance(each, Unmanaged)]
        return (*[each for each in self.survey.plan.remarks if each not in edits], *unmanaged)

    @property
    def is_clean(self) -> bool:
        """Whether everything is as declared."""
        survey = self.survey
        return not (self.differences or self.unseen or survey.refusal or self.notes or survey.plan.unknown)


def verification(found: Survey) -> Verification:
    """Compare what was declared with what was found."""
    unseen = tuple(address for address in found.desired if found.observed.get(address) is UNKNOWN)
    differing = _of_states(found) if found.refusal else chain.from_iterable(map(_of_step, found.plan.steps))
    mendable = [each for each in differing if each.address not in unseen]
    edits = [
        (address, each)
        for address, state in found.observed.items()
        if isinstance(state, Revisions) and state.known
        for each in state.known.edits
    ]
    edited = [
        Difference(
            address, str(each), f"sha256 of revision {each.revision.id}", each.revision.sha256, each.entry.sha256
        )
        for address, each in edits
    ]
    next_step = _next_step(found.refusal, is_mendable=bool(mendable or unseen), edit=edits[0][1] if edits else None)
    return Verification(found, (*mendable, *edited), unseen, next_step)


def _next_step(refusal: ProvisionError | None, *, is_mendable: bool, edit: Edit | None) -> str | None:
    if refusal and refusal.next_step:
        return refusal.next_step
    if is_mendable or refusal:
        return command("apply")
    if edit is None:
        return None
    if not edit.is_in_repository:
        return "take back the edit, or write a new revision"
    return f"{edit.difference}   # checkout for diff takes it back; log -p for diff HEAD, once it is committed"


def _of_step(step: Step) -> Iterator[Difference]:
    address, before, after = step.address, step.before, step.after
    if step.action is Action.SEED and before == after:
        return  # it runs with what else an apply does
    if (isinstance(after, Revisions) or isinstance(before, Revisions)) and before != after:
        at = [
            " + ".join(each.rows) if isinstance(each, Revisions) and each.rows else "base" for each in (before, after)
        ]
        yield _field(address, Change("revision", at[0], at[1]))
        return
    if not isinstance(before, State):
        yield Difference(address, _absence(address))
        return
    if isinstance(before, Revisions):
        yield from (Difference(address, f"pending: {reason}") for reason in step.why)
        return
    if step.action in (Action.GRANT, Action.REVOKE):
        yield _of_privileges(step)
        return
    for reason in [each for each in step.why if not isinstance(each, Standing)] or (_DIFFERS,):
        yield _field(address, reason) if isinstance(reason, Change) else Difference(address, reason)


def _of_privileges(step: Step) -> Difference:
    """Say which privileges are missing, or surplus: grouped for people, and each as the declared or the real value."""
    from provision.kinds.privileges.access import Access

    differs = step.before if isinstance(step.before, Access) else None
    details = f" ({'; '.join(map(str, step.why))})" if step.why else ""
    if step.action is Action.GRANT:
        each = "; ".join(sorted(differs.missing)) if differs else None
        return Difference(step.address, f"missing: {step.title}{details}", "missing", declared=each)
    each = "; ".join(sorted(differs.surplus)) if differs else None
    return Difference(step.address, f"surplus: {step.title}{details}", "surplus", real=each)


def _absence(address: Address) -> str:
    """Say that something is not there; a server that was only stopped is not missing."""
    if address.kind == "seed":
        return _PENDING
    return _STILL if address.kind in ("server", "process") else _MISSING


def _field(address: Address, change: Change) -> Difference:
    real, declared = [each or _UNSET for each in change.shown]
    end = f"not {declared}" if declared == _HIDDEN else f"declared {declared}"
    text = f"{change.field}: {real}, {end}"
    return Difference(address, text, change.field, change.after, change.before)


def _of_states(found: Survey) -> Iterator[Difference]:
    """Compare without a plan, because none can be made."""
    for address, after in found.desired.items():
        before = found.observed.get(address)
        if before is None:
            yield Difference(address, _absence(address))
        elif isinstance(before, State) and before != after:
            fields = () if address.kind == "file" else changes(before, after)
            yield from (_field(address, each) for each in fields if each.field != "fingerprint")
            if not fields:
                yield Difference(address, _DIFFERS)
