"""Server settings: what the rendered ``postgresql.conf`` says against what ``pg_settings`` shows.

The file is the truth about what is wanted, so a template of one's own may set more than the spec. Values are compared
in the form in which the server shows them, so ``256MB``, ``262144kB`` and ``32768`` are one value. Contexts:
https://www.postgresql.org/docs/current/view-pg-settings.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.model import Action, Address, Change, ReloadSettings, State, Step, Unknown
from provision.spec.parameters import catalogue, shows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provision.kinds import Ground
    from provision.model import Query

KIND = "settings"
ADDRESS = Address(KIND, "postgresql.conf")

_QUERY = """
SELECT name, setting, current_setting(name), context, source, sourcefile, sourceline, pending_restart
FROM pg_settings WHERE name = ANY(%(names)s) OR sourcefile = %(file)s
UNION ALL
SELECT name, current_setting(name, true), current_setting(name, true), 'user', 'configuration file', %(file)s, 0, false
FROM unnest(%(custom)s::text[]) AS custom (name)
WHERE current_setting(name, true) IS NOT NULL AND name NOT IN (SELECT name FROM pg_settings)
"""
OVERRIDES = {
    "command line": "the server's command line",
    "environment variable": "the server's environment",
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
    """Settings by name, each in the form that the server shows; ``raw`` is as the file has it."""

    values: Mapping[str, str]
    raw: Mapping[str, str] = field(default_factory=dict, compare=False)
    rows: Mapping[str, Row] = field(default_factory=dict, compare=False)


def desired(raw: Mapping[str, str], normalise: Callable[[str, str], str]) -> dict[Address, State]:
    """Return the settings of a configuration file; ``normalise(name, value)`` gives the server's form of a value."""
    return {ADDRESS: Settings({name: normalise(name, value) for name, value in raw.items()}, raw=raw)}


def observe(want: State | None, query: Query, *, major: int, config_file: str, database: str) -> dict[Address, State]:
    """Read the declared settings, and those that the file set before and no longer declares."""
    if not isinstance(want, Settings):
        return {}
    values, rows = read(want.values, query, major=major, config_file=config_file, database=database)
    return {ADDRESS: Settings(values, rows=rows)}


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


def plan(
    address: Address, before: State | Unknown | None, after: State | None, *, config_file: str, ground: Ground
) -> tuple[Step, ...]:
    """Reload, or restart where a differing setting demands it.

    Raises:
        RefusedError: a declared setting is overridden from elsewhere, so the file cannot change it.
    """
    if before == after or not isinstance(before, Settings) or not isinstance(after, Settings):
        return ()
    differing = tuple(
        name for name in sorted({*before.values, *after.values}) if before.values.get(name) != after.values.get(name)
    )
    why = tuple(
        Change(name, before.rows[name].shown if name in before.rows else None, after.raw.get(name))
        for name in differing
    )
    if ground.starting:
        text = "read when the server starts"
        return (Step(address, Action.UPDATE, before, after, (), why=why, consequence=text),)
    _refuse_overrides(differing, before, config_file)
    restarting = [name for name in differing if name in before.rows and before.rows[name].context == "postmaster"]
    reload_ = (*ground.publish, ReloadSettings(after.raw))
    if not restarting:
        text = "reload: nobody is disturbed"
        return (Step(address, Action.RELOAD, before, after, reload_, why=why, consequence=text),)
    names = ", ".join(restarting)
    text = (
        f"restart, because {names} can only be set when the server starts: connections are dropped for about a second"
    )
    if ground.restart_destroys:
        text += ", and the data in memory is gone"
    effects = (*reload_, *ground.restart)
    destroys = ground.restart_destroys
    return (Step(address, Action.RESTART, before, after, effects, why, text, destroys=destroys, reveals=True),)


def _refuse_overrides(names: tuple[str, ...], seen: Settings, config_file: str) -> None:
    found = {name: where for name in names if (where := _override(seen.rows.get(name), config_file))}
    if not found:
        return
    name = next(iter(found))
    raise RefusedError(
        f"the setting {name!r} is set elsewhere, so the spec cannot change it",
        evidence=[f"{each} = {seen.values[each]} comes from {where}" for each, where in found.items()],
        next_step=f"provision psql SPEC -- -c 'ALTER SYSTEM RESET {name}'",
    )


def _override(row: Row | None, config_file: str) -> str | None:
    if row is None:
        return None
    if row.source in OVERRIDES:
        return OVERRIDES[row.source]
    if row.source == "configuration file" and row.file and row.file != config_file:
        return f"{row.file}:{row.line}"
    return None


def parse(text: str) -> dict[str, str]:
    """Read a configuration file: name → raw value, the last one wins, as for the server.

    https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE

    Raises:
        ValueError: a line cannot be read, or includes another file.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found.update([_parse_line(line, number)])
    return found


def _parse_line(line: str, number: int) -> tuple[str, str]:
    import re

    match = re.fullmatch(r"\s*([A-Za-z_][\w.$]*)\s*(?:=|\s)\s*('(?:[^'\\]|''|\\.)*'|[^\s#']+)\s*(?:#.*)?", line)
    if match is None:
        message = f"line {number} is not `name = value`: {line.strip()}"
        raise ValueError(message)
    name, value = match[1].lower(), match[2]
    if name in ("include", "include_dir", "include_if_exists"):
        message = f"line {number} includes another file, which is not supported: {line.strip()}"
        raise ValueError(message)
    return name, unquote(value) if value.startswith("'") else value


def quote(value: object) -> str:
    """Quote a value for the configuration file; plain words and numbers stay as they are.

    >>> quote("a'b"), quote(200), quote(True)
    ("'a''b'", '200', 'on')
    """
    import re

    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if re.fullmatch(r"-?[0-9]+[A-Za-z]*|-?[0-9]+\.[0-9]+|[A-Za-z_][A-Za-z0-9_]*", text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def unquote(quoted: str) -> str:
    r"""Undo :func:`quote`, with the server's rules for escapes.

    >>> unquote(r"'a''b\\c'")
    "a'b\\c"
    """
    import re

    def replace(match: re.Match[str]) -> str:
        if match[0] == "''":
            return "'"
        if match[1]:
            return chr(int(match[1], 8))
        return {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}.get(match[2], match[2])

    return re.sub(r"''|\\(?:([0-7]{1,3})|(.))", replace, quoted[1:-1])
