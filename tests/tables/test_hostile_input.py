"""Input that was made to hang or to break the program: files that are none, long lines, an engine's broken answers."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from provision.cli import run
from provision.errors import StepFailedError
from provision.model.effects import EngineCall
from provision.system.engine_address import EngineAddress
from provision.system.engine_calls import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CPU_SECONDS = 5
"""Far more than each of these needs, and far less than one that is read again for each of its characters."""
SIZE = 200_000
SPEC = "name: hostile\nserver: {image: 'postgres:17', runtime: docker, credentials: {password: pw}}\n"
LONG = [
    *["- ", "? ", "[", "{", "a: ", "a:\n", "'", '"', "&a ", "!t ", "://a:", "a=", "password=", "pwd='", "${", "a"],
    *["a ", " ", "a: &x [*x]\n", "{a: b, ", "<<: *a\n", "1", "../", "x:y@", "a\t"],
]
FRAMES = {
    "the file": "%s",
    "an unknown key": "name: xx\nserver: {image: 'postgres:17'}\nx: %s",
    "a setting": 'name: xx\nserver:\n  image: postgres:17\n  settings:\n    search_path: "%s"\n',
    "a password": "name: xx\nserver:\n  image: postgres:17\n  credentials: {password: '%s'}\n",
}
WHOLE = b'{"Id": "i", "Image": "i", "State": {}, "Config": {}, "HostConfig": {}, "NetworkSettings": {}, "Mounts": []}'
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n"
ANSWERS = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "half of a head": HEAD,
    "half of a body": HEAD + b"Content-Length: 500\r\n\r\n" + WHOLE,
    "half of a text": HEAD + b"\r\n" + WHOLE[:40],
    "no JSON": HEAD + b"\r\n<html>not here</html>",
    "a text": HEAD + b'\r\n"container"',
    "null": HEAD + b"\r\nnull",
    "an empty mapping": HEAD + b"\r\n{}",
    "a hollow container": HEAD + b"\r\n" + WHOLE,
    "a list": HEAD + b"\r\n[]",
    "an error": b"HTTP/1.0 500 Oops\r\n\r\n<html>",
}


@contextmanager
def engine_that_says(answer: bytes, directory: Path) -> Iterator[str]:
    """Give every request the same answer; ``_ping`` gets a right one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "e.sock"))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked = connection.recv(4096)
                    connection.sendall(HEAD + b"\r\nOK" if b"/_ping" in asked else answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"unix://{directory}/e.sock"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_engine_that_answers_wrongly_ends_in_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.yml").write_text(SPEC)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with engine_that_says(ANSWERS[name], tmp_path) as url:
        monkeypatch.setenv("DOCKER_HOST", url)
        code = run(["status", str(tmp_path / "spec.yml")])
    told = capsys.readouterr().err
    assert code in {1, 69}, told
    assert "e.sock" in told
    assert "next: " in told


@pytest.mark.parametrize(
    "name", ["nothing", "no HTTP", "half of a head", "half of a body", "half of a text", "no JSON"]
)
def test_a_change_that_an_engine_answers_wrongly_ends_in_a_sentence(name: str, tmp_path: Path) -> None:
    with engine_that_says(ANSWERS[name], tmp_path) as url, pytest.raises(StepFailedError) as caught:
        Engine(EngineAddress(url, "a test"), "docker").perform(EngineCall("create_volume", "v", {"labels": {}}), print)
    assert "e.sock" in caught.value.sentence


def test_an_answer_of_podman_that_is_an_empty_line_is_none(tmp_path: Path) -> None:
    """It says that of an image that has its new name."""
    with engine_that_says(b"HTTP/1.0 201 Created\r\n\r\n\n", tmp_path) as url:
        Engine(EngineAddress(url, "a test"), "podman").perform(EngineCall("tag_image", "a:1", {"name": "b:1"}), print)


def test_what_is_no_file_is_no_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    (tmp_path / "directory.yml").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.yml"))
        for name, what in {
            str(tmp_path / "pipe.yml"): "is a named pipe, and a spec is a regular file",
            str(tmp_path / "socket.yml"): "is a socket, and a spec is a regular file",
            str(tmp_path / "directory.yml"): "is a directory",
            "/dev/zero": "is a device, and a spec is a regular file",
        }.items():
            assert run(["validate", name]) == 64
            assert what in capsys.readouterr().err


@pytest.mark.parametrize("where", ["templates/postgresql.conf.j2", "password", "migrations/versions/a.py"])
@pytest.mark.parametrize("what", ["pipe", "device"])
def test_what_a_spec_names_is_not_waited_for(
    where: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for directory in ("templates", "migrations/versions"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "migrations" / "env.py").touch()
    (tmp_path / "templates" / "docker-compose.yml.j2").write_text("services: {}")
    (tmp_path / "password").write_text("pw\n")
    place = tmp_path / where
    place.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero")
    templates = "templates: templates\n" if "templates" in where else ""
    (tmp_path / "spec.yml").write_text(
        f"name: hostile\n{templates}migrations: {{script_location: migrations}}\n"
        "server: {image: 'postgres:17', runtime: external, host: 127.0.0.1, port: 1,"
        " credentials: {password: {file: password}}}\n"
        if not templates
        else f"name: hostile\n{templates}server: {{image: 'postgres:17', runtime: docker, port: 5999}}\n"
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert run(["plan", str(tmp_path / "spec.yml")]) == 1
    assert "not a regular file" in capsys.readouterr().err


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


@pytest.mark.parametrize("frame", FRAMES)
def test_long_lines_are_read_once(frame: str, tmp_path: Path) -> None:
    """All of them together, in one process that may compute for so long."""
    paths = []
    for number, each in enumerate(LONG):
        paths.append(tmp_path / f"{number}.yml")
        paths[-1].write_text(FRAMES[frame].replace("%s", each * (SIZE // 4 // len(each))))
    done = subprocess.run(
        (sys.executable, "-m", "provision", "validate", *map(str, paths)),
        capture_output=True,
        check=False,
        preexec_fn=_limited,  # the copy has one thread
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )
    assert done.returncode in {0, 65}, done.stderr[-500:]


def test_dashes_and_many_settings_are_read_in_time(tmp_path: Path) -> None:
    (tmp_path / "dashes.yml").write_text("- " * 20000 + "x")
    settings = "".join(f"    app.s{number}: 'v{number}'\n" for number in range(20000))
    (tmp_path / "many.yml").write_text(f"name: many\nserver:\n  image: postgres:17\n  settings:\n{settings}")
    for name, code in (("dashes.yml", 65), ("many.yml", 0)):
        done = subprocess.run(
            (sys.executable, "-m", "provision", "validate", name),
            cwd=tmp_path,
            capture_output=True,
            check=False,
            preexec_fn=_limited,  # the copy has one thread
        )
        assert done.returncode == code, done.stderr[-500:]
