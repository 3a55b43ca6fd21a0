"""Steps from pieces: all that differs in one thing changes at once, but what takes rights away comes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.model import Action, Address, Change, Stage, State, Step
from provision.model.effects import RunInTransaction
from provision.model.value import dataclass


@dataclass(frozen=True)
class Piece:
    """One difference and the statements that remove it; ``text`` is what people will notice.

    ``acts_for`` are roles for which it is done, beside those of all pieces.
    """

    stage: Stage
    why: Change | str
    statements: tuple[str, ...]
    text: str = ""
    acts_for: tuple[str, ...] = ()


def steps(
    address: Address,
    states: tuple[State, State | None],
    pieces: Iterable[Piece],
    database: str,
    *,
    shared: bool = False,
    acts_for: tuple[str, ...] = (),
) -> Iterator[Step]:
    """Yield a step for each stage that has pieces; they run in ``database``, for some roles."""
    found = list(pieces)
    for stage in Stage:
        of_stage = [each for each in found if each.stage is stage]
        if of_stage:
            statements = tuple([line for each in of_stage for line in each.statements])
            roles = (*acts_for, *(role for each in of_stage for role in each.acts_for))
            effects = (RunInTransaction(database, statements, shared, acts_for=tuple(dict.fromkeys(roles))),)
            why = tuple([each.why for each in of_stage])
            text = "; ".join([each.text for each in of_stage if each.text])
            yield Step(address, Action.UPDATE, *states, effects, why, text, stage=stage)
