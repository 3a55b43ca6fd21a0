"""What a server says about its settings: the values in force, and every place that sets one.

``ALTER SYSTEM`` writes ``postgresql.auto.conf``, which is read after ours; the server's command line and environment
come before any file; a role or a database has values of its own for its sessions. The files are read through
``pg_file_settings``, so that a line counts which the server has not read, or which waits for a restart.
https://www.postgresql.org/docs/current/view-pg-settings.html
https://www.postgresql.org/docs/current/view-pg-file-settings.html
https://www.postgresql.org/docs/current/catalog-pg-db-role-setting.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from provision.model import LEFT_COPIES, OWN_DATABASES, Change, State
from provision.model.sql import identifier
from provision.model.value import dataclass, field
from provision.spec.parameters import canonical_name, catalogue, normalise, shows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provision.kinds import Look
    from provision.model.cluster import Cluster

# A custom setting (`myapp.note`) that no extension has claimed is in no view, so it is asked for by its name.
_SETTINGS = """
SELECT name, setting, current_setting(name), context, source, sourcefile, sourceline, pending_restart
FROM pg_settings
WHERE name = ANY(%(names)s) OR %(file)s <> '' AND (sourcefile IS NOT NULL OR pending_restart)
UNION ALL
SELECT name, current_setting(name, true), current_setting(name, true), 'user', 'configuration file', %(file)s, 0, false
FROM unnest(%(custom)s::text[]) AS custom (name)
WHERE current_setting(name, true) IS NOT NULL AND name NOT IN (SELECT name FROM pg_settings)
"""
# What the view pg_stat_activity selects from takes a new session half as long to plan.
_AROUND = f"""
SELECT 'line', seqno, sourcefile, sourceline::text, name, setting FROM pg_file_settings WHERE name IS NOT NULL
UNION ALL
SELECT 'rule', 0, coalesce(rolname, ''), coalesce(datname, ''),
    split_part(entry, '=', 1), substr(entry, strpos(entry, '=') + 1)
FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole
    LEFT JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) AS entry
WHERE setdatabase = 0 OR datname !~ '^{OWN_DATABASES}'
UNION ALL
SELECT 'left', 0, datname, '', '', '' FROM pg_database WHERE {LEFT_COPIES}
UNION ALL
SELECT 'server', count(*), current_setting('config_file'), current_setting('data_directory'), '', ''
FROM pg_stat_get_activity(NULL) WHERE backend_type = 'client backend' AND usesysid IS NOT NULL
    AND application_name <> 'provision' AND pid <> pg_backend_pid()
ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608  # from constants only
# Sources of a value that is only our own session's: the server's files have what it gives to others.
# https://git.postgresql.org/gitweb/?p=postgresql.git;f=src/include/utils/guc.h (enum GucSource)
OF_SESSION = frozenset({"global", "database", "user", "database user", "client", "interactive", "session"})
# The server replaces "choose for me" by what it chose, and gives the source as `override`.
_AUTOMATIC = ("-1", "0")


@dataclass(frozen=True)
class Row:
    """What ``pg_settings`` says about one setting besides its value; ``shown`` is the value with its unit."""

    shown: str
    context: str
    source: str
    file: str
    line: int
    pending_restart: bool


@dataclass(frozen=True)
class Line:
    """One line of one of the server's configuration files."""

    file: str
    number: int
    name: str
    value: str


@dataclass(frozen=True)
class Rule:
    """What sessions of a role in a database get; an empty name means every one."""

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


@dataclass(frozen=True)
class Around:
    """What a superuser sees beside the settings: connected clients, and every other place that sets something.

    ``config_file`` and ``data_directory`` are the server's own words. ``left`` are copies of databases that a run has
    left that was killed.
    """

    clients: int = 0
    config_file: str = ""
    data_directory: str = ""
    lines: tuple[Line, ...] = ()
    rules: tuple[Rule, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Powers:
    """What our role may do; ``alter`` are the settings that it may change with ALTER SYSTEM.

    ``allowed`` is the server's ``allow_alter_system``, which exists from 17 on. ``provider`` is who manages the server,
    and where it has the settings. ``standbys`` are those that stream from the server, by name.
    """

    role: str
    allowed: bool
    reload: bool
    file: bool
    read: bool
    alter: frozenset[str]
    provider: tuple[str, str] | None = None
    standbys: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnMember:
    """Declared settings as one member of a cluster has them; ``error`` says why it could not be asked."""

    values: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, Row] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class InCluster:
    """A cluster, and the declared settings on each of its members, by name."""

    cluster: Cluster
    members: Mapping[str, OnMember]


@dataclass(frozen=True)
class Settings(State):
    """Settings by name, each in the form that the server shows, and how they are set there.

    ``raw`` is as the file or the spec has it. ``assumed`` are those that the file sets as initdb would, undeclared.
    ``waiting`` are settings with the right value for which the server waits for a restart all the same: they were
    changed, and changed back. ``altered`` is what ALTER SYSTEM has set, ``rules`` are the values of roles and
    databases. ``coming`` are values that were set and come into force with a restart; ``powers`` is None where nothing
    differs, or a superuser asks. ``around`` is the cluster of a server that Patroni runs, and its other members.
    """

    values: Mapping[str, str]
    raw: Mapping[str, str] = field(default_factory=dict, compare=False)
    via: Literal["file", "alter_system", "patroni", "nothing"] = "file"
    assumed: frozenset[str] = field(default_factory=frozenset, compare=False)
    rows: Mapping[str, Row] = field(default_factory=dict, compare=False)
    waiting: tuple[str, ...] = ()
    altered: Mapping[str, Line] = field(default_factory=dict, compare=False)
    rules: tuple[Rule, ...] = field(default=(), compare=False)
    coming: Mapping[str, str] = field(default_factory=dict, compare=False)
    powers: Powers | None = field(default=None, compare=False)
    around: InCluster | None = field(default=None, compare=False)

    def changes(self, names: Iterable[str], after: Settings) -> tuple[Change, ...]:
        """Return how settings change from what this server shows to what is declared."""
        shown = {name: self.rows[name].shown if name in self.rows else None for name in names}
        return tuple(Change(name, was, after.raw.get(name)) for name, was in shown.items())


def in_force(look: Look, wanted: Mapping[str, str], config_file: str) -> tuple[dict[str, str], dict[str, Row]]:
    """Return the effective values and their rows, of the wanted settings and of those that a file sets.

    Where the server shows a wanted value in another form, the value is the wanted one. Without a ``config_file`` only
    the wanted settings count.
    """
    values, rows, known = {}, {}, catalogue(look.spec.server.major)
    asked = {"names": list(wanted), "file": config_file, "custom": [name for name in wanted if "." in name]}
    for name, setting, shown, context, source, file, line, pending in look.rows(_SETTINGS, asked):
        want = wanted.get(name)
        chosen = source == "override" and want in _AUTOMATIC
        same = want is not None and name in known and shows(known[name], want, setting)
        values[name] = want if want is not None and (chosen or same) else setting
        rows[name] = Row(shown, context, source, file or "", line or 0, pending)
    return values, rows


def around(look: Look) -> Around:
    """Read the lines of all configuration files, the rules for roles and databases, and count the clients.

    A session that has read ``pg_file_settings`` forgets which settings wait for a restart: ask :func:`in_force` first.
    """
    lines, rules, left, clients, paths = [], [], [], 0, ("", "")
    major = look.spec.server.major
    for kind, number, first, second, name, value in look.rows(_AROUND):
        if kind == "line":
            lines.append(Line(first, int(second), canonical_name(major, name), value))
        elif kind == "rule":
            rules.append(Rule(first, second, canonical_name(major, name), value))
        elif kind == "left":
            left.append(first)
        else:
            clients, paths = number, (first, second)
    return Around(clients, *paths, tuple(lines), tuple(rules), tuple(left))


def is_same(major: int, name: str, wanted: str | None, raw: str) -> bool:
    """Tell whether a value as a configuration file or a rule has it is the wanted one."""
    known = catalogue(major).get(name)
    if wanted is None or known is None:
        return wanted == raw
    try:
        return shows(known, wanted, normalise(known, raw))
    except ValueError:
        return False
