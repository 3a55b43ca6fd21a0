"""What is said about data of another major version, and about data that an upgrade has kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.model import Action, Address, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.model import ReadSettings
    from provision.spec.model import Spec


def other_major(
    spec: Spec, what: str, major: str, evidence: Sequence[str] = (), *, kept: Sequence[int | None], can_upgrade: bool
) -> RefusedError:
    """Return the error for data of another major version; ``kept`` are the versions that an upgrade has kept."""
    lines = ["a data directory works with its own major version only", *evidence]
    if spec.server.major in kept:
        lines.append(f"the data of PostgreSQL {spec.server.major} is kept as it was before the upgrade")
        step = f"go on with an image of PostgreSQL {major}, or give up what was written since the upgrade:"
        step += " provision upgrade --rollback SPEC"
    elif can_upgrade and major.isdecimal() and int(major) < spec.server.major:
        step = f"provision upgrade SPEC   (--check shows what it would do; or go back to PostgreSQL {major})"
    else:
        step = f"go back to an image of PostgreSQL {major}, or give the new one a place of its own in `server.data`"
        step += " and copy the data with pg_dump"
    return RefusedError(
        f"{what} was made by PostgreSQL {major} and cannot be used by {spec.server.image!r}",
        evidence=lines,
        next_step=step,
    )


def reading(effect: ReadSettings) -> Step:
    """Return the step that reads the settings of a major version that this program does not know."""
    why = (f"this version of provision does not know the settings of PostgreSQL {effect.major}",)
    text = "the settings of the spec are checked then, before anything is made for the server"
    address = Address("catalogue", f"postgresql-{effect.major}")
    return Step(address, Action.CREATE, None, None, (effect,), why, text, reveals=True)


def downwards(spec: Spec, major: int, *, is_kept: bool) -> RefusedError:
    """Return the error for an upgrade that would lead back."""
    return RefusedError(
        f"the data is of PostgreSQL {major}, and an upgrade does not lead back to {spec.server.image!r}",
        next_step="provision upgrade --rollback SPEC" if is_kept else f"use an image of PostgreSQL {major}",
    )


def kept_words(places: str) -> str:
    """Say what an upgrade has left, and how it goes away."""
    return (
        f"the data from before the upgrade is kept in {places}: provision upgrade --finish removes it,"
        " provision upgrade --rollback goes back to it"
    )
