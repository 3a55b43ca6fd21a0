"""The superuser's login: the image sets its password only while it initialises the data, so it is converged here."""

from __future__ import annotations

from provision.errors import RefusedError
from provision.kinds import Before, Files, Inputs, Look, Scene, UnseenError
from provision.model import Action, Address, Change, Plan, Secret, State, Step
from provision.model.effects import VERIFIER
from provision.model.sql import literal
from provision.model.value import dataclass
from provision.spec.model import Spec

KIND = "login"


@dataclass(frozen=True)
class Login(State):
    """A role that logs in; ``login`` is ``accepted``, or how the server refuses it."""

    name: str
    login: str


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the superuser, whose login is accepted."""
    return {Address(KIND, spec.server.user): Login(spec.server.user, "accepted")}


def seen(look: Look) -> dict[Address, State]:
    """Return what the attempt to log in came to."""
    if look.login is None:
        raise UnseenError
    user = look.spec.server.user
    return {Address(KIND, user): Login(user, look.login)} if look.login else {}


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Give the superuser the declared name and password through the server's own socket when the login is refused.

    Raises:
        RefusedError: it is refused for where it comes from, so another password would not help.
    """
    if before == after or not isinstance(before, Login) or not isinstance(after, Login):
        return Plan()
    ground = scene.ground
    if "pg_hba.conf" in before.login:
        raise RefusedError(
            f"the server does not let {after.name!r} in from here: its pg_hba.conf says so",
            evidence=[before.login],
            next_step=ground.admitting or None,
        )
    is_renamed = ground.superuser not in ("", after.name)
    why = (
        *((Change("superuser", ground.superuser, after.name),) if is_renamed else ()),
        Change("login", before.login, after.login),
        "the declared password is set through the local socket",
    )
    effects = (ground.local_sql(converge_login(after.name), scene.inputs.password),)
    return Plan((Step(address, Action.UPDATE, before, after, effects, why, reveals=True),))


def converge_login(user: str) -> str:
    """Return the script that makes ``user`` a superuser with a password; in place of that it has :data:`VERIFIER`.

    Where there is no such role, the one that initdb made (it has the OID 10, BOOTSTRAP_SUPERUSERID in pg_authid.dat) is
    renamed, so that it keeps what it owns. A role cannot rename itself, so another one does, which exists within this
    one transaction only. https://www.postgresql.org/docs/current/sql-alterrole.html
    """
    return _CONVERGE.format(name=literal(user), verifier=literal(VERIFIER))


def with_verifier(script: str, password: Secret) -> Secret:
    """Return the script with a verifier in its place; the clear text is not in it."""
    import secrets

    from provision.kinds.scram import verifier

    return Secret(script.replace(VERIFIER, verifier(password, secrets.token_bytes(16))))


_CONVERGE = """DO $provision$
DECLARE
    initial name := (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN
        CREATE ROLE "provision renames" SUPERUSER;
        SET LOCAL SESSION AUTHORIZATION "provision renames";
        EXECUTE format('ALTER ROLE %I RENAME TO %I', initial, {name});
        EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', {name});
        DROP ROLE "provision renames";
    END IF;
    EXECUTE format('ALTER ROLE %I WITH LOGIN SUPERUSER PASSWORD %L', {name}, {verifier});
END
$provision$;
"""
