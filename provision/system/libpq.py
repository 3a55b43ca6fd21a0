"""The one door to libpq: it reads variables of the environment, and those of the caller's shell are not meant for us.

What is not said in a connection's parameters, libpq takes from there: another address (PGHOSTADDR), settings of the
session (PGOPTIONS), a demand that no server of ours meets (PGTARGETSESSIONATTRS, PGREQUIREPEER). A service (PGSERVICE)
cannot even be overruled by parameters. So nothing of it is there while a connection is made, nor in what we start.
https://www.postgresql.org/docs/current/libpq-envars.html
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from provision.system import no_commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg2.extensions

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


def without(variables: frozenset[str]) -> dict[str, str]:
    """Return our environment without some variables, for a program that we start."""
    with _lock:  # it must not change while it is copied
        return {name: value for name, value in os.environ.items() if name not in variables}


def connect(**parameters: Any) -> psycopg2.extensions.connection:
    """Open a connection that depends on its parameters alone.

    Raises:
        psycopg2.OperationalError: it failed.
        NotRunError: ``--no-commands`` forbids it.
    """
    import psycopg2

    no_commands.refuse("what the server says: provision did not log in")
    with shielded():
        connection: psycopg2.extensions.connection = psycopg2.connect(**parameters)
    return connection


_lock = threading.Lock()
_taken: dict[str, str] = {}
_connecting: list[object] = []
"""Who is about to connect. The environment is that of all threads: the first takes the variables, the last returns."""


@contextmanager
def shielded() -> Iterator[None]:
    """Take the variables away for a moment: the spec may still ask for one, as in ``${PGPASSWORD}``."""
    me = object()
    with _lock:
        _connecting.append(me)
        _taken.update({name: os.environ.pop(name) for name in VARIABLES & os.environ.keys()})
    try:
        yield
    finally:
        with _lock:
            _connecting.remove(me)
            if not _connecting:
                os.environ.update(_taken)
                _taken.clear()
