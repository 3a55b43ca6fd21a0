"""An engine behind tcp with TLS: its certificates count, whatever the shell says of other authorities."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from socket import AF_UNIX
from typing import TYPE_CHECKING

import pytest
from support.certificates import authority, signed
from support.proxy import SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.environment import Environment


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that DOCKER_CERT_PATH names, with the engine's own certificate in it too."""
    place = tmp_path_factory.mktemp("certificates")
    authority(place, "ca").rename(place / "ca.pem")
    (place / "ca.crt").symlink_to("ca.pem")
    signed(place, "ca", "server", "engine", "subjectAltName=IP:127.0.0.1")
    for made, name in zip(signed(place, "ca", "client", "client"), ("cert.pem", "key.pem"), strict=True):
        made.rename(place / name)
    return place


@contextmanager
def behind_tls(certificates: Path) -> Iterator[str]:
    """Serve the engine with TLS to who has a certificate; give the URL for DOCKER_HOST."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context), daemon=True).start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, context), daemon=True).start()


def _serve(client: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError), context.wrap_socket(client, server_side=True) as secured, socket.socket(AF_UNIX) as engine:
        engine.connect(SOCKET)
        threading.Thread(target=_pump, args=(engine, secured), daemon=True).start()
        _pump(secured, engine)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(1 << 16):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def secured(environment: Environment, certificates: Path) -> Iterator[Environment]:
    """An environment of such an engine, in a shell with an authority of its own for the web."""
    with behind_tls(certificates) as url:
        web = environment.directory.parent / "web.pem"
        web.write_text("")
        environment.environ |= {"DOCKER_HOST": url, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
        environment.environ |= {"REQUESTS_CA_BUNDLE": str(web), "HTTPS_PROXY": "http://127.0.0.1:9"}
        yield environment


def test_the_engines_own_authority_counts(secured: Environment) -> None:
    assert "create container" in " ".join(secured.actions())


def test_a_certificate_that_is_missing_is_named(secured: Environment, certificates: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(certificates, copy)
    for name in ("key.pem", "ca.pem"):
        (copy / name).unlink()
        ran = secured.run("plan", code=69, DOCKER_CERT_PATH=str(copy))
        assert f"is reached with TLS, and {copy / name} is missing" in ran.err
        assert "next: name the directory that has the certificates: DOCKER_CERT_PATH=DIRECTORY" in ran.err
        shutil.copy(certificates / name, copy)


def test_another_authority_is_not_trusted(secured: Environment, certificates: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(certificates, copy)
    shutil.copy(copy / "server.crt", copy / "ca.pem")
    ran = secured.run("plan", code=69, DOCKER_CERT_PATH=str(copy))
    assert "CERTIFICATE_VERIFY_FAILED" in ran.err
