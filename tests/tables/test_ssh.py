"""Destinations of ssh: which are taken, what is said of the others, and the whole line that is run."""

from __future__ import annotations

import pytest

from provision.errors import UnavailableError
from provision.model.ssh import Destination, parse
from provision.system import engine_dial, ssh

FIXED = "ssh -T -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("ssh://build-host", Destination("build-host")),
        ("ssh://build-host/", Destination("build-host")),
        ("ssh://ada@build-host:2222", Destination("build-host", "ada", 2222)),
        ("ssh://BuildHost", Destination("BuildHost")),
        ("ssh://ada%40corp@192.0.2.7", Destination("192.0.2.7", "ada@corp")),
        ("ssh://[2001:db8::7]:22", Destination("2001:db8::7", None, 22)),
        ("ssh://[fe80::1%eth0]", Destination("fe80::1%eth0")),
        ("ssh://h/run/user/1000/podman/podman.sock", Destination("h", path="/run/user/1000/podman/podman.sock")),
    ],
)
def test_a_destination_is_read_and_written(url: str, found: Destination) -> None:
    assert parse(url) == found
    assert parse(str(found).replace("ada@corp", "ada%40corp")) == found


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ssh://", "no host"),
        ("ssh://ada@", "no host"),
        ("ssh://-oProxyCommand=touch", "its host"),
        ("ssh://-l@host", "its user"),
        ("ssh://a;b@host", "its user"),
        ("ssh://host$(touch x)", "its host"),
        ("ssh://host%20x", "its host"),
        ("ssh://ho\nst'", "its host"),
        ("ssh://host/run/x;touch y", "its path"),
        ("ssh://host/run/$HOME", "its path"),
        ("ssh://host:0", "its port"),
        ("ssh://host:65536", "its port"),
        ("ssh://host:ssh", "its port"),
        ("ssh://host?x=1", "form"),
        ("ssh://host#x", "form"),
        ("tcp://host", "form"),
    ],
)
def test_what_is_no_destination_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UnavailableError, match="from DOCKER_HOST is not one for ssh") as caught:
        ssh.destination("ssh://ada:geheim@host", "from DOCKER_HOST")
    assert "geheim" not in f"{caught.value.sentence} {caught.value.evidence} {caught.value.next_step}"
    assert caught.value.evidence == ("it holds a password, and ssh takes none: use a key or an agent",)


def test_the_host_comes_after_two_dashes() -> None:
    words = ("docker", "system", "dial-stdio")
    assert " ".join(ssh.argv(parse("ssh://build-host"), words=words)) == f"{FIXED} -- build-host {' '.join(words)}"
    line = " ".join(ssh.argv(parse("ssh://ada@build-host:2222"), "-N", "-L", "127.0.0.1:1:127.0.0.1:2"))
    assert line == f"{FIXED} -N -L 127.0.0.1:1:127.0.0.1:2 -l ada -p 2222 -- build-host"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("kex_exchange_identification: Connection closed by remote host", "ended a login before it began"),
        ("ada@build: Permission denied (publickey).", "ssh cannot log in at ssh://build"),
    ],
)
def test_what_ssh_says_is_told_in_words(said: str, sentence: str) -> None:
    place = ssh.destination("ssh://ada@build", "")
    error = engine_dial.unreachable("ssh://build", "docker", engine_dial.BrokenOffError(place, 255, said))
    assert error is not None
    assert sentence in error.sentence
    assert said in error.evidence
