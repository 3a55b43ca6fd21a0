"""Why a login to a server that others run failed, in words that lead to the remedy.

libpq gives no SQLSTATE for a connection that fails, so its words, and those of the server, have to do. They are those
of libpq 12 to 18 and PostgreSQL 14 to 18: fe-connect.c, fe-secure-openssl.c, auth.c and postinit.c.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from provision.errors import NextStep, ProvisionError, UnavailableError, as_word, command
from provision.model import Endpoint, Query
from provision.model.sql import identifier
from provision.system.postgres import Login, LoginError


class _Cause(NamedTuple):
    """A pattern in the message, what it means, and what to do; both may name {user}, {address}, {host}, {database} ….

    ``ours`` is what to do where the server is run by us.
    """

    pattern: str
    sentence: str
    next_step: str
    ours: str = ""


_USED = "`" + command("url") + "` shows what is used"
_APPLY = command("apply") + "   (it sets the declared login; the data stays)"
_HBA = (
    "add a line to its pg_hba.conf, and reload it: {kind} {database} {user} YOUR-ADDRESS scram-sha-256 "
    "(a cloud service calls this allowed networks)"
)
_CAUSES = (
    _Cause(
        r"session is read-only|server is in hot standby mode",
        "no server at {address} takes writes: each is a standby, or does not answer",
        "wait until the cluster has a primary, and run the same command again; on Patroni: patronictl list",
    ),
    _Cause(
        r"could not translate host name|Name or service not known|nodename nor servname|No address associated",
        "there is no host {host!r}",
        "correct `server.host`; in a CI job it is the name of the service container, or 127.0.0.1",
    ),
    _Cause(
        r"does not support SSL, but SSL was required",
        "the server at {address} does not speak TLS, and `sslmode: {sslmode}` demands it",
        "have it set up (`ssl = on`), or write `sslmode: prefer` if the network may be trusted",
    ),
    _Cause(
        r"root certificate file .* does not exist",
        "`sslmode: {sslmode}` needs the certificate of the authority that signed the server's",
        "write `sslrootcert: ./ca.pem` (public authorities: `sslrootcert: system`)",
    ),
    _Cause(
        r"could not read root certificate file|could not load system root",
        "the file in `sslrootcert` is not a certificate",
        "openssl x509 -noout -subject -in {root}",
    ),
    _Cause(
        r"does not match host name|server certificate for",
        "the certificate of the server at {address} is for another name, so it is not trusted",
        "write the name that is in the certificate as `server.host`; `sslmode: verify-ca` would not look at the name",
    ),
    _Cause(
        r"private key file .* (has group or world access|must be owned by)",
        "others may read the private key in `sslkey`, so libpq does not use it",
        "chmod 600 {sslkey}   # it has to be yours, or root's with mode 0640",
    ),
    _Cause(
        r"certificate does not match private key|key values mismatch",
        "the key in `sslkey` does not belong to the certificate in `sslcert`",
        "openssl x509 -noout -pubkey -in {sslcert}; openssl pkey -pubout -in {sslkey}   # have to be the same",
    ),
    _Cause(
        r"could not load private key file",
        "the file in `sslkey` is not a private key without a passphrase",
        "openssl pkey -noout -in {sslkey}",
    ),
    _Cause(
        r"could not read certificate file",
        "the file in `sslcert` is not a certificate",
        "openssl x509 -noout -subject -in {sslcert}",
    ),
    _Cause(
        r"requires a valid client certificate|alert certificate required",
        "the server at {address} asks {user!r} for a client certificate",
        "write `sslcert: ./client.crt` and `sslkey: ./client.key`, signed by an authority that the server trusts",
    ),
    _Cause(
        r"alert unknown ca|alert bad certificate|alert certificate (expired|unknown)|alert unsupported certificate",
        "the server at {address} does not accept the certificate in `sslcert`",
        "openssl x509 -noout -issuer -enddate -in {sslcert}   # the issuer has to be in the server's ssl_ca_file",
    ),
    _Cause(
        r"certificate authentication failed",
        "the certificate in `sslcert` is for another name than {user!r}",
        "openssl x509 -noout -subject -in {sslcert}   # its CN has to be {user!r}, or mapped to it",
    ),
    _Cause(
        r"channel binding required",
        "`channel_binding: require` does not hold at {address}: it needs TLS, and a login by SCRAM",
        "write `sslmode: require` or stricter; where the login is no SCRAM (md5, certificates): leave it out",
    ),
    _Cause(
        r"certificate verify failed",
        "the certificate of the server at {address} is not signed by the authority in `sslrootcert`",
        "openssl s_client -starttls postgres -connect {address} -showcerts </dev/null   # shows who signed it",
    ),
    _Cause(
        r"(?s)\A(?!.*(SSL encryption|SSL on)).*no pg_hba.conf entry.*(no encryption|SSL off)",
        "the server at {address} does not let {user!r} in without TLS from here",
        "write `sslmode: require` (or verify-full), or: " + _HBA.replace("{kind}", "host"),
    ),
    _Cause(
        r"no pg_hba.conf entry|pg_hba.conf rejects",
        "the server at {address} does not let {user!r} in from here",
        _HBA.replace("{kind}", "hostssl"),
    ),
    _Cause(
        r"no such user",
        "the pooler at {address} does not know {user!r}",
        "let it ask the server (`auth_query` of PgBouncer), or add the login to its `auth_file`; then reload it",
    ),
    _Cause(
        r"no such database",
        "the pooler at {address} does not know the database {database!r}",
        "add it to `[databases]` of its configuration (`*` means all of them), and reload it",
    ),
    _Cause(
        r"unsupported startup parameter(: options| in options)",
        "the pooler at {address} does not take the `options` of the spec (PgBouncer before 1.20 takes none)",
        "write the server's own address as `server.direct: {{host: …, port: 5432}}`, or have the server keep what "
        "`server.options` sets: ALTER ROLE {quoted} SET …",
    ),
    _Cause(
        r"unsupported startup parameter",
        "the pooler at {address} refuses the login",
        "write the server's own address as `server.direct: {{host: …, port: 5432}}`",
    ),
    _Cause(
        r"password authentication failed|no password supplied|authentication failed",
        "the server at {address} refuses the password of {user!r}",
        "correct `server.credentials`; " + _USED,
        _APPLY,
    ),
    _Cause(
        r'role ".*" (does not exist|is not permitted to log in)',
        "there is no role {user!r} that may log in to the server at {address}",
        "correct `server.credentials`, or as an administrator: CREATE ROLE {quoted} LOGIN PASSWORD '…'",
        _APPLY,
    ),
    _Cause(
        r"permission denied to set role",
        "the role {user!r} may not become {role!r}",
        "write `roles: {{{user}: {{member_of: [{{role: {role}, set: true}}]}}}}` into the spec "
        "(before PostgreSQL 16 `member_of: [{role}]`)",
    ),
    _Cause(
        r"permission denied for database",
        "the role {user!r} may not connect to the database {database!r}",
        "as an administrator: GRANT CONNECT ON DATABASE {place} TO {quoted}",
    ),
    _Cause(
        r"too many connections for (role|database)",
        "the role {user!r} or the database {database!r} has as many sessions as it may have",
        "end some, or as an administrator: ALTER ROLE {quoted} CONNECTION LIMIT -1; "
        "ALTER DATABASE {place} CONNECTION LIMIT -1",
    ),
    _Cause(
        r"too many clients|connection slots are reserved|no more connections allowed",
        "the server at {address} has no connection left{number}",
        "end some sessions, or raise its max_connections",
        "stop some of its clients, or all at once: " + command("restart") + "; then raise `server.max_connections`",
    ),
    _Cause(
        r'database ".*" does not exist',
        "there is no database {database!r} on the server at {address}",
        command("plan") + "   (shows whether `provision apply` makes it)",
    ),
    _Cause(
        r'database ".*" is not currently accepting connections',
        "the database {database!r} does not accept connections",
        "as an administrator, in another database: ALTER DATABASE {place} ALLOW_CONNECTIONS true",
    ),
)
_OF_SUPERUSER = {_APPLY, *[each.next_step for each in _CAUSES if "`server.credentials`" in each.next_step]}
_ADDRESS = "`server.host` and `server.port` (or `server.direct`, where that is declared)"
_UNREACHABLE = f"start it, or correct {_ADDRESS}; provision does not start it (`runtime: external`)"
_WORTH_WAITING = (
    r"(?i)Connection refused|Connection reset|closed the connection unexpectedly|timeout expired"
    r"|pgbouncer cannot connect to server|query_wait_timeout"
)


def is_worth_waiting(error: LoginError) -> bool:
    """Whether a server may only be on its way: nothing listens yet, or it says that it is starting."""
    text = "\n".join(error.evidence)
    return error.login in (Login.STARTING, Login.STANDBY, Login.REMEMBERED) or (
        error.login is Login.NO_SERVER and bool(re.search(_WORTH_WAITING, text)) and _cause(text) is None
    )


_EXPIRED = """
SELECT to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM pg_roles
WHERE rolname = %s AND rolvaliduntil <= now()
"""


def of_role(error: LoginError, endpoint: Endpoint, query: Query) -> UnavailableError:
    """Return the same as :func:`diagnosed` for a declared role; who may ``query`` sees whether its password expired.

    The server refuses it with the same words as a wrong one. https://www.postgresql.org/docs/current/sql-createrole.html
    """
    from contextlib import suppress

    found: list[tuple[str]] = []
    with suppress(ProvisionError):
        found = query.rows(_EXPIRED, (endpoint.user,))
    if not found or error.login is not Login.REFUSED:
        return diagnosed(error, endpoint, role=endpoint.user)
    return UnavailableError(
        f"the password of {endpoint.user!r} expired at {found[0][0]} UTC",
        evidence=error.evidence,
        next_step=f"write a later `valid_until` at `roles.{endpoint.user}`, then: " + command("apply"),
    )


def diagnosed(
    error: LoginError, endpoint: Endpoint, *, connections: int | None = None, role: str = ""
) -> UnavailableError:
    """Return the cause as a sentence, with the words of libpq and the server, and what to do.

    ``connections`` is how many the server may have, ``role`` the declared role that logs in, if it is one.
    """
    text = "\n".join(error.evidence)
    cause = _cause(text)
    if cause is None:
        sentence = f"the server at {endpoint.address} cannot be reached"
        step = _UNREACHABLE.replace(_ADDRESS, "`server.hosts`") if endpoint.hosts else _UNREACHABLE
        return UnavailableError(sentence, evidence=error.evidence, next_step=step)
    words = {
        "address": endpoint.address,
        "host": endpoint.host,
        "user": endpoint.user,
        "role": endpoint.role,
        "database": endpoint.database,
        "sslmode": endpoint.sslmode,
        "root": endpoint.sslrootcert,
        "sslcert": "FILE",
        "sslkey": "FILE",
        **{name: as_word(value) for name, value in endpoint.connection},
        "quoted": identifier(endpoint.user),
        "place": identifier(endpoint.database),
        "number": f": all {connections} are taken" if connections else "",
    }
    advice = (cause.ours if endpoint.is_ours else "") or cause.next_step
    if role and advice in _OF_SUPERUSER:
        advice = f"correct `roles.{role}`, then: " + command("apply")
    return UnavailableError(
        cause.sentence.format(**words),
        evidence=error.evidence,
        next_step=NextStep(advice).wording(lambda text: text.format(**words)),
    )


def _cause(text: str) -> _Cause | None:
    return next((each for each in _CAUSES if re.search(each.pattern, text)), None)
