"""Dumps of a database: written whole or not at all, proved by reading every byte, and restored into a new database.

``pg_restore --list`` accepts a file that is cut or has other bytes; writing it out as SQL does not.
https://www.postgresql.org/docs/current/app-pgrestore.html
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from provision.errors import AGAIN, ProvisionError, RefusedError, StepFailedError, command
from provision.model.sql import identifier, literal
from provision.system import database_copy, database_properties, files, processes
from provision.system.client_programs import dbname, passfile
from provision.system.database_properties import Properties, asked, execute
from provision.system.libpq import attrs, tls
from provision.system.postgres import NAME, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provision.model import Endpoint
    from provision.model.effects import ClientPrograms, DumpDatabase, RestoreDump
    from provision.system.engine_calls import Engine

    Engines = Callable[[], Engine]

_LINES = 12
_LACKS = r"permission denied for|row-level security policy"
_NO_TLS = "SSL support is not compiled in"
_OPTIONS = "-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 -c row_security=off"
_LOCK_TIMEOUT = "60s"
_FACTS = """
SELECT pg_get_userbyid(datdba)::text AS owner, pg_encoding_to_char(encoding)::text AS encoding,
    datcollate::text AS collate, datctype::text AS ctype, coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') AS provider,
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
    to_jsonb(d) ->> 'daticurules' AS icu_rules, shobj_description(d.oid, 'pg_database') AS comment,
    pg_database_size(d.oid) AS size, current_setting('server_version_num')::int AS server_version
FROM pg_database AS d WHERE datname = current_database()
"""
_ROLES = """
SELECT rolname::text AS name, rolsuper AS superuser, rolcreatedb AS createdb, rolcreaterole AS createrole,
    rolcanlogin AS login, rolreplication AS replication, rolbypassrls AS bypassrls, rolinherit AS inherit,
    rolconnlimit AS connection_limit, rolvaliduntil::text AS valid_until,
    ARRAY(SELECT pg_get_userbyid(roleid)::text FROM pg_auth_members WHERE member = r.oid ORDER BY 1) AS member_of
FROM pg_roles AS r, (SELECT oid, datdba FROM pg_database WHERE datname = current_database()) AS d
WHERE rolname !~ '^pg_' AND (r.oid = datdba OR r.oid IN (
    SELECT refobjid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass
        AND (dbid = d.oid OR classid = 'pg_database'::regclass AND objid = d.oid)
    UNION ALL SELECT setrole FROM pg_db_role_setting WHERE setdatabase = d.oid)) ORDER BY 1
"""
"""The roles that something in the database belongs to, or names."""
_PROVIDERS = {"i": "icu", "b": "builtin"}
_RESTORE = """
set -euo pipefail
server=$1; shift
[[ $(pg_restore --version) =~ [0-9]+ ]]
if [ "${BASH_REMATCH[0]}" -lt 17 ] || [ "$server" -ge 17 ]; then
  exec pg_restore --exit-on-error --single-transaction "$@"
fi
pg_restore --exit-on-error --file=- | sed '1,40{/^SET transaction_timeout = 0;$/d;}' |
  psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --single-transaction "$@" > /dev/null
"""
"""Programs from 17 on set at the beginning what an older server does not know."""


def dump(endpoint: Endpoint, effect: DumpDatabase, engine: Engines, check: Callable[[], None]) -> None:
    """Write a dump of a database, and beside it what it leaves out; no file has its name before both are proved.

    ``check`` is called when the dump was written, before it counts.

    Raises:
        ProvisionError: a program failed, the disk is full, or ``check`` says so.
    """
    part = effect.path.with_name(f"{effect.path.name}.part")
    files.make_directory(part.parent, 0o700)
    if files.exists(effect.path):
        raise StepFailedError(f"{effect.path} is there already, and a backup replaces nothing", next_step=AGAIN)
    with _part(part), closing(connect(endpoint, effect.database, read_only=True)) as connection:
        connection.autocommit = True
        execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        about = {**effect.about, **facts(connection, effect.database)}
        ((snapshot,),) = asked(connection, "SELECT pg_export_snapshot()")
        more = ("--format=custom", f"--snapshot={snapshot}", f"--lock-wait-timeout={_LOCK_TIMEOUT}")
        argv = ("pg_dump", *more, *_login(endpoint, effect.database, effect.programs))
        with files.explaining(f"{part} cannot be written", part), part.open("r+b") as file:
            _run(endpoint, effect.programs, engine, argv, (None, file))
            file.flush()
            os.fsync(file.fileno())
        prove(part, effect.programs, engine, endpoint)
        check()
        about |= {"bytes": part.stat().st_size, "sha256": _sha256(part)}
        files.write_atomically(sidecar(effect.path), json.dumps(about, ensure_ascii=False, indent=1) + "\n", 0o600)
        files.move(part, effect.path, if_there=False)


def sidecar(path: Path) -> Path:
    """Return the file beside a dump that says what the dump leaves out."""
    return path.with_name(path.name.removesuffix(".dump") + ".json")


def facts(connection: Any, database: str) -> dict[str, Any]:
    """Return what a dump leaves out: the database's own properties, and the roles that it names, without passwords."""
    ((found,),) = asked(connection, f"SELECT to_jsonb(f) FROM ({_FACTS}) AS f")  # noqa: S608  # from constants only
    ((roles,),) = asked(connection, f"SELECT coalesce(jsonb_agg(to_jsonb(r)), '[]') FROM ({_ROLES}) AS r")  # noqa: S608
    properties = database_properties.read(connection, database)
    return {**found, **properties._asdict(), "roles": roles}


@contextmanager
def _part(part: Path) -> Iterator[None]:
    """Make an empty file that only we can read, and remove it if it does not become a dump."""
    try:
        with files.explaining(f"{part} cannot be written", part):
            files.remove(part)
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        yield
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def prove(
    path: Path, programs: ClientPrograms, engine: Engines, endpoint: Endpoint, about: Mapping[str, Any] | None = None
) -> None:
    """Read a dump to its end; with ``about``, also compare it with what was noted when it was written.

    Raises:
        RefusedError: it is cut, or has other bytes.
    """
    size = path.stat().st_size
    if about and "bytes" in about and size != about["bytes"]:
        raise broken(path, f"it has {size} bytes, and had {about['bytes']} when it was written")
    if about and "sha256" in about and _sha256(path) != about["sha256"]:
        raise broken(path, "its SHA-256 is not the one that it had when it was written")
    try:
        with path.open("rb") as file:
            _run(endpoint, programs, engine, ("pg_restore", "--file=/dev/null"), (file, None))
    except StepFailedError as error:
        raise broken(path, *error.evidence) from error


def broken(path: Path, *evidence: str) -> RefusedError:
    """Return the error for a file that is no whole dump."""
    return RefusedError(
        f"{path.name} is not a whole backup, so nothing was changed",
        evidence=evidence,
        next_step=command("backup list") + "   # restore another one",
    )


def restore(endpoint: Endpoint, effect: RestoreDump, engine: Engines, check: Callable[[], None]) -> tuple[str, ...]:
    """Restore a dump into a new database, or leave none; return which settings the server refused.

    ``check`` is called when the rows are there.

    Raises:
        ProvisionError: a program failed, or ``check`` says so.
    """
    about = effect.about
    inside = database_copy.maintenance(effect.name, effect.original)
    try:
        with closing(connect(endpoint, inside, read_only=False)) as connection:
            execute(connection, creation(effect.name, effect.owner, about))
        argv = ("bash", "-c", _RESTORE, "provision", str(effect.major))
        with effect.path.open("rb") as file:
            login = _login(endpoint, effect.name, effect.programs)
            _run(endpoint, effect.programs, engine, (*argv, *login), (file, None))
        with closing(connect(endpoint, inside, read_only=False)) as connection:
            left = database_properties.give(connection, properties(about), effect.name, None)
        check()  # where a version table is can depend on a setting
    except BaseException:
        with suppress(ProvisionError):
            database_copy.drop(endpoint, effect.name)
        raise
    return left


def properties(about: Mapping[str, Any]) -> Properties:
    """Return the database's own properties as they were noted."""
    found = about["privileges"]
    privileges = None if found is None else tuple([tuple(each) for each in found])
    return Properties(privileges, about["connection_limit"], tuple([tuple(each) for each in about["settings"]]))


def creation(name: str, owner: str, about: Mapping[str, Any]) -> str:
    """Return the statement that makes an empty database as the one was that was dumped."""
    words = [f"CREATE DATABASE {identifier(name)} OWNER {identifier(owner)} TEMPLATE template0"]
    words += [f"ENCODING {literal(about['encoding'])}"]
    words += [f"LC_COLLATE {literal(about['collate'])} LC_CTYPE {literal(about['ctype'])}"]
    if (provider := _PROVIDERS.get(about["provider"])) is not None:
        words += [f"LOCALE_PROVIDER {provider} {provider.upper()}_LOCALE {literal(about['locale'])}"]
    if about.get("icu_rules"):
        words += [f"ICU_RULES {literal(about['icu_rules'])}"]
    return " ".join(words)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _login(endpoint: Endpoint, database: str, programs: ClientPrograms) -> tuple[str, ...]:
    """Return where to connect: in a container that is the server's own socket, where no password is asked for."""
    place = () if programs.container else (f"--host={endpoint.host_list}", f"--port={endpoint.port_list}")
    return (*place, f"--username={endpoint.user}", "--no-password", f"--dbname={dbname(endpoint, database)}")


def _run(
    endpoint: Endpoint,
    programs: ClientPrograms,
    engine: Engines,
    argv: tuple[str, ...],
    streams: tuple[BinaryIO | None, BinaryIO | None],
) -> None:
    """Run a client program with one file as its input, and another as its output.

    Raises:
        StepFailedError: it failed, with its last words.
    """
    options = f"{_OPTIONS} {endpoint.options}" if endpoint.is_ours else endpoint.options  # a pooler may take none
    session = {"PGOPTIONS": options, "PGAPPNAME": NAME, "LC_ALL": "C"}
    name = "pg_restore" if argv[0] == "bash" else argv[0]
    if programs.container is not None:
        code, said = _inside(programs.container, engine(), session, argv, streams)
    else:
        code, said = _here(endpoint, programs.directory, session, argv, streams)
    if code != 0:
        if _NO_TLS in said:
            what = f"{name} was built without TLS, which `sslmode: {endpoint.sslmode}` needs"
            package = "Debian: apt install postgresql-client-NN, of the server's major version or a newer one"
            raise StepFailedError(
                what, evidence=said.strip().splitlines(), next_step=f"install another one ({package})"
            )
        if re.search(_LACKS, said):
            raise _unreadable(endpoint, said)
        raise StepFailedError(f"{name} failed", evidence=said.strip().splitlines()[-_LINES:] or [f"exit code {code}"])


def _unreadable(endpoint: Endpoint, said: str) -> StepFailedError:
    """Return the error for a role that may not read all that belongs into a dump."""
    who, by_row = identifier(endpoint.user), "row-level security policy" in said
    grant = f"ALTER ROLE {who} BYPASSRLS" if by_row else f"GRANT pg_read_all_data TO {who}"
    return StepFailedError(
        f"the role {endpoint.user!r} may not read all of the database, so it cannot be dumped",
        evidence=said.strip().splitlines()[-_LINES:],
        next_step=f"as an administrator: make it a member of the role that owns the tables, or: {grant}"
        + ("" if by_row else "   # it then reads password verifiers too"),
    )


def _inside(
    container: str,
    engine: Engine,
    session: Mapping[str, str],
    argv: tuple[str, ...],
    streams: tuple[BinaryIO | None, BinaryIO | None],
) -> tuple[int, str]:
    from provision.system import engine_streams

    source, target = streams

    def write(part: bytes) -> None:
        assert target is not None  # noqa: S101  # what is run then prints nothing else
        with files.explaining("the dump cannot be written", Path(target.name)):
            target.write(part)

    with engine.doing(f"run {argv[0]} in {container!r}"):
        words = ("env", *(f"{name}={value}" for name, value in session.items()), *argv)
        return engine_streams.run(engine.client, container, words, source, write if target is not None else None)


def _here(
    endpoint: Endpoint,
    directory: Path | None,
    session: Mapping[str, str],
    argv: tuple[str, ...],
    streams: tuple[BinaryIO | None, BinaryIO | None],
) -> tuple[int, str]:
    from provision.system import servers

    variables = {**servers.environment(), **session, **tls(endpoint), **attrs(endpoint)}
    variables["PATH"] = os.pathsep.join(filter(None, (str(directory or ""), variables.get("PATH", os.defpath))))
    program = str(directory / argv[0]) if directory is not None and argv[0] != "bash" else argv[0]
    source, target = (each if each is not None else processes.DEVNULL for each in streams)
    with passfile(endpoint, "pg_dump -Fc -f FILE") as secret:
        variables["PGPASSFILE"] = f"/dev/fd/{secret.fileno()}"
        given: dict[str, Any] = {"stdin": source, "stdout": target, "stderr": processes.PIPE}
        done = processes.run((program, *argv[1:]), cwd="/", env=variables, pass_fds=(secret.fileno(),), **given)
    return done.returncode, done.stderr.decode(errors="replace")
