"""The fixtures of the plugin, in runs of pytest as users have them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import yaml
from support import program
from support.suite import COMMITS, FIXTURES, processes

if TYPE_CHECKING:
    from support.suite import Suite

pytestmark = pytest.mark.server

FAILS = "def test_it(database_url):\n    assert database_url == ''\n"


def test_every_fixture(suite: Suite) -> None:
    suite.write("test_fixtures.py", FIXTURES)
    out = suite.run("-v", "-W", "error", passed=15)
    assert "databases, waited for" in out


LIBPQ = {
    "PGSERVICE": "nowhere",
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "another",
    "PGPASSWORD": "from-the-shell",
    "PGDATABASE": "another",
    "PGSSLMODE": "require",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGTARGETSESSIONATTRS": "standby",
    "PGTZ": "Asia/Tokyo",
}
READS = """
import os


def test_libpq_reads_nothing(database_url):
    assert not [name for name in os.environ if name.startswith("PG")]
    assert ":from-the-shell@" in database_url
"""
AT_THE_END = "import os\n\n\ndef pytest_unconfigure():\n    print('again:', os.environ['PGSERVICE'])\n"


def test_what_libpq_reads_in_the_shell_leads_no_test_astray(suite: Suite) -> None:
    """The spec may use it, and it is there again once the run has ended."""
    suite.document["roles"]["app"]["password"] = "${PGPASSWORD}"
    suite.write("provision.yml", yaml.safe_dump(suite.document))
    suite.write("test_fixtures.py", FIXTURES + READS)
    suite.write("conftest.py", AT_THE_END)
    assert "again: nowhere" in suite.run("-v", "-W", "error", passed=16, **LIBPQ)


def test_a_run_that_is_killed_and_run_again(suite: Suite) -> None:
    suite.write("test_many.py", COMMITS.format(count=60))
    killed = suite.begin("-n", "2")
    suite.has_begun()
    time.sleep(2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert suite.homes() != []
    suite.run("-n", "2", passed=60)


def test_a_failed_test_s_database_stays_until_the_next_run(suite: Suite) -> None:
    suite.write("test_fails.py", FAILS + COMMITS.format(count=3))
    out = suite.run("--provision-keep=failed", code=1)
    assert "3 passed" in out
    (command,) = re.findall(r"^  (provision psql .*)$", out, re.MULTILINE)
    (masked,) = re.findall(r"^  (postgresql://app:\*{8}@[\d.:]+/provision_clone_test1_main_\d+)$", out, re.MULTILINE)
    words = (*command.split()[1:], "--", "-tAc", "SELECT current_database(), count(*) FROM t0")
    ran = program.run(*words, cwd=suite.directory, environ=suite.environ)
    assert ran.out.strip() == f"{masked.rpartition('/')[2]}|0", ran.all
    url = program.run("url", *command.split()[2:], cwd=suite.directory, environ=suite.environ)
    assert url.code == 0
    password = url.out.split(":")[2].split("@")[0]
    assert password not in out
    suite.run("--deselect", "test_fails.py::test_it", passed=3)


def test_kept_servers_go_away_on_demand(embedded: Suite) -> None:
    embedded.write("test_fails.py", FAILS)
    embedded.run("--provision-keep=all", "-n", "2", code=1)
    assert processes(f"{embedded.name}-test")
    listed = program.run("clone", "--list", cwd=embedded.directory, environ=embedded.environ)
    kept = re.findall(r"^  (provision_clone_test1_\w+)  kept by a test run", listed.out, re.MULTILINE)
    assert kept, listed.all
    ran = program.run("clone", "--drop", "--all", cwd=embedded.directory, environ=embedded.environ)
    assert ran.code == 0, ran.all
    assert re.findall(r"^  - (\w+)$", ran.out, re.MULTILINE) == kept
    assert processes(f"{embedded.name}-test") == {}
    embedded.run("--provision-keep=all", code=1)
    program.run("apply", cwd=embedded.directory, environ=embedded.environ)
    ran = program.run("clone", "--drop", "--all", cwd=embedded.directory, environ=embedded.environ)
    assert ran.code == 0, ran.all
    assert processes(f"{embedded.name}-test") == {}
    assert embedded.homes() == [embedded.name]
    assert program.run("destroy", "--data", "--yes", cwd=embedded.directory, environ=embedded.environ).code == 0


def test_two_runs_at_once_have_two_servers(embedded: Suite) -> None:
    embedded.write("test_many.py", COMMITS.format(count=10))
    both = [embedded.begin() for _ in range(2)]
    for each in both:
        out, _ = each.communicate()
        assert "10 passed" in out, out
    assert embedded.homes() == []


def test_the_strategy_rollback_shares_one_database(embedded: Suite) -> None:
    embedded.write("pytest.ini", "[pytest]\nprovision_strategy = rollback\n")
    embedded.write(
        "test_shared.py",
        "import sqlalchemy as sa\n"
        "def test_one(db_engine, database_url):\n    assert database_url.endswith('_1')\n"
        "def test_other(db_connection):\n"
        "    assert db_connection.scalar(sa.text('SELECT current_database()')).endswith('_1')\n",
    )
    embedded.run(passed=2)


def test_without_sqlalchemy(embedded: Suite) -> None:
    embedded.write("conftest.py", "import sys\nsys.modules['sqlalchemy'] = None\n")
    embedded.write("test_plain.py", COMMITS.format(count=2) + "\n\ndef test_engine(db_engine):\n    pass\n")
    out = embedded.run(code=1)
    assert "2 passed, 1 error" in out, out
    assert "this fixture needs sqlalchemy, which is not installed: pip install sqlalchemy" in out


def test_an_async_engine_without_greenlet(embedded: Suite) -> None:
    embedded.write("conftest.py", "import sys\nsys.modules['greenlet'] = None\n")
    embedded.write("test_async.py", "def test_it(async_engine):\n    pass\n")
    out = embedded.run("-v", code=1)
    assert "this fixture needs greenlet, which is not installed: pip install greenlet" in out, out
    assert "provision: 1 database, waited for" in out, out


@pytest.mark.parametrize(
    ("ini", "said"),
    [
        ("provision_spec = other.yml", "`provision_spec` in the ini file"),
        ("provision_strategy = truncate", "provision_strategy is `clone` or `rollback`, and not 'truncate'"),
        ("provision_pool = many", "provision_pool is a number, and not 'many'"),
        ("provision_spec = wrong.yml", "wrong.yml:2:10: unknown key `imagine`"),
    ],
)
def test_what_is_wrong_is_said_once_and_plainly(embedded: Suite, ini: str, said: str) -> None:
    embedded.write("pytest.ini", f"[pytest]\n{ini}\n")
    embedded.write("wrong.yml", "name: shop\nserver: {imagine: x}\n")
    embedded.write("test_many.py", COMMITS.format(count=2) + "\n\ndef test_nothing():\n    pass\n")
    out = embedded.run(code=1)
    assert said in out
    assert out.count("the first error of this process has the details") == 1, out
    assert "1 passed, 2 errors" in out
    assert "Traceback" not in out


def test_a_revision_that_fails_is_reported_and_nothing_is_left(embedded: Suite) -> None:
    revision = embedded.directory / "migrations/versions/r1.py"
    revision.write_text(revision.read_text().replace("for number", "raise ValueError('no such luck')\n    for number"))
    embedded.write("test_many.py", COMMITS.format(count=5))
    out = embedded.run(code=1)
    assert out.count("ValueError: no such luck") == 1, out
    assert "continues from what is applied" not in out
    assert "5 errors" in out
    assert embedded.homes() == []


def test_a_project_that_does_not_use_it_pays_nothing(directory_without_spec: Suite) -> None:
    directory_without_spec.write("test_plain.py", "def test_it():\n    pass\n")
    directory_without_spec.write(
        "conftest.py",
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    heavy = {'yaml', 'sqlalchemy', 'docker', 'psycopg2', 'alembic', 'jinja2', 'provision.environment'}\n"
        "    print('loaded:', heavy & set(sys.modules))\n",
    )
    out = directory_without_spec.run("-p", "provision.testing.plugin", passed=1, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "loaded: set()" in out
    assert directory_without_spec.homes() == []


@pytest.fixture
def directory_without_spec(embedded: Suite) -> Suite:
    (embedded.directory / "provision.yml").unlink()
    return embedded


def test_the_version_of_pytest_loads_nothing() -> None:
    script = (
        "import sys, pytest\n"
        "pytest.main(['--version'])\n"
        "print({'yaml', 'docker', 'psycopg2', 'provision.environment'} & set(sys.modules))"
    )
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()")
