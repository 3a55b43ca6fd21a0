"""Passwords of roles: made where a role is, kept beside the spec, fetched once a run, and nowhere to be read."""

from __future__ import annotations

import shutil
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.embedded import an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.embedded import Embedded

ODD = "a.b/c %ü"
CLEAR = "clear-4711"
PROGRAM = """#!/bin/sh
echo "$1" >> calls
[ "$1" = works ] && echo s3cret-of-role
"""


FORGET = """
DO $$ DECLARE each name; BEGIN
    FOR each IN SELECT rolname FROM pg_roles WHERE oid >= 16384 LOOP EXECUTE format('DROP ROLE %I', each); END LOOP;
END $$
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Embedded]:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        yield made.apply() and made


@pytest.fixture
def environment(running: Embedded) -> Iterator[Embedded]:
    """An environment whose server has no roles yet."""
    document = running.document
    yield running
    running.document = document
    running.declare().apply()
    running.query(FORGET)
    shutil.rmtree(running.home / "secrets", ignore_errors=True)


def kept(environment: Embedded, name: str) -> Path:
    from urllib.parse import quote

    return environment.home / "secrets" / "roles" / quote(name, safe="").replace(".", "%2E")


def logs_in(environment: Embedded, role: str, password: str) -> bool:
    with closing(environment.connection()) as connection:
        port = connection.info.port
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(host="127.0.0.1", port=port, user=role, password=password, dbname="postgres").close()
        return True
    return False


def test_a_generated_password_is_kept_and_made_again_where_it_is_lost(environment: Embedded) -> None:
    environment.declare(roles={ODD: {"login": True}, "group": {}}).apply()
    file = kept(environment, ODD)
    first = file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["a%2Eb%2Fc%20%25%C3%BC"]
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert logs_in(environment, ODD, first)
    environment.settled()

    file.unlink()
    assert "password: not known here → as declared" in environment.run("plan").out
    environment.apply()
    second = file.read_text()
    assert second != first
    assert logs_in(environment, ODD, second)
    environment.settled()

    environment.query(f"ALTER ROLE \"{ODD}\" PASSWORD 'known'")
    environment.apply()
    assert logs_in(environment, ODD, second)
    assert file.read_text() == second


def test_a_run_that_was_killed_between_file_and_server_is_continued(environment: Embedded) -> None:
    file = kept(environment, "app")
    file.parent.mkdir(mode=0o700, parents=True)
    file.write_text("written before the role")
    file.chmod(0o600)
    environment.declare(roles={"app": {"login": True}}).apply()
    assert logs_in(environment, "app", "written before the role")


def test_a_role_that_others_made_keeps_its_password(environment: Embedded) -> None:
    environment.query("CREATE ROLE app LOGIN PASSWORD 'its own'")
    environment.declare(roles={"app": {"login": True}}).apply()
    environment.settled()
    assert logs_in(environment, "app", "its own")
    assert not kept(environment, "app").exists()

    environment.declare(roles={"app": {"login": True, "password": {"generate": True}}})
    assert "password: not known here → as declared" in environment.run("plan").out
    environment.apply()
    environment.settled()
    assert logs_in(environment, "app", kept(environment, "app").read_text())

    environment.declare(roles={"app": {"login": True, "password": {"generate": None}}})
    environment.declare(roles={"app": {"login": True, "password": None}}).settled()
    kept(environment, "app").unlink()
    assert "password: not known here → as declared" in environment.run("plan").out, "we have generated it"


def test_a_password_that_is_declared_is_compared_in_every_form(environment: Embedded) -> None:
    environment.environ["ROLE_PW"] = CLEAR
    environment.declare(roles={"app": {"password": "${ROLE_PW}"}}).apply()
    for statement, word in (
        ("ALTER ROLE app PASSWORD 'another'", "another"),
        ("ALTER ROLE app PASSWORD NULL", "none"),
        ("SELECT set_config('password_encryption', 'md5', false); ALTER ROLE app PASSWORD 'another'", "md5"),
    ):
        environment.query(statement)
        assert f"password: {word} → as declared" in environment.run("plan").out
        assert f"password: {word}, not as declared" in environment.run("verify").out
        environment.apply()
        environment.settled()
        assert logs_in(environment, "app", CLEAR)
    environment.declare(roles={"app": {"password": "none", "login": True}})
    planned = environment.run("plan").out
    assert "password: set → none" in planned
    assert "app loses: password" in planned
    environment.apply()
    environment.settled()
    assert environment.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'") == [(None,)]
    environment.declare(roles={"app": {"password": None}})
    assert "· role/app: it logs in, and has no password" in environment.settled().out


def test_a_program_is_called_once_a_run_and_only_by_what_needs_it(environment: Embedded) -> None:
    path = environment.directory / "password.sh"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    environment.declare(roles={"app": {"password": {"command": ["./password.sh", "works"]}}})

    def calls() -> int:
        noted = environment.directory / "calls"
        found = len(noted.read_text().splitlines()) if noted.exists() else 0
        noted.unlink(missing_ok=True)
        return found

    for words, expected in ((("apply",), 1), (("apply",), 1), (("plan",), 1), (("verify",), 1), (("status",), 0)):
        environment.run(*words)
        assert calls() == expected, words
    environment.run("plan", "--no-commands")
    assert calls() == 0
    environment.declare(roles={"app": {"password": {"command": ["./password.sh", "fails"]}}})
    failed = environment.run("plan", code=1).err
    assert "next: run the program of `roles.app.password.command` yourself" in failed
    environment.declare(roles={"app": {"password": {"command": None, "file": "missing"}}})
    assert "the password file" in environment.run("status").out
    for words in (("logs", "-n", "1"), ("stop",), ("start",), ("restart",)):
        environment.run(*words)


@pytest.mark.parametrize("source", ["generated", "written"])
def test_a_password_and_its_verifier_are_nowhere_to_be_read(environment: Embedded, source: str) -> None:
    settings = {"log_statement": "all", "log_min_duration_statement": "0", "log_min_error_statement": "debug5"}
    settings |= {"log_min_duration_sample": "0", "log_transaction_sample_rate": "1", "log_statement_sample_rate": "1"}
    settings |= dict.fromkeys(("debug_print_parse", "debug_print_rewritten", "debug_print_plan"), "on")
    settings |= {"log_duration": "on", "shared_preload_libraries": "pg_stat_statements"}
    role: dict[str, Any] = {"login": True} if source == "generated" else {"password": "${ROLE_PW}"}
    environment.environ["ROLE_PW"] = CLEAR
    environment.server(settings=settings).declare(roles={"app": role})
    said = [environment.run("plan", "-v", "--diff").all, environment.run("plan", "--json").all]
    said += [environment.run("apply", "-v", "--diff").all]
    environment.query("ALTER ROLE app PASSWORD NULL")
    said += [environment.run("plan", "-v").all, environment.run("verify", "-v", code=None).all]
    said += [environment.run("apply", "--json").all, environment.run("status", "-v").all]
    password = kept(environment, "app").read_text() if source == "generated" else CLEAR
    assert logs_in(environment, "app", password)
    said += environment.log()
    assert any("ALTER ROLE app PASSWORD NULL" in line for line in said), "the log has what others do"
    environment.query("CREATE EXTENSION pg_stat_statements")
    said += [text for (text,) in environment.query("SELECT query FROM pg_stat_statements")]
    environment.query("DROP EXTENSION pg_stat_statements")
    said += [path.read_text() for path in (environment.home / "cache").rglob("*") if path.is_file()]
    ((verifier,),) = environment.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
    hidden = [password, "SCRAM-SHA-256$", *verifier.removeprefix("SCRAM-SHA-256$4096:").replace("$", ":").split(":")]
    assert [each for each in hidden if any(each in text for text in said)] == []


def test_a_role_that_is_renamed_keeps_its_generated_password(environment: Embedded) -> None:
    environment.declare(roles={"app": {"login": True}}).apply()
    password = kept(environment, "app").read_text()
    environment.declare(roles={"app": None, ODD: {"login": True, "renamed_from": "app"}}).apply()
    environment.settled()
    assert kept(environment, ODD).read_text() == password
    assert logs_in(environment, ODD, password)
    environment.declare(roles={ODD: {"login": None, "renamed_from": None, "state": "absent"}}).apply()
    assert not kept(environment, ODD).exists(), "a role of that name would be another one"


@pytest.mark.parametrize("moment", range(3))
def test_after_a_kill_the_next_apply_ends_it(environment: Embedded, moment: int) -> None:
    roles: dict[str, Any] = {f"r{number}": {"login": True, "member_of": ["group"]} for number in range(20)}
    environment.declare(roles={"group": {}, **roles})
    run = environment.begin()
    time.sleep(0.2 + 0.15 * moment)
    run.kill()
    run.communicate()
    environment.apply()
    environment.settled()
    assert all(logs_in(environment, each, kept(environment, each).read_text()) for each in ("r0", "r19"))


def test_one_that_was_generated_is_forgotten_when_another_is_set(environment: Embedded) -> None:
    environment.declare(roles={"app": {"login": True}}).apply()
    assert kept(environment, "app").exists()
    environment.declare(roles={"app": {"password": CLEAR}}).apply()
    assert not kept(environment, "app").exists()
    environment.declare(roles={"app": {"password": None}}).settled()
    assert "the password of the role 'app' is not known" in environment.run("url", "--role", "app", code=1).all
    environment.declare(roles={"app": {"password": "none"}}).apply()
    said = environment.run("url", "--role", "app", code=1).all
    assert "error: the role 'app' has no password to log in with\n    `roles.app` has `password: none`\n" in said


def test_one_that_has_expired_is_said_so(environment: Embedded) -> None:
    until = {"login": True, "valid_until": "2026-01-02T03:04:05Z"}
    environment.declare(roles={"app": until}).apply()
    said = environment.run("url", "--role", "app")
    assert "the password of 'app' expired at 2026-01-02T03:04:05Z: " in said.err
    assert said.out.startswith("postgresql://app:")
    refused = environment.run("psql", "--role", "app", code=69).all
    assert "error: the password of 'app' expired at 2026-01-02 03:04:05 UTC\n" in refused
    assert "next: write a later `valid_until` at `roles.app`, then: provision apply" in refused
    environment.declare(roles={"app": {"valid_until": "never"}}).apply()
    assert not environment.run("url", "--role", "app").err


def test_a_role_that_is_set_for_a_database_hides_nothing_and_goes_with_its_role(environment: Embedded) -> None:
    roles = {"boss": {}, "app": {"login": True, "member_of": [{"role": "boss", "set": True}]}}
    environment.declare(roles=roles, databases={"other": {}, "shop": {"settings": {"role": "boss"}}}).apply()
    environment.settled()
    for statement in (
        "ALTER DATABASE other SET role TO boss",
        "ALTER ROLE postgres SET role TO boss",
        "ALTER ROLE app IN DATABASE shop SET role TO boss",
    ):
        environment.superuser(f"SET ROLE NONE; {statement}")
    environment.settled()
    environment.declare(
        roles={"chief": {"renamed_from": "boss"}, "app": {"member_of": [{"role": "chief", "set": True}]}}
    )
    environment.document["roles"].pop("boss")
    environment.declare(databases={"shop": {"settings": {"role": "chief"}}}).apply()
    environment.settled()
    begun = "SELECT count(*) FROM pg_db_role_setting WHERE 'role=chief' = ANY(setconfig)"
    assert environment.superuser(f"SET ROLE NONE; {begun}") == [(4,)]
    environment.declare(roles={"chief": {"renamed_from": None, "state": "absent"}, "app": {"member_of": None}})
    environment.declare(databases={"shop": {"settings": None}})
    planned = environment.run("plan").out
    assert "no session begins in it any more: ALTER " in planned
    assert 'ALTER ROLE "app" IN DATABASE "shop" RESET role' in planned
    environment.apply()
    environment.settled()
    assert environment.superuser("SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text ~ 'role='") == [(0,)]
