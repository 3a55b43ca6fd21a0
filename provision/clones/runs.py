"""The server of a test run: one beside that of the spec, which the run's processes share, and the last one removes.

A run holds a slot: a lock file, which each of its processes locks for reading until it ends. So a slot that can be
locked for writing is free, and what it still has was left by a run that was killed, or that kept it: the next run
removes it.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from provision import apply, observe
from provision.clones import made_of, template
from provision.model import MAINTENANCE, Endpoint, Progress
from provision.model.value import dataclass, replace
from provision.observe import logins, outside
from provision.spec.derived import for_tests
from provision.spec.model import Spec
from provision.system import database_copy, files, lock
from provision.system.owned import keep as keep_ours


@dataclass(frozen=True)
class Slot:
    """The part of a process in a test run: its ``spec``, and the lock that it holds."""

    number: int
    spec: Spec
    path: Path
    descriptor: int

    @property
    def state(self) -> dict[str, Any]:
        """What the processes of the run know: ``run``, whether the server is ``ready``, ``templates``, ``kept``."""
        return lock.read(self.descriptor)

    def note(self, **changes: Any) -> None:
        """Let the other processes of the run know something."""
        lock.write(self.descriptor, {**self.state, **changes})


def claim(spec: Spec, run: str) -> Slot:
    """Take part in a test run, which is known by a word; its first process gets a free slot, and sweeps.

    Raises:
        ProvisionError: what a run has left cannot be removed.
    """
    with _alone(spec) as home:
        free = []
        for number, path in _there(home):
            descriptor = lock.opened(path)
            if lock.take(descriptor, shared=False):
                free.append(Slot(number, spec, path, descriptor))
            elif lock.read(descriptor).get("run") == run:
                lock.take(descriptor, shared=True)
                return Slot(number, spec, path, descriptor)
            else:
                lock.close(descriptor)
        for each in free:
            _remove(each)
        number = next(n for n in count(1) if not _file(home, n).exists())
        path = _file(home, number)
        claimed = Slot(number, spec, path, lock.opened(path))
        claimed.note(run=run)
        lock.take(claimed.descriptor, shared=True)
        return claimed


def start(slot: Slot, progress: Progress) -> None:
    """Have the server of the run: the first process makes it, the others wait for that.

    Raises:
        ProvisionError: it cannot be made as the spec says.
    """
    with lock.alone(slot.path.with_suffix(".start")):
        if not slot.state.get("ready"):
            _sweep(slot.spec, slot.number)
            spec = for_tests(slot.spec, slot.number)
            with template.from_nothing():
                apply.converge(observe.survey(spec), progress=progress)
            slot.note(ready=True)


def source(slot: Slot, database: str) -> tuple[Endpoint, str]:
    """Return how to reach the server of the run, and the template of a declared database there.

    Raises:
        UsageError: the spec has no such database.
        ProvisionError: it cannot be copied.
    """
    world = outside.world(for_tests(slot.spec, slot.number))
    logins.chosen(world, logins.Choice(superuser=True, database=database))
    server, name = replace(world.endpoint(), database=MAINTENANCE), made_of.named(database)
    with lock.alone(slot.path.with_suffix(".start")):
        if name not in slot.state.get("templates", ()):
            building = f"{name}_new"
            template.drop(server, building)
            database_copy.copy(server, database, database_copy.New(building))
            template.publish(server, building, name)
            slot.note(templates=[*slot.state.get("templates", ()), name])
    return server, name


def keep(slot: Slot, name: str) -> None:
    """Keep a database, and so the server, beyond the run."""
    with lock.alone(slot.path.with_suffix(".start")):
        slot.note(kept=[*slot.state.get("kept", ()), name])


def finish(slot: Slot) -> None:
    """Leave a test run; its last process removes the server, unless databases were kept in it."""
    with _alone(slot.spec) as home:
        lock.give_back(slot.descriptor)
        if lock.take(slot.descriptor, shared=False) and not slot.state.get("kept"):
            _remove(slot)
        else:
            lock.close(slot.descriptor)
        _tidy(home)


def kept(spec: Spec, *, remove: bool = False) -> tuple[str, ...]:
    """Return the databases that test runs have kept that are over; ``remove`` all servers that such runs have left."""
    kept: list[str] = []
    if not _home(spec).is_dir():
        return ()
    with _alone(spec) as home:
        for number, path in _there(home):
            each = Slot(number, spec, path, lock.opened(path))
            if lock.take(each.descriptor, shared=False):
                kept += each.state.get("kept", ())
                if remove:
                    _remove(each)
                    continue
            lock.close(each.descriptor)
        _tidy(home)
    return tuple(kept)


def _remove(slot: Slot) -> None:
    """Remove the server of a slot that we hold alone, and the slot."""
    try:
        _sweep(slot.spec, slot.number)
        for each in (slot.path.with_suffix(".start"), slot.path):
            each.unlink(missing_ok=True)
    finally:
        lock.close(slot.descriptor)


def _sweep(spec: Spec, number: int) -> None:
    left = for_tests(spec, number)
    if os.path.lexists(left.home):
        apply.destroy(left, data=True, progress=Progress())


def _home(spec: Spec) -> Path:
    return spec.directory / ".provision" / f"{spec.name}-tests"


def _file(home: Path, number: int) -> Path:
    return home / f"{number}.run"


def _there(home: Path) -> list[tuple[int, Path]]:
    found = [(int(path.stem), path) for path in home.glob("*.run") if path.stem.isdecimal()]
    return sorted([each for each in found if each[0]])  # 0 is the spec's own server


def _tidy(home: Path) -> None:
    """Remove the directory where no run is left; another one that waits for the lock makes it again."""
    if not _there(home):
        files.remove(home)


@contextmanager
def _alone(spec: Spec) -> Iterator[Path]:
    """Hold the lock on all slots of a spec."""
    home = _home(spec)
    with lock.alone(home / "lock"):
        keep_ours(home)
        (home / ".gitignore").write_text("*\n")
        yield home
