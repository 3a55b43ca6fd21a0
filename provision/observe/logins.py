"""As whom applications and people log in: as the role that migrates a database, where one does, else a superuser."""

from __future__ import annotations

from typing import NamedTuple

from provision.errors import NextStep, UsageError
from provision.model import CLONE, Endpoint
from provision.model.value import replace
from provision.observe import outside
from provision.observe.outside import World
from provision.spec.model import Spec
from provision.spec.reading import nearest
from provision.system import secrets

SUPERUSER = "--superuser"


class Choice(NamedTuple):
    """Who is to log in, and where. ``role`` None is who migrates the database; ``database`` None the server's.

    ``lasting``: at an address that is still one when this process has ended.
    ``direct``: at the address of the server itself, where the spec has a pooler's, too.
    """

    role: str | None = None
    superuser: bool = False
    database: str | None = None
    lasting: bool = False
    direct: bool = False


def endpoint(spec: Spec, choice: Choice) -> Endpoint:
    """Return where applications reach the environment's server, and as whom; errors are those of :func:`chosen`."""
    world = outside.world(spec)
    found = chosen(world, choice)
    return found if choice.direct else world.site.for_applications(found)


def chosen(world: World, choice: Choice) -> Endpoint:
    """Return how an application or a person logs in; the password is read when it is revealed.

    Raises:
        UnavailableError: no server runs, or its address does not outlive this process.
        UsageError: the spec has no such role that logs in, or no such database.
        ProvisionError: the password is not known.
    """
    found = _chosen(world, choice)
    return found.require_lasting() if choice.lasting else found


def _chosen(world: World, choice: Choice) -> Endpoint:
    spec = world.spec
    database = _database(spec, choice.database)
    own = spec.server.database if database.startswith(CLONE) else database
    role = None if choice.superuser else choice.role or spec.login_in(own)
    if role in (None, spec.server.user):
        return replace(world.endpoint(), database=database)
    _refuse_group(spec, str(role))
    at = world.require_running()
    if not secrets.is_known(spec, str(role)):
        error = secrets.not_known(spec, str(role))
        error.next_step = (error.next_step or NextStep()) + f"; or log in as the superuser: add {SUPERUSER}"
        raise error
    return replace(at, user=str(role), password=world.inputs.passwords[str(role)], database=database)


def _database(spec: Spec, name: str | None) -> str:
    own = spec.server.database
    declared = (own, *[each.name for each in spec.databases.values() if each.name != own and not each.is_absent])
    if name is None or name in declared or name.startswith(CLONE):
        return name or own
    raise UsageError(
        f"the spec declares no database {name!r}",
        evidence=declared,
        next_step=f"--database {nearest(name, declared) or own}",
    )


def _refuse_group(spec: Spec, name: str) -> None:
    """Refuse a role that is not declared here, or does not log in; who could instead is named.

    Raises:
        UsageError: it is one.
    """
    logins = [each.name for each in spec.roles.values() if each.login and not each.is_absent]
    if name in logins:
        return
    declared = spec.roles.get(name)
    members = [each for each in logins if name in _groups(spec, each)]
    if declared is None:
        error, others = f"the spec declares no role {name!r}", logins
    elif declared.is_external:
        error, others = f"the role {name!r} is made elsewhere, so its password is not known here", logins
    else:
        error, others = f"the role {name!r} does not log in", members
    what = "members" if others is members else "roles"
    raise UsageError(
        error,
        evidence=[f"{what} that log in: {', '.join(others) or 'none'}"],
        next_step=f"--role {nearest(name, others) or others[0]}" if others else f"add {SUPERUSER}",
    )


def _groups(spec: Spec, name: str) -> set[str]:
    """Return the groups that a role belongs to, also by way of others."""
    found: set[str] = set()
    left = [name]
    while left:
        of = spec.roles[left.pop()].member_of
        groups = [each.group for each in of if each.group in spec.roles and not each.is_absent]
        left += [each for each in groups if each not in found]
        found.update(groups)
    return found
