"""What is inside of a server that runs, asked through one read-only connection for each database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import NamedTuple

from provision.alembic import Revisions, entered, located
from provision.errors import RefusedError
from provision.kinds import Look, UnseenError, pg_settings, table
from provision.model import (
    MAINTENANCE,
    NOT_KNOWN,
    UNKNOWN,
    UNREAD,
    Address,
    Desired,
    Endpoint,
    Observed,
    State,
    Status,
    TenantGroup,
    Unknown,
)
from provision.model.value import replace
from provision.observe import external
from provision.observe.outside import World
from provision.runtimes.names import SUPERUSER
from provision.spec.model import Migrations
from provision.system import files, no_commands
from provision.system.login_errors import diagnosed
from provision.system.postgres import Login, LoginError
from provision.system.read_only import ReadOnlyQuery
from provision.system.secrets import Password

_HAS_DATABASE = "SELECT 1 FROM pg_database WHERE datname = %s"
_CONNECTIONS = 100  # PostgreSQL's default of max_connections
_ACCEPTED = "accepted"


class Seen(NamedTuple):
    """What is there, and the server in a few words; ``data_directory`` is where it says that its data is."""

    observed: Observed
    status: Status
    data_directory: str = ""


def look(world: World, wanted: Desired, at: Endpoint | None, *, lacks_database: bool | None = None) -> Seen:
    """Return what is there, also in the server at an address (None: none runs).

    One that may lack the declared database has its catalog asked first, so that its log has no failed login. Where
    ``lacks_database`` is None, that is each one of ours to which no apply has come to its end.

    Raises:
        UnavailableError: it is there, and lets nobody in for a reason that passes by nobody's doing.
        RefusedError: another server answers there, or it is not what the spec builds on.
    """
    text = files.own_text if no_commands.is_on() else files.read_text
    unasked = Look(world.spec, world.inputs, wanted, world.site.config_file, text, files.mode_of)
    if at is None:
        return Seen(observed(unasked, is_fresh=world.site.is_fresh), world.site.status)
    if at.password is UNREAD:
        return _without_login(world, replace(unasked, login=None))
    with ExitStack() as stack:
        query = stack.enter_context(closing(ReadOnlyQuery(at, named=world.site.is_ours)))

        def own(tree: Migrations) -> ReadOnlyQuery:
            login = entered(world.spec, tree, located(tree, at))
            return stack.enter_context(closing(ReadOnlyQuery(login)))

        def tenants(look: Look, tree: Migrations) -> State:
            from provision.tenants.asking import spread  # few specs have them

            return spread(look, tree, located(tree, at))

        asking = replace(unasked, session=query, own=own, tenants=tenants)
        if world.cluster is not None:
            from provision.observe import cluster

            asking = cluster.known(asking, world.cluster, at, stack)
        asked, status = _log_in(world, asking, at, lacks_database=lacks_database)
        if asked.cluster is not None:
            status = replace(status, cluster=asked.cluster())
        found = Seen(observed(asked), status)
        return found if asked.session is None else _with_details(world, asked, found, at)


@contextmanager
def inside(world: World) -> Iterator[Look]:
    """Have a look that asks the server that runs, for what needs no plan; a standby will do.

    Raises:
        UnavailableError: no server runs, or it lets nobody in.
    """
    at = world.endpoint()
    query = ReadOnlyQuery(at, named=world.site.is_ours)
    look = Look(world.spec, world.inputs, {}, world.site.config_file, files.read_text, files.mode_of, session=query)
    try:
        yield _enter(look, world.spec.server.database, new=False)
    except LoginError as error:
        raise diagnosed(error, at) from error
    finally:
        query.close()


def observed(look: Look, *, is_fresh: bool = False) -> dict[Address, State | Unknown]:
    """Return what each kind sees; what it wants is UNKNOWN where it cannot see, but absent from a ``fresh`` server."""
    found: dict[Address, State | Unknown] = {}
    for kind in (*table.BEFORE, *table.inside(look.spec, look.inputs.runtime)):
        try:
            found |= kind.seen(look)
        except UnseenError:
            found |= {each: UNKNOWN for each in look.wanted if each.kind == kind.KIND and not is_fresh}
    return found


def _without_login(world: World, look: Look) -> Seen:
    """Return what is known of a server that runs without a login: that it is there, where it is ours."""
    found = observed(look)
    unknown = ", ".join(str(address) for address, state in found.items() if state is UNKNOWN)
    no_commands.leaves_out(f"{unknown}: provision did not log in")
    revisions = {tree.name: (NOT_KNOWN,) for tree in world.spec.migrations}
    status = replace(world.site.status, version=NOT_KNOWN, revisions=revisions)
    return Seen(found, status if world.site.is_ours else replace(status, server=NOT_KNOWN))


def _log_in(world: World, look: Look, at: Endpoint, *, lacks_database: bool | None) -> tuple[Look, Status]:
    """Return what can be looked at with the declared login; without a session where that does not let us in.

    Raises:
        UnavailableError: it is there, and nothing that we could do or wait for would help.
        RefusedError: it is not what the spec builds on.
    """
    site, status = world.site, world.site.status
    asked = replace(look, login=_ACCEPTED)
    if lacks_database is None:
        lacks_database = site.is_ours and world.look.kept(world.spec.home / SUPERUSER) is None
    try:
        asked = _enter_patiently(asked, at, new=lacks_database)
        is_standby = _only_reads(asked)
    except LoginError as error:
        login, status = _locked_out(world, error, at)
        return replace(look, login=login, session=None), status
    if is_standby:
        raise external.standby(at, is_ours=site.is_ours)
    if asked.has_database:
        superuser = asked.reported("is_superuser")
        if site.is_ours and superuser != "on":
            weak = replace(asked, login="accepted, but it is no superuser", session=None)
            return weak, replace(status, detail="the declared login is no superuser's")
    if not site.is_ours:
        external.check(asked, at)
    return asked, status


def _only_reads(look: Look) -> bool:
    """Tell whether the server is a standby; one that lacks the database is asked in the one that every server has.

    Raises:
        LoginError: there is no server any more.
    """
    try:
        return look.reported("in_hot_standby") == "on"
    except LoginError as error:
        if error.server_is_gone:
            raise
        return False


def _enter_patiently(look: Look, at: Endpoint, *, new: bool) -> Look:
    """Log in to the declared database; where that takes too long, by way of a database that every server has.

    A pooler lets a client wait where a login to its database has failed, because there was no such database yet.

    Raises:
        LoginError: the login fails for another reason.
    """
    name = look.spec.server.database
    try:
        return _enter(look, name, new=new)
    except LoginError as error:
        if not external.may_be_remembered(error, at):
            raise
        with suppress(LoginError):
            ((pid,),) = look.rows("SELECT pg_backend_pid()", database=MAINTENANCE)
            replace(look, has_database=False).recognise_pooler(pid)
            return _enter(look, name, new=True)
        raise


def _enter(look: Look, name: str, *, new: bool) -> Look:
    """Log in to the declared database, and note whether the server has it, and whether it lets nothing in.

    One that it lets nothing in to may be one that a run has made and not opened yet.

    Raises:
        LoginError: the login fails for another reason.
    """
    if new and not look.rows(_HAS_DATABASE, (name,), database=MAINTENANCE):
        return replace(look, has_database=False)
    try:
        look.reported("is_superuser", database=name)
    except LoginError as error:
        if error.login is Login.NO_DATABASE:
            return replace(look, has_database=False)
        if error.login is not Login.CLOSED or name not in look.spec.databases:
            raise
        return replace(look, has_database=True, is_closed=True)
    return replace(look, has_database=True)


def _locked_out(world: World, error: LoginError, at: Endpoint) -> tuple[str, Status]:
    """Return how a server refuses the declared login, empty where it only is on its way; and its status.

    Raises:
        UnavailableError: it is there, and nothing that we could do or wait for would help.
    """
    spec, status = world.spec, world.site.status
    if not world.site.is_ours:
        return "", external.unreachable(error, at, status)
    if error.login in (Login.FULL, Login.CLOSED):
        number = spec.server.max_connections or _CONNECTIONS
        raise diagnosed(error, at, connections=number) from error
    if error.login is Login.REFUSED:
        if isinstance(at.password, Password):
            at.password.forget()
        return error.words, replace(status, detail="it refuses the declared login")
    return "", replace(status, detail=error.words if error.login is Login.STARTING else error.login.value)


def _with_details(world: World, look: Look, seen: Seen, at: Endpoint) -> Seen:
    """Add what the server says of itself.

    Raises:
        RefusedError: it is not the one that we have started.
    """
    version = look.reported("server_version").split()[0]
    revisions = {address.name: each.rows for address, each in seen.observed.items() if isinstance(each, Revisions)}
    status = replace(seen.status, version=version, revisions=revisions, tenants=_tenants(world, seen.observed))
    if not world.site.is_ours:
        return Seen(seen.observed, status)
    around = look.once(pg_settings.around)
    _refuse_another(world, around.config_file, at)
    return Seen(seen.observed, replace(status, clients=around.clients), around.data_directory)


def _tenants(world: World, observed: Observed) -> dict[str, tuple[TenantGroup, ...]]:
    if not any(tree.tenants for tree in world.spec.migrations):
        return {}
    from provision.kinds.tenant_states import Spread  # few specs have them

    return {at.name: each.groups for at, each in observed.items() if isinstance(each, Spread)}


def _refuse_another(world: World, theirs: str, at: Endpoint) -> None:
    """Refuse a server that took our login and is not the one that we have started."""
    site = world.site
    # The server of a checkout that was moved still runs with the path it was started with.
    started_with = {getattr(state, "config_file", "") for state in site.observed.values()}
    if not site.uses_config_file or theirs in {"", site.config_file, *started_with}:
        return
    raise RefusedError(
        f"another server answers at {at.address}, and not the one of the environment {world.spec.name!r}",
        evidence=[f"it reads its settings from {theirs}", f"the one that was started reads {site.config_file}"],
        next_step="stop the other one, or set another `server.port`",
    )
