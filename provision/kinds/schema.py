"""Schemas of the declared databases: made with their owner, given to another one, and dropped where they are empty.

Who may do what in one is for the privileges.
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.errors import RefusedError, command
from provision.kinds import Before, Files, Inputs, Look, Scene, catalog, rights, role
from provision.kinds.pieces import Piece, steps as steps_of
from provision.model import UNKNOWN, Action, Address, Plan, Stage, State, Step, Unknown, changes
from provision.model.effects import OWNER_OF_DATABASE, RunInTransaction
from provision.model.sql import identifier, literal
from provision.model.value import dataclass, field
from provision.model.words import some
from provision.spec import access
from provision.spec.model import Spec

KIND = "schema"
PUBLIC = "public"
_SHOWN = 10

# What is in a schema, but for what goes with something else that is in it. Default privileges go with the schema.
# https://www.postgresql.org/docs/current/catalog-pg-depend.html
_OBJECTS = """
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend AS d
WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n'
    AND d.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = %s)
    AND NOT EXISTS (SELECT FROM pg_depend AS o
        WHERE (o.classid, o.objid) = (d.classid, d.objid)
            AND (o.deptype IN ('e', 'i', 'P', 'S') OR o.deptype = 'a' AND o.refclassid = 'pg_class'::regclass))
ORDER BY 1
"""


@dataclass(frozen=True)
class Schema(State):
    """A schema; ``owner`` and ``comment`` are None where they are not managed.

    ``has_owner``: the declared owner exists already. ``objects`` are in a schema that is declared absent.
    """

    database: str
    name: str
    owner: str | None = None
    comment: str | None = None
    present_owner: str = field(default="", compare=False)
    has_owner: bool = field(default=True, compare=False)
    objects: tuple[str, ...] = field(default=(), compare=False)


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the schemas that are declared present."""
    return {
        _address(database, each): Schema(database.name, each.name, each.owner, each.comment)
        for database, each in _declared(spec)
        if not each.is_absent
    }


def _declared(spec: Spec) -> Iterator[tuple[access.Database, access.Schema]]:
    for database in spec.databases.values():
        if not database.is_absent:
            yield from ((database, each) for each in database.schemas.values())


def _address(database: access.Database, each: access.Schema) -> Address:
    return Address(KIND, f"{database.name}/{each.name}")


def seen(look: Look) -> dict[Address, State | Unknown]:
    """Return the declared schemas that exist; of a database that cannot be entered they are not known."""
    found: dict[Address, State | Unknown] = {}
    for database, each in _declared(look.spec):
        contents = rights.contents(look, database.name)
        if contents is None:
            if each.name == PUBLIC or database.name in look.once(catalog.cluster).databases:
                found[_address(database, each)] = UNKNOWN
        elif each.name in contents.schemas:
            found[_address(database, each)] = _seen(look, database.name, each, contents.schemas[each.name])
    return found


def _seen(look: Look, database: str, want: access.Schema, there: catalog.Schema) -> Schema:
    objects = look.rows(_OBJECTS, (want.name,), database=database) if want.is_absent else []
    leaving = {f"extension {each.name}" for each in look.spec.databases[database].extensions if each.is_absent}
    return Schema(
        database,
        want.name,
        look.once(role.known_as).get(there.owner, there.owner) if want.owner is not None else None,
        there.comment or "" if want.comment is not None else None,
        present_owner=there.owner,
        has_owner=want.owner in look.once(catalog.cluster).roles,
        objects=tuple([name for (name,) in objects if name not in leaving]),
    )


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Create a schema, give it to its owner, or drop it.

    Raises:
        RefusedError: a schema that is declared absent has something in it.
    """
    if isinstance(before, Schema):
        if not isinstance(after, Schema):
            return Plan(_drop(address, before, scene))
        pieces, owner = _pieces(before, after, scene), (before.present_owner,)
        return Plan(tuple(steps_of(address, (before, after), pieces, before.database, acts_for=owner)))
    if not isinstance(after, Schema):
        return Plan()
    if before is UNKNOWN or (scene.ground.starting and after.name == PUBLIC):  # each new database has that one
        return Plan()
    effect = RunInTransaction(after.database, tuple(_creating(after, scene)), acts_for=_owners(after))
    return Plan((Step(address, Action.CREATE, None, after, (effect,)),))


def _owners(after: Schema) -> tuple[str, ...]:
    """Return the roles for which a schema is made, or given away."""
    return (OWNER_OF_DATABASE, *([after.owner] if after.owner is not None else []))


def _creating(after: Schema, scene: Scene) -> Iterator[str]:
    owner = after.owner or scene.spec.databases[after.database].owner
    name = identifier(after.name)
    if owner is not None:
        yield f"CREATE SCHEMA {name} AUTHORIZATION {identifier(owner)}"
    else:
        yield _FOR_OWNER.format(text=literal(f"CREATE SCHEMA {name.replace('%', '%%')} AUTHORIZATION %I"))
    if after.comment:
        yield f"COMMENT ON SCHEMA {name} IS {literal(after.comment)}"


_FOR_OWNER = (
    "DO $$ BEGIN EXECUTE format({text}, (SELECT pg_get_userbyid(datdba) FROM pg_database"
    " WHERE datname = current_database())); END $$"
)
"""Where the spec does not say who owns the database, only the server knows."""


def _pieces(before: Schema, after: Schema, scene: Scene) -> Iterator[Piece]:
    declared, name = scene.spec.databases[before.database].schemas[before.name], identifier(before.name)
    for each in changes(before, after):
        if each.field == "owner":
            # Before others become members of the old owner, where there is a new one already.
            stage = Stage.REVOKE if before.has_owner else Stage.CHANGE
            statement = f"ALTER SCHEMA {name} OWNER TO {identifier(declared.owner or '')}"
            yield Piece(stage, each, (statement,), f"{before.owner} does not own it any more", _owners(after))
        else:
            text = literal(declared.comment) if declared.comment else "NULL"
            yield Piece(Stage.CHANGE, each, (f"COMMENT ON SCHEMA {name} IS {text}",))


def _drop(address: Address, before: Schema, scene: Scene) -> tuple[Step, ...]:
    declared = scene.spec.databases[before.database].schemas[before.name]
    name, found = identifier(before.name), before.objects
    if found:
        raise RefusedError(
            f"the schema {before.name!r} of {before.database!r} is declared absent, and it is not empty",
            evidence=[f"{declared.place}: state: absent", *some(found, _SHOWN)],
            next_step="drop what is in it by a migration; or yourself, with all of it: "
            + command("psql", f"-- -d {before.database} -c 'DROP SCHEMA {name} CASCADE'"),
        )
    effects = (RunInTransaction(before.database, (f"DROP SCHEMA {name}",), acts_for=(before.present_owner,)),)
    return (Step(address, Action.REMOVE, before, None, effects, ("state: absent",), stage=Stage.DROP),)
