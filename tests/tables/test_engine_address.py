"""Where the engine is found, and what is said where it does not answer."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provision.errors import NotRunError, RefusedError, UnavailableError
from provision.system import no_commands
from provision.system.engine_address import EngineAddress, address_to_keep, chosen, locate, sockets, unreachable
from provision.system.look import Look

if TYPE_CHECKING:
    from collections.abc import Iterator

DEAD, ALIVE, MISSING = "dead", "alive", "missing"


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[str]]:
    """Three places: a socket without a listener, one with a listener, and nothing."""
    with ExitStack() as stack:
        for name in (DEAD, ALIVE):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(tmp_path / name))
            if name == ALIVE:
                listener.listen()
                stack.enter_context(listener)
            else:
                listener.close()
        yield [str(tmp_path / name) for name in (MISSING, DEAD, ALIVE)]


def test_the_first_socket_that_answers_is_taken(places: list[str]) -> None:
    missing, dead, alive = places
    assert chosen(places) == alive
    assert chosen([missing, dead]) == dead
    assert chosen([missing]) == missing
    assert chosen([alive, dead]) == alive


def test_each_engine_is_looked_for_where_it_puts_its_socket() -> None:
    of_docker, of_others = sockets({"HOME": "/home/ada", "XDG_RUNTIME_DIR": "/run/user/1000"})
    assert of_docker == ("/var/run/docker.sock", "/home/ada/.docker/run/docker.sock", "/run/user/1000/docker.sock")
    assert of_others == (
        "/home/ada/.colima/default/docker.sock",
        "/home/ada/.rd/docker.sock",
        "/run/user/1000/podman/podman.sock",
        "/home/ada/.local/share/containers/podman/machine/podman.sock",
        "/run/podman/podman.sock",
    )


def test_an_engine_that_is_named_is_taken_and_no_other(tmp_path: Path) -> None:
    address = locate({"DOCKER_HOST": "ssh://db.example", "HOME": str(tmp_path)}, kept="unix:///var/run/docker.sock")
    assert (address.url, address.is_named) == ("ssh://db.example", True)
    with pytest.raises(UnavailableError, match="the docker context 'colleague' cannot be read"):
        locate({"DOCKER_CONTEXT": "colleague", "HOME": str(tmp_path)})


def test_an_environment_stays_with_the_engine_that_it_was_made_with(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    podman = f"unix://{tmp_path}/podman/podman.sock"
    assert locate(environ, kept=podman) == EngineAddress(podman, "", is_named=False)
    with pytest.raises(UnavailableError, match="where this user has none") as caught:
        locate(environ, kept="unix:///run/user/4242/podman/podman.sock")
    assert caught.value.next_step is not None
    assert "DOCKER_HOST=unix:///run/user/4242/podman/podman.sock" in caught.value.next_step


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("unix:///run/user/1000/podman/podman.sock", "unix:///run/user/1000/podman/podman.sock"),
        ("unix:///run/user/1000//podman/podman.sock", "unix:///run/user/1000/podman/podman.sock"),
        ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
        ("unix:///run/user/4242/podman/podman.sock", None),
        ("ssh://db.example", "ssh://db.example"),
    ],
)
def test_an_engine_that_is_named_at_a_standard_place_is_found_the_next_time(url: str, kept: str | None) -> None:
    environ = {"HOME": "/home/ada", "XDG_RUNTIME_DIR": "/run/user/1000", "DOCKER_HOST": url}
    assert address_to_keep(locate(environ), environ) == kept
    if kept is not None:
        del environ["DOCKER_HOST"]
        assert locate(environ, kept=kept).url == kept


def test_an_engine_that_listens_elsewhere_is_not_replaced_by_one_here() -> None:
    environ = {"HOME": "/home/ada", "DOCKER_HOST": "tcp://localhost:2375"}
    assert address_to_keep(locate(environ), environ) == "tcp://localhost:2375"
    with pytest.raises(UnavailableError, match="which nothing names now"):
        locate({"HOME": "/home/ada"}, kept="tcp://localhost:2375")


def test_what_the_spec_names_comes_first(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": "unix:///var/run/docker.sock"}
    assert str(locate(environ, declared="ssh://ada@h:22")) == "ssh://ada@h:22 (`server.engine` in the spec)"
    with pytest.raises(UnavailableError, match="the docker context 'colleague' cannot be read"):
        locate(environ, declared="context:colleague")
    context = tmp_path / ".docker/contexts/meta" / sha256(b"far").hexdigest() / "meta.json"
    context.parent.mkdir(parents=True)
    context.write_text('{"Endpoints": {"docker": {"Host": "ssh://far"}}}')
    assert str(locate(environ, declared="context:far")) == "ssh://far (docker context 'far')"


def test_an_engine_that_only_a_strangers_spec_names_is_not_asked() -> None:
    with no_commands.active():
        with pytest.raises(NotRunError, match="ssh://evil"):
            locate({"HOME": "/"}, declared="ssh://evil")
        assert locate({"HOME": "/", "DOCKER_HOST": "ssh://mine"}, declared="ssh://mine").url == "ssh://mine"
        assert locate({"HOME": "/", "DOCKER_HOST": "ssh://mine"}).url == "ssh://mine"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost"])
def test_a_port_without_tls_may_be_one_of_this_machine(host: str) -> None:
    assert locate({"HOME": "/", "DOCKER_HOST": f"tcp://{host}:2375"}).tls is None


@pytest.mark.parametrize("host", ["192.0.2.7", "localhost.example", "[2001:db8::1]", "127.0.0.1.example"])
def test_a_port_of_another_host_needs_tls_or_a_word(host: str) -> None:
    environ = {"HOME": "/", "DOCKER_HOST": f"tcp://{host}:2375"}
    with pytest.raises(RefusedError, match="reached without TLS") as caught:
        locate(environ)
    assert "--insecure-tcp" in str(caught.value.next_step)
    assert locate({**environ, "PROVISION_INSECURE_TCP": "1"}).tls is None
    assert locate({**environ, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}).tls == Path("/c")


@pytest.mark.parametrize("host", ["build-host", "192.0.2.7:2375", "SSH://build-host", "npipe:////./pipe/docker_engine"])
def test_an_address_that_does_not_say_how_is_refused(host: str) -> None:
    with pytest.raises(RefusedError, match="does not say how to reach it"):
        locate({"DOCKER_HOST": host})


def test_its_directory_remembers_that(tmp_path: Path) -> None:
    """Also where the engine does not answer any more: another one has not the data."""
    environ, home = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path / ".provision" / "shop"
    home.mkdir(parents=True)
    (home / "engine").write_text(f"unix://{tmp_path}/podman/podman.sock")
    look = Look(environ, home)
    assert look.address.url == f"unix://{tmp_path}/podman/podman.sock"
    with pytest.raises(UnavailableError, match="no Podman service answers"):
        look.reader.ping()


def test_an_environment_of_an_older_version_is_looked_for_at_dockers_own_sockets(tmp_path: Path) -> None:
    colima = tmp_path / ".colima" / "default"
    colima.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(colima / "docker.sock"))
        listener.listen()
        environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
        assert "colima" not in locate(environ, is_old=True).url


@pytest.mark.parametrize(
    ("url", "error", "sentence", "step"),
    [
        ("unix:///var/run/docker.sock", PermissionError(), "permission denied on /var/run/docker.sock: join the group",
         "sudo usermod -aG docker"),
        ("unix:///run/podman/podman.sock", PermissionError(), "permission denied on /run/podman/podman.sock",
         "systemctl --user enable --now podman.socket"),
        ("unix:///run/podman/podman.sock", ConnectionRefusedError(), "no Podman service answers at", "podman.socket"),
        ("tcp://db.example:2375", TimeoutError(), "no Docker engine answers at tcp://db.example:2375", "start Docker"),
    ],
)  # fmt: skip
def test_what_is_said_where_none_answers(url: str, error: OSError, sentence: str, step: str) -> None:
    told = unreachable(EngineAddress(url, ""), error)
    assert told.sentence.startswith(sentence)
    assert step in (told.next_step or "")
