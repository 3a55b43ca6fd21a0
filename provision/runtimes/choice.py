"""Which runtime an environment lives in: where it was made, else what was asked for, else the first that works here.

An environment never moves by itself: its data would stay behind, and an empty server would take its place.
"""

from __future__ import annotations

from provision.errors import NextStep, ProvisionError, RefusedError, UnavailableError, command
from provision.runtimes import load
from provision.spec.model import Spec
from provision.system.look import Look

HOMES = ("docker", "embedded")
"""Runtimes in which a server of ours lives, the preferred first."""
AUTO = "auto"


def choose(spec: Spec, look: Look, *, wanted: str | None = None, moving: bool = True) -> tuple[str, str]:
    """Return the name of a runtime, and why it is that one; ``wanted`` takes the place of what the spec says.

    With ``moving`` off, what the spec says counts only where nothing was made yet: for the verbs that deal with what
    there is.

    Raises:
        RefusedError: the environment lives in another runtime than the one that is asked for.
        UnavailableError: the choice is ours, and neither runtime works here.
    """
    asked = wanted or spec.server.runtime
    for name in HOMES:
        place = load(name).made(spec, look, surely=asked not in (AUTO, name))
        if place is None:
            continue
        if asked in (AUTO, name) or not moving:
            return name, place
        raise _lives_elsewhere(spec, name, place, asked, by_option=wanted is not None)
    if asked != AUTO:
        return asked, f"--runtime {asked}" if wanted else f"`runtime: {asked}` in the spec"
    return _first_that_works(spec, look)


def _first_that_works(spec: Spec, look: Look) -> tuple[str, str]:
    reasons: list[str] = []
    evidence: list[str] = []
    advice: list[str] = []
    for name in HOMES:
        try:
            works = load(name).available(spec, look)
        except (UnavailableError, RefusedError) as error:
            if name == "docker" and look.address.is_named:
                raise _not_silently(error) from error
            reasons.append(error.sentence)
            evidence += [f"{name}: {error.sentence}", *(f"  {line}" for line in error.evidence)]
            advice += [error.next_step] if error.next_step else []
        else:
            return name, "; ".join((*reasons, works))
    raise UnavailableError(
        "neither a Docker engine nor an embedded server can be used here",
        evidence=evidence,
        next_step=NextStep(*advice[:1], *[part for each in advice[1:] for part in (", or: ", each)]),
    )


def _not_silently(error: ProvisionError) -> ProvisionError:
    """Return the error for an engine that the user names, and that fails: another server is not what they want."""
    instead = command("apply --runtime embedded")
    error.next_step = error.next_step + ", or: " + instead if error.next_step else instead
    return error


def _lives_elsewhere(spec: Spec, name: str, place: str, asked: str, *, by_option: bool) -> ProvisionError:
    """Return the error; what keeps the data comes first in its advice."""
    would_do = spec.server.runtime in (AUTO, name)
    keep = f"leave out `--runtime {asked}`" if by_option and would_do else f"write `runtime: {name}` in the spec"
    return RefusedError(
        f"{spec.name!r} lives in the runtime {name!r}, and {asked!r} was asked for; its data would stay behind",
        evidence=[place],
        next_step=f"{keep}; or give the spec another `name`; to move it, its data has to go first: "
        + command("destroy --data"),
    )
