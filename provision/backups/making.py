"""The steps that make backups, and the client programs that they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from provision.backups import kept
from provision.errors import RefusedError
from provision.model import Action, Address, Effect, Outcome, Step
from provision.model.effects import ClientPrograms, DumpDatabase, RemovePath, WriteFile
from provision.model.words import shown, size
from provision.observe.outside import World
from provision.spec.model import Spec
from provision.system.client_programs import choose
from provision.system.cluster_copy import free
from provision.system.dumps import sidecar

KIND = "backup"
_RESERVE = 64 << 20
"""Bytes that stay free."""


def programs_of(world: World, major: int | None = None) -> ClientPrograms:
    """Return where the client programs of a server are: in its container, its own of this machine, or others here.

    Raises:
        RefusedError: there are none; which package has them.
    """
    site = world.site
    if site.container_name is not None:
        return ClientPrograms(container=site.container_name)
    return ClientPrograms(directory=choose(major or world.spec.server.major, site.programs))


def make_steps(
    world: World,
    sizes: Mapping[str, int],
    revisions: Mapping[str, Sequence[str]],
    *,
    why: str = "",
    path: Path | None = None,
    major: int | None = None,
) -> tuple[Step, ...]:
    """Return the steps that back databases up, by their sizes in bytes; ``why``: before what it is done by itself.

    Raises:
        RefusedError: there is no room, or no client programs.
    """
    spec, programs, at = world.spec, programs_of(world, major), kept.now()
    directory = path.parent if path is not None else kept.place(spec)
    needed, there = sum(sizes.values()), free(directory)
    if needed + _RESERVE > there:
        raise RefusedError(
            f"a backup may need {size(needed)}, and {size(there)} are free in {shown(directory)}",
            evidence=[f"{size(_RESERVE)} stay free"],
            next_step="make room, or name another file: provision backup make -o FILE",
        )
    first: tuple[Effect, ...] = tuple([RemovePath(each) for each in kept.broken_off(spec)])
    if not world.look.exists(hidden := spec.home / ".gitignore"):
        first = (WriteFile(hidden, "*\n"), *first)  # before anything is written that Git must not see
    steps: list[Step] = []
    for database, much in sizes.items():
        trees = {each.name for each in spec.migrations if spec.database_of(each) == database}
        rows = {tree: tuple(each) for tree, each in sorted(revisions.items()) if tree in trees}
        taken = files(steps)
        file = path or kept.new_path(spec, database, at, rows, taken)
        dump = DumpDatabase(database, file, programs, kept.about(spec, database, at, rows, why), rows)
        effects = (*first, dump, *(_fewer(spec, database) if why else ()))
        applied = " ".join([row for each in rows.values() for row in each])
        words = (f"before {why}" if why else "", f"{size(much)}{f', at {applied}' if applied else ''}")
        steps.append(Step(Address(KIND, database), Action.CREATE, None, None, effects, tuple(filter(None, words))))
    return tuple(steps)


def _fewer(spec: Spec, database: str) -> Iterator[Effect]:
    """Yield what removes the oldest of the backups that were made before something else."""
    declared = spec.backup_of(database)
    own = [each for each in kept.listing(spec) if each.is_automatic and each.database == database]
    for each in own[declared.keep - 1 :] if declared is not None else ():
        yield RemovePath(each.path)
        yield RemovePath(sidecar(each.path))


def files(steps: Iterable[Step]) -> tuple[Path, ...]:
    """Return the files of the backups that steps make."""
    own = [step for step in steps if step.address.kind == KIND]
    return tuple([effect.path for step in own for effect in step.effects if isinstance(effect, DumpDatabase)])


def made(outcomes: Iterable[Outcome]) -> tuple[Path, ...]:
    """Return the files of the backups that were made."""
    return files(each.step for each in outcomes if each.error is None)
