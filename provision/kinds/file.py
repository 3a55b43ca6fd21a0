"""Files in the environment's directory: rendered from the spec, or holding a secret."""

from __future__ import annotations

from provision.kinds import Before, Files, Inputs, Look, Scene
from provision.model import UNREAD, Action, Address, File, Plan, Secret, State, Step
from provision.model.effects import WriteFile
from provision.spec.model import Spec

KIND = "file"


def wanted(spec: Spec, _inputs: Inputs, files: Files) -> dict[Address, State]:
    """Return the files, named by their paths below the environment's directory; not a password that was not read."""
    return {
        Address(KIND, str(each.path.relative_to(spec.home))): each
        for each in sorted(files.values(), key=lambda each: each.path)
        if each.content is not UNREAD
    }


def seen(look: Look) -> dict[Address, State]:
    """Read the files that are wanted; one that is not there has no key."""
    found: dict[Address, State] = {}
    for address, want in look.wanted.items():
        if isinstance(want, File) and (text := look.text(want.path)) is not None:
            content = Secret(text) if isinstance(want.content, Secret) else text
            found[address] = File(want.path, content, look.mode(want.path))
    return found


def steps(address: Address, before: Before, after: State | None, _scene: Scene) -> Plan:
    """Write a file that is missing or differs."""
    if before == after or not isinstance(after, File):
        return Plan()
    effects = (WriteFile(after.path, after.content, after.mode),)
    if not isinstance(before, File):
        return Plan((Step(address, Action.CREATE, None, after, effects),))
    why = "content differs" if before.content != after.content else f"mode: {before.mode:o} → {after.mode:o}"
    return Plan((Step(address, Action.UPDATE, before, after, effects, why=(why,)),))
