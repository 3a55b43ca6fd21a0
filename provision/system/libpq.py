"""The one door to libpq, which reads variables of the environment: those of the caller's shell are not meant for us.

What a connection's parameters leave out, libpq takes from there: another address (PGHOSTADDR), settings of the session
(PGOPTIONS), a demand that no server of ours meets (PGTARGETSESSIONATTRS, PGREQUIREPEER). So every parameter is given.
No parameter overrules PGSERVICE, PGDATESTYLE, PGTZ and PGGEQO; the command line takes them out of its own process.
https://www.postgresql.org/docs/current/libpq-envars.html
"""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from provision.system import no_commands

if TYPE_CHECKING:
    import psycopg2.extensions

    from provision.model import Endpoint

_PLACE = """
PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGSYSCONFDIR PGREALM
PGREQUIREAUTH PGCHANNELBINDING PGREQUIREPEER PGREQUIRESSL PGSSLMODE PGSSLNEGOTIATION PGSSLCOMPRESSION PGSSLCERT
PGSSLKEY PGSSLCERTMODE PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR PGSSLSNI PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION
PGSSLKEYLOGFILE PGGSSENCMODE PGGSSDELEGATION PGGSSLIB PGKRBSRVNAME PGCONNECT_TIMEOUT PGTARGETSESSIONATTRS
PGLOADBALANCEHOSTS PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION PGOAUTHDEBUG
"""
_SESSION = "PGOPTIONS PGAPPNAME PGCLIENTENCODING PGDATESTYLE PGTZ PGGEQO PGLOCALEDIR"
PLACE = frozenset(_PLACE.split())
"""The variables that decide where a connection leads, and how it logs in."""
VARIABLES = PLACE | frozenset(_SESSION.split())
"""All variables that libpq reads."""


def own_process() -> dict[str, str]:
    """Return the variables of this process, and take those of libpq out of it.

    It is for the only user of a process, and for a run of tests: libpq follows some of them whatever it is given.
    """
    found = dict(os.environ)
    for name in VARIABLES & found.keys():
        del os.environ[name]
    return found


def of_login(at: Endpoint) -> dict[str, str]:
    """Return the variables that say where a server listens and how to log in, the password in clear."""
    return {
        "PGHOST": at.host_list,
        "PGPORT": at.port_list,
        "PGUSER": at.user,
        "PGPASSWORD": at.password.reveal(),
        "PGDATABASE": at.database,
        **({"PGTARGETSESSIONATTRS": at.session_attrs} if at.hosts else {}),
    }


_VARIABLES = {
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}


def tls(endpoint: Endpoint) -> dict[str, str]:
    """Return the variables that make libpq, and asyncpg, connect as it was declared; there is none for keepalives.

    https://www.postgresql.org/docs/current/libpq-envars.html
    """
    root = {"PGSSLROOTCERT": str(endpoint.sslrootcert)} if endpoint.sslrootcert else {}
    declared = {_VARIABLES[name]: value for name, value in endpoint.connection if name in _VARIABLES}
    options = {"PGOPTIONS": endpoint.options} if endpoint.declared_options else {}
    return {"PGSSLMODE": endpoint.sslmode, **root, **declared, **options}


def keepalives(endpoint: Endpoint) -> dict[str, str]:
    """Return libpq's parameters for which there is no variable of the environment."""
    return {name: value for name, value in endpoint.connection if name.startswith("keepalives_")}


def attrs(endpoint: Endpoint) -> dict[str, str]:
    """Return the variable that leads ``psql`` and dumps to the primary of a cluster.

    They log in also where ``default_transaction_read_only`` is on: ``read-write``, which drivers know, would pass over
    that server.
    """
    return {"PGTARGETSESSIONATTRS": "primary"} if endpoint.hosts else {}


_EMPTY = """
password hostaddr passfile options application_name client_encoding requirepeer sslcert sslkey sslrootcert sslcrl
sslcrldir ssl_max_protocol_version sslkeylogfile gsslib
"""
_DEFAULTS = {
    **dict.fromkeys(_EMPTY.split(), ""),
    "require_auth": "password,md5,gss,sspi,scram-sha-256,none",
    "channel_binding": "prefer",
    "sslmode": "prefer",
    "sslnegotiation": "postgres",
    "sslcompression": "0",
    "sslcertmode": "allow",
    "sslsni": "1",
    "ssl_min_protocol_version": "TLSv1.2",
    "gssencmode": "disable",
    "gssdelegation": "0",
    "krbsrvname": "postgres",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
}
"""What libpq does where neither parameters nor variables say anything, by the names of its parameters."""


@cache
def load() -> None:
    """Import the driver, without the 4 ms of Python's ``ssl``.

    It imports that for the locks of OpenSSL, which has none to be set since 1.1, and does without where Python has no
    such module. Another thread might need it right now, so a process with threads imports it.
    https://github.com/psycopg/psycopg2/blob/master/psycopg/psycopgmodule.c (libcrypto_threads_init)
    """
    is_left_out = "ssl" not in sys.modules and threading.active_count() == 1
    if is_left_out:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # importlib's word for "there is none"
    try:
        import psycopg2  # noqa: F401
    finally:
        if is_left_out:
            del sys.modules["ssl"]


def connect(**parameters: Any) -> psycopg2.extensions.connection:
    """Open a connection that depends on its parameters alone.

    Raises:
        psycopg2.OperationalError: it failed.
        NotRunError: ``--no-commands`` forbids it.
    """
    import psycopg2

    no_commands.refuse("what the server says: provision did not log in")
    given = {name: value for name, value in parameters.items() if value is not None}
    connection: psycopg2.extensions.connection = psycopg2.connect(**{**_defaults(), **given})
    return connection


def by_scram() -> str | None:
    """Return the value of libpq's ``require_auth`` that lets only SCRAM log in; None where libpq is older than 16."""
    return "scram-sha-256" if _is_known("require_auth") else None


@cache
def _defaults() -> dict[str, str]:
    """Return the defaults of the parameters that this version of libpq has."""
    return {name: value for name, value in _DEFAULTS.items() if _is_known(name)}


def _is_known(name: str) -> bool:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        parse_dsn(f"{name}=''")
    except ProgrammingError:
        return False
    return True
