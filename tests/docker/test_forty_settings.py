"""Forty settings of every context and type: the predicted action happened, the value is in force, and goes back again.

Those of one action are changed in one apply, so that a server is restarted twice and not eighty times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provision.spec.parameters import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment

# name: (value, as SHOW tells it)
RELOADED: dict[str, tuple[Any, str]] = {
    # sighup: bool, enum, integer, real, string
    "autovacuum": (False, "off"),
    "log_checkpoints": ("off", "off"),
    "fsync": ("no", "off"),
    "log_autovacuum_min_duration": ("250ms", "250ms"),
    "checkpoint_timeout": ("10min", "10min"),
    "max_wal_size": ("2GB", "2GB"),
    "bgwriter_delay": (100, "100ms"),
    "bgwriter_lru_multiplier": (3.5, "3.5"),
    "checkpoint_completion_target": (0.7, "0.7"),
    "autovacuum_vacuum_cost_delay": ("3ms", "3ms"),
    "log_line_prefix": ("%m 'x' \\ ", "%m 'x' \\ "),
    "log_timezone": ("europe/berlin", "Europe/Berlin"),
    "archive_timeout": ("1h", "1h"),
    "wal_sync_method": ("fsync", "fsync"),
    "hot_standby_feedback": (True, "on"),
    "authentication_timeout": ("30s", "30s"),
    # backend and superuser-backend: for new sessions
    "log_connections": ("on", "on"),
    "log_disconnections": (True, "on"),
    "ignore_system_indexes": (True, "on"),
    # superuser
    "log_statement": ("ddl", "ddl"),
    "log_min_duration_statement": ("1s", "1s"),
    "deadlock_timeout": (2000, "2s"),
    "session_replication_role": ("local", "local"),
    "track_functions": ("pl", "pl"),
    "temp_file_limit": ("1GB", "1GB"),
    "session_preload_libraries": ("auto_explain", "auto_explain"),
    # user
    "work_mem": ("5MB", "5MB"),
    "random_page_cost": ("1.10", "1.1"),
    "synchronous_commit": ("local", "local"),
    "search_path": ('"$user", public, pg_catalog', '"$user", public, pg_catalog'),
    "DateStyle": ("german, dmy", "German, DMY"),
    "statement_timeout": ("5min", "5min"),
    "effective_cache_size": ("0.5GB", "512MB"),
    "bytea_output": ("ESCAPE", "escape"),
    "myapp.note": ("it's", "it's"),
}
RESTARTED: dict[str, tuple[Any, str]] = {
    # postmaster
    "shared_buffers": ("96MB", "96MB"),
    "max_worker_processes": (9, "9"),
    "wal_level": ("logical", "logical"),
    "track_commit_timestamp": (True, "on"),
    "cluster_name": ("it's $1", "it's $1"),
    "shared_preload_libraries": ("auto_explain", "auto_explain"),
    "wal_log_hints": ("on", "on"),
    "huge_pages": ("off", "off"),
    "autovacuum_freeze_max_age": (150000000, "150000000"),
    "wal_buffers": ("3MB", "3MB"),
    "max_prepared_transactions": (5, "5"),
}


@pytest.fixture(scope="module", params=["postgres:14", "postgres:18"])
def running(request: pytest.FixtureRequest, shared: Callable[[], Environment]) -> Environment:
    made = shared().server(image=request.param)
    made.apply()
    return made


def shown(environment: Environment, names: dict[str, Any]) -> dict[str, str]:
    """Return what a new session sees."""
    columns = ", ".join(f"current_setting('{name}', true)" for name in names)
    found = dict(zip(names, environment.query(f"SELECT {columns}")[0], strict=True))
    if "DateStyle" in found:  # psycopg2 sets it for each session
        ((found["DateStyle"],),) = environment.query("SELECT reset_val FROM pg_settings WHERE name = 'DateStyle'")
    return found


def times(environment: Environment) -> tuple[Any, ...]:
    """Return when the server was started, and when it has read its configuration."""
    return environment.query("SELECT pg_postmaster_start_time()::text, pg_conf_load_time()::text")[0]


def planned(environment: Environment) -> tuple[str, set[str]]:
    """Return the action of the step that changes settings, and their names."""
    (step,) = [each for each in environment.steps() if each["address"] == "settings/postgresql.conf"]
    return step["action"], {each["field"] for each in step["why"]}


@pytest.mark.parametrize("action", ["reload", "restart"])
def test_forty_settings(running: Environment, action: str) -> None:
    chosen = RELOADED if action == "reload" else RESTARTED
    before = shown(running, chosen)
    values = {name: value for name, (value, _) in chosen.items()}
    expected = {name: told for name, (_, told) in chosen.items()}
    container = running.container["Id"]
    for settings, wanted in ((values, expected), (dict.fromkeys(values), before)):
        running.server(settings=settings)
        differing = {name for name in chosen if before[name] != expected[name]}
        planned_action, names = planned(running)
        assert (planned_action, names & differing) == (action, differing)
        assert names <= {*chosen}
        started, loaded = times(running)
        running.apply()
        now_started, now_loaded = times(running)
        assert (now_started != started) == (action == "restart")
        assert now_loaded != loaded
        found = shown(running, chosen)
        assert {n: v or None for n, v in found.items()} == {n: v or None for n, v in wanted.items()}
        running.settled()
        assert "nothing to do" in running.apply().out
    assert running.container["Id"] == container


def test_every_context_and_type_is_among_them() -> None:
    names = [name for name in (*RELOADED, *RESTARTED) if "." not in name]
    assert len(names) >= 40
    for major in (14, 18):
        known = catalogue(major)
        rows = [known[name] for name in names]
        assert {row.vartype for row in rows} == {"bool", "enum", "integer", "real", "string"}
        contexts = {row.context for row in known.values()} - {"internal"}
        assert {row.context for row in rows} == contexts
