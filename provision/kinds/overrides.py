"""Settings that come from elsewhere than the rendered file: found, named, and taken back where that is asked for.

``ALTER SYSTEM`` writes ``postgresql.auto.conf``, which is read after ours; the server's command line and environment
come before any file; a role or a database has values of its own for its sessions. The files are read through
``pg_file_settings``, so that a line counts which the server has not read, or which waits for a restart.
https://www.postgresql.org/docs/current/view-pg-file-settings.html
https://www.postgresql.org/docs/current/catalog-pg-db-role-setting.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.model.sql import identifier
from provision.spec.parameters import canonical_name, catalogue, normalise, shows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Query

# Sources of a value that stand for our own session only: what the server would give to others is in its files.
# https://git.postgresql.org/gitweb/?p=postgresql.git;f=src/include/utils/guc.h (enum GucSource)
MASKED = frozenset({"global", "database", "user", "database user", "client", "interactive", "session"})
_FIXED = {
    "command line": "the server's command line; take it out of there (with Docker: `command` of the compose template)",
    "environment variable": "the environment of the server's process; take it out of there",
}
_QUERY = """
SELECT 'line', seqno, sourcefile, sourceline::text, name, setting FROM pg_file_settings WHERE name IS NOT NULL
UNION ALL
SELECT 'rule', 0, coalesce(rolname, ''), coalesce(datname, ''),
    split_part(entry, '=', 1), substr(entry, strpos(entry, '=') + 1)
FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole
    LEFT JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) AS entry
UNION ALL
SELECT 'server', count(*), current_setting('config_file'), current_setting('data_directory'), '', ''
FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename IS NOT NULL
    AND application_name <> 'provision' AND pid <> pg_backend_pid()
ORDER BY 1, 2, 3, 4, 5
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one of the server's configuration files."""

    file: str
    number: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What sessions of a role in a database get; an empty name stands for every one."""

    role: str
    database: str
    name: str
    value: str

    @property
    def whom(self) -> str:
        """Whose sessions these are, in words."""
        words = [f"for the role {self.role!r}"] if self.role else []
        words += [f"in the database {self.database!r}"] if self.database else []
        return " ".join(words) or "for every role"

    @property
    def undoing(self) -> str:
        """The statement that takes it back."""
        if self.role or not self.database:
            place = f" IN DATABASE {identifier(self.database)}" if self.database else ""
            return f"ALTER ROLE {identifier(self.role) if self.role else 'ALL'}{place} RESET {self.name}"
        return f"ALTER DATABASE {identifier(self.database)} RESET {self.name}"


@dataclass(frozen=True, slots=True)
class Around:
    """What was seen beside the settings: how many clients are connected, and every other place that sets something.

    ``config_file`` and ``data_directory`` are the server's own words.
    """

    clients: int = 0
    config_file: str = ""
    data_directory: str = ""
    lines: tuple[Line, ...] = ()
    rules: tuple[Rule, ...] = ()

    def last(self, name: str, *, outside: str = "") -> Line | None:
        """Return the line that wins for a setting; only among other files than ``outside``."""
        return next((each for each in reversed(self.lines) if each.name == name and each.file != outside), None)


def observe(query: Query, *, major: int, database: str) -> Around:
    """Read the lines of all configuration files, the rules for roles and databases, and count the clients."""
    lines, rules, clients, places = [], [], 0, ("", "")
    for kind, number, place, other, name, value in query.rows(_QUERY, database=database):
        if kind == "line":
            lines.append(Line(place, int(other), canonical_name(major, name), value))
        elif kind == "rule":
            rules.append(Rule(place, other, canonical_name(major, name), value))
        else:
            clients, places = number, (place, other)
    return Around(clients, *places, tuple(lines), tuple(rules))


def altered(around: Around, config_file: str) -> dict[str, Line]:
    """Return what ``ALTER SYSTEM`` has set: the last line of each setting in another file than ours."""
    return {each.name: each for each in around.lines if each.file != config_file}


def is_same(major: int, name: str, wanted: str | None, raw: str) -> bool:
    """Tell whether a value as a configuration file or a rule has it is the wanted one."""
    known = catalogue(major).get(name)
    if wanted is None or known is None:
        return wanted == raw
    try:
        return shows(known, wanted, normalise(known, raw))
    except ValueError:
        return False


def fixed(name: str, source: str, shown: str, wanted: str | None) -> str | None:
    """Return the sentence for a value that no file can change, or None where it comes from a file or is a default."""
    where = _FIXED.get(source)
    return f"{name} is {shown!r}, and {_declared(wanted)}: it comes from {where}" if where else None


def alteration(line: Line, wanted: str | None, *, coming: bool) -> str:
    """Return the sentence for what ALTER SYSTEM has set; ``coming``: it is not in force yet."""
    verb = "will be" if coming else "is"
    when = " from the next reload or restart on" if coming else ""
    where = f"ALTER SYSTEM ({line.file}:{line.number})"
    return f"{line.name} {verb} {line.value!r}{when} by {where}, and {_declared(wanted)}"


def rules(
    around: Around, wanted: Mapping[str, str], *, major: int, login: tuple[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sentences for rules that differ from what is wanted: those that hit the login, and the others.

    ``login`` is the declared role and database.
    """
    ours: list[str] = []
    others: list[str] = []
    for each in around.rules:
        if each.name not in wanted or is_same(major, each.name, wanted[each.name], each.value):
            continue
        text = f"{each.name} is {each.value!r} {each.whom}, and {_declared(wanted[each.name])}: {each.undoing}"
        hits = each.role in ("", login[0]) and each.database in ("", login[1])
        (ours if hits else others).append(text)
    return tuple(ours), tuple(others)


def resetting(name: str) -> str:
    """Return the statement that takes back what ALTER SYSTEM has set."""
    return f"ALTER SYSTEM RESET {identifier(*name.split('.'))}"


def _declared(wanted: str | None) -> str:
    return "the spec does not set it" if wanted is None else f"{wanted!r} is declared"
