"""The last configuration that a server was proved to run with: it comes back when a new one does not work."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from contextlib import suppress

from provision.apply.caches import GOOD
from provision.apply.effects import Performer
from provision.errors import ProvisionError, command
from provision.kinds import configuration
from provision.model import Effect, File, Plan
from provision.model.effects import EngineCall, ReloadSettings, WriteFile
from provision.observe.outside import World
from provision.spec.model import Spec
from provision.system import files as filesystem, owned

_LOGS = command("logs")


def restore(plan: Plan, performer: Performer, failure: ProvisionError, *, restarted: bool) -> None:
    """Put the last good configuration back when the new one does not work, and have the server run with it.

    A server that refused to read the new one still runs with what it had.
    """
    old, new = _last_good(plan, performer.world)
    if old is None or new is None or old.content == new.content:
        return
    ground = performer.world.site.ground(starting=False)
    performer.perform(WriteFile(old.path, old.content, old.mode))
    with suppress(ProvisionError, ValueError):
        for effect in ground.publish:
            performer.perform(_as_before(effect, old, new))
        again = ground.restart if restarted else (ReloadSettings(configuration.parse(str(old.content))),)
        for effect in again:
            performer.perform(effect)
        failure.undone = tuple([str(step.address) for step in plan.steps if step.after == new])
        said = failure.evidence
        failure.evidence = (*said, "the last good configuration is back, and the server runs with it")
        if failure.next_step in (performer.world.site.log_command, _LOGS) and _is_told(said):
            failure.next_step = _correction(performer.world.spec, old, new, said)


def _is_told(said: Sequence[str]) -> bool:
    """Tell whether the reason is there already: errors of the file, or the last words of a server that ended."""
    return any("FATAL" in line or "PANIC" in line or line.startswith("line ") for line in said)


def _correction(spec: Spec, old: File, new: File, said: Sequence[str]) -> str:
    """Return what to do about a configuration that did not work: the settings that changed, where the spec has them."""
    from provision.kinds import blame

    names = blame.suspects(str(old.content), str(new.content), said)
    texts = {os.path.relpath(each): filesystem.read_text(each) or "" for each in (spec.path, spec.base) if each}
    places = blame.places(names, texts)
    return f"correct {' or '.join(places)}, then: " + command("apply")


def _last_good(plan: Plan, world: World) -> tuple[File | None, File | None]:
    """Return the last configuration that a server was proved to run with, and the one that it shall have.

    It is kept from run to run: after a ``kill -9`` what stands in its place may be the one that does not work.
    """
    new = world.files.get("configuration")
    if new is None:
        return None, None
    text = owned.text(world.spec.home / GOOD)
    if text is not None:
        return File(new.path, text, new.mode), new
    step = next((each for each in plan.steps if each.after == new), None)
    return (step.before if step is not None and isinstance(step.before, File) else None), new


def _as_before(effect: Effect, old: File, new: File) -> Effect:
    """Return an effect that publishes the new configuration as one that publishes the old."""
    if not isinstance(effect, EngineCall) or "files" not in effect.body:
        return effect
    published = {
        path: (old.content if content == new.content else content, mode)
        for path, (content, mode) in effect.body["files"].items()
    }
    return EngineCall(effect.operation, effect.target, {**effect.body, "files": published})
