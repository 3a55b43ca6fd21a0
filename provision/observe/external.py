"""What has to hold for a server that provision does not run, before anything is planned for it."""

from __future__ import annotations

from contextlib import closing, suppress

from provision.errors import RefusedError, UnavailableError
from provision.kinds import Look
from provision.model import Endpoint, Status
from provision.model.sql import identifier
from provision.model.value import replace
from provision.observe.outside import World
from provision.system.login_errors import diagnosed, is_worth_waiting
from provision.system.postgres import Login, LoginError, connect
from provision.system.read_only import ReadOnlyQuery

_FACTS = """
SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'), current_user,
    (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user), pg_backend_pid()
"""


def unreachable(error: LoginError, endpoint: Endpoint, status: Status) -> Status:
    """Return the status of a server that may be on its way.

    Raises:
        UnavailableError: waiting would not help; the error says what would.
    """
    if not is_worth_waiting(error):
        raise diagnosed(error, endpoint) from error
    words = (
        error.evidence[0]
        if error.evidence and error.login is not Login.STANDBY
        else diagnosed(error, endpoint).sentence
    )
    return replace(status, server="unreachable", detail=words)


def may_be_remembered(error: LoginError, endpoint: Endpoint) -> bool:
    """Whether a pooler may have had us wait, because the login before this one has failed.

    https://www.pgbouncer.org/config.html#server_login_retry
    """
    return not endpoint.is_ours and error.login is Login.NO_SERVER and "timeout expired" in "".join(error.evidence)


def standby(endpoint: Endpoint, *, is_ours: bool) -> RefusedError:
    """Return the error for a server that follows another one, and can only be read."""
    return RefusedError(
        f"the server at {endpoint.address} is a standby, which can only be read",
        evidence=["in_hot_standby is on: it replays what its primary writes"],
        next_step="SELECT pg_promote() makes a primary of it"
        if is_ours
        else "write the address of its primary as `server.host` and `server.port`, or all of its cluster as "
        "`server.hosts`: the primary is found among them",
    )


def check(look: Look, at: Endpoint) -> None:
    """Compare the server with what the spec builds on.

    Raises:
        RefusedError: it is of another major version, or our role may not create the database.
    """
    server = look.spec.server
    try:
        ((major, version, role, may_create, pid),) = look.rows(_FACTS)
    except LoginError as error:
        if error.server_is_gone:
            raise
        raise RefusedError(
            f"the database {server.database!r} does not exist, and {look.database!r}, from which it would be created, "
            "cannot be entered",
            evidence=error.evidence,
            next_step=f"as an administrator: CREATE DATABASE {identifier(server.database)} "
            f"OWNER {identifier(server.user)}",
        ) from error
    look.recognise_pooler(pid)
    if major != server.major:
        raise RefusedError(
            f"the server at {at.address} is PostgreSQL {major}, "
            f"and the spec declares {server.major} (`image: {server.image}`)",
            evidence=[f"its version is {version}"],
            next_step=f"write `image: postgres:{major}`, or correct `server.host` and `server.port`",
        )
    if not (look.has_database or may_create or look.spec.databases):  # of databases, the plan says all that is missing
        raise RefusedError(
            f"the database {server.database!r} does not exist, and the role {role!r} may not create databases",
            evidence=["the privilege that is missing: CREATEDB"],
            next_step=f"as an administrator: CREATE DATABASE {identifier(server.database)} "
            f"OWNER {identifier(role)}; or let the role do it: ALTER ROLE {identifier(role)} CREATEDB",
        )


def obstacle(endpoint: Endpoint) -> RefusedError | None:
    """Return the error of an apply that has something to do, where a pooler that gives no session was seen."""
    from provision.system import poolers

    way = poolers.sharing(endpoint)
    return None if way is None else poolers.refusal(endpoint, way)


def insist(world: World) -> None:
    """See, before anything is changed, that a server that others run gives a session, and is the one of applications.

    Raises:
        RefusedError: a pooler is between that gives none, or leads to another server than ``server.direct``.
    """
    from provision.system import poolers

    at = world.endpoint()
    theirs = world.site.for_applications(at)
    poolers.insist(at)
    with suppress(UnavailableError):  # what needs it says so
        if not poolers.is_known(at):
            connect(at, read_only=True).close()
        if theirs == at:
            return
        places = [(each.address, _identity(each)) for each in (at, theirs)]
        if places[0][1] != places[1][1]:
            raise RefusedError(
                "`server.direct` is another server than the one behind the pooler, so nothing was changed",
                evidence=[f"{address} is the cluster {number}" for address, number in places],
                next_step="correct `server.direct`, or `server.host` and `server.port`",
            )


def _identity(endpoint: Endpoint) -> int:
    with closing(ReadOnlyQuery(endpoint)) as query:
        return int(query.rows("SELECT system_identifier FROM pg_control_system()")[0][0])
