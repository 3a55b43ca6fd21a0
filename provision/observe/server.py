"""What is inside of a server that runs, asked through one read-only connection for each database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.kinds import collation, database, foreign_settings, login, migrations, server, settings
from provision.model import NOT_KNOWN, UNKNOWN, UNREAD
from provision.observe import external as foreign
from provision.runtimes.names import SUPERUSER
from provision.system import no_commands
from provision.system.login_errors import diagnosed
from provision.system.postgres import Login, LoginError, ReadOnlyQuery
from provision.system.secrets import Password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Address, Desired, Endpoint, Observed, State, Status, Unknown
    from provision.observe import World
    from provision.spec.model import Spec

_HAS_DATABASE = "SELECT 1 FROM pg_database WHERE datname = %s"
_CONNECTIONS = 100  # PostgreSQL's default of max_connections


def look(
    seen: World, wanted: Desired, at: Endpoint | None, *, new: bool = False
) -> tuple[dict[Address, State | Unknown], Status]:
    """Return what is inside of the server at an address (None: none runs), and the server's status with what it said.

    One that is ``new`` may have no database yet: its catalog is asked first, so that its log has no failed login.

    Raises:
        UnavailableError: it is there, and lets nobody in for a reason that passes by nobody's doing.
        RefusedError: another server answers there, or it is not what the spec builds on.
    """
    spec, status = seen.spec, seen.site.status
    unknown: dict[Address, State | Unknown] = {
        address: UNKNOWN for address in wanted if address.kind in (settings.KIND, database.KIND, migrations.KIND)
    }
    if at is None:
        return ({} if seen.site.is_fresh else unknown), status
    if at.password is UNREAD:
        return _unseen(
            seen, {**dict.fromkeys((*server.desired(spec.name), *login.desired(spec.server.user)), UNKNOWN), **unknown}
        )
    query = ReadOnlyQuery(at, told=seen.site.is_ours)
    try:
        found: dict[Address, State | Unknown] = dict(server.desired(spec.name))
        found |= login.desired(spec.server.user)
        try:
            is_there = _enter(query, spec.server.database, new=new or _was_never_proved(seen))
        except LoginError as error:
            return _locked_out(seen, error, at, unknown, found)
        place = spec.server.database if is_there else database.MAINTENANCE
        if is_there:
            superuser = query.reported("is_superuser")
            if query.reported("in_hot_standby") == "on":
                raise foreign.standby(at, is_ours=seen.site.is_ours)
            found |= database.desired(place)
            if seen.site.is_ours and superuser != "on":
                weak = login.observe(spec.server.user, "accepted, but it is no superuser")
                return {**unknown, **found, **weak}, replace(status, detail="the declared login is no superuser's")
        config = seen.site.config_file
        major = spec.server.major
        if not seen.site.is_ours:
            foreign.check(spec, query, database=place, creating=place != spec.server.database)
        found |= settings.observe(wanted.get(settings.ADDRESS), query, major=major, config_file=config, database=place)
        found, status = _with_clients(found, status, spec)
        _refuse_another(seen, found.get(settings.ADDRESS), at)
        found |= foreign_settings.observe(wanted.get(foreign_settings.ADDRESS), query, major=major, database=place)
        found |= collation.observe(query, major=major, database=place)
        for tree in spec.migrations if place == spec.server.database else ():
            found |= migrations.observe(tree, seen.inputs.graphs[tree.name], query)
        return found, _with_details(status, found, query, place)
    finally:
        query.close()


def _unseen(seen: World, unknown: dict[Address, State | Unknown]) -> tuple[dict[Address, State | Unknown], Status]:
    """Return what is known of a server that runs without a login: that it is there, where it is ours."""
    no_commands.leaves_out(f"{', '.join(map(str, unknown))}: provision did not log in")
    revisions = {tree.name: (NOT_KNOWN,) for tree in seen.spec.migrations}
    status = replace(seen.site.status, version=NOT_KNOWN, revisions=revisions)
    return unknown, status if seen.site.is_ours else replace(status, server=NOT_KNOWN)


def _enter(query: ReadOnlyQuery, name: str, *, new: bool) -> bool:
    """Log in to the declared database; False where the server does not have it.

    Raises:
        LoginError: the login fails for another reason.
    """
    if new and not query.rows(_HAS_DATABASE, (name,), database=database.MAINTENANCE):
        return False
    try:
        query.reported("is_superuser")
    except LoginError as error:
        if error.login is Login.NO_DATABASE:
            return False
        raise
    return True


def _was_never_proved(seen: World) -> bool:
    """Tell whether no apply has come to its end, after which the superuser's name is kept."""
    return seen.site.is_ours and seen.look.kept(seen.spec.home / SUPERUSER) is None


def _locked_out(
    seen: World,
    error: LoginError,
    at: Endpoint,
    unknown: dict[Address, State | Unknown],
    found: dict[Address, State | Unknown],
) -> tuple[dict[Address, State | Unknown], Status]:
    """Return what is known of a server that did not let us in: it may be on its way, or refuse what is declared.

    Raises:
        UnavailableError: it is there, and nothing that we could do or wait for would help.
    """
    spec, status = seen.spec, seen.site.status
    if not seen.site.is_ours:
        return unknown, foreign.unreachable(error, at, status)
    if error.login in (Login.FULL, Login.CLOSED):
        number = spec.server.max_connections or _CONNECTIONS
        raise diagnosed(error, at, is_ours=True, connections=number) from error
    if error.login is Login.REFUSED:
        if isinstance(at.password, Password):
            at.password.forget()
        refused = login.observe(spec.server.user, error.words)
        return {**unknown, **found, **refused}, replace(status, detail="it refuses the declared login")
    return unknown, replace(status, detail=error.words if error.login is Login.STARTING else error.login.value)


def _refuse_another(seen: World, inside: State | Unknown | None, at: Endpoint) -> None:
    """Refuse a server that took our login and is not the one that we have started."""
    theirs = inside.around.config_file if isinstance(inside, settings.Settings) else ""
    # The server of a checkout that was moved still runs with the path it was started with.
    started_with = {getattr(state, "config_file", "") for state in seen.site.observed.values()}
    if not seen.site.uses_config_file or theirs in {"", seen.site.config_file, *started_with}:
        return
    raise RefusedError(
        f"another server answers at {at.host}:{at.port}, and not the one of the environment {seen.spec.name!r}",
        evidence=[f"it reads its settings from {theirs}", f"the one that was started reads {seen.site.config_file}"],
        next_step="stop the other one, or set another `server.port`",
    )


def check_data(seen: World, found: Observed, status: Status) -> None:
    """Refuse to go on with a server of ours that is of another version, or keeps its data outside of the mounts.

    Raises:
        RefusedError: with how to bring the data there.
    """
    inside = found.get(settings.ADDRESS)
    if seen.site.is_ours and isinstance(inside, settings.Settings):
        seen.site.check_data(inside.around.data_directory, status.version or "")


def _with_clients(
    found: dict[Address, State | Unknown], status: Status, spec: Spec
) -> tuple[dict[Address, State | Unknown], Status]:
    seen = found.get(settings.ADDRESS)
    if not isinstance(seen, settings.Settings):
        return found, status
    clients = seen.around.clients
    return found | server.observe(spec.name, clients=clients), replace(status, clients=clients)


def _with_details(
    status: Status, found: Mapping[Address, State | Unknown], query: ReadOnlyQuery, database_: str
) -> Status:
    version = query.reported("server_version", database=database_)
    rows = {address.name: state.rows for address, state in found.items() if isinstance(state, migrations.Revisions)}
    return replace(status, version=version.split()[0], revisions=rows)
