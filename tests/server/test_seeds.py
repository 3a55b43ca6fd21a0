"""Seeds on real servers: what runs and when, what is left of one that fails, and what has none."""

from __future__ import annotations

import signal
import sys
import textwrap
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.embedded import an_embedded_environment, an_open_directory
from support.goldens import a_family
from support.installation import an_installation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

pytestmark = pytest.mark.server
on_14_too = pytest.mark.parametrize("environment", [14, 18], indirect=True)
_PATIENCE = 60
ONE = "INSERT INTO users VALUES (1)"


@pytest.fixture(scope="module", params=[18])
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """One whose database belongs to ``app``, with two empty tables."""
    with ExitStack() as stack:
        directory = stack.enter_context(an_open_directory())
        major: int = request.param
        server: dict[str, Any] = {"image": f"postgres:{major}", "port": "auto"}
        server |= {"bin_dir": str(an_installation(major, directory))} if major != 18 else {}
        made = stack.enter_context(an_embedded_environment(directory / "project", **server))
        made.declare(roles={"app": {"login": True}}, databases={"shop": {"owner": "app"}})
        made.migrations("users", "orders").declare(migrations={"as": "app"}).apply()
        yield made


@pytest.fixture
def shop(environment: Environment) -> Environment:
    """The same one with nothing in its tables, and no seed that has run."""
    environment.declare(seeds=None).query("TRUNCATE users, orders RESTART IDENTITY")
    environment.query("DROP TABLE IF EXISTS provision.seeds")
    return environment


def write(environment: Environment, name: str, text: str) -> dict[str, str]:
    path = environment.directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return {path.suffix[1:]: name}


def seeded(environment: Environment) -> dict[str, int]:
    """Return how often each seed ran, as a trigger on the ledger has seen it."""
    return dict(environment.query("SELECT name, count(*) FROM runs GROUP BY 1"))


def count_runs(environment: Environment) -> None:
    environment.query("CREATE TABLE IF NOT EXISTS runs (name text)")
    environment.query("TRUNCATE runs")
    environment.query(
        "CREATE OR REPLACE FUNCTION count_run() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO public.runs VALUES (NEW.name); RETURN NEW; END$$"
    )
    environment.query(
        "CREATE TRIGGER runs AFTER INSERT OR UPDATE ON provision.seeds FOR EACH ROW EXECUTE FUNCTION count_run()"
    )


@on_14_too
def test_they_run_in_their_order_and_then_there_is_nothing_to_do(shop: Environment) -> None:
    one = write(shop, "z.sql", "INSERT INTO users VALUES (7, 'Ann');\nCOPY users FROM stdin;\n8\tBob\n\\.\n")
    write(shop, "csv/2_orders.csv", "id,name\n3,three\n")
    write(shop, "csv/1_users.csv", '\ufeffname,id\n"Cy, junior",9\n')
    look = "import os, psycopg2; c = psycopg2.connect(os.environ['DATABASE_URL']); c.autocommit = True; "
    look += "c.cursor().execute('INSERT INTO orders SELECT 100 + count(*), current_user FROM orders')"
    shop.declare(seeds=[one, {"csv": "csv/*.csv"}, {"command": [sys.executable, "-c", look], "run": "always"}])
    keys = ["z.sql", "csv/1_users.csv", "csv/2_orders.csv"]
    assert [each["address"] for each in shop.steps()][:3] == [f"seed/{each}" for each in keys]
    ran = shop.apply()
    assert "4 seeded" in ran.out
    assert "z.sql: the sequence public.users_id_seq gives 1 next, and public.users.id is at 8 already" in ran.all
    assert shop.query("SELECT * FROM users ORDER BY id") == [(7, "Ann"), (8, "Bob"), (9, "Cy, junior")]
    assert shop.query("SELECT * FROM orders ORDER BY id") == [(3, "three"), (101, "app")]
    assert shop.query("INSERT INTO orders (name) VALUES ('next') RETURNING id") == [(4,)]
    assert "1 seed with `run: always` waits" in shop.settled().out
    shop.run("verify")
    assert "1 seeded" in shop.run("apply", "--seed").out
    assert shop.query("SELECT id FROM orders WHERE id > 101") == [(103,)]


def test_what_was_edited_runs_again_where_that_is_declared(shop: Environment) -> None:
    once, changed = write(shop, "once.sql", "SELECT 1"), write(shop, "changed.sql", "SELECT 1")
    shop.declare(seeds=[once, {**changed, "run": "changed"}]).apply()
    count_runs(shop)
    for text in ("SELECT 2", "SELECT 1", "SELECT 1"):
        write(shop, "once.sql", f"{text} -- more")
        write(shop, "changed.sql", text)
        ran = shop.apply()
        assert "once.sql was edited after it ran" in ran.out
    assert seeded(shop) == {"changed.sql": 2}
    ran = shop.run("verify")
    assert "once.sql was edited after it ran" in ran.out


@on_14_too
def test_rows_of_a_table_are_updated_by_their_key(shop: Environment) -> None:
    shop.query("DROP TABLE IF EXISTS codes")
    shop.query('CREATE TABLE codes (id int GENERATED ALWAYS AS IDENTITY, code text UNIQUE, "na me" text, more json)')
    codes = {**write(shop, "codes.csv", 'id,code,na me,more\n5,a,A,\n6,b,"two\nlines",{}\n'), "run": "changed"}
    shop.declare(seeds=[{**codes, "key": "code"}]).apply()
    assert shop.query("INSERT INTO codes (code) VALUES ('c') RETURNING id") == [(7,)]
    write(shop, "codes.csv", "id,code,na me,more\n1,a,AA,[1]\n2,d,D,\n")
    shop.apply()
    rows = [(5, "a", "AA"), (6, "b", "two\nlines"), (7, "c", None), (2, "d", "D")]
    assert shop.query('SELECT id, code, "na me" FROM codes ORDER BY code') == rows
    assert shop.query("INSERT INTO codes (code) VALUES ('e') RETURNING id") == [(8,)]


@pytest.mark.parametrize(
    ("name", "text", "more", "place", "words"),
    [
        ("f.sql", f"{ONE};\nSELECT 1,\n  nothing\nFROM users;", {}, "f.sql:3: SELECT", "nothing"),
        ("g.sql", f"{ONE};\n\n{ONE};", {}, "g.sql:3: INSERT", "duplicate key"),
        ("h.sql", f"{ONE};\nCOMMIT;", {}, "h.sql:2", "COMMIT would end it"),
        ("i.sql", "COPY users FROM stdin;\n1\ta\nx\tb\n\\.\n", {}, "i.sql:3: COPY", "invalid input syntax"),
        ("users.csv", 'id,name\n1,"two\nlines"\nx,b\n', {}, "users.csv:4", "invalid input syntax"),
        ("users.csv", "id,nmae\n1,a\n", {}, "users.csv:1", "did you mean name?"),
        ("none.csv", "id\n1\n", {}, "none.csv", "there is no table none"),
        ("users.csv", "id,name\n1,a\n", {"columns": ["id", "name"]}, "users.csv:1", "remove `columns`"),
        ("users.csv", "name\na\n", {"run": "changed"}, "users.csv:1", "the file has no id"),
        ("users.csv", "id,name\n1,a\n", {"run": "changed", "key": "name"}, "users.csv", "no unique or exclusion"),
        ("users.csv", "", {}, "users.csv:1", "there is no header line"),
    ],
)  # fmt: skip
def test_one_that_fails_says_where_and_leaves_nothing(
    shop: Environment, name: str, text: str, more: dict[str, Any], place: str, words: str
) -> None:
    before, bad = write(shop, "before.sql", "INSERT INTO orders VALUES (1, 'stays')"), write(shop, name, text)
    after = write(shop, "after.sql", "INSERT INTO orders VALUES (2)")
    shop.declare(seeds=[before, {**bad, **more}, after])
    ran = shop.run("apply", code=1)
    assert f"the seed {name} failed, and nothing of it was kept" in ran.err
    assert place in ran.err, ran.err
    assert words in ran.err, ran.err
    assert shop.query("SELECT count(*) FROM users") == [(0,)]
    assert shop.query("SELECT * FROM orders") == [(1, "stays")]
    assert shop.actions() == [f"seed seed/{name}", "seed seed/after.sql"]


def test_rows_that_were_there_before_can_be_declared_to_be_the_seed(shop: Environment) -> None:
    shop.query("INSERT INTO users VALUES (1)")
    shop.declare(seeds=[write(shop, "known.sql", "INSERT INTO users VALUES (1)")])
    ran = shop.run("apply", code=1)
    statement = ran.err.split('-- -c "')[1].split('"')[0]
    shop.query(statement)
    shop.settled()


_ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


def _wait_for_sleep(shop: Environment) -> None:
    deadline = time.monotonic() + _PATIENCE
    while shop.superuser(_ASLEEP) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@on_14_too
def test_a_program_has_the_database_and_what_it_prints_has_no_password(shop: Environment) -> None:
    fails = 'echo "at $PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$PGDATABASE as $SHOP_ROLE"; pwd; exit 3'
    shop.declare(seeds=[{"command": ["sh", "-c", fails]}], migrations={"env": {"SHOP_ROLE": "{user}"}})
    ran = shop.run("apply", code=1)
    assert "failed with exit code 3" in ran.err
    assert "at app:********@127.0.0.1:" in ran.err
    assert "/shop as app" in ran.err
    assert str(shop.directory) in ran.err
    shop.declare(seeds=[{"command": ["./missing"]}], migrations={"env": None})
    assert "cannot be run" in shop.run("apply", code=1).err
    assert shop.query("SELECT to_regclass('provision.seeds') IS NULL OR NOT EXISTS (SELECT FROM provision.seeds)")


def test_a_program_that_loses_its_server_says_so(shop: Environment) -> None:
    lasts = "import psycopg2; psycopg2.connect('').cursor().execute('SELECT pg_sleep(90)')"
    shop.declare(seeds=[{"command": [sys.executable, "-c", lasts]}])
    run = shop.begin()
    _wait_for_sleep(shop)
    ours = "datname = 'shop' AND pid <> pg_backend_pid()"
    shop.superuser(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")  # noqa: S608
    told = "".join(filter(None, run.communicate(timeout=_PATIENCE)))
    assert "the server went away while the program of a seed ran; what it had committed may be there" in told
    assert "psycopg2" in told  # what the program has printed
    assert "see whether the program can run again from its beginning, then: provision apply" in told
    shop.declare(seeds=None)


def test_a_program_that_takes_too_long_leaves_no_statement_running(shop: Environment) -> None:
    lasts = "import psycopg2; psycopg2.connect('').cursor().execute('SELECT pg_sleep(90)')"
    shop.declare(seeds=[{"command": [sys.executable, "-c", lasts]}], migrations={"timeout": "4s"})
    assert "took too long and was ended" in shop.run("apply", code=1).err
    left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(%' AND pid <> pg_backend_pid()"
    assert shop.superuser(left) == [(0,)]
    shop.declare(migrations={"timeout": None})


def test_a_role_of_its_own_writes_the_rows_and_the_ledger(shop: Environment) -> None:
    seed = write(shop, "as.sql", "INSERT INTO users VALUES (1, current_user)")
    shop.declare(roles={"loader": {"login": True}}, seeds=[{**seed, "as": "loader"}])
    ran = shop.run("apply", code=1)
    assert "permission denied for table users" in ran.err
    assert "write `as`" in ran.err
    shop.query("GRANT INSERT ON users TO loader")
    shop.apply()
    assert shop.query("SELECT name FROM users") == [("loader",)]
    shop.settled()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_there_are_both_the_rows_and_the_entry_or_neither(
    shop: Environment, number: signal.Signals
) -> None:
    shop.declare(seeds=[write(shop, "slow.sql", "INSERT INTO users VALUES (1);\nSELECT pg_sleep(600);\n")])
    process = shop.begin()
    _wait_for_sleep(shop)
    process.send_signal(number)
    process.communicate()
    write(shop, "slow.sql", "INSERT INTO users VALUES (1);\n")
    shop.apply()
    assert shop.query("SELECT id FROM users") == [(1,)]
    assert shop.superuser(_ASLEEP) == [(0,)]


def test_two_runs_at_once_do_it_once(shop: Environment) -> None:
    shop.declare(seeds=[write(shop, "both.sql", "INSERT INTO users (name) VALUES ('x')")])
    processes = [shop.begin() for _ in range(2)]
    said = [each.communicate() for each in processes]
    assert [each.returncode for each in processes] == [0, 0], said
    assert shop.query("SELECT name FROM users") == [("x",)]


def test_a_server_that_others_run_gets_them_when_that_is_asked_for(shop: Environment) -> None:
    seed = write(shop, "asked.sql", "INSERT INTO users VALUES (1)")
    at = shop.connection(superuser=True).get_dsn_parameters()
    server = {"runtime": "external", "image": shop.document["server"]["image"], "host": at["host"]}
    server |= {"port": int(at["port"]), "database": "shop", "credentials": {"user": "postgres", "password": "${PW}"}}
    (shop.directory / "others.yml").write_text(yaml.safe_dump({"name": "others", "server": server, "seeds": [seed]}))
    environ = {"PW": shop.environ["PW"]}
    ran = shop.run("apply", "others.yml", spec=False, **environ)
    assert "a seed does not run on a server that others run: provision apply --seed runs them" in ran.out
    shop.run("apply", "--seed", "others.yml", spec=False, **environ)
    assert shop.query("SELECT id FROM users") == [(1,)]
    assert "nothing to do" in shop.run("apply", "others.yml", spec=False, **environ).out


def test_a_reset_runs_them_and_a_clone_has_none(shop: Environment) -> None:
    shop.declare(seeds=[write(shop, "reset.sql", "INSERT INTO users VALUES (1)")]).apply()
    shop.query("INSERT INTO users VALUES (2)")
    assert "1 seeded" in shop.run("reset", "--yes").all
    assert shop.query("SELECT id FROM users") == [(1,)]
    name = shop.run("clone", "--json").json()["name"]
    assert shop.connection(name).cursor().execute("SELECT 1 / (SELECT 1 - count(*) FROM users)") is None
    shop.run("clone", "--drop", name)


def test_a_golden_is_saved_before_them_and_they_run_on_it() -> None:
    with a_family() as family:
        one, other = family.member("users"), family.member("users")
        for each in (one, other):
            each.declare(seeds=[write(each, "a.sql", "INSERT INTO users (name) VALUES ('seeded')")])
        assert "1 seeded" in one.run("apply", "--golden").out
        assert [each["level"] for each in family.goldens()] == [1, 0]
        write(other, "a.sql", "SELECT nothing")
        ran = other.run("apply", code=1)
        assert "migrate" not in ran.out
        assert "is not used, and was removed" not in ran.all
        write(other, "a.sql", "INSERT INTO users (name) VALUES ('seeded')")
        other.apply()
        for each in (one, other):
            assert each.query("SELECT * FROM users") == [(1, "seeded")]
            each.settled()
        assert len(family.goldens()) == 2


@pytest.mark.long
def test_what_has_seeds_saves_no_golden_when_it_stops() -> None:
    with a_family() as family:
        one = family.member("users")
        one.declare(seeds=[write(one, "a.sql", "INSERT INTO users (name) VALUES ('seeded')")]).apply()
        assert "has written since it was made" in one.run("stop", "-v").all
        assert family.goldens() == []
