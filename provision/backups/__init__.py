"""Backups of the databases of an environment: dumps in files of this machine, proved when they are made and restored.

A restore makes a new database, proves it, and then two names change in one transaction, as with snapshots: a run that
is killed at any moment leaves a database of the right name with all of its rows, and what it replaces is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from provision import observe
from provision.apply.effects import Performer
from provision.apply.run import Run
from provision.backups import kept
from provision.backups.kept import Backup
from provision.backups.making import make_steps, programs_of
from provision.errors import RefusedError, UsageError, command
from provision.kinds import role
from provision.model import SNAPSHOT, Action, Address, Plan, Progress, Result, Step
from provision.model.effects import RemovePath, RenameDatabases, RestoreDump, RunSql
from provision.model.sql import identifier
from provision.model.words import shown, size
from provision.observe import outside
from provision.observe.outside import World
from provision.snapshots import ours, server_of
from provision.snapshots.kept import Server, ask, check_room
from provision.snapshots.steps import Planner, chosen, declared
from provision.spec.model import Spec
from provision.system import database_copy, dumps
from provision.system.database_copy import maintenance, new_name
from provision.system.postgres import connect

__all__ = ["Look", "carry_out", "kept", "make", "removal", "restoring"]
_AVAILABLE = "the database stays available while the copy beside it is filled"


class Look(NamedTuple):
    """What would be done."""

    world: World
    plan: Plan


def make(spec: Spec, database: str | None = None, output: str | None = None) -> Look:
    """Look at the databases, and plan their backups; ``output`` names the file of one.

    Raises:
        UnavailableError: the server does not run.
        RefusedError: no client programs are there, or no room.
        UsageError: there is no such database, or the file cannot be used.
    """
    names = chosen(spec, database)
    world = outside.world(spec)
    path = kept.own_path(output) if output is not None else None
    server = ask(world.endpoint(), names)
    there = [each for each in names if each in server.databases]
    if not there:
        raise RefusedError(f"the server has no database {names[0]!r} yet", next_step=command("apply"))
    if path is not None and there[1:]:
        raise UsageError(
            f"one file is of one database, and the spec has {', '.join(there)}",
            next_step=command("backup make", f"--database {there[0]} -o {output}"),
        )
    revisions = observe.overview(spec).status.revisions
    sizes = {each: server.databases[each].size for each in there}
    return Look(world, Plan(make_steps(world, sizes, revisions, path=path)))


def restoring(spec: Spec, name: str, database: str | None = None) -> Look:
    """Prove a backup, and plan its restore; ``database`` is another one than it is of.

    Raises:
        RefusedError: the backup is not whole, or cannot be restored here.
        UnavailableError: the server does not run.
        UsageError: there is no such backup, or database.
    """
    backup = kept.named(spec, name)
    target = _target(spec, backup, database)
    world = _replaceable(spec, backup)
    server = server_of(world, declared(spec))
    programs = programs_of(world)
    with closing(Performer(world, Progress())) as performer:
        dumps.prove(backup.path, programs, lambda: performer.engine, server.at, backup.about)
    about = backup.about or _about_current(server, target)
    major = world.spec.server.major
    if about["server_version"] // 10000 > major:
        raise RefusedError(
            f"{backup.path.name} is of PostgreSQL {about['server_version'] // 10000}, and the server is {major}",
            next_step="restore it into a server of that version or a newer one",
        )
    check_room(max(about["size"], backup.bytes), database_copy.free(server.at), "where the server keeps its data ")
    beside = new_name(SNAPSHOT, target)
    owner = about["owner"] if about["owner"] in server.roles | _missing(about, server) else server.at.user
    trees = {each.name for each in spec.migrations if spec.database_of(each) == target}
    wanted = {tree: rows for tree, rows in backup.revisions.items() if tree in trees}
    effect = RestoreDump(backup.path, beside, target, owner, programs, about, major, wanted)
    at = f", made {backup.moment}" if backup.at else ""
    why = (f"{size(backup.bytes)} of {backup.path.name}{at}{_rows(backup)}",)
    step = Step(Address("copy", target), Action.CREATE, None, None, (effect,), why, _AVAILABLE)
    planner = Planner(spec, server, observe.overview(spec).status.revisions)
    words = f"{target} as it is in {backup.path.name}{_rows(backup)}"
    plan = planner.replacing(step, target, beside, about["comment"] or "", words)
    return Look(world, Plan((*_making_roles(spec, about, server), *plan.steps)))


def removal(spec: Spec, name: str) -> Look:
    """Plan to remove a backup.

    Raises:
        UsageError: there is none of this name.
    """
    backup = kept.named(spec, name)
    effects = (RemovePath(backup.path), RemovePath(dumps.sidecar(backup.path)))
    why = tuple(filter(None, (size(backup.bytes), f"made {backup.moment}" if backup.at else "")))
    step = Step(Address("backup", backup.path.stem), Action.REMOVE, None, None, effects, why, destroys=True)
    return Look(outside.world(spec), Plan((step,)))


def carry_out(spec: Spec, survey: Callable[[], Look], *, progress: Progress) -> Result:
    """Do what a ``survey`` of this module shows. The notes name the sessions that were ended.

    What is put in the place of a database is in the history, which comes from the backup, too.

    Raises:
        ProvisionError: a step failed. Every database has its name, and its rows.
        LockedError: another run holds the environment.
    """
    with Run.alone(spec, progress, "restore") as run:
        found = survey()
        performer = run.carry_out(found.world, found.plan, prepared=True)
        if any(isinstance(each, RenameDatabases) for step in found.plan.steps for each in step.effects):
            run.note(spec, found.world.endpoint())
        return run.result(*(f"ended: {each}" for each in performer.ended))


def _target(spec: Spec, backup: Backup, database: str | None) -> str:
    """Return the database that a backup is restored to.

    Raises:
        UsageError: the spec does not have it.
    """
    every = declared(spec)
    if (meant := database or backup.database) in every:
        return meant
    if not meant and not every[1:]:
        return every[0]
    if meant:
        raise UsageError(
            f"the spec has no database {meant!r}; it has {', '.join(every)}",
            next_step=f"declare {meant!r} in `databases`, and then: " + command("apply"),
        )
    raise UsageError(
        "it is not noted of which database the backup is, and the spec has several",
        next_step=command("backup restore", f"{shown(backup.path)} --database NAME") + f"   # {', '.join(every)}",
    )


def _replaceable(spec: Spec, backup: Backup) -> World:
    """Return an environment whose databases may be replaced.

    Raises:
        RefusedError: its server is one that others run.
    """
    try:
        return ours(spec)
    except RefusedError as error:
        words = f"pg_restore --exit-on-error --single-transaction --dbname=NEW {shown(backup.path)}"
        error.next_step = f"make a database NEW there, and fill it: {words}"
        raise


def _about_current(server: Server, target: str) -> Mapping[str, Any]:
    """Return what a dump leaves out as the database has it now: nothing is noted beside this dump.

    Raises:
        RefusedError: there is no such database.
    """
    if target not in server.databases:
        raise RefusedError(
            f"nothing is noted beside this backup, and the server has no database {target!r} to follow",
            next_step=command("apply") + "   # and then restore it",
        )
    with closing(connect(server.at, target, read_only=True)) as connection:
        return {**dumps.facts(connection, target), "roles": []}


def _rows(backup: Backup) -> str:
    found = " ".join([row for _, rows in sorted(backup.revisions.items()) for row in rows])
    return f", at {found}" if found else ""


def _missing(about: Mapping[str, Any], server: Server) -> frozenset[str]:
    return frozenset([each["name"] for each in about["roles"]]) - server.roles


def _making_roles(spec: Spec, about: Mapping[str, Any], server: Server) -> Iterator[Step]:
    """Yield the steps that make the roles that a backup names and nobody declares.

    Raises:
        RefusedError: one is declared, and not there yet: an apply makes it with its login and its rights.
    """
    for name in sorted(_missing(about, server)):
        if name in spec.roles:
            raise RefusedError(
                f"the backup needs the role {name!r}, which is not there yet", next_step=command("apply")
            )
        made = RunSql(maintenance(), (f"CREATE ROLE {identifier(name)} NOLOGIN",), shown=True)
        why = ("the backup names it; it gets no login and no rights, because a backup holds no passwords",)
        yield Step(Address(role.KIND, name), Action.CREATE, None, None, (made,), why)
