"""Server settings: what is declared against what ``pg_settings`` shows.

On a server of ours the rendered ``postgresql.conf`` is the truth about what is wanted, so a template of one's own may
set more than the spec. Values are compared in the form in which the server shows them, so ``256MB``, ``262144kB`` and
``32768`` are one value. What another place sets is named, and taken back where that is asked for. On a server that
somebody else runs there is no file: see :mod:`provision.kinds.alter_system`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from provision.errors import ProvisionError, command
from provision.kinds import Before, Files, Inputs, Look, Scene, configuration, pg_settings
from provision.kinds.pg_settings import Line, Row, Rule, Settings, is_same
from provision.model import MAINTENANCE, Action, Address, Change, Plan, State, Step
from provision.model.effects import ReloadSettings, RunSql
from provision.model.sql import identifier
from provision.model.value import dataclass
from provision.spec.parameters import canonical_name, catalogue, normalise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from provision.spec.access import Values
    from provision.spec.model import Spec

KIND = "settings"
_WAYS = {"nothing": "alter_system", "alter_system": "alter_system", "patroni": "in_cluster"}
"""The module of each way to set something on a server that others run; it is loaded where a spec has it."""
_NOTING = {"patroni"}
"""The ways that note what they have set, so that it is taken back once the spec declares nothing."""
_FIXED = {
    "command line": "the server's command line; take it out of there (with Docker: `command` of the compose template)",
    "environment variable": "the environment of the server's process; take it out of there",
}


def wanted(spec: Spec, _inputs: Inputs, files: Files) -> dict[Address, State]:
    """Return the settings of the rendered configuration file; where none is rendered, those of the spec, if any.

    Raises:
        ProvisionError: the configuration cannot be read back.
    """
    if "configuration" not in files:
        raw = {name: str(value) for name, value in spec.server.settings.items()}
        state = Settings(_normalised(spec, raw), raw, via=spec.server.settings_via or "nothing")
        return {Address(KIND, "server"): state} if raw or state.via in _NOTING else {}

    def named(name: str) -> str:
        return canonical_name(spec.server.major, name)

    try:
        raw = {named(name): value for name, value in configuration.parse(str(files["configuration"].content)).items()}
        values = _normalised(spec, raw)
    except ValueError as error:
        raise ProvisionError(
            f"the rendered postgresql.conf cannot be used: {error}",
            evidence=[str(spec.home / "config" / "postgresql.conf")],
            next_step="correct your postgresql.conf.j2, then: " + command("render"),
        ) from error
    assumed = frozenset(named(name) for name in configuration.assumed(spec))
    return {Address(KIND, "postgresql.conf"): Settings(values, raw, assumed=assumed)}


def _normalised(spec: Spec, raw: Mapping[str, str]) -> dict[str, str]:
    known = catalogue(spec.server.major)
    return {name: normalise(known[name], value) if name in known else value for name, value in raw.items()}


def seen(look: Look) -> dict[Address, State]:
    """Read the declared settings, those that a file has set and the spec does not declare, and what else sets some."""
    declared = ((address, state) for address, state in look.wanted.items() if isinstance(state, Settings))
    return {
        address: _in_files(look, want) if want.via == "file" else _elsewhere(want).seen(look, want)
        for address, want in declared
    }


def _elsewhere(want: Settings) -> ModuleType:
    """Return what knows of the settings of a server that others run."""
    return import_module(f"provision.kinds.{_WAYS[want.via]}")


def _in_files(look: Look, want: Settings) -> Settings:
    major, config_file = look.spec.server.major, look.config_file
    values, rows = pg_settings.in_force(look, want.values, config_file)
    around = look.once(pg_settings.around)
    last = {each.name: each for each in around.lines}
    altered = {each.name: each for each in around.lines if each.file != config_file}
    for name, row in rows.items():
        if row.source in pg_settings.OF_SESSION and name in want.values:
            values[name] = _for_others(name, want.values[name], last.get(name), major)
        elif name not in want.values and (name in altered or not row.file or _is_default(name, values, row, major)):
            del values[name]
    for line in around.lines:
        if line.file == config_file and line.name not in want.values and line.name not in rows:
            values[line.name] = line.value
            rows[line.name] = pg_settings.Row(line.value, "user", "configuration file", line.file, line.number, False)
    waiting = (
        name
        for name, row in rows.items()
        if row.pending_restart and name not in altered and name in want.values and values[name] == want.values[name]
    )
    return Settings(values, rows=rows, waiting=tuple(sorted(waiting)), altered=altered, rules=around.rules)


def _is_default(name: str, values: Mapping[str, str], row: Row, major: int) -> bool:
    """Tell whether a setting that is not declared any more would be the same after the restart that it needs."""
    known = catalogue(major).get(name)
    return row.context == "postmaster" and known is not None and values[name] == known.boot


def _for_others(name: str, want: str, line: Line | None, major: int) -> str:
    """Return the server-wide value of a setting that our session overrides: what its files say, or the default."""
    known = catalogue(major).get(name)
    if line is None or known is None:
        return (known.boot if known else None) or ""
    return want if is_same(major, name, want, line.value) else normalise(known, line.value)


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Reload, or restart where a differing setting demands it; what is set elsewhere is left alone, and said.

    Raises:
        RefusedError: on a server of somebody else, our role lacks a privilege.
    """
    if not isinstance(before, Settings) or not isinstance(after, Settings):
        return Plan()
    if after.via != "file":
        plan: Plan = _elsewhere(after).steps(address, before, after, scene)
        return plan
    verdict = _judge(before, after, scene)
    waits = before.changes(verdict.held, after)
    notes, remarks = _of_rules(before, after, scene.spec)
    undeclared = [f"{text} (--reset-overrides takes it back)" for text in verdict.undeclared]
    held = [f"{each} waits for a restart (--no-restart)" for each in waits]
    step = _step(address, before, after, scene, verdict)
    return Plan((step,) if step else (), (*undeclared, *notes, *held), verdict.overrides, remarks)


@dataclass(frozen=True)
class _Verdict:
    """What is to be done: the settings that differ, of these the ones that need a restart, and what is to be reset.

    ``held`` are those that would need a restart where none is wanted. ``overrides`` and ``undeclared`` are sentences
    on what another place sets: against what is declared, and where nothing is.
    """

    differing: tuple[str, ...]
    restarting: tuple[str, ...]
    held: tuple[str, ...]
    resets: tuple[str, ...]
    overrides: tuple[str, ...]
    undeclared: tuple[str, ...]


def _judge(before: Settings, after: Settings, scene: Scene) -> _Verdict:
    major, altered = scene.spec.server.major, before.altered
    differing = {n for n in {*before.values, *after.values} if before.values.get(n) != after.values.get(n)}
    elsewhere: dict[str, str] = {}
    for name in sorted(differing):
        row = before.rows.get(name)
        if row is not None and row.source in _FIXED:
            declared = _declared(after.raw.get(name))
            elsewhere[name] = f"{name} is {row.shown!r}, and {declared}: it comes from {_FIXED[row.source]}"
    overriding = {
        name: line for name, line in altered.items() if not is_same(major, name, after.raw.get(name), line.value)
    }
    resets: tuple[str, ...] = ()
    if scene.wishes.reset_overrides:
        resets = tuple(sorted(altered))
        differing |= {*overriding}
    else:
        elsewhere |= {name: _alteration(line, before, after) for name, line in overriding.items()}
    differing -= {*elsewhere}
    restarting = tuple(sorted(name for name in differing if _needs_restart(name, before, after)))
    held = restarting if scene.wishes.no_restart else ()
    return _Verdict(
        differing=tuple(sorted(differing - {*held})),
        restarting=() if held else restarting,
        held=held,
        resets=resets,
        overrides=tuple(text for name, text in elsewhere.items() if name in after.raw),
        undeclared=tuple(text for name, text in elsewhere.items() if name not in after.raw),
    )


def _needs_restart(name: str, before: Settings, after: Settings) -> bool:
    row = before.rows.get(name)
    if row is None or row.context != "postmaster":
        return False
    if name in after.values:
        return before.values.get(name) != after.values[name]
    return bool(row.file)


def _step(address: Address, before: Settings, after: Settings, scene: Scene, verdict: _Verdict) -> Step | None:
    ground, restarting = scene.ground, verdict.restarting
    why: tuple[Change | str, ...] = before.changes(verdict.differing, after)
    if ground.starting:
        text = "read when the server starts"
        return Step(address, Action.UPDATE, before, after, (), why=why, consequence=text) if why else None
    unread = [name for name in verdict.held if not before.rows[name].pending_restart]
    if not (verdict.differing or verdict.resets or unread or before.waiting):
        return None
    resets = tuple(f"ALTER SYSTEM RESET {identifier(*name.split('.'))}" for name in verdict.resets)
    back = f"{', '.join(before.waiting)}: changed and changed back, and the server still waits for a restart"
    why = why or before.changes(unread, after) or resets or (back,)
    effects = (*([RunSql(MAINTENANCE, resets)] if resets else []), *ground.publish, ReloadSettings(after.raw))
    if not restarting:
        text = "reload: no connection is dropped"
        return Step(address, Action.RELOAD, before, after, effects, why=why, consequence=text)
    text = (
        f"restart, because {', '.join(restarting)} can only be set when the server starts: "
        "connections are dropped for about a second"
    )
    if ground.restart_destroys:
        text += ", and the data in memory is gone"
    effects, destroys = (*effects, *ground.restart), ground.restart_destroys
    return Step(address, Action.RESTART, before, after, effects, why, text, destroys=destroys, reveals=True)


def _alteration(line: Line, before: Settings, after: Settings) -> str:
    """Return the sentence for what ALTER SYSTEM has set; it may not be in force yet."""
    row = before.rows.get(line.name)
    is_in_force = row is not None and row.file == line.file and not row.pending_restart
    verb, when = ("is", "") if is_in_force else ("will be", " from the next reload or restart on")
    where = f"ALTER SYSTEM ({line.file}:{line.number})"
    return f"{line.name} {verb} {line.value!r}{when} by {where}, and {_declared(after.raw.get(line.name))}"


def _of_rules(before: Settings, after: Settings, spec: Spec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sentences for rules that differ from what is declared: those that hit the login, and the others."""
    ours: list[str] = []
    others: list[str] = []
    declared = {name: value for name, value in after.raw.items() if name not in after.assumed}
    for each in before.rules:
        if each.name not in declared or is_same(spec.server.major, each.name, declared[each.name], each.value):
            continue
        if each.name in _declared_rules(spec, each):
            continue
        text = f"{each.name} is {each.value!r} {each.whom}, and {_declared(declared[each.name])}: {each.undoing}"
        hits = each.role in ("", spec.server.user) and each.database in ("", spec.server.database)
        (ours if hits else others).append(text)
    return tuple(ours), tuple(others)


def _declared_rules(spec: Spec, rule: Rule) -> Values:
    """Return what the spec itself sets for the same role or database; that is no way around the server's settings."""
    if not rule.role:
        return spec.databases[rule.database].settings if rule.database in spec.databases else {}
    if rule.role not in spec.roles:
        return {}
    role = spec.roles[rule.role]
    return role.settings_in.get(rule.database, {}) if rule.database else role.settings


def _declared(wanted: str | None) -> str:
    return "the spec does not set it" if wanted is None else f"{wanted!r} is declared"
