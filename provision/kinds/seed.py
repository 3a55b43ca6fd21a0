"""Seeds: what ran in each database by its ledger, and what is to run now.

A seed of ``run: once`` has run when the ledger knows it, whatever is in it now; that it was edited is a remark. One of
``run: changed`` runs again when its content differs from what ran last. One of ``run: always`` runs with each apply
that changes something else, so that an apply with nothing to do stays one.
"""

from __future__ import annotations

from provision.errors import RefusedError
from provision.kinds import Before, Files, Inputs, Look, Scene, UnseenError
from provision.kinds.migrations import is_there
from provision.model import UNKNOWN, Action, Address, Change, Plan, State, Step, Unknown, Wishes
from provision.model.effects import RunSeed
from provision.model.sql import identifier
from provision.model.value import dataclass, field, replace
from provision.model.words import count, short
from provision.seeds import ledger
from provision.seeds.files import Source
from provision.spec.model import Seed, Spec

KIND = "seed"
_SHOWN = 12
_WIDEST = 100


@dataclass(frozen=True)
class Seeded(State):
    """A seed that has run; ``content`` is the beginning of the SHA-256 of what was in it.

    ``edited`` is when one ran that has another content now and does not run again for that.
    """

    content: str
    edited: str = field(default="", compare=False)


def wanted(_spec: Spec, inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return every file and program of the seeds, in their order.

    Raises:
        ProvisionError: a file is not there.
    """
    return {_address(each): Seeded(each.sha256[:_SHOWN]) for each in inputs.seeds or ()}


def seen(look: Look) -> dict[Address, State | Unknown]:
    """Return what the ledgers know.

    Raises:
        UnseenError: the server cannot be asked.
        RefusedError: a ledger cannot be read.
    """
    if look.session is None:
        raise UnseenError
    found: dict[Address, State | Unknown] = {}
    for each in look.inputs.seeds or ():
        entries = look.once(_entries, look.spec.database_of(each.seed))
        if entries is None:
            found[_address(each)] = UNKNOWN
        elif each.name in entries:
            found[_address(each)] = _seeded(each, entries[each.name])
    return found


def _seeded(source: Source, entry: ledger.Entry) -> Seeded:
    if source.seed.run == "changed":
        return Seeded(entry.sha256[:_SHOWN])
    is_edited = source.seed.run == "once" and entry.sha256 != source.sha256
    return Seeded(source.sha256[:_SHOWN], entry.run_at if is_edited else "")


def _entries(look: Look, database: str) -> dict[str, ledger.Entry] | None:
    """Return what ran in a database; None where that lets nothing in."""
    if not (there := is_there(look, database)):
        return None if there is None else {}
    assert look.session is not None  # noqa: S101  # it was looked at
    found = ledger.read(look.session, database)
    trees = [each for each in look.spec.migrations if each.login and look.spec.database_of(each) == database]
    if isinstance(found, ledger.Unreadable) and trees and look.own is not None:
        found = ledger.read(look.own(trees[0]))
    if isinstance(found, ledger.Unreadable):
        role = look.reported("session_authorization", database=database)
        raise RefusedError(
            f"this login may not read which seeds have run: {ledger.TABLE} in {database!r} belongs to {found.owner!r}",
            next_step=f"as {found.owner!r}: GRANT USAGE ON SCHEMA provision TO {identifier(role)}; "
            f"GRANT SELECT ON {ledger.TABLE} TO {identifier(role)}",
        )
    return found


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Return the step that runs a seed; :func:`settled` says which of them stay."""
    if not isinstance(after, Seeded):
        return Plan()
    source = scene.inputs.seeds[address.name]  # type: ignore[index]  # it is wanted, so it is there
    if before is UNKNOWN:
        why = "only the server knows whether it has run"
        return Plan((Step(address, Action.SEED, UNKNOWN, after, (), (why,), title=short(address.name, _WIDEST)),))
    database = scene.spec.database_of(source.seed)
    seen = before if isinstance(before, Seeded) else None
    reason = _reason(source.seed, seen, after, database)
    if reason:
        effect = RunSeed(address.name, database, source.sha256)
        return Plan(
            (Step(address, Action.SEED, seen, after, (effect,), (reason,), title=short(address.name, _WIDEST)),)
        )
    if seen is None or not seen.edited:
        return Plan()
    remark = f"{address} was edited after it ran ({seen.edited} UTC), and `run: once` does not run it again; "
    remark += "`run: changed` does, and provision reset makes the database again"
    return Plan(remarks=(remark,))


def _reason(seed: Seed, before: Seeded | None, after: Seeded, database: str) -> Change | str:
    """Return why a seed runs; empty: it does not."""
    if before is None:
        return f"first run in {database}"
    if seed.run == "always":
        return "run: always"
    return Change("content", before.content, after.content) if before != after else ""


def settled(plan: Plan, runtime: str, wishes: Wishes) -> Plan:
    """Return a plan with the seeds that run, behind all other steps; and what is to be said of those that do not."""
    seeds = [step for step in plan.steps if step.address.kind == KIND]
    others = tuple([step for step in plan.steps if step.address.kind != KIND])
    if runtime == "external" and not wishes.seed:
        pending = [step for step in seeds if step.before != step.after]
        what = "a seed does" if len(pending) == 1 else f"{len(pending)} seeds do"
        remark = f"{what} not run on a server that others run: provision apply --seed runs them"
        return replace(plan, steps=others, remarks=(*plan.remarks, *([remark] if pending else [])))
    always = [step for step in seeds if step.before == step.after]
    again = [step for step in always if step.address.name not in wishes.seeded]
    if wishes.seed or others or len(seeds) > len(always):
        steps = tuple([step for step in seeds if step not in always or step in again])
        return replace(plan, steps=(*others, *steps))
    remark = f"{count(len(again), 'seed')} with `run: always` waits for an apply that changes something; "
    remark += "provision apply --seed runs it now" if len(again) == 1 else "provision apply --seed runs them now"
    remark = remark if len(again) == 1 else remark.replace(" waits ", " wait ")
    return replace(plan, steps=others, remarks=(*plan.remarks, *([remark] if again else [])))


def _address(source: Source) -> Address:
    return Address(KIND, source.key)
