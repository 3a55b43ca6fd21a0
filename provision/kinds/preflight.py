"""What a login that is no superuser may not do of a plan: all of it at once, before the first step.

Who has CREATEROLE can be a member of the roles that it administers for as long as a transaction takes. That is how a
plan changes what these own: the memberships stand around the statements, and nothing of them is left.
https://www.postgresql.org/docs/current/role-attributes.html ; what CREATEROLE is about differs before and from 16 on
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from provision.errors import RefusedError, command
from provision.kinds import (
    Before,
    Files,
    Inputs,
    Look,
    Scene,
    catalog,
    declared_database,
    demands,
    extension,
    providers,
    rights,
)
from provision.kinds.catalog import Cluster
from provision.kinds.database_privileges import shuts_out
from provision.kinds.demands import Demand, Login
from provision.model import MAINTENANCE, Action, Address, Effect, Observed, Plan, State, Step
from provision.model.effects import RunInTransaction
from provision.model.sql import identifier
from provision.model.value import dataclass, replace
from provision.model.words import some
from provision.spec.model import Spec

KIND = "rights"
_SHOWN = 3
_ALLOWING = "an administrator can allow it (in psql):"


@dataclass(frozen=True)
class Rights(State):
    """What counts for a login that is no superuser; ``trusted`` are the extensions that it may make all the same."""

    cluster: Cluster
    trusted: frozenset[str]


def wanted(_spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return nothing: a login needs what the plan needs."""
    return {}


def seen(look: Look) -> dict[Address, State]:
    """Return what counts for the login, where it is no superuser."""
    cluster = look.once(catalog.cluster)
    return {} if cluster.is_superuser else {Address(KIND, cluster.login): Rights(cluster, _makes(look, cluster))}


def _makes(look: Look, cluster: Cluster) -> frozenset[str]:
    """Return the extensions that the login may make; of those that a provider allows, it has the last word."""
    provider = providers.of(cluster.roles)
    if provider is not None and provider.extends and provider.role in rights.inherited(cluster, cluster.login):
        return frozenset(look.once(extension.available))
    return extension.trusted(look)


def steps(_address: Address, _before: Before, _after: State | None, _scene: Scene) -> Plan:
    """Return nothing: see :func:`permitted`, which is about the plan as a whole."""
    return Plan()


def permitted(plan: Plan, observed: Observed, scene: Scene) -> Plan:
    """Return a plan as the login can carry it out.

    Raises:
        RefusedError: it may not do all of it; the error says all that is missing, and what allows it.
    """
    found = next((each for each in observed.values() if isinstance(each, Rights)), None)
    if found is None:
        return plan
    login = Login(found.cluster, found.trusted)
    missing = _missing(plan, login, scene)
    if missing:
        lines = script([demand for _, demand in missing], login, scene.spec)
        raise RefusedError(
            f"{login.name!r} may not do all that this needs",
            evidence=[*_reasons(missing), _ALLOWING, *(f"  {each}" for each in lines)],
            next_step="have an administrator do that; then: " + command("apply"),
        )
    return replace(plan, steps=tuple([_carried_out(step, login, scene) for step in plan.steps]))


def _missing(plan: Plan, login: Login, scene: Scene) -> list[tuple[Address, Demand]]:
    """Return what the steps of a plan demand, when the login has the attributes that it needs anyway."""
    found = [(step.address, each) for step in plan.steps for each in demands.of(step, login, scene)]
    attributes = [(address, each) for address, each in found if each.kind == "attribute"]
    if not attributes:
        return found
    now, new = login.role, {each.what for _, each in attributes}
    able = replace(now, createdb=now.createdb or "CREATEDB" in new, createrole=now.createrole or "CREATEROLE" in new)
    roles = {**login.cluster.roles, login.name: able}
    return attributes + _missing(plan, Login(replace(login.cluster, roles=roles), login.trusted), scene)


def _reasons(missing: Iterable[tuple[Address, Demand]]) -> Iterator[str]:
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for address, each in missing:
        found[each.why][address.key] = None
    yield from (f"{why}: {', '.join(some([*addresses], _SHOWN))}" for why, addresses in found.items())


def script(missing: Iterable[Demand], login: Login, spec: Spec) -> Iterator[str]:
    """Yield the statements, as psql takes them, that allow what is missing."""
    found: defaultdict[str, dict[Demand, None]] = defaultdict(dict)
    for each in missing:
        found[each.kind][each._replace(why="")] = None
    names = {kind: [each.what for each in some] for kind, some in found.items()}
    me = identifier(login.name)
    if attributes := names.get("attribute"):
        yield f"ALTER ROLE {me} {' '.join(sorted(attributes))};"
    yield from (f"CREATE ROLE {identifier(each)};" for each in names.get("role", ()))
    yield from _memberships(names, login, me)
    yield from (f"{declared_database.making(spec.databases[each], login.name)};" for each in names.get("database", ()))
    if settings := names.get("setting"):
        yield f"GRANT SET ON PARAMETER {_listed(settings)} TO {me};"
    yield from (f"GRANT CREATE ON TABLESPACE {identifier(each)} TO {me};" for each in names.get("tablespace", ()))
    yield from (f"GRANT CONNECT ON DATABASE {identifier(each)} TO {me};" for each in names.get("connect", ()))
    at = None
    for each in sorted(found["statement"], key=lambda each: each.database or ""):
        if each.database not in (None, at):
            at = each.database
            yield f"\\connect {identifier(at or '')}"
        if each.what:
            yield f"{each.what};"


def _memberships(names: Mapping[str, list[str]], login: Login, me: str) -> Iterator[str]:
    admin, member = set(names.get("admin", ())), set(names.get("member", ()))
    known = {each.group for each in login.cluster.memberships if each.member == login.name}
    for roles, options in (
        (admin & member, "ADMIN TRUE, INHERIT TRUE, SET TRUE"),
        (admin - member - known, "ADMIN TRUE, INHERIT FALSE, SET FALSE"),
        (admin & known - member, "ADMIN TRUE"),
        (member - admin, "INHERIT TRUE, SET TRUE"),
    ):
        if roles:
            words = options if login.has_own_roles else "ADMIN OPTION" if "ADMIN" in options else ""
            yield f"GRANT {_listed(roles)} TO {me}{f' WITH {words}' if words else ''};"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(identifier, names)))


def _carried_out(step: Step, login: Login, scene: Scene) -> Step:
    """Return a step with the memberships that it needs for a while."""
    found = [_borrowing(each, step, login, scene) for each in _effects(step, login, scene)]
    borrowed = sorted({role for _, roles in found for role in roles})
    text = f"meanwhile {login.name} is a member of {', '.join(borrowed)}" if borrowed else ""
    words = "; ".join([each for each in (step.consequence, text) if each])
    return replace(step, effects=tuple([each for each, _ in found]), consequence=words)


def _effects(step: Step, login: Login, scene: Scene) -> Iterator[Effect]:
    """Yield the effects of a step, with what lets the login into a database, or drop one."""
    declared = scene.spec.databases.get(step.address.name) if step.address.kind == declared_database.KIND else None
    name, me = identifier(step.address.name), identifier(login.name)
    if declared is not None and step.action is Action.REMOVE:
        owner = login.owner_of(declared.name, scene)
        if login.standing(owner) == "may be":
            yield RunInTransaction(MAINTENANCE, (f"ALTER DATABASE {name} OWNER TO {me}",), True, acts_for=(owner,))
    is_new = declared is not None and step.action is Action.CREATE
    for each in step.effects:
        if is_new and declared and isinstance(each, RunInTransaction) and shuts_out(declared, login.name):
            yield replace(each, statements=(*each.statements, f"GRANT CONNECT ON DATABASE {name} TO {me}"))
        else:
            yield each


def _borrowing(effect: Effect, step: Step, login: Login, scene: Scene) -> tuple[Effect, list[str]]:
    roles = [each for each in login.acts_for(step, effect, scene) if login.standing(each) == "may be"]
    if not roles or not isinstance(effect, RunInTransaction):
        return effect, []
    options = " WITH INHERIT TRUE, SET TRUE" if login.has_own_roles else ""
    own = {each.group: each for each in login.cluster.memberships if login.name == each.member == each.grantor}
    ends = [
        f"GRANT {identifier(each)} TO CURRENT_USER WITH INHERIT {own[each].inherit}, SET {own[each].set}"
        if each in own
        else f"REVOKE {identifier(each)} FROM CURRENT_USER"
        for each in roles
    ]
    begin = f"GRANT {_listed(roles)} TO CURRENT_USER{options}"
    return replace(effect, statements=(begin, *effect.statements, *ends)), roles
