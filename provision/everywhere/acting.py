"""What stops environments and removes them, without their specs: only what this user made from this machine."""

from __future__ import annotations

import os.path
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from provision.errors import ProvisionError, RefusedError, UsageError, as_word, command
from provision.everywhere import listing
from provision.everywhere.found import Known
from provision.model import Action, Address, Effect, Outcome, Plan, Progress, Result, Step
from provision.model.effects import CloseTunnel, EngineCall, RemovePath, ServerCall
from provision.runtimes import removal, removing_home
from provision.runtimes.embedded.directories import SHARED
from provision.runtimes.names import DATA_RECORD
from provision.system import files, lasting_tunnel, lock, register, servers
from provision.system.engine_calls import Engine
from provision.system.look import Look

_AT_ONCE = 8
_LOCK_TIMEOUT = 60.0
_DISCARDED = 3


def stop_all(environ: Mapping[str, str]) -> list[tuple[Known, Result, ProvisionError | None]]:
    """Stop every server that runs and that this user made from this machine, side by side.

    Return each environment that was to be stopped, what was done, and why it was not.
    """
    rows = [each for each in listing(environ, inside=False).environments if each.is_up and not each.not_mine]

    def stop(row: Known) -> tuple[Known, Result, ProvisionError | None]:
        began = time.monotonic()
        try:
            done = _perform(row, Plan((_stopping(row, row.patience),)), environ, Progress())
        except ProvisionError as error:
            return row, Result((), time.monotonic() - began), error
        return row, Result(done, time.monotonic() - began), None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(stop, rows))


def named(environ: Mapping[str, str], name: str, directory: Path | None) -> Known:
    """Return the environment that is meant.

    Raises:
        UsageError: there is none of this name, or there are several.
        RefusedError: another user has made it, or it was made from another machine.
    """
    seen = listing(environ, inside=False)
    found = [each for each in seen.environments if each.name == name]
    place = Path(os.path.abspath(directory)) if directory is not None else None  # noqa: PTH100  # keeps links
    found = [each for each in found if place in (None, each.directory)]
    if len(found) != 1:
        what = f"{len(found)} environments are called" if found else "there is no environment"
        error = UsageError(
            f"{what} {name!r}" + (f" in {place}" if place and not found else ""),
            evidence=[
                *[f"{each.runtime} in {each.directory}" for each in found],
                *([seen.silence] if seen.silence else []),
            ],
            next_step=f"add --directory {as_word(found[0].directory)}" if found else "provision list",
        )
        raise error
    if found[0].not_mine:
        raise RefusedError(
            f"{name!r} is not known to be yours; nothing was done",
            evidence=[found[0].not_mine, "what others made is listed and left"],
            next_step=f"where its spec is, in {found[0].directory}: " + command("destroy"),
        )
    return found[0]


def _stopping(row: Known, patience: float) -> Step:
    lost = ""
    if row.in_memory:
        lost = "the data was in memory and is gone"
    elif row.runtime != "docker" and row.data is not None and not files.exists(row.data):
        lost = (
            "its data directory was gone before"  # the server still serves what it has of it, so a dump can save that
        )
    effects: tuple[Effect, ...]
    if row.runtime == "docker":
        thaw = (EngineCall("unpause_container", row.container),) if row.state == "paused" else ()
        effects = (*thaw, EngineCall("stop_container", row.container, {"timeout": int(patience)}))
        address = Address("container", row.container)
    else:
        effects = (ServerCall("stop", row.data or row.home, sockets=row.sockets, timeout=patience),)
        address = Address("process", row.name)
    return Step(address, Action.STOP, None, None, effects, consequence=lost or "the data is kept", destroys=bool(lost))


def destruction(row: Known, environ: Mapping[str, str], *, data: bool) -> Plan:
    """Return what removes an environment without its spec; the data, and what was rendered, only with ``data``."""
    steps = [_stopping(row, _DISCARDED if data else row.patience)] if row.is_up else []
    if row.names:
        steps = [_removing(row, data=data)]
    if data:
        steps += [removal("volume", each, EngineCall("remove_volume", each), destroys=True) for each in row.volumes]
        steps += [removal("directory", str(each), RemovePath(each), destroys=True) for each in _places(row)]
        steps += removing_home(Look(environ), row.home)
    return Plan(tuple(steps), notes=_staying(row) if data else ())


def _removing(row: Known, *, data: bool) -> Step:
    stop = _stopping(row, _DISCARDED if data else row.patience)
    before = stop.effects if row.is_up else ()
    body = {"volumes": data, "force": True}
    calls = [EngineCall("remove_container", each, body) for each in row.names]
    lost = row.in_container and (row.is_up or not row.in_memory)
    text = "the data was in it and is gone" if lost else ""
    at = Address("container", row.container)
    return Step(at, Action.REMOVE, None, None, (*before, *calls), consequence=text, destroys=lost)


def _places(row: Known) -> list[Path]:
    """Return the directories that hold data, and that were made for the environment."""
    if row.data is None or not files.exists(row.data):
        return []
    if row.home in row.data.parents:
        return [row.data]
    if SHARED in row.data.parents:
        return [SHARED / row.data.relative_to(SHARED).parts[0]]
    records = (row.data / DATA_RECORD, row.home / DATA_RECORD)
    return [row.data] if any(files.is_remembered(row.data, each) for each in records) else []


def _staying(row: Known) -> tuple[str, ...]:
    """Return what stays, because it is not known to have been made for the environment."""
    left = list(row.mounted)
    if row.data is not None and row.home not in row.data.parents and not _places(row) and files.exists(row.data):
        left.append(str(row.data))
    return tuple([f"the directory {each} stays: without the spec nothing shows whose it is" for each in left])


def destroy(row: Known, environ: Mapping[str, str], progress: Progress, *, data: bool) -> Result:
    """Remove an environment without its spec."""
    began, plan = time.monotonic(), destruction(row, environ, data=data)
    progress.planned(plan)
    outcomes = _perform(row, plan, environ, progress)
    if data:
        register.forget(row.home)
    return Result(outcomes, time.monotonic() - began, plan.notes)


def _perform(row: Known, plan: Plan, environ: Mapping[str, str], progress: Progress) -> tuple[Outcome, ...]:
    """Do the steps while no other run of ours can; one whose directory is gone has no such run."""
    look, done = Look(environ), []
    engine = Engine(look.address, look.reader.program) if row.runtime == "docker" else None
    held = lock.hold(row.home / "lock", timeout=_LOCK_TIMEOUT, waiting=progress.note)
    with held if files.exists(row.home) else nullcontext():
        for step in plan.steps:
            began = time.monotonic()
            progress.started(step)
            for effect in step.effects:
                _do(effect, engine, progress)
            done.append(Outcome(step, time.monotonic() - began))
            progress.finished(done[-1])
    return tuple(done)


def _do(effect: Effect, engine: Engine | None, progress: Progress) -> None:
    if isinstance(effect, ServerCall):
        servers.perform(effect)
    elif isinstance(effect, RemovePath):
        files.remove(effect.path, kept=effect.kept)
    elif isinstance(effect, CloseTunnel):
        lasting_tunnel.close(effect.home)
    elif isinstance(effect, EngineCall) and engine is not None:
        engine.perform(effect, progress.detail)
