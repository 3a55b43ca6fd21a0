"""The SDK's client of an engine: by a Unix socket, by tcp with or without TLS, and by ``ssh`` (:mod:`.engine_dial`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.errors import UnavailableError
from provision.system import ssh
from provision.system.engine_address import EngineAddress, reaching

if TYPE_CHECKING:
    from docker import APIClient
    from docker.tls import TLSConfig


_PING_TIMEOUT, CALL_TIMEOUT = 10, 60
_LOGIN_TIMEOUT = 25
"""Of the first answer through ssh, which may have to log in at hosts on the way."""
_ANY_VERSION = "1.30"
"""Only until the engine says which one it speaks; the path that is asked for that has none in it."""
AUTHORITY, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"


def connect(address: EngineAddress) -> APIClient:
    """Return the client, with the API version that both sides know.

    Raises:
        UnavailableError: nothing answers there, or a certificate is missing.
    """
    import docker.errors

    with reaching(address, docker.errors.DockerException):  # those of requests are OSErrors
        if address.socket_path is not None:
            client = docker.APIClient(base_url=address.url, version="auto", timeout=_PING_TIMEOUT)
        else:
            first = _client(address, _ANY_VERSION)
            client = _client(address, str(first.version(api_version=False)["ApiVersion"]))
            client.adapters = first.adapters  # with the connection that is open already
    client.timeout = CALL_TIMEOUT
    return client


def _client(address: EngineAddress, version: str) -> APIClient:
    import docker

    if address.is_ssh:
        from provision.system import engine_dial

        return engine_dial.client(ssh.destination(address.url, address.source), version, _LOGIN_TIMEOUT)
    options: dict[str, Any] = {"version": version, "tls": _tls(address), "timeout": _PING_TIMEOUT}
    client = docker.APIClient(base_url=address.url, **options)
    # REQUESTS_CA_BUNDLE would take the place of the engine's own authority, and a proxy is for the web.
    client.trust_env = False
    return client


def _tls(address: EngineAddress) -> TLSConfig | bool:
    """Return the certificates; the engine's own authority is needed, and a certificate of ours where there is one.

    Raises:
        UnavailableError: one is missing.
    """
    from docker.tls import TLSConfig

    if address.tls is None:
        return False
    there = {name for name in (AUTHORITY, CERTIFICATE, KEY) if (address.tls / name).is_file()}
    pair = {CERTIFICATE, KEY}
    if missing := sorted(({AUTHORITY} | (pair if there & pair else set())) - there):
        raise UnavailableError(
            f"the engine at {address} is reached with TLS, and {address.tls / missing[0]} is missing",
            evidence=[f"{AUTHORITY} is the engine's authority; {CERTIFICATE} and {KEY} are yours"],
            next_step="name the directory that has the certificates: DOCKER_CERT_PATH=DIRECTORY"
            if "DOCKER_HOST" in address.source
            else "docker context ls",
        )
    names = [str(address.tls / name) for name in (CERTIFICATE, KEY)]
    return TLSConfig(client_cert=(names[0], names[1]) if pair <= there else None, ca_cert=str(address.tls / AUTHORITY),
                     verify=True)  # fmt: skip
