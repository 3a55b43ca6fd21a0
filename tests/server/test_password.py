"""The password is fetched once a run, by what needs it; what looks at a server, stops or starts it, works without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.embedded import Embedded

PROGRAM = """#!/bin/sh
echo "$1" >> calls
[ "$1" = works ] && echo s3cret
"""
LIFECYCLE = (("status",), ("stop",), ("start",), ("logs", "-n", "1"), ("restart",), ("destroy",))


def declared(environment: Embedded, password: object) -> None:
    environment.server(credentials={"password": None})
    environment.server(credentials={"password": password})


def program(environment: Embedded) -> list[str]:
    """Write the program into the environment's directory, and return how it is called."""
    path = environment.directory / "password.sh"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return ["./password.sh", "works"]


def calls(environment: Embedded) -> int:
    """Return how often the program was called since this was asked last."""
    path = environment.directory / "calls"
    found = len(path.read_text().splitlines()) if path.exists() else 0
    path.unlink(missing_ok=True)
    return found


def test_a_run_calls_the_password_program_once(environment: Embedded) -> None:
    declared(environment, {"command": program(environment)})
    environment.migrations("a")
    counted = {}
    for words in (("apply",), ("apply",), ("plan",), ("verify",), ("status",), ("url",)):
        environment.run(*words)
        counted[words[0]] = calls(environment)
    assert counted == dict.fromkeys(("apply", "plan", "verify", "status", "url"), 1)
    for words in (("stop",), ("start",), ("logs",), ("restart",), ("destroy",)):
        environment.run(*words)
        assert calls(environment) == 0, words
    assert not (environment.home / "secrets").exists()


@pytest.mark.parametrize("password", ["program", "file", "variable"])
def test_without_the_password_a_server_is_seen_stopped_and_started(environment: Embedded, password: str) -> None:
    (environment.directory / "secret").write_text("s3cret\n")
    working: dict[str, object] = {
        "program": {"command": program(environment)},
        "file": {"file": "secret"},
        "variable": "${THE_PASSWORD}",
    }
    declared(environment, working[password])
    environment.environ["THE_PASSWORD"] = "s3cret"
    environment.apply()
    del environment.environ["THE_PASSWORD"]
    (environment.directory / "secret").unlink()
    if password == "program":
        declared(environment, {"command": ["./password.sh", "fails"]})
    for words in LIFECYCLE:
        ran = environment.run(*words)
        if words == ("status",):
            assert "? " in ran.all
            assert "running" in ran.all
            assert {"program": "exit code 1", "file": "does not exist", "variable": "THE_PASSWORD"}[password] in ran.all
    assert environment.run("apply", code=None).code == (65 if password == "variable" else 1)


def test_without_its_port_user_and_database_a_server_is_seen_stopped_and_started(environment: Embedded) -> None:
    place = {"PORT": str(environment.document["server"]["port"]), "DATABASE": "shop", "LOGIN": "keeper"}
    environment.server(port="${PORT}", database="${DATABASE}", credentials={"user": "${LOGIN}"})
    environment.environ |= place
    environment.apply()
    for name in place:
        del environment.environ[name]
    ran = environment.run("status")
    assert all(word in ran.all for word in ("running", *(f"`{name}` is not set" for name in place)))
    assert "≠" not in ran.all
    for words in LIFECYCLE[1:]:
        environment.run(*words)


def test_values_that_are_not_needed_do_not_stop_what_does_not_need_them(environment: Embedded) -> None:
    environment.server(settings={"work_mem": "${WORK_MEM}"}, ready_timeout="${READY}")
    environment.migrations("a")
    environment.declare(migrations={"env": {"TOKEN": "${API_TOKEN}"}})
    environment.environ |= {"WORK_MEM": "8MB", "READY": "40s", "API_TOKEN": "abcdefgh"}
    environment.apply()
    for name in ("WORK_MEM", "READY", "API_TOKEN"):
        del environment.environ[name]
    ran = environment.run("status")
    assert all(name in ran.all for name in ("running", "WORK_MEM", "READY", "API_TOKEN"))
    assert "work_mem: " not in ran.all
    for words in LIFECYCLE[1:]:
        environment.run(*words)
    assert "WORK_MEM" in environment.run("apply", code=65).all
