"""The REST API of Patroni: what a cluster is, a change of its dynamic configuration, and restarts of its members.

It is spoken to directly, as ``patronictl`` does: no proxy, no redirection. The login is sent only with what changes
something, because Patroni asks for it only there.
https://patroni.readthedocs.io/en/latest/rest_api.html
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from provision.errors import ProvisionError, RefusedError, StepFailedError, UnavailableError, command, translated
from provision.model.cluster import Cluster, Member, parsed
from provision.spec.model import Patroni
from provision.system import no_commands
from provision.system.secrets import Password

_TIMEOUT = 10.0  # Patroni asks its store before it answers
_MOST_BYTES = 16 << 20
_MOST_TRIES = 3
_CORRECT = "correct `server.patroni.api`: it is `restapi.connect_address` in the patroni.yml of each member"
_IDENTITY = "write the files of a certificate that the members trust as `server.patroni.cert` and `key`"
_OK, _UNAUTHORISED, _FORBIDDEN, _CONFLICT = 200, 401, 403, 409


class _Answer(NamedTuple):
    address: str
    status: int
    text: str

    def __str__(self) -> str:
        words = " ".join(self.text.split())[:200]
        return f"{self.address} answered {self.status}: {words}"


class Api:
    """The API of one cluster; any member that answers will do."""

    def __init__(self, at: Patroni, password_file: Path) -> None:
        self._at = at
        self._password = Password(at.password, password_file, "server.patroni.password") if at.password else None
        self._first: str | None = None
        """The address that answered last."""

    def look(self) -> Cluster:
        """Return the members and the dynamic configuration.

        Raises:
            UnavailableError: no address answers, or what answers is not Patroni.
            NotRunError: ``--no-commands``.
        """
        no_commands.refuse("the cluster: the REST API of Patroni was not asked")
        listed, config = self._ask("GET", "/cluster"), self._ask("GET", "/config")
        try:
            return parsed(*[json.loads(each.text) for each in (self._checked(listed), self._checked(config))])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnavailableError(
                "what answers is not the REST API of Patroni", evidence=[str(listed)], next_step=_CORRECT
            ) from error

    def patch(self, change: Mapping[str, Any]) -> None:
        """Merge a change into the dynamic configuration; None takes a key out of it.

        Raises:
            ProvisionError: Patroni refuses it.
        """
        for _ in range(_MOST_TRIES):
            answer = self._ask("PATCH", "/config", change)
            if answer.status != _CONFLICT:  # another change came between
                break
        self._checked(answer)

    def restart(self, member: Member, timeout: float) -> None:
        """Restart the PostgreSQL of a member, and wait until Patroni says that it runs again.

        Raises:
            ProvisionError: Patroni refuses it, or it does not come up.
        """
        try:
            answer = self._send(self._address_of(member), "POST", "/restart", {}, timeout)
        except (OSError, http.client.HTTPException) as error:
            raise StepFailedError(
                f"Patroni on {member.name!r} did not answer while its PostgreSQL restarted",
                evidence=[_words(error)],
                next_step=command("status"),
            ) from error
        if answer.status in (_UNAUTHORISED, _FORBIDDEN):
            self._refused(answer)
        if answer.status != _OK:
            raise StepFailedError(
                f"Patroni did not restart {member.name!r}",
                evidence=[str(answer)],
                next_step=command("status") + f"   (the log of Patroni on {member.name} says why)",
            )

    def _address_of(self, member: Member) -> str:
        """Return the declared address of a member, or the one that it says itself."""
        for each in self._at.api:
            try:
                answer = self._send(each, "GET", "/patroni", None, _TIMEOUT)
                if json.loads(answer.text)["patroni"].get("name") == member.name:
                    return each
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
                continue
        if not any(member.api.startswith(f"{urlsplit(each).scheme}://") for each in self._at.api):
            raise RefusedError(
                f"the address of {member.name!r} is not among `server.patroni.api`, and says {member.api}",
                evidence=["the password is not sent with another scheme than the declared addresses have"],
                next_step="write the address of each member in `server.patroni.api`",
            )
        return member.api

    def _ask(self, method: str, path: str, body: Any = None) -> _Answer:
        """Return the answer of the first address that gives one.

        Raises:
            UnavailableError: none does.
        """
        said: list[str] = []
        unknown: ssl.SSLCertVerificationError | None = None
        for each in dict.fromkeys((*([self._first] if self._first else ()), *self._at.api)):
            try:
                answer = self._send(each, method, path, body, _TIMEOUT)
            except (OSError, http.client.HTTPException) as error:
                unknown = error if isinstance(error, ssl.SSLCertVerificationError) else unknown
                said.append(f"{each}: {_words(error)}")
            else:
                self._first = each
                return answer
        raise _silent(said, unknown, has_ca=self._at.ca is not None)

    def _send(self, address: str, method: str, path: str, body: Any, timeout: float) -> _Answer:
        parts = urlsplit(address)
        host = parts.hostname or ""
        with closing(self._connection(parts.scheme, host, parts.port, timeout)) as connection:
            data = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": "application/json"} if data is not None else {}
            if method != "GET" and self._password is not None:
                login = f"{self._at.user or ''}:{self._password.reveal()}"
                headers["Authorization"] = "Basic " + b64encode(login.encode()).decode()
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            return _Answer(address, answer.status, answer.read(_MOST_BYTES).decode(errors="replace"))

    def _connection(self, scheme: str, host: str, port: int | None, timeout: float) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        unreadable = ProvisionError(
            f"the certificates in {self._at.ca} cannot be read",
            next_step="write a file of certificates in PEM as `server.patroni.ca`",
        )
        with translated(OSError, into=unreadable):  # ssl's errors are among them
            context = ssl.create_default_context(cafile=self._at.ca)
        if self._at.cert is not None and self._at.key is not None:
            no_pair = ProvisionError(
                f"{self._at.cert} and {self._at.key} are no certificate with its key",
                next_step="write files in PEM as `server.patroni.cert` and `key`; the key without a passphrase",
            )
            with translated(OSError, into=no_pair):  # without a password it would ask for one at the terminal
                context.load_cert_chain(self._at.cert, self._at.key, password="")
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _checked(self, answer: _Answer) -> _Answer:
        if answer.status in (_UNAUTHORISED, _FORBIDDEN):
            self._refused(answer)
        if answer.status != _OK:
            raise ProvisionError(
                "the REST API of Patroni answered with an error", evidence=[str(answer)], next_step=command("status")
            )
        return answer

    def _refused(self, answer: _Answer) -> NoReturn:
        if answer.status == _FORBIDDEN:
            raise RefusedError(
                "Patroni lets this machine change nothing",
                evidence=[str(answer)],
                next_step="have `restapi.allowlist` in the patroni.yml of the members name this machine; "
                f"for `restapi.verify_client`, {_IDENTITY}",
            )
        user = repr(self._at.user) if self._password is not None else "requests without a login"
        raise RefusedError(
            f"Patroni refuses {user}",
            evidence=[str(answer)],
            next_step="write `server.patroni.user` and `password` as `restapi.authentication` in patroni.yml has them",
        )


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _silent(said: list[str], unknown: ssl.SSLCertVerificationError | None, *, has_ca: bool) -> UnavailableError:
    if unknown is None:
        is_asked = any(re.search("certificate.required|handshake.failure", each, re.IGNORECASE) for each in said)
        return UnavailableError(
            "the REST API of Patroni cannot be reached", evidence=said, next_step=_IDENTITY if is_asked else _CORRECT
        )
    advice = "write the file of the authority that signed it as `server.patroni.ca`"
    if "mismatch" in unknown.verify_message:
        advice = "write in `server.patroni.api` a name or address that the certificate has"
    elif has_ca:
        advice = "`server.patroni.ca` has another authority: write the file of the one that signed it"
    return UnavailableError("no certificate of Patroni's REST API is trusted", evidence=said, next_step=advice)
