"""What differs is compared, altered, or a note; a missing privilege is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provision.kinds.alter_system import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment
    from support.foreign import Foreign


@pytest.fixture
def unaltered(foreign: Foreign) -> Iterator[Foreign]:
    """The server, with its settings as they were afterwards."""
    yield foreign
    foreign.execute("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


def test_declared_settings_are_compared_and_never_changed(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment, settings={"work_mem": "9MB", "maintenance_work_mem": "64MB"})
    note = "work_mem is '4MB', and '9MB' is declared: settings of this server are only compared"
    for words in (("plan",), ("apply",), ("apply",), ("status",)):
        ran = environment.run(*words)
        assert note in ran.out, words
        assert "maintenance_work_mem" not in ran.out
    assert environment.setting("work_mem") == "4MB"
    assert "1 difference for others to change" in environment.run("status").out
    assert environment.run("apply", "--json").json()["notes"] == [
        f"{note} (`settings_via: alter_system` would change them)"
    ]
    environment.run("plan", "--detailed-exitcode", code=2)


def test_what_is_as_declared_is_not_mentioned(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment, settings={"work_mem": "4096kB", "lock_timeout": "0"})
    environment.apply()
    environment.settled()


def test_a_value_that_waits_for_a_restart_can_be_taken_back(unaltered: Foreign, environment: Environment) -> None:
    unaltered.declare(environment, settings_via="alter_system", max_connections=77).apply()
    environment.server(max_connections=100)
    assert environment.actions() == ["reload settings/server"]
    environment.apply()
    environment.settled()
    assert unaltered.execute("SELECT pending_restart FROM pg_settings WHERE name = 'max_connections'") == [(False,)]


def test_a_list_is_emptied_without_breaking_the_next_start(unaltered: Foreign, environment: Environment) -> None:
    unaltered.declare(
        environment, settings_via="alter_system", settings={"session_preload_libraries": "auto_explain"}
    ).apply()
    assert environment.setting("session_preload_libraries") == "auto_explain"
    environment.server(settings={"session_preload_libraries": ""}).apply()
    assert environment.setting("session_preload_libraries") == ""
    environment.settled()


def test_what_the_command_line_fixes_is_a_note(unaltered: Foreign, environment: Environment) -> None:
    unaltered.declare(environment, settings_via="alter_system", settings={"fsync": "on"})
    applied = environment.apply()
    assert "it comes from the server's command line, which ALTER SYSTEM cannot override" in applied.out
    assert "waits" not in environment.apply().out


@pytest.mark.parametrize(("major", "missing"), [(14, "only a superuser may"), (17, "GRANT ALTER SYSTEM ON PARAMETER")])
def test_a_role_that_may_not_alter_is_told_what_is_missing(
    servers: Callable[[int], Foreign], environment: Environment, major: int, missing: str
) -> None:
    server = servers(major)
    role = server.role("CREATEDB")
    server.declare(environment, credentials={"user": role}, settings={"work_mem": "9MB"}, settings_via="alter_system")
    refused = environment.run("apply", code=1)
    assert f"the role '{role}' may not change settings with ALTER SYSTEM: work_mem" in refused.err
    assert missing in refused.err


def test_with_the_grants_that_were_named_it_may(unaltered: Foreign, environment: Environment) -> None:
    role = unaltered.role("CREATEDB")
    unaltered.declare(
        environment, credentials={"user": role}, settings={"work_mem": "9MB"}, settings_via="alter_system"
    )
    refused = environment.run("apply", code=1)
    grants = [line.split("missing: ")[1] for line in refused.err.splitlines() if "missing: GRANT" in line]
    assert len(grants) == 4
    unaltered.execute(*grants)
    environment.apply()
    assert environment.setting("work_mem") == "9MB"


def test_a_setting_that_a_role_may_not_read_is_told(foreign: Foreign, environment: Environment) -> None:
    role = foreign.role("CREATEDB")
    foreign.declare(environment, credentials={"user": role}, settings={"shared_preload_libraries": ""})
    refused = environment.run("apply", code=1)
    assert f"the role '{role}' may not read declared settings: shared_preload_libraries" in refused.err
    foreign.execute(f"GRANT pg_read_all_settings TO {role}")
    environment.apply()


def test_a_server_that_forbids_alter_system_is_told(foreign: Foreign, environment: Environment) -> None:
    place = "/var/lib/postgresql/data/postgresql.conf"
    foreign.engine.run(foreign.name, "sed", "-i", "$ a allow_alter_system = off", place)
    foreign.execute("SELECT pg_reload_conf()")
    try:
        foreign.declare(environment, settings={"work_mem": "9MB"}, settings_via="alter_system")
        assert "the server does not allow ALTER SYSTEM" in environment.run("apply", code=1).err
    finally:
        foreign.engine.run(foreign.name, "sed", "-i", "/allow_alter_system/d", place)
        foreign.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("work_mem", "8MB", """ALTER SYSTEM SET "work_mem" TO '8MB'"""),
        ("myapp.note", "it's", """ALTER SYSTEM SET "myapp"."note" TO 'it''s'"""),
        ("log_line_prefix", "\\%m'", """ALTER SYSTEM SET "log_line_prefix" TO E'\\\\%m'''"""),
        ("search_path", '"$user", public', """ALTER SYSTEM SET "search_path" TO '$user', 'public'"""),
        ("shared_preload_libraries", " ", 'ALTER SYSTEM RESET "shared_preload_libraries"'),
        ("archive_command", "", """ALTER SYSTEM SET "archive_command" TO ''"""),
    ],
)
def test_statements(name: str, raw: str, expected: str) -> None:
    assert statement(name, raw) == expected
