"""Server settings: what the rendered ``postgresql.conf`` says against what ``pg_settings`` shows.

The file is the truth about what is wanted, so a template of one's own may set more than the spec. Values are compared
in the form in which the server shows them, so ``256MB``, ``262144kB`` and ``32768`` are one value. Contexts:
https://www.postgresql.org/docs/current/view-pg-settings.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.kinds import overrides
from provision.kinds.overrides import Around
from provision.model import Action, Address, Change, State, Step, Unknown, Wishes
from provision.model.effects import ReloadSettings, RunSql
from provision.spec.parameters import catalogue, normalise, shows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provision.kinds import Ground
    from provision.model import Query

KIND = "settings"
ADDRESS = Address(KIND, "postgresql.conf")
_MAINTENANCE = "postgres"

_QUERY = """
SELECT name, setting, current_setting(name), context, source, sourcefile, sourceline, pending_restart
FROM pg_settings
WHERE name = ANY(%(names)s) OR %(file)s <> '' AND (sourcefile IS NOT NULL OR pending_restart)
UNION ALL
SELECT name, current_setting(name, true), current_setting(name, true), 'user', 'configuration file', %(file)s, 0, false
FROM unnest(%(custom)s::text[]) AS custom (name)
WHERE current_setting(name, true) IS NOT NULL AND name NOT IN (SELECT name FROM pg_settings)
"""
OVERRIDES = {
    "command line": "the server's command line",
    "environment variable": "the server's environment",
    "global": "ALTER ROLE ALL SET",
    "database": "ALTER DATABASE … SET",
    "user": "ALTER ROLE … SET",
    "database user": "ALTER ROLE … IN DATABASE … SET",
}
# The server replaces "choose for me" by what it chose and says so with the source `override`.
_AUTOMATIC = ("-1", "0")


@dataclass(frozen=True, slots=True)
class Row:
    """What ``pg_settings`` says about one setting besides its value; ``shown`` is the value with its unit."""

    shown: str
    context: str
    source: str
    file: str
    line: int
    pending_restart: bool


@dataclass(frozen=True, slots=True)
class Settings(State):
    """Settings by name, each in the form that the server shows; ``raw`` is as the file has it.

    ``waiting`` are settings with the right value for which the server waits for a restart all the same: they were
    changed, and changed back. ``assumed`` are those that nobody has declared and the file sets as initdb would.
    """

    values: Mapping[str, str]
    raw: Mapping[str, str] = field(default_factory=dict, compare=False)
    rows: Mapping[str, Row] = field(default_factory=dict, compare=False)
    waiting: tuple[str, ...] = ()
    around: Around = field(default_factory=Around, compare=False)
    assumed: frozenset[str] = field(default_factory=frozenset, compare=False)


@dataclass(frozen=True, slots=True)
class Told:
    """What stays as it is, a sentence each.

    ``overrides``: it is declared, and another place keeps it from being in force. ``notes``: it differs, and is for
    others, or for another run, to change. ``remarks``: it is set for other roles or databases than the declared ones.
    """

    overrides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def desired(
    raw: Mapping[str, str], normalised: Callable[[str, str], str], *, assumed: frozenset[str] = frozenset()
) -> dict[Address, State]:
    """Return the settings of a configuration file; ``normalised(name, value)`` gives the server's form of a value."""
    values = {name: normalised(name, value) for name, value in raw.items()}
    return {ADDRESS: Settings(values, raw=raw, assumed=assumed)}


def observe(want: State | None, query: Query, *, major: int, config_file: str, database: str) -> dict[Address, State]:
    """Read the declared settings, those that a file has set and the spec does not declare, and what else sets some."""
    if not isinstance(want, Settings):
        return {}
    # In this order: to read pg_file_settings makes a session forget which settings wait for a restart.
    values, rows = read(want.values, query, major=major, config_file=config_file, database=database)
    around = overrides.observe(query, major=major, database=database)
    altered = overrides.altered(around, config_file)
    for name, row in rows.items():
        if row.source in overrides.MASKED and name in want.values:
            values[name] = _behind(name, want.values[name], around, major)
        elif name not in want.values and (name in altered or not row.file or _is_default(name, values, row, major)):
            del values[name]
    for line in around.lines:
        if line.file == config_file and line.name not in want.values and line.name not in rows:
            values[line.name] = line.value
            rows[line.name] = Row(line.value, "user", "configuration file", line.file, line.number, False)
    waiting = (
        name
        for name, row in rows.items()
        if row.pending_restart and name not in altered and name in want.values and values[name] == want.values[name]
    )
    return {ADDRESS: Settings(values, rows=rows, waiting=tuple(sorted(waiting)), around=around)}


def _is_default(name: str, values: Mapping[str, str], row: Row, major: int) -> bool:
    """Tell whether a setting that is not declared any more would be the same after the restart that it needs."""
    known = catalogue(major).get(name)
    return row.context == "postmaster" and known is not None and values[name] == known.boot


def _behind(name: str, want: str, around: Around, major: int) -> str:
    """Return the server's value of a setting of which our session has its own: what its files say, or the default."""
    known, line = catalogue(major).get(name), around.last(name)
    if line is None or known is None:
        return (known.boot if known else None) or ""
    return want if overrides.is_same(major, name, want, line.value) else normalise(known, line.value)


def read(
    wanted: Mapping[str, str], query: Query, *, major: int, config_file: str, database: str
) -> tuple[dict[str, str], dict[str, Row]]:
    """Return the effective values and what else is known, for the wanted settings and those of a file.

    A custom setting (``myapp.note``) that no extension has claimed stands in no view, and is asked for by its name.
    """
    values, rows, known = {}, {}, catalogue(major)
    asked = {"names": list(wanted), "file": config_file, "custom": [name for name in wanted if "." in name]}
    for name, setting, shown, context, source, file, line, pending in query.rows(_QUERY, asked, database=database):
        want = wanted.get(name)
        chosen = source == "override" and want in _AUTOMATIC
        same = want is not None and name in known and shows(known[name], want, setting)
        values[name] = want if want is not None and (chosen or same) else setting
        rows[name] = Row(shown, context, source, file or "", line or 0, pending)
    return values, rows


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is to be done: the settings that differ, of these the ones that need a restart, and what is to be reset.

    ``held`` are those that would need a restart where none is wanted; ``overridden`` maps names to sentences.
    """

    differing: tuple[str, ...]
    restarting: tuple[str, ...]
    held: tuple[str, ...]
    resets: tuple[str, ...]
    overridden: Mapping[str, str]


def _judge(before: Settings, after: Settings, *, config_file: str, major: int, wishes: Wishes) -> _Verdict:
    altered = overrides.altered(before.around, config_file)
    differing = {n for n in {*before.values, *after.values} if before.values.get(n) != after.values.get(n)}
    found: dict[str, str] = {}
    for name in sorted(differing):
        row, wanted = before.rows.get(name), after.raw.get(name)
        if row is not None and (text := overrides.fixed(name, row.source, row.shown, wanted)):
            found[name] = text
    resets: tuple[str, ...] = ()
    if wishes.reset_overrides:
        resets = tuple(sorted(altered))
        differing |= {n for n in resets if not overrides.is_same(major, n, after.raw.get(n), altered[n].value)}
    else:
        for name, line in altered.items():
            if not overrides.is_same(major, name, after.raw.get(name), line.value):
                found[name] = overrides.alteration(line, after.raw.get(name), coming=not _is_in_force(before, line))
    differing -= {*found}
    restarting = tuple(sorted(name for name in differing if _needs_restart(name, before, after)))
    held = restarting if wishes.no_restart else ()
    doing = tuple(sorted(differing - {*held}))
    return _Verdict(doing, () if held else restarting, held, resets, found)


def _is_in_force(seen: Settings, line: overrides.Line) -> bool:
    row = seen.rows.get(line.name)
    return row is not None and row.file == line.file and not row.pending_restart


def _needs_restart(name: str, before: Settings, after: Settings) -> bool:
    row = before.rows.get(name)
    if row is None or row.context != "postmaster":
        return False
    if name in after.values:
        return before.values.get(name) != after.values[name]
    return bool(row.file)


def plan(
    address: Address,
    before: State | Unknown | None,
    after: State | None,
    *,
    config_file: str,
    ground: Ground,
    major: int,
    wishes: Wishes,
) -> tuple[Step, ...]:
    """Reload, or restart where a differing setting demands it; what is set elsewhere is left alone (:func:`told`)."""
    if not isinstance(after, Settings) or not isinstance(before, Settings):
        return ()
    found = _judge(before, after, config_file=config_file, major=major, wishes=wishes)
    why: tuple[Change | str, ...] = _why(found.differing, before, after)
    if ground.starting:
        text = "read when the server starts"
        return (Step(address, Action.UPDATE, before, after, (), why=why, consequence=text),) if why else ()
    unread = [name for name in found.held if not before.rows[name].pending_restart]
    if not (found.differing or found.resets or unread or before.waiting):
        return ()
    resets = tuple(overrides.resetting(name) for name in found.resets)
    why = why or _why(tuple(unread), before, after) or _unrestarted(before.waiting, resets)
    effects = (*ground.publish, ReloadSettings(after.raw))
    if resets:
        effects = (RunSql(_MAINTENANCE, resets), *effects)
    if not found.restarting:
        text = "reload: nobody is disturbed"
        return (Step(address, Action.RELOAD, before, after, effects, why=why, consequence=text),)
    names = ", ".join(found.restarting)
    text = (
        f"restart, because {names} can only be set when the server starts: connections are dropped for about a second"
    )
    if ground.restart_destroys:
        text += ", and the data in memory is gone"
    destroys = ground.restart_destroys
    effects = (*effects, *ground.restart)
    return (Step(address, Action.RESTART, before, after, effects, why, text, destroys=destroys, reveals=True),)


def _why(names: tuple[str, ...], before: Settings, after: Settings) -> tuple[Change, ...]:
    shown = {name: before.rows[name].shown if name in before.rows else None for name in names}
    return tuple(Change(name, shown[name], after.raw.get(name)) for name in names)


def _unrestarted(waiting: tuple[str, ...], resets: tuple[str, ...]) -> tuple[str, ...]:
    back = f"{', '.join(waiting)}: changed and changed back, and the server still waits for a restart"
    return resets or (back,)


def told(
    before: State | Unknown | None,
    after: State | None,
    *,
    config_file: str,
    major: int,
    wishes: Wishes,
    login: tuple[str, str],
) -> Told:
    """Return what stays as it is; ``login`` is the declared role and database."""
    if not isinstance(after, Settings) or not isinstance(before, Settings):
        return Told()
    found = _judge(before, after, config_file=config_file, major=major, wishes=wishes)
    wanted = {name: value for name, value in after.raw.items() if name not in after.assumed}
    notes, remarks = overrides.rules(before.around, wanted, major=major, login=login)
    declared = tuple(text for name, text in found.overridden.items() if name in after.raw)
    others = tuple(
        f"{text} (--reset-overrides takes it back)" for name, text in found.overridden.items() if name not in after.raw
    )
    held = tuple(f"{each} waits for a restart (--no-restart)" for each in _why(found.held, before, after))
    return Told(declared, (*others, *notes, *held), remarks)
