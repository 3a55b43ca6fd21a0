"""What may be kept as a golden: data in which is nothing but what an apply made from nothing.

The server proves that: when the apply ends, the transaction id that it would give next is noted; where it is still the
same when the server was stopped, nobody has written since. What needs none is looked for in the directory itself.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from provision.errors import ProvisionError, StepFailedError
from provision.golden import load, recorded, scrub, use
from provision.golden.key import Golden
from provision.model import MAINTENANCE, Action, Address, Begun, Endpoint, Step
from provision.model.effects import SaveGolden
from provision.model.value import replace
from provision.model.words import count
from provision.runtimes.names import GOLDEN
from provision.system import files, owned
from provision.system.postgres import connect, rows
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from provision.alembic import Read
    from provision.golden import Goldens
    from provision.model import Effect
    from provision.observe import Survey
    from provision.observe.outside import World
    from provision.spec.model import Spec

LARGEST = 1 << 30
_PATIENCE, _POLL = 0.5, 0.01  # our own sessions end a moment after we have closed them
_OTHERS = """
SELECT count(*) FROM pg_catalog.pg_stat_activity
WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_catalog.pg_backend_pid()
"""
_SEEN = """
SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text,
       (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
       ARRAY(SELECT datname::text FROM pg_catalog.pg_database WHERE datname <> 'template0' ORDER BY 1),
       ARRAY(SELECT rolname::text FROM pg_catalog.pg_roles WHERE oid >= 16384 ORDER BY 1),
       EXISTS (SELECT FROM pg_catalog.pg_subscription)
"""
CONFIGURATION = ("pg_hba.conf", "pg_ident.conf", "postgresql.conf")
"""Files in the data directory that a person can change, for which the server gives no transaction id."""
AUTO_CONF = "postgresql.auto.conf"
_DIGESTS = """
SELECT name, pg_catalog.encode(pg_catalog.sha256(pg_catalog.pg_read_binary_file(name, 0, 1000000000, true)), 'hex')
FROM pg_catalog.unnest(%s::text[]) AS t (name)
"""
_MAPPINGS = "SELECT EXISTS (SELECT FROM pg_catalog.pg_user_mapping WHERE umoptions IS NOT NULL)"
_INITIAL = (MAINTENANCE, "template1")


# --- at the end of an apply


def note(
    seen: Survey, before: Begun | None, begun: Begun | None, reads: Mapping[str, Read | None], since: float
) -> None:
    """Note what a converged environment was made of, which was made from nothing in this run.

    ``before`` is what was known before the first step, ``begun`` the golden that was used, and ``reads`` what the code
    of migrations has read since. Where there is nothing to be saved, or something forbids it, the note says why.
    """
    spec = seen.spec
    try:
        if begun is not None and use.is_exact(begun):
            raise StepFailedError(f"it was made from {begun.text}")
        if before is None or before.wanted is None or seen.endpoint is None:
            raise StepFailedError(before.rejected[0] if before and before.rejected else "goldens were off for it")
        golden = recorded.made(seen.world, before.wanted, reads, begun.golden if begun else None, since)
        if isinstance(golden, str):
            raise StepFailedError(golden)
        golden = replace(golden, image=spec.server.image, environment=spec.name)
        document = {**_seen(spec, seen.endpoint), "golden": golden.document()}
    except ProvisionError as error:
        document = {"why": error.sentence}
    _write(spec, document)


def follow(spec: Spec, xid: int) -> None:
    """Note a transaction of ours, the row of a run, if the server has given it next since all was made."""
    with suppress(ValueError, KeyError, TypeError, ProvisionError):
        noted = json.loads(owned.text(spec.home / GOLDEN) or "")
        if noted["next_xid"] == xid:
            _write(spec, {**noted, "next_xid": xid + 1})


def _write(spec: Spec, document: Mapping[str, Any]) -> None:
    files.write_atomically(spec.home / GOLDEN, json.dumps(document), 0o600)


def _seen(spec: Spec, at: Endpoint) -> dict[str, Any]:
    """Return what the server says of itself, if nobody else is connected and all in it is declared."""
    with closing(connect(at, read_only=True)) as connection:
        if not any(rows(connection, _OTHERS)[0][0] == 0 for _ in attempts(_PATIENCE, _POLL)):
            raise StepFailedError("others were connected when it was made")
        xid, system, databases, roles, subscribes = rows(connection, _SEEN)[0]
        configuration = {name: digest or "" for name, digest in rows(connection, _DIGESTS, (list(CONFIGURATION),))}
    declared = {*_INITIAL, at.database, *spec.databases}
    if strange := [*[each for each in roles if each not in spec.roles and each != spec.server.user],
                   *[each for each in databases if each not in declared]]:  # fmt: skip
        raise StepFailedError(f"{', '.join(strange)}: not declared")
    if subscribes:
        raise StepFailedError("it has a subscription, which can hold a password")
    sequences = {}
    for each in databases:
        if each not in _INITIAL or each == at.database:
            with closing(connect(at, each, read_only=True)) as connection:
                if rows(connection, _MAPPINGS)[0][0]:
                    raise StepFailedError(f"{each} has user mappings, which can hold passwords")
                sequences[each] = rows(connection, scrub.SEQUENCES)[0][0]
    ids = {"next_xid": int(xid), "system": system}
    return {**ids, "databases": databases, "sequences": sequences, "configuration": configuration}


# --- when the server stops


def planned(world: World, *, asked: bool = False) -> SaveGolden | str:
    """Return the effect that saves the data of a server that is about to be stopped, or why there is none, in words."""
    goldens = load(world.runtime)
    if goldens is None:
        return f"there are no goldens with runtime {world.runtime}"
    text = owned.text(world.spec.home / GOLDEN)
    if text is None:
        return "the server was not made from nothing by one apply"
    try:
        noted = json.loads(text)
        if "why" in noted:
            return str(noted["why"])
        golden = Golden.read(noted["golden"])
        databases = tuple(map(str, noted["databases"]))
        next_xid, system = int(noted["next_xid"]), str(noted["system"])
        sequences, configuration = dict(noted["sequences"]), dict(noted["configuration"])
    except (ValueError, KeyError, TypeError):
        golden = None
    if golden is None:
        return "what was noted when it was made is not readable"
    if any(each.key == golden.key for each in goldens.store(world.look).candidates()):
        return f"golden {golden.short}… has it already"
    about = json.dumps(golden.document())
    return SaveGolden(golden.key, about, next_xid, system, databases, sequences, configuration, asked=asked)


def with_saving(world: World, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return steps that stop the server, or remove one that is stopped, with what saves its data, or says why not."""
    goldens = load(world.runtime)
    if goldens is None:
        return tuple(steps)
    found = tuple([replace(step, effects=tuple(_inserted(world, goldens, step))) for step in steps])
    ends = any(isinstance(each, SaveGolden) for step in found for each in step.effects)
    if ends or not any(step.action is Action.REMOVE for step in steps):
        return found
    why = planned(world)
    left = SaveGolden("", "", refused=why if isinstance(why, str) else "the server does not run")
    return (replace(steps[0], effects=(*steps[0].effects, left)), *steps[1:])


def _inserted(world: World, goldens: Goldens, step: Step) -> Iterator[Effect]:
    for each in step.effects:
        effects = [each]
        if goldens.stops(world, each):
            found = planned(world)
            effects.append(SaveGolden("", "", refused=found) if isinstance(found, str) else found)
        yield from reversed(effects) if goldens.is_in_memory(world) else effects


def step(world: World) -> Step | str:
    """Return the step that saves the data of a running server, which it stops and starts; or why there is none."""
    goldens, effect = load(world.runtime), planned(world, asked=True)
    if goldens is None or isinstance(effect, str):
        return str(effect)
    if why := _written_by(_next_xid(world), effect):
        return why
    address = Address("golden", effect.key[:8])
    if goldens.is_in_memory(world):
        return Step(address, Action.CREATE, None, None, (effect,))
    effects = goldens.restarting(world)
    ends = [number for number, each in enumerate(effects) if goldens.stops(world, each)]
    if not ends:
        return "the server does not run"
    at = ends[0] + 1
    text = "the server restarts: connections are dropped for about a second"
    return Step(address, Action.CREATE, None, None, (*effects[:at], effect, *effects[at:]), consequence=text)


def _next_xid(world: World) -> int:
    """Return the next transaction id of the server that runs: one that has written is not stopped for a golden."""
    with closing(connect(world.endpoint(), read_only=True)) as connection:
        return int(rows(connection, _SEEN)[0][0])


def save(world: World, effect: SaveGolden, perform: Any) -> None:
    """Save the data of a server that was stopped; what must not be kept, or cannot, is not tried again.

    Raises:
        ProvisionError: it must not be kept, or cannot.
    """
    goldens = load(world.runtime)
    assert goldens is not None  # noqa: S101  # the effect was planned with it
    try:
        goldens.save(world, effect, perform)
    except ProvisionError as error:
        if effect.next_xid is not None:
            _write(world.spec, {"why": error.sentence})
        raise


# --- what both runtimes check in the data


def check(effect: SaveGolden, content: bytes) -> None:
    """Refuse data that was written to since it was made; ``content`` is that of ``pg_control``.

    Raises:
        StepFailedError: it was, or the server was not shut down.
    """
    found = scrub.control_of(content)
    if effect.next_xid is None:
        return
    if found.system != effect.system:
        raise StepFailedError("the data is that of another server")
    if why := _written_by(found.next_xid, effect):
        raise StepFailedError(why)


def _written_by(next_xid: int, effect: SaveGolden) -> str:
    """Return what the next transaction id says of data that was written to since it was made; empty: it was not."""
    written = next_xid - (effect.next_xid or next_xid)
    return f"the server has written since it was made ({count(written, 'transaction')})" if written else ""


def check_sequences(effect: SaveGolden, database: str, said: str) -> None:
    """Refuse data whose sequences have given numbers since it was made; ``said`` is the output of the scrub's script.

    Raises:
        StepFailedError: some have.
    """
    noted = effect.sequences.get(database)
    if noted is not None and f'sequences = "{noted}"' not in said:
        raise StepFailedError(f"sequences of {database} have given numbers since it was made")


def check_contents(effect: SaveGolden, names: Mapping[str, int], configuration: Mapping[str, bytes]) -> None:
    """Refuse data with something in it that a copy cannot have; ``names`` maps paths to sizes.

    ``configuration`` is what is in :data:`CONFIGURATION` and :data:`AUTO_CONF`, as far as these are there.

    Raises:
        StepFailedError: there is something.
    """
    if found := _first(names, "pg_replslot/"):
        raise StepFailedError(f"it has a replication slot ({found})")
    if _first(names, "pg_twophase/"):
        raise StepFailedError("it has a prepared transaction")
    if _first(names, "pg_tblspc/"):
        raise StepFailedError("it has a tablespace")
    if any(line.strip() and not line.startswith(b"#") for line in configuration.get(AUTO_CONF, b"").splitlines()):
        raise StepFailedError("it has settings of ALTER SYSTEM")
    for each, noted in effect.configuration.items():
        content = configuration.get(each)
        if noted != ("" if content is None else hashlib.sha256(content).hexdigest()):
            raise StepFailedError(f"{each} was changed since it was made")
    if strange := scrub.strange(names):
        raise StepFailedError(f"{strange} in the data directory is not PostgreSQL's own")
    if sum(size for name, size in names.items() if not name.startswith("pg_wal/")) > LARGEST:
        raise StepFailedError("it has more than 1 GB")


def _first(names: Iterable[str], directory: str) -> str:
    return next((each.removeprefix(directory) for each in names if each.startswith(directory)), "")
