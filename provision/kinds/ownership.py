"""What earlier migrations made as another role, where the spec says who owns what migrations make (``migrations.as``).

Only the owner of a table may change it, so a tree that begins to run as another role needs what it made before. Who
owns what is for people to decide: so it is a remark, and a step only where that was asked for. Left out are what an
extension made, the schema ``public``, and schemas that the spec gives to another role.
https://www.postgresql.org/docs/current/sql-altertable.html
"""

from __future__ import annotations

from provision.alembic import Revisions
from provision.errors import command
from provision.kinds import Before, Files, Inputs, Look, Scene, UnseenError, migrations
from provision.kinds.catalog import enters
from provision.model import UNKNOWN, Action, Address, Plan, State, Step, Unknown
from provision.model.effects import RunInTransaction
from provision.model.sql import identifier
from provision.model.value import dataclass, field
from provision.model.words import count, some_of
from provision.spec.model import Spec

KIND = "ownership"
_SHOWN = 5
_WORDS = {"function": "routine", "procedure": "routine", "aggregate": "routine", "statistics object": "statistics"}
"""What ALTER calls a kind of object, where that has another name than in its identity."""

# The catalogs of what has an owner and a schema, and how their columns begin.
_CATALOGS = {
    "pg_class": "rel",
    "pg_proc": "pro",
    "pg_type": "typ",
    "pg_collation": "coll",
    "pg_conversion": "con",
    "pg_operator": "opr",
    "pg_opclass": "opc",
    "pg_opfamily": "opf",
    "pg_statistic_ext": "stx",
    "pg_ts_config": "cfg",
    "pg_ts_dict": "dict",
}
# What goes along with a table or another type by itself: its indexes, its row type, arrays; from 17 on, multiranges.
_BY_THEMSELVES = {
    "pg_class": " AND relkind IN ('r', 'p', 'f', 'v', 'm', 'S')",
    "pg_type": " AND (typtype IN ('b', 'd', 'e', 'r')"
    " AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = c.oid)"
    " OR typtype = 'c' AND EXISTS (SELECT FROM pg_class AS t WHERE t.oid = c.typrelid AND relkind = 'c')"
    " OR typtype = 'm' AND current_setting('server_version_num')::int < 170000)",
}
_FIRST = 16384
"""No object of initdb has an OID as high: see FirstNormalObjectId in transam.h."""
_OWNED = "\nUNION ALL ".join(
    f"SELECT '{name}'::regclass, c.oid, {prefix}namespace FROM {name} AS c "  # noqa: S608  # from constants only
    f"WHERE c.oid >= {_FIRST} AND {prefix}owner = ANY (ARRAY(SELECT oid FROM who)){_BY_THEMSELVES.get(name, '')}"
    for name, prefix in _CATALOGS.items()
)
# A sequence comes after the table that it belongs to, with which it goes along.
_QUERY = f"""
WITH who AS MATERIALIZED (SELECT oid FROM pg_roles WHERE rolname = ANY (%(others)s::text[])),
n AS MATERIALIZED (SELECT oid, nspname, nspowner FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND nspname <> ALL (%(apart)s::text[])),
o (classid, objid, space) AS (
    SELECT 'pg_namespace'::regclass, n.oid, n.oid FROM n, who
    WHERE nspowner = who.oid AND nspname <> ALL (%(declared)s::text[]) AND nspname <> 'public'
    UNION ALL {_OWNED})
SELECT i.type, i.identity
FROM o JOIN n ON n.oid = space, pg_identify_object(classid, objid, 0) AS i
WHERE NOT EXISTS (SELECT FROM pg_depend AS d
    WHERE d.classid = o.classid AND d.objid = o.objid AND d.refclassid = 'pg_extension'::regclass AND deptype = 'e')
ORDER BY i.type <> 'schema', i.type = 'sequence', o.classid <> 'pg_class'::regclass, i.identity
"""  # noqa: S608  # from constants only


@dataclass(frozen=True)
class Ownership(State):
    """Who owns what migrations make in a database, and what another role has made there.

    ``names`` are the same in the order of the ``statements`` that give it to the owner. ``holders`` own version tables
    that the owner may not write: earlier migrations ran as these roles.
    """

    owner: str
    made_by_others: frozenset[str] = frozenset()
    names: tuple[str, ...] = field(default=(), compare=False)
    statements: tuple[str, ...] = field(default=(), compare=False)
    holders: tuple[str, ...] = field(default=(), compare=False)


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the owner in each database that migrations go to."""
    names = dict.fromkeys(spec.database_of(tree) for tree in spec.migrations)
    owners = {name: owner for name in names if (owner := spec.owner_in(name)) is not None}
    return {Address(KIND, name): Ownership(owner) for name, owner in owners.items()}


def seen(look: Look) -> dict[Address, State | Unknown]:
    """Return what the superuser, the login that migrates, or who has migrated owns in place of the owner."""
    if look.session is None:
        raise UnseenError
    found = {address: state for address, state in look.wanted.items() if isinstance(state, Ownership)}
    return {address: _seen(look, address.name, state.owner) for address, state in found.items()}


def _seen(look: Look, database: str, owner: str) -> State | Unknown:
    is_there, spec = enters(look, database), look.spec
    if not is_there:
        return Ownership(owner) if is_there is not None else UNKNOWN
    trees = [tree for tree in spec.migrations if spec.database_of(tree) == database]
    applied = [look.once(migrations.applied, tree.name) for tree in trees]
    holders = tuple({each.holder for each in applied if isinstance(each, Revisions) and each.holder})
    schemas = spec.databases[database].schemas if database in spec.databases else {}
    asked = {
        "others": sorted({spec.server.user, *holders, *(tree.login for tree in trees if tree.login)} - {owner}),
        "declared": [each.name for each in schemas.values() if each.owner],
        "apart": [each.name for each in schemas.values() if each.owner not in (None, owner)],
    }
    found = look.rows(_QUERY, asked, database=database)
    statements = [f"ALTER {_WORDS.get(kind, kind).upper()} {name} OWNER TO {identifier(owner)}" for kind, name in found]
    names = tuple([f"{kind} {name}" for kind, name in found])
    return Ownership(owner, frozenset(names), names, tuple(statements), holders)


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Give the owner what belongs to others where that was asked for; else name it, and the command that does so."""
    if not isinstance(before, Ownership) or not isinstance(after, Ownership) or before == after:
        return Plan()
    shown = some_of(before.names, most=_SHOWN)
    if not scene.wishes.take_ownership:
        why = f"{address}: migrations run as {after.owner!r}, which does not own what earlier ones made: {shown}; "
        return Plan(remarks=(why + command("apply --take-ownership") + " gives it to that role",))
    logins = [
        tree.login for tree in scene.spec.migrations if tree.login and scene.spec.database_of(tree) == address.name
    ]
    step = Step(
        address,
        Action.UPDATE,
        before,
        after,
        (RunInTransaction(address.name, before.statements, acts_for=(after.owner, *logins, *before.holders)),),
        (f"to {after.owner}: {count(len(before.names), 'object')} ({shown})",),
        "each table is locked for a moment: readers and writers wait",
    )
    return Plan((step,))
