"""The superuser's login: the image sets its password only while it initialises the data, so it is converged here."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.kinds.scram import verifier
from provision.model import Action, Address, Change, Secret, State, Step, Unknown
from provision.model.effects import VERIFIER
from provision.model.sql import literal

if TYPE_CHECKING:
    from provision.kinds import Ground

KIND = "login"


@dataclass(frozen=True, slots=True)
class Login(State):
    """A role that logs in; ``login`` is ``accepted``, or how the server refuses it."""

    name: str
    login: str


def desired(user: str) -> dict[Address, State]:
    """Return the superuser, whose login is accepted."""
    return {Address(KIND, user): Login(user, "accepted")}


def observe(user: str, login: str) -> dict[Address, State]:
    """Return what an attempt to log in has shown."""
    return {Address(KIND, user): Login(user, login)}


def plan(
    address: Address, before: State | Unknown | None, after: State | None, *, password: Secret, ground: Ground
) -> tuple[Step, ...]:
    """Give the superuser the declared name and password through the server's own socket when the login is refused.

    Raises:
        RefusedError: it is refused for where it comes from, so another password would not help.
    """
    if before == after or not isinstance(before, Login) or not isinstance(after, Login):
        return ()
    if "pg_hba.conf" in before.login:
        raise RefusedError(
            f"the server does not let {after.name!r} in from here: its pg_hba.conf says so",
            evidence=[before.login],
            next_step=ground.admitting or None,
        )
    was = ground.superuser
    renamed = (Change("superuser", was, after.name),) if was and was != after.name else ()
    return (
        Step(
            address,
            Action.UPDATE,
            before,
            after,
            (ground.local_sql(converge_login(after.name), password),),
            why=(
                *renamed,
                Change("login", before.login, after.login),
                "the declared password is set through the local socket",
            ),
            reveals=True,
        ),
    )


def converge_login(user: str) -> str:
    """Return the script that makes ``user`` a superuser with a password; in place of that it has :data:`VERIFIER`.

    Where there is no such role, the one that initdb made (it has the OID 10, BOOTSTRAP_SUPERUSERID in pg_authid.dat) is
    renamed, so that it keeps what it owns. A role cannot rename itself, so another one does, which exists within this
    one transaction only. https://www.postgresql.org/docs/current/sql-alterrole.html
    """
    return _CONVERGE.format(name=literal(user), verifier=literal(VERIFIER))


def with_verifier(script: str, password: Secret) -> Secret:
    """Return the script with a verifier in its place; the clear text is not in it."""
    return Secret(script.replace(VERIFIER, verifier(password, secrets.token_bytes(16))))


_CONVERGE = """DO $provision$
DECLARE
    initial name := (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN
        CREATE ROLE "provision renames" SUPERUSER;
        SET LOCAL SESSION AUTHORIZATION "provision renames";
        EXECUTE format('ALTER ROLE %I RENAME TO %I', initial, {name});
        RESET SESSION AUTHORIZATION;
        DROP ROLE "provision renames";
    END IF;
    EXECUTE format('ALTER ROLE %I WITH LOGIN SUPERUSER PASSWORD %L', {name}, {verifier});
END
$provision$;
"""
