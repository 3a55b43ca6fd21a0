"""What ``provision import`` prints: a plan of it has nothing to do, and on an empty server it makes the same."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack, suppress
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support import random_grants
from support.foreign import a_foreign_server
from support.random_grants import quoted, roles_at_random

from provision.environment import Environment as Api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.engine import Engine
    from support.environment import Environment
    from support.foreign import Foreign

MAJORS = (14, 16, 17, 18)
_OBJECTS_CHANGE_HANDS = re.compile(r"ALTER (?!SCHEMA).* OWNER TO|DROP SCHEMA")


@pytest.fixture(scope="module")
def servers(engine: Engine) -> Iterator[Callable[[int], Foreign]]:
    """Servers of its own: an import reads every role, also those that other tests leave."""
    with ExitStack() as stack:
        yield cache(lambda major: stack.enter_context(a_foreign_server(engine, major)))


def imported(environment: Environment) -> str:
    """Import into the spec, and return what was printed, without the comments."""
    environment.declare()
    printed = environment.run("import").out
    environment.spec.write_text(environment.spec.read_text() + printed)
    return "\n".join(line for line in printed.splitlines() if not line.startswith("#"))


def steps(environment: Environment) -> list[Any]:
    return [each for each in environment.steps() if not each["address"].startswith("file/")]


def roundtrip(server: Foreign, environment: Environment, seed: int) -> None:
    with roles_at_random(server, seed) as database:
        server.declare(environment, database=database)
        imported(environment)
        assert steps(environment) == [], seed


@pytest.mark.parametrize("major", MAJORS)
def test_a_plan_of_what_was_imported_has_nothing_to_do(
    servers: Callable[[int], Foreign], environment: Environment, major: int
) -> None:
    for seed in range(200, 204):
        roundtrip(servers(major), environment, seed)


@pytest.mark.long
@pytest.mark.parametrize("major", MAJORS)
def test_a_plan_of_what_was_imported_has_nothing_to_do_often(
    servers: Callable[[int], Foreign], environment: Environment, major: int
) -> None:
    for seed in range(1000, 1060):
        roundtrip(servers(major), environment, seed)


def disorder(server: Foreign, seed: int) -> None:
    """Have a database with roles and privileges at random, whose objects belong to the superuser."""
    random, roles = Random(seed), random_grants.names("r")  # noqa: S311  # for tests only
    server.execute("CREATE DATABASE shop", *[f"CREATE ROLE {quoted(each)} LOGIN" for each in roles])
    server.execute(*random_grants.objects(), database="shop")
    for _ in range(60):
        statement = random_grants.statement(random, roles, "shop", server.major)
        if not _OBJECTS_CHANGE_HANDS.match(statement):
            with suppress(psycopg2.Error):
                server.execute(statement, database="shop")


def reached(environment: Environment) -> set[Any]:
    """Return what each role can do, as the server answers; an owner can always give itself what it lacks."""
    found = Api(environment.spec, environ=environment.environ).access()
    return {
        (each.role, each.after, each.thing.kind, each.thing.schema, name, right.privilege, right.columns, each.lacks)
        for each in found.reaches
        for right in each.rights
        for name in each.thing.names
        if each.thing.owner not in (each.role, each.after)
    }


def made_again(server: Foreign, empty: Foreign, environment: Environment, seed: int) -> bool:
    """See that what was imported makes the same on another server; false where a spec cannot say all of it."""
    names = [quoted(each) for each in random_grants.names("r")]
    gone = ["DROP DATABASE shop", *[f"DROP OWNED BY {each} CASCADE" for each in names]]
    try:
        disorder(server, seed)
        server.declare(environment, database="shop")
        before, may = imported(environment), reached(environment)
        if "default privileges" in environment.run("import").err:
            return False
        empty.execute("CREATE DATABASE shop")
        empty.execute(*random_grants.objects(), database="shop")
        text = environment.spec.read_text().replace(str(server.port), str(empty.port))
        text = text.replace("{login: true", "{login: true, password: none")
        environment.spec.write_text(text.replace("    login: true\n", "    login: true\n    password: none\n"))
        environment.run("apply")
        assert steps(environment) == []
        assert reached(environment) == may
        empty.declare(environment, database="shop")
        assert imported(environment) == before
        empty.execute(*gone, *[f"DROP ROLE {each}" for each in names])
        return True
    finally:
        server.execute(*gone, *[f"DROP ROLE {each}" for each in names])


def test_what_was_imported_makes_the_same_on_an_empty_server(engine: Engine, environment: Environment) -> None:
    with a_foreign_server(engine, 17) as server, a_foreign_server(engine, 17) as empty:
        assert made_again(server, empty, environment, 3)
        assert made_again(server, empty, environment, 12)


@pytest.mark.long
@pytest.mark.parametrize("major", MAJORS)
def test_what_was_imported_makes_the_same_often(engine: Engine, environment: Environment, major: int) -> None:
    with a_foreign_server(engine, major) as server, a_foreign_server(engine, major) as empty:
        assert sum(made_again(server, empty, environment, seed) for seed in range(40)) >= 15


def test_what_a_spec_cannot_say_is_named_and_a_secret_is_not_repeated(
    servers: Callable[[int], Foreign], environment: Environment
) -> None:
    server = servers(17)
    role = server.role()
    server.declare(environment).migrations("customers").apply()
    server.execute(f"ALTER ROLE {role} SET app.jwt_secret = 'hunter2'", f"COMMENT ON ROLE {role} IS 'none'")
    printed = environment.run("import")
    assert "hunter2" not in printed.all
    assert f"! not in it: the setting app.jwt_secret of the role '{role}': " in printed.err
    assert f"# Not here: the comment on the role '{role}': a spec cannot say it" in printed.out
    assert "PASSWORD" not in printed.out.upper().replace("PASSWORDS", "").replace("`PASSWORD`", "")
    assert f"next: provision import {environment.spec.name} >> {environment.spec.name} && provision plan" in printed.err
    with (environment.directory / "more.yml").open("w") as file:
        argv = (sys.executable, "-m", "provision", "import", environment.spec.name)
        done = subprocess.run(
            argv,
            cwd=environment.directory,
            env=environment.environ,
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
    assert f"next: provision plan {environment.spec.name}   # nothing to do" in done.stderr
    environment.spec.write_text(environment.spec.read_text() + printed.out)
    again = environment.run("import")
    assert "next: replace roles and databases in the spec, then: provision plan" in again.err
    assert again.out == printed.out
