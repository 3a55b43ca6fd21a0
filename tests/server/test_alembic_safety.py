"""Migrations disturb no other session: locks are waited for a short time, and what went wrong half-way is named."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg2
import pytest
import test_alembic_envs as envs
import trees

from provision.errors import ProvisionError, StepFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Server

    from provision.alembic.running.migrate import MigrationEvent
    from provision.spec.model import Migrations

pytestmark = pytest.mark.server

ADD = 'op.add_column("alpha", sa.Column("x", sa.Integer))'
ATTEMPTS = """
import pathlib, os
with open({path!r}, "a") as file:
    file.write("x")
"""


def failure(tree: Migrations, database: Server, events: list[MigrationEvent] | None = None) -> ProvisionError:
    with pytest.raises(StepFailedError) as caught:
        trees.run(tree, database.endpoint, events=events)
    return caught.value


@contextmanager
def hold(database: Server, statement: str = "LOCK TABLE alpha IN ACCESS SHARE MODE") -> Iterator[Callable[[], None]]:
    """Hold a lock from another session, until what is yielded is called, or the block ends."""
    other = database.connect()
    with other.cursor() as cursor:
        cursor.execute("SET application_name = 'the other one'")
        cursor.execute("BEGIN")
        cursor.execute(statement)
    try:
        yield other.close
    finally:
        other.close()


class Until(list["MigrationEvent"]):
    """The events, and a lock that is let go after so many of them, and ``seconds`` later."""

    def __init__(self, what: str, times: int, let_go: Callable[[], None], seconds: float = 0) -> None:
        super().__init__()
        self._what, self._times = what, times
        self._timer = threading.Timer(seconds, let_go)

    def append(self, event: MigrationEvent) -> None:
        super().append(event)
        if event.what == self._what and [each.what for each in self].count(self._what) == self._times:
            self._timer.start()


def test_a_lock_is_waited_for_a_short_time_and_again_and_readers_are_not_held_up(
    tmp_path: Path, database: Server
) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": trees.table("beta") + "\n" + ADD})
    trees.run(tree, database.endpoint, "alpha")
    reads, stop = ["a read"], threading.Event()

    def read() -> None:
        """Read all the time; the server ends a read that is held up by a lock for two seconds."""
        with closing(database.connect()) as reader, reader.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
            while not stop.is_set():
                try:
                    cursor.execute("SELECT count(*) FROM alpha")
                    reads.append("a read")
                except psycopg2.Error as error:
                    reads.append(str(error))
                time.sleep(0.02)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with hold(database) as let_go:
            events = Until("retrying", 3, let_go)
            done = trees.run(replace(tree, lock_timeout=0.8), database.endpoint, events=events)
    finally:
        stop.set()
        reader.join()
    assert done.after == ("beta",)
    assert [name for name, _ in done.revisions] == ["beta"]
    assert [each.what for each in events].count("retrying") == 3
    (blocked, *_) = [each for each in events if each.what == "blocked"]
    assert "the other one" in str(blocked)
    assert "LOCK TABLE alpha" in str(blocked)
    assert set(reads) == {"a read"}


def test_a_lock_that_is_never_free_ends_at_the_time_limit_and_names_its_holder(
    tmp_path: Path, database: Server
) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": ADD})
    trees.run(tree, database.endpoint, "alpha")
    with hold(database):
        error = failure(replace(tree, lock_timeout=0.6, timeout=10), database)
    assert error.sentence == "revision beta  make beta failed"
    text = "\n".join(error.evidence)
    assert "canceling statement due to lock timeout" in text
    assert "the other one" in text
    assert "applied now: alpha  make alpha" in text
    assert "it was tried" in text


def test_a_revision_that_has_committed_is_not_run_again(tmp_path: Path, database: Server) -> None:
    log = tmp_path / "attempts"
    body = (
        ATTEMPTS.format(path=str(log)) + trees.table("beta") + "\nop.get_bind().commit()\nop.get_bind().begin()\n" + ADD
    )
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": body})
    trees.run(tree, database.endpoint, "alpha")
    with hold(database):
        error = failure(replace(tree, lock_timeout=0.5), database)
    assert log.read_text() == "x"
    assert "left behind, outside a transaction: table public.beta" in error.evidence
    assert "clean up: DROP TABLE public.beta;" in error.evidence
    assert "remove what was left behind" in str(error.next_step)


def test_an_index_that_could_not_be_finished_is_named_with_its_clean_up(tmp_path: Path, database: Server) -> None:
    body = (
        'op.execute("INSERT INTO alpha VALUES (1), (2)")\n'
        'op.create_index("ix_done", "alpha", ["id"])\n'
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("ix_broken", "alpha", [sa.text("(1)")], unique=True, postgresql_concurrently=True)'
    )
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": body})
    error = failure(tree, database)
    left = [each for each in error.evidence if each.startswith(("left", "clean"))]
    assert left == [
        "left behind, outside a transaction: index public.ix_broken, which is INVALID",
        "left behind, outside a transaction: index public.ix_done",
        "clean up: DROP INDEX CONCURRENTLY public.ix_broken;",
        "clean up: DROP INDEX CONCURRENTLY public.ix_done;",
    ]
    database.execute("DROP INDEX CONCURRENTLY public.ix_broken")
    database.execute("DROP INDEX CONCURRENTLY public.ix_done")
    trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": "pass"})
    assert trees.run(tree, database.endpoint).after == ("beta",)


def test_what_is_rolled_back_is_not_called_left_behind(tmp_path: Path, database: Server) -> None:
    failing = trees.table("gamma") + '\nop.execute("SELECT 1 / 0")'
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": trees.table("beta"), "gamma": failing})
    assert not [each for each in failure(tree, database).evidence if each.startswith(("left", "clean"))]


def test_an_invalid_index_is_told_after_migrating(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": trees.table("beta")})
    trees.run(tree, database.endpoint, "alpha")
    database.execute(
        "CREATE INDEX ix ON alpha (id)", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix'::regclass"
    )
    events: list[MigrationEvent] = []
    trees.run(tree, database.endpoint, events=events)
    assert str(events[-1]) == (
        "index public.ix is INVALID, and no query uses it; REINDEX INDEX CONCURRENTLY public.ix;"
    )


def test_concurrently_waits_longer_than_other_statements(tmp_path: Path, database: Server) -> None:
    concurrently = (
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("ix", "alpha", ["id"], postgresql_concurrently=True)\n'
        '    assert op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar() == "500ms"'
    )
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": concurrently})
    trees.run(tree, database.endpoint, "alpha")
    with hold(database, "INSERT INTO alpha VALUES (1)") as let_go:
        events = Until("blocked", 1, let_go, seconds=1)
        assert trees.run(replace(tree, lock_timeout=0.5), database.endpoint, events=events).after == ("beta",)
    assert [each.what for each in events] == ["started", "blocked", "done"]


SECOND = """
other = sa.create_engine(op.get_bind().engine.url)
with other.begin() as connection:
    connection.execute(sa.text("SELECT count(*) FROM alpha"))
"""


def test_a_migration_that_waits_for_its_own_other_session_is_ended(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": ADD + SECOND})
    trees.run(tree, database.endpoint, "alpha")
    events: list[MigrationEvent] = []
    error = failure(tree, database, events)
    assert any("this migration's own other session" in str(each) for each in events)
    assert error.sentence == "revision beta  make beta was ended: it waits for a lock that it holds itself"
    assert error.evidence[0].endswith("waits: SELECT count(*) FROM alpha")
    assert "is idle after: ALTER TABLE alpha ADD COLUMN" in error.evidence[1]
    assert error.evidence[2] == "applied now: alpha  make alpha"
    assert "op.get_bind()" in str(error.next_step)
    assert database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ) == [(0,)]


def test_a_lock_timeout_against_its_own_session_is_not_tried_again(tmp_path: Path, database: Server) -> None:
    # With a thread more, the wait is taken for a standstill only after 15 s; until then it is looked at many times.
    thread = "\nimport threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    limit = "    connection.exec_driver_sql(\"SET lock_timeout = '4s'\")\n"
    limited = thread + SECOND.replace("    connection.execute(", limit + "    connection.execute(")
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": ADD + limited})
    trees.run(tree, database.endpoint, "alpha")
    events: list[MigrationEvent] = []
    error = failure(replace(tree, lock_timeout=0.5), database, events)
    assert "retrying" not in [each.what for each in events]
    assert any("lock timeout" in each for each in error.evidence)


def test_a_second_session_of_an_asynchronous_driver_is_known(tmp_path: Path, database: Server) -> None:
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": ADD + SECOND}, env=envs.HEAD + envs.ASYNC)
    trees.run(tree, database.endpoint, "alpha")
    assert "it waits for a lock that it holds itself" in failure(tree, database).sentence


def test_a_limit_that_env_py_sets_is_kept(tmp_path: Path, database: Server) -> None:
    env = trees.ENV.replace(
        "    context.configure(",
        "    connection.exec_driver_sql(\"SET lock_timeout = '77s'\")\n    connection.commit()\n    context.configure(",
    )
    show = 'assert op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar() == "77s"'
    assert trees.run(trees.write(tmp_path, {"alpha": show}, env=env), database.endpoint).after == ("alpha",)


def test_one_transaction_for_all_revisions(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": 'op.execute("SELECT 1 / 0")'})
    error = failure(replace(tree, transaction_per_revision=False), database)
    assert "applied now: nothing" in error.evidence
    assert database.execute("SELECT to_regclass('alpha')") == [(None,)]


OWN = """
with sa.create_engine(op.get_bind().engine.url).begin() as other:
    other.execute(sa.text("SELECT 1"))
    other.execute(sa.text("INSERT INTO kept VALUES (:number)"), {"number": 41})
"""
COMMITS = {
    "a session of its own": (OWN, "INSERT INTO kept VALUES (%(number)s)"),
    "a commit of the migration's session": (
        'op.execute("INSERT INTO kept VALUES (1)")\nop.get_bind().commit()\nop.execute("INSERT INTO kept VALUES (2)")',
        "INSERT INTO kept VALUES (1)",
    ),
    "a raw COMMIT": ('op.execute("INSERT INTO kept VALUES (3)")\nop.execute("COMMIT")', "INSERT INTO kept VALUES (3)"),
    "an autocommit block": (
        'with op.get_context().autocommit_block():\n    op.execute("INSERT INTO kept VALUES (4)")',
        "INSERT INTO kept VALUES (4)",
    ),
    "nothing": ('op.execute("INSERT INTO kept VALUES (5)")', None),
}


@pytest.mark.parametrize("name", COMMITS)
def test_what_a_failed_revision_has_committed_is_told(name: str, tmp_path: Path, database: Server) -> None:
    body, statement = COMMITS[name]
    database.execute("CREATE TABLE kept (number int)")
    tree = trees.write(tmp_path, {"alpha": "pass", "beta": f'{body}\nop.execute("SELECT 1 / 0")'})
    error = failure(tree, database)
    told = [each for each in error.evidence if each.startswith("committed")]
    assert told == ([f"committed by beta all the same: {statement}"] if statement else [])
    assert database.execute("SELECT count(*) FROM kept") == [(len(told),)]
    assert ("undo what was committed" in str(error.next_step)) == bool(told)


def test_what_one_transaction_for_all_revisions_could_not_hold_is_told(tmp_path: Path, database: Server) -> None:
    database.execute("CREATE TABLE kept (number int)")
    tree = trees.write(tmp_path, {"alpha": OWN, "beta": 'op.execute("SELECT 1 / 0")'})
    error = failure(replace(tree, transaction_per_revision=False), database)
    assert "applied now: nothing" in error.evidence
    assert "committed by alpha all the same: INSERT INTO kept VALUES (%(number)s)" in error.evidence
    assert "committed" not in " ".join(failure(tree, database).evidence), "alpha is applied now"


def test_an_interrupt_of_a_program_of_its_own_ends_its_statement(tmp_path: Path, database: Server) -> None:
    program = "import os, psycopg2; psycopg2.connect(os.environ['DSN']).cursor().execute('SELECT pg_sleep(60)')"
    tree = trees.write(tmp_path, {"alpha": "pass"})
    from provision.model import Secret

    tree = replace(tree, command=(sys.executable, "-c", program), env={"DSN": Secret("{url}")})
    with trees.interrupted_asleep(database):
        trees.run(tree, database.endpoint)
    with closing(database.connect()):
        pass


def test_forty_revisions_and_three_indexes_built_concurrently_by_eight_at_once(
    tmp_path: Path, database: Server
) -> None:
    index = (
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("ix_{0}", "r00", [sa.text("(id + {0})")], postgresql_concurrently=True)'
    )
    bodies = {f"r{n:02}": index.format(n) if n in {10, 20, 30} else trees.table(f"r{n:02}") for n in range(40)}
    trees.write(tmp_path, bodies)
    runs = [trees.provision_apply(tmp_path / f"spec-{n}.yml", database, f"forty-{n}") for n in range(8)]
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 8, said
    # Each revision is shown twice: as it runs, and in the recap.
    assert sorted(each.count("make r") for each in said) == [0] * 7 + [2 * 40]
    assert database.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
