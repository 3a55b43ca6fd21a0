"""The removal of a database: only on demand, and only where nothing stands in the way."""

from __future__ import annotations

from collections.abc import Iterator

from provision.errors import RefusedError, command
from provision.kinds import Look, Scene, rights
from provision.model import MAINTENANCE, Action, Address, Plan, Stage, State, Step
from provision.model.effects import RunSql
from provision.model.sql import identifier, literal
from provision.model.value import dataclass
from provision.model.words import count, some
from provision.spec.access import Database

_SHOWN = 10
_HOLDING = ("table", "materialized view", "foreign table")

# Autovacuum gives way by itself. https://www.postgresql.org/docs/current/sql-dropdatabase.html
_IN_THE_WAY = """
SELECT 'size', CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_size_pretty(pg_database_size(oid)) END, '', 0
FROM pg_database WHERE datname = %(name)s
UNION ALL
SELECT 'template', '', '', 0 FROM pg_database WHERE datname = %(name)s AND datistemplate
UNION ALL
SELECT 'session', coalesce(usename, backend_type), coalesce(application_name, ''), count(*) FROM pg_stat_activity
WHERE datname = %(name)s AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker' GROUP BY 2, 3
UNION ALL
SELECT 'prepared', gid, owner::text, 0 FROM pg_prepared_xacts WHERE database = %(name)s
UNION ALL
SELECT 'slot', slot_name, CASE WHEN active THEN 'in use' ELSE 'not in use' END, 0
FROM pg_replication_slots WHERE database = %(name)s
UNION ALL
SELECT 'subscription', subname, '', 0 FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %(name)s)
ORDER BY 1, 2, 3
"""


@dataclass(frozen=True)
class Removal:
    """What a database holds, and what stands in the way of dropping it: lines, and the way around each."""

    holds: tuple[str, ...]
    sessions: tuple[str, ...]
    obstacles: tuple[tuple[str, str], ...]


def look_at(look: Look, name: str) -> Removal:
    """Look at what a database that shall go away holds, and who is in it."""
    holds, sessions, obstacles = [], [], []
    for what, first, second, number in look.rows(_IN_THE_WAY, {"name": name}, database=MAINTENANCE):
        if what == "size" and first is not None:
            holds.append(f"{first} of data")
        elif what == "session":
            sessions.append(f"{count(number, 'session')} of {first}" + (f" ({second})" if second else ""))
        elif what in _WAYS:
            sentence, way = _WAYS[what]
            words = {"database": identifier(name), "name": identifier(first), "text": literal(first), "of": second}
            obstacles.append((sentence.format(**words), way.format(**words)))
    return Removal((*holds, *_tables(look, name)), tuple(sessions), tuple(obstacles))


_WAYS = {
    "template": ("it is a template", "ALTER DATABASE {database} IS_TEMPLATE false"),
    "prepared": ("a prepared transaction of {of}: {text}", "in that database: ROLLBACK PREPARED {text}"),
    "slot": ("a replication slot that is {of}: {name}", "SELECT pg_drop_replication_slot({text})"),
    "subscription": ("a subscription: {name}", "in that database: DROP SUBSCRIPTION {name}"),
}


def _tables(look: Look, name: str) -> Iterator[str]:
    found = rights.contents(look, name)
    if found is None:
        return
    names = [f"{each.schema}.{table}" for each in found.objects if each.kind in _HOLDING for table in each.names]
    if names:
        yield f"{count(len(names), 'table')}: {', '.join(some(names, _SHOWN))}"


def steps(address: Address, before: State, found: Removal | None, declared: Database, scene: Scene) -> Plan:
    """Drop a database.

    Raises:
        RefusedError: that was not asked for, or something stands in the way.
    """
    name, found = declared.name, found or Removal((), (), ())
    in_the_way = () if declared.ends_sessions else found.sessions
    lines = (*found.holds, *in_the_way, *(sentence for sentence, _ in found.obstacles))
    ways = [way for _, way in found.obstacles]
    if in_the_way:
        ways.append(f"end these sessions, or write `databases: {{{name}: {{sessions: end}}}}`")
    if ways:
        raise RefusedError(
            f"the database {name!r} is in use, so it cannot be dropped",
            evidence=lines,
            next_step=f"{'; '.join(ways)}; then: " + command("apply --data"),
        )
    if not scene.wishes.data:
        raise RefusedError(
            f"the database {name!r} is declared absent, and what it holds would be lost",
            evidence=[f"{declared.place}: state: absent", *lines],
            next_step="to drop it: " + command("apply --data"),
        )
    force = " WITH (FORCE)" if declared.ends_sessions else ""
    effects = (RunSql(MAINTENANCE, (f"DROP DATABASE {identifier(name)}{force}",), shown=True),)
    text = f"these sessions end: {', '.join(found.sessions)}" if found.sessions else ""
    why = ("state: absent", *found.holds)
    return Plan((Step(address, Action.REMOVE, before, None, effects, why, text, destroys=True, stage=Stage.DROP),))
