"""Goldens of embedded servers: copies of data directories in the cache of the user."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from provision.errors import ProvisionError, StepFailedError
from provision.golden import control, saving, scrub
from provision.golden.key import Golden
from provision.golden.store import DirectoryStore
from provision.kinds import role_password
from provision.kinds.login import converge_login
from provision.kinds.role import KIND as ROLE
from provision.model import Action, Effect, Secret, Step
from provision.model.effects import VERIFIER, RunLocalSql, SaveGolden, ServerCall, WriteFile
from provision.model.sql import identifier, literal
from provision.model.value import replace
from provision.observe.outside import World
from provision.runtimes.embedded import directories
from provision.runtimes.embedded.site import EmbeddedSite
from provision.system import packed, processes, servers
from provision.system.files import explaining, make_directory, nameless, remove
from provision.system.initdb import making
from provision.system.look import Look
from provision.system.machine import SystemUser, as_user, lookup


def store(_look: Look) -> DirectoryStore:
    """Return the goldens of this user."""
    return DirectoryStore()


# --- use


def using(world: World, golden: Golden, steps: tuple[Step, ...]) -> tuple[World, tuple[Step, ...]]:
    """Return the steps with a copy in place of initdb, and passwords set as soon as the server runs."""
    site, found = EmbeddedSite.of(world.site), []
    for step in steps:
        if step.address.kind == ROLE and step.action is Action.UPDATE:
            continue  # its password is among those
        effects: list[Effect] = []
        for each in step.effects:
            call = each if isinstance(each, ServerCall) else None
            if call is not None and call.operation == "initialise":
                effects.append(replace(call, operation="copy", scripts=None, source=golden.key))
            else:
                effects.append(each)
            if call is not None and call.operation == "start":
                effects += _passwords(world, site, golden.level)
        found.append(replace(step, effects=tuple(effects)))
    return world, tuple(found)


def _passwords(world: World, site: EmbeddedSite, level: int) -> Iterator[Effect]:
    """Yield what sets the declared passwords on a copy, where every login has a random one."""
    spec, inputs = world.spec, world.inputs

    def run(script: str, password: Secret, user: str) -> RunLocalSql:
        others = (scrub.SUPERUSER,) if user != scrub.SUPERUSER else ()
        return RunLocalSql(script, password, user, None, site.places.sockets, site.port, others)

    # As the one that is surely there: who is declared may not be.
    yield replace(run(converge_login(spec.server.user), inputs.password, scrub.SUPERUSER), others=(spec.server.user,))
    for role in spec.roles.values() if level else ():
        if role.is_absent or role.is_external or role_password.wanted(role) != "as declared":
            continue
        password = inputs.passwords[role.name]
        if role_password.is_generated(role):
            yield WriteFile(spec.role_password_file(role.name), password, 0o600)
        script = f"ALTER ROLE {identifier(role.name)} PASSWORD {literal(VERIFIER)}"
        yield run(script, password, spec.server.user)


def copy(call: ServerCall) -> None:
    """Make a data directory from a golden, whole or not at all.

    Raises:
        ProvisionError: the golden is gone or not whole, or the directory cannot be made.
    """
    user = lookup(call.user) if call.user is not None else None
    sentence = f"golden {call.source[:8]} cannot be copied to {call.data}"
    with making(call, sentence) as temporary, _whole(), DirectoryStore().reading(call.source) as entry:
        packed.unpack(entry.data, json.loads(entry.about.read_bytes()), temporary, user)
        scrub.control_of((temporary / control.PATH).read_bytes())
    DirectoryStore().touch(call.source)


@contextmanager
def _whole() -> Iterator[None]:
    """Turn an index that was cut or spoiled into an OSError."""
    try:
        yield
    except (ValueError, LookupError, TypeError) as error:
        message = f"what the golden holds is not readable: {error!r}"
        raise OSError(message) from error


def discarding(world: World, _containers: Sequence[str], *, with_data: bool) -> tuple[Effect, ...]:
    """Return what ends the server and removes the data, as a whole."""
    if not with_data:
        return ()
    site = EmbeddedSite.of(world.site)
    ending = replace(site.stopping, operation="kill", data=site.places.data)
    return (ending, *directories.removal(site.places.data, site.places.generations, if_there=True))


# --- saving


def is_in_memory(_world: World) -> bool:
    """Tell whether the data goes with the server: its directory stays."""
    return False


def restarting(world: World) -> tuple[Effect, ...]:
    """Return what stops a server that runs and starts it again."""
    return tuple([each for step in world.site.restart() for each in step.effects])


def stops(world: World, effect: Effect) -> bool:
    """Tell whether an effect stops the server on the data."""
    data = EmbeddedSite.of(world.site).places.data
    return isinstance(effect, ServerCall) and effect.operation == "stop" and effect.data == data


def beginning(_world: World, effect: SaveGolden, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps with ``effect`` after initdb, before a server runs on the data."""
    return tuple([replace(step, effects=tuple(_followed(step.effects, effect))) for step in steps])


def _followed(effects: Sequence[Effect], effect: SaveGolden) -> Iterator[Effect]:
    for each in effects:
        yield each
        if isinstance(each, ServerCall) and each.operation == "initialise":
            yield effect


def save(world: World, effect: SaveGolden, _perform: Callable[[Effect], None]) -> None:
    """Copy the data, take the secrets out of the copy, and put it into the store.

    Raises:
        ProvisionError: it must not be kept, or cannot.
    """
    site = EmbeddedSite.of(world.site)
    data, hidden = site.places.data, site.places.generations.hidden
    golden = Golden.read(json.loads(effect.about))
    if golden is None:
        raise StepFailedError("what is kept about the data is not readable")
    saving.check(effect, (data / control.PATH).read_bytes())
    found = {name: seen.st_size for name, seen in packed.walked(data)}
    every = (saving.AUTO_CONF, *saving.CONFIGURATION)
    saving.check_contents(effect, found, {each: (data / each).read_bytes() for each in every if each in found})
    with explaining(f"the data cannot be copied to {hidden}", hidden):
        make_directory(hidden, 0o755)
        try:
            copied = _copied(data, hidden, site.places.user)
            for database in scrub.order(effect.databases):
                saving.check_sequences(effect, database, _run_alone(site, copied, database))
            DirectoryStore().add(golden, lambda path: _pack(copied, path))
        finally:
            remove(hidden)


def export(_look: Look, _name: object, _file: object) -> NoReturn:
    """Refuse: a golden is used only where this user has made it."""
    raise ProvisionError("goldens of embedded servers stay where they are", next_step="provision golden list")


take = export


def _copied(data: Path, hidden: Path, user: SystemUser | None) -> Path:
    """Return a copy of a data directory that the server's user can run a server on."""
    pack, copied = hidden / "pack", Path(tempfile.mkdtemp(dir=hidden))
    index = packed.pack(data, pack, leaves=scrub.leaves, kept={})
    packed.unpack(pack, index, copied, user)
    pack.unlink()
    return copied


def _run_alone(site: EmbeddedSite, data: Path, database: str) -> str:
    """Run the server alone on a copy, with what takes the secrets out of one database; return what it says."""
    user = site.places.user
    program = site.own_programs.directory / "postgres"
    argv = (str(program), "--single", *scrub.OPTIONS, "-D", str(data), database)
    with nameless(scrub.script(database).reveal().encode()) as script:
        done = processes.run(
            argv,
            stdin=script,
            stdout=processes.PIPE,
            stderr=processes.STDOUT,
            cwd="/",
            env=servers.environment(),
            **as_user(user.name if user else None),
        )
    return scrub.said(database, str(done.stdout.decode(errors="replace")), failed=bool(done.returncode))


def _pack(data: Path, path: Path) -> packed.Index:
    """Write a copy without secrets into the store, with the end of its log alone."""
    found = scrub.control_of((data / control.PATH).read_bytes())
    logs = [each for each in (data / "pg_wal").iterdir() if each.is_file()]
    size = logs[0].stat().st_size
    segment = found.segment(size)
    end = control.end_of_log(found, size, (data / "pg_wal" / segment).read_bytes())

    def leaves(name: str) -> bool:
        return scrub.leaves(name) or scrub.is_old_log(name, segment)

    index = packed.pack(data, path, leaves=leaves, kept={f"pg_wal/{segment}": end})
    scrub.check(path.read_bytes())
    return index
