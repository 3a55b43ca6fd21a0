"""Goldens of embedded servers: saved and used, and what keeps one from being saved or used."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.goldens import a_family, begun, left_beside

from provision.environment import Environment
from provision.errors import ProvisionError
from provision.system import packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.embedded import Embedded
    from support.goldens import Family

TABLES = ("userdata", "orders", "invoices")
pytestmark = pytest.mark.server


@pytest.fixture
def family() -> Iterator[Family]:
    with a_family() as made:
        yield made


@pytest.fixture(scope="module")
def saved() -> Iterator[Family]:
    """A family with a golden of three revisions, and one of an empty server."""
    with a_family() as made:
        made.member(*TABLES).run("apply", "--golden")
        assert len(made.goldens()) == 2
        yield made


def tables(made: Embedded) -> list[str]:
    found = made.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [name for (name,) in found]


def test_the_first_stop_saves_one_and_the_next_apply_from_nothing_uses_it(family: Family) -> None:
    one, other = family.member(*TABLES), family.member()
    one.apply()
    assert "saving a golden" in one.run("stop", "-v").out
    (golden,) = family.goldens()
    assert (golden["level"], golden["revisions"]) == (1, {"alembic": ["r3"]})
    other.declare(migrations={"script_location": "../migrations"})
    planned = other.run("plan", "--json").out
    assert begun(planned) == golden["key"][:8]
    assert not [each for each in json.loads(planned)["steps"] if each["action"] == "migrate"]
    assert f"from golden {golden['key'][:4]}" in other.run("plan").out
    assert begun(other.run("apply", "--json").out) == golden["key"][:8]
    assert tables(other) == sorted(("alembic_version", *TABLES))
    other.run("verify", "--detailed-exitcode")
    other.settled()
    other.run("psql", "--role", "app", other.spec.name, "--", "-c", "SELECT 1", spec=False)


def test_apply_golden_says_what_it_does_and_goes_on_with_the_server(saved: Family) -> None:
    made = saved.member(*TABLES)
    ran = made.run("apply", "--golden")
    assert "no golden is saved: it was made from golden" in ran.all
    why = f"no golden is saved: it was made from golden {saved.goldens()[0]['key'][:4]}…"
    assert made.run("apply", "--golden", "--json").json()["remarks"] == [why]
    assert f", from golden {saved.goldens()[0]['key'][:4]}…  " in ran.out
    made.settled()


def test_apply_golden_with_nothing_else_to_do(family: Family) -> None:
    made = family.member(*TABLES)
    made.apply()
    assert "create golden/" in made.run("apply", "--golden").out
    assert [each["level"] for each in family.goldens()] == [1]
    (golden,) = family.goldens()
    why = f"no golden is saved: golden {golden['key'][:4]}… has it already"
    ran = made.run("apply", "--golden")
    assert f"{made.name}: nothing to do" in ran.out
    assert why in ran.out
    for words in (("stop",), ("destroy", "--data", "--yes")):  # of a server that runs, and of one that is stopped
        assert why in made.run(*words, "-v").out
    assert (golden["environment"], golden["image"]) == (made.name, made.document["server"]["image"])
    assert f"  {made.name}, {golden['image']}\n" in made.run("golden", "list", spec=False).out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_while_it_saves_costs_no_golden(family: Family, number: signal.Signals) -> None:
    made = family.member(*TABLES)
    made.apply()
    running, process = made.begin("apply", "--golden"), made.home / "data" / "postmaster.pid"
    while process.exists():
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(number)
    running.communicate()
    assert family.goldens() == []
    assert process.exists() == (number is signal.SIGINT)
    made.apply()  # where it has to start the server, that is a row of the history
    assert "create golden/" in made.run("apply", "--golden").out
    assert [each["level"] for each in family.goldens()] == [1]
    made.settled()


def test_a_server_that_was_made_by_several_applies_is_not_saved(family: Family) -> None:
    made = family.member(*TABLES[:1])
    revision = family.place / "migrations" / "versions" / "r1.py"
    text = revision.read_text()
    revision.write_text(text.replace("def upgrade():", "def upgrade():\n    raise ValueError"))
    made.run("apply", code=1)
    revision.write_text(text)
    made.apply()
    for words in (("apply", "--golden"), ("stop", "-v")):
        assert "no golden is saved: the server was not made from nothing by one apply" in made.run(*words).out
    assert family.goldens() == []


def test_without_a_golden(saved: Family) -> None:
    made = saved.member(*TABLES)
    for words, environ in ((("--no-golden",), {}), ((), {"PROVISION_GOLDEN": "off"})):
        assert begun(made.run("plan", "--json", *words, **environ).out) == ""
    made.server(golden="off")
    assert begun(made.run("plan", "--json").out) == ""


def test_revisions_that_have_the_server_read_a_file_are_in_none(family: Family) -> None:
    made = family.member(*TABLES)
    revision = min((family.place / "migrations" / "versions").glob("*.py"))
    reads = "op.execute(\"SELECT pg_read_file('PG_VERSION')\")"
    revision.write_text(revision.read_text().replace("def upgrade():", f"def upgrade():\n    {reads}"))
    said = made.run("apply", "--golden").all
    assert "no golden is saved: nothing tells what pg_read_file does, which migrations/alembic runs" in said
    assert [each["level"] for each in family.goldens()] == [0]


def test_an_empty_server_and_a_longer_tree(saved: Family) -> None:
    made = saved.member(*TABLES, "refunds", "returns")
    ran = made.run("apply", "--json")
    key = begun(ran.out)
    assert [each["level"] for each in saved.goldens() if each["key"].startswith(key)] == [1]
    assert tables(made) == sorted(("alembic_version", *TABLES, "refunds", "returns"))
    made.settled()
    other = saved.member()
    plan = other.run("plan", "--json").out
    assert [each["level"] for each in saved.goldens() if each["key"].startswith(begun(plan))] == [0]
    other.apply()
    other.run("verify", "--detailed-exitcode")


def test_another_name_of_the_superuser(saved: Family) -> None:
    made = saved.member(*TABLES, credentials={"user": "admin", "password": "${PW}"})
    assert begun(made.run("apply", "--json").out)
    assert made.query("SELECT rolname FROM pg_roles WHERE oid = 10") == [("admin",)]
    made.run("verify", "--detailed-exitcode")


def test_a_row_of_a_person_is_never_saved(family: Family) -> None:
    made = family.member(*TABLES)
    made.apply()
    made.query("CREATE TABLE secrets (text text)")
    made.query("INSERT INTO secrets VALUES ('hunter2-of-a-person')")
    made.query("DROP TABLE secrets")
    before = made.query("SELECT pg_postmaster_start_time()")
    asked = made.run("apply", "--golden")
    assert "no golden is saved: the server has written since it was made" in asked.all
    assert "create golden/" not in asked.all
    assert made.query("SELECT pg_postmaster_start_time()") == before  # it was not stopped for that
    assert "the server has written since it was made" in made.run("stop", "-v").out
    assert family.goldens() == []
    made.run("start")
    made.run("stop", "-v")
    assert "the server has written since it was made" in made.run("apply", "--golden").all
    assert family.goldens() == []


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SELECT pg_create_physical_replication_slot('slot', true)", "replication slot"),
        ("ALTER SYSTEM SET work_mem = '5MB'", "ALTER SYSTEM"),
    ],
)
def test_what_writes_without_a_transaction_is_never_saved(family: Family, statement: str, why: str) -> None:
    made = family.member(*TABLES)
    made.apply()
    made.query(statement)
    assert why in made.run("stop", "-v").out
    assert family.files() in ([], ["lock"])


def test_roles_that_are_not_declared_are_not_saved(family: Family) -> None:
    made = family.member(*TABLES)
    revision = family.place / "migrations" / "versions" / "r3.py"
    revision.write_text(
        revision.read_text().replace("def upgrade():", "def upgrade():\n    op.execute('CREATE ROLE stranger')")
    )
    assert "no golden is saved: stranger: not declared" in made.run("apply", "--golden").all
    assert "no golden is saved: stranger: not declared" in made.run("stop", "-v").all
    assert [each["level"] for each in family.goldens()] == [0]


def test_passwords_of_user_mappings_are_not_saved_whatever_the_database_is_called(family: Family) -> None:
    made = family.member(*TABLES, database="postgres")
    revision = family.place / "migrations" / "versions" / "r3.py"
    mapped = "CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (password 'sesame')"
    made_before = ("CREATE FOREIGN DATA WRAPPER far", "CREATE SERVER far FOREIGN DATA WRAPPER far", mapped)
    lines = "".join(f"\n    op.execute({each!r})" for each in made_before)
    revision.write_text(revision.read_text().replace("def upgrade():", f"def upgrade():{lines}"))
    assert "postgres has user mappings, which can hold passwords" in made.run("apply", "--golden").all
    assert not [each for each in made.run("apply", "--json", "--golden").json()["steps"] if "golden" in each["address"]]
    assert [each["level"] for each in family.goldens()] == [0]


def test_no_password_and_no_verifier_is_in_one(family: Family) -> None:
    made = family.member(*TABLES, credentials={"password": "${PW}"})
    revision = family.place / "migrations" / "versions" / "r1.py"
    # It keeps values of pg_authid in the statistics.
    revision.write_text(revision.read_text().replace("def upgrade():", "def upgrade():\n    op.execute('ANALYZE')"))
    made.apply()
    verifiers = [text.encode() for (text,) in made.query("SELECT rolpassword FROM pg_authid WHERE rolpassword <> ''")]
    assert len(verifiers) == 2
    known = [*verifiers, *[each.partition(b"$")[2][5:40] for each in verifiers], made.environ["PW"].encode()]
    made.run("stop")
    (golden,) = family.goldens()
    data = (family.cache / "provision" / "golden" / golden["key"] / "data").read_bytes()
    assert [each for each in known if each in data] == []


@pytest.mark.parametrize("wrong", ["cut", "marker", "running", "content", "index", "other index", "version"])
def test_a_golden_that_is_not_whole_is_removed_and_the_data_made_without_it(family: Family, wrong: str) -> None:
    family.member(*TABLES).run("apply", "--golden")
    key = next(each["key"] for each in family.goldens() if each["level"] == 1)
    place = family.cache / "provision" / "golden" / key
    made = family.member(*TABLES)
    index = json.loads((place / "index.json").read_text())
    offsets = {name: offset for name, _, offset, _, _ in index["files"]}
    if wrong == "cut":
        os.truncate(place / "data", index["end"] // 2)
    elif wrong == "marker":
        (place / "golden.json").unlink()
    elif wrong.endswith("index"):
        (place / "index.json").write_text("[1" if wrong == "index" else "{}")
    else:
        at, text = {
            "running": (offsets["global/pg_control"] + 16, b"\x06"),
            "content": (offsets["global/pg_control"] + 60, b"\xff\xff\xff\xff\xff"),
            "version": (offsets["PG_VERSION"], b"\xff"),
        }[wrong]
        with (place / "data").open("r+b") as file:
            file.seek(at)
            file.write(text)
    ran = made.run("apply")
    if wrong not in ("cut", "marker"):
        assert f"golden {key[:4]}… is not used, and was removed" in ran.out
        assert key not in family.files()
    made.run("verify", "--detailed-exitcode")
    assert left_beside(made) == []


def test_a_golden_that_lacks_something_is_removed_and_the_data_made_without_it(family: Family) -> None:
    """The key is that of three revisions, and the data that of two: only a look at the server shows it."""
    family.member(*TABLES[:2]).run("apply", "--golden")
    two = next(each["key"] for each in family.goldens() if each["level"] == 1)
    other = family.member(*TABLES)
    other.run("apply", "--golden")
    three = next(each["key"] for each in family.goldens() if each["level"] == 1 and each["key"] != two)
    root = family.cache / "provision" / "golden"
    for name in ("data", "index.json"):
        shutil.copy(root / two / name, root / three / name)
    document = json.loads((root / three / "golden.json").read_text())
    document["size"] = (root / three / "data").stat().st_size
    (root / three / "golden.json").write_text(json.dumps(document))
    made = family.member(*TABLES)
    ran = made.run("apply")
    assert "is not used, and was removed: it lacks 1 revision of migrations/alembic" in ran.out
    made.run("verify", "--detailed-exitcode")
    assert three not in family.files()


def test_another_users_directory_is_not_used(saved: Family) -> None:
    root = saved.cache / "provision" / "golden"
    root.chmod(0o777)
    try:
        made = saved.member(*TABLES)
        assert begun(made.run("plan", "--json").out) == ""
        assert "can be written to by others" in made.run("apply", "--golden").all
    finally:
        root.chmod(0o700)


def test_the_least_recently_used_goes(family: Family) -> None:
    made = family.member(*TABLES)
    keys = []
    for number in range(6):
        made.declare(roles={f"r{number}": {}})
        made.run("apply")
        made.run("destroy", "--data", "--yes")
        keys.append(next(each["key"] for each in family.goldens() if each["key"] not in keys))
    assert [each["key"] for each in family.goldens()] == keys[:0:-1]


def test_remove_and_prune(family: Family) -> None:
    made = family.member(*TABLES)
    made.run("apply", "--golden")
    one, other = (each["key"] for each in family.goldens())
    assert one[:8] in made.run("golden", "rm", one[:6], spec=False).out
    assert made.run("golden", "rm", one[:6], spec=False, code=64).err
    assert "write 4 digits" in made.run("golden", "rm", other[:3], spec=False, code=64).err
    assert other[:8] in made.run("golden", "prune", spec=False).out
    assert family.files() == ["lock"]
    ran = made.run("golden", "list", spec=False)
    assert "no goldens" in ran.out
    assert ran.err.startswith("note: those of Docker are not known: ")
    assert "note: those of Docker" in made.run("golden", "list", "--json", spec=False).err
    made.run("golden", "export", other[:6], "x.tar", spec=False, code=64)


def test_two_at_once_save_and_use_the_same(family: Family) -> None:
    first = [family.member(*TABLES), family.member(*TABLES)]
    for made in first:
        made.apply()
    for run in [made.begin("stop") for made in first]:
        said, _ = run.communicate(timeout=60)
        assert run.returncode == 0, said
    assert len(family.goldens()) == 1
    assert len(family.files()) == 2
    others = [family.member(*TABLES), family.member(*TABLES)]
    runs = [made.begin("apply", "--json") for made in others]
    key = family.goldens()[0]["key"]
    family.member().run("golden", "rm", key[:8], spec=False)
    for run in runs:
        said, _ = run.communicate(timeout=60)
        assert run.returncode == 0, said
    for made in others:
        made.run("verify", "--detailed-exitcode")


def test_a_program_asks_for_it(family: Family) -> None:
    made = family.member(*TABLES)
    environment = Environment(made.spec, environ=made.environ)
    environment.apply(golden=True)
    environment.destroy(data=True)
    done = environment.apply()
    assert done.begun is not None
    assert done.begun.revisions == {"alembic": ("r3",)}
    assert environment.survey(golden=False).begun is None


def test_what_came_between_the_look_and_the_copy_is_not_removed_with_the_golden(saved: Family) -> None:
    made = saved.member(*TABLES)
    environment = Environment(made.spec, environ=made.environ)
    survey = environment.survey_to_apply()
    assert survey.begun is not None
    assert survey.begun.key
    theirs = made.home / "data" / "theirs"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("rows")
    with pytest.raises(ProvisionError):
        environment.apply(survey)
    assert theirs.read_text() == "rows"


def test_no_other_user_can_read_data_while_it_is_packed(tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.mkdir()
    (source / "1259").write_bytes(b"rows")
    packed.pack(source, tmp_path / "pack", leaves=lambda _: False, kept={})
    assert (tmp_path / "pack").stat().st_mode & 0o777 == 0o600
