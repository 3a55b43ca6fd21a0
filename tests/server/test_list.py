"""``provision list``, and what ends a server by its name: embedded ones, whose directory may be gone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory, is_alive, remove_under

import provision
from provision.system import register
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server
ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs/schema/list.json").read_text())


@pytest.fixture(scope="module")
def running() -> Iterator[Embedded]:
    """One that runs, for tests that only look."""
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.migrations("one", "two").apply()
        yield made


@pytest.fixture
def shop() -> Iterator[Embedded]:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.migrations("one", "two").apply()
        yield made


def listed(environment: Embedded, **environ: str) -> dict[str, Any] | None:
    """Return what the list says of an environment."""
    document = environment.run("list", "--json", spec=False, **environ).json()
    jsonschema.validate(document, SCHEMA)
    rows = [each for each in document["environments"] if each["environment"] == environment.name]
    assert len(rows) < 2
    return rows[0] if rows else None


def test_it_shows_what_runs_and_what_is_left(shop: Embedded) -> None:
    running = listed(shop)
    assert running is not None
    assert running["address"] == {"host": "127.0.0.1", "port": int(shop.url.rpartition(":")[2].partition("/")[0])}
    assert (running["state"], running["revisions"]) == ("running", {"alembic": ["r2"]})
    assert (running["spec"], running["directory_is_gone"]) == (str(shop.spec), False)
    assert running["version"].startswith("18.")
    assert running["size"] > 10_000_000
    assert running["mine"]
    shop.run("stop")
    stopped = listed(shop)
    assert stopped is not None
    assert (stopped["state"], stopped["address"], stopped["revisions"]) == ("stopped", None, None)
    assert stopped["size"] > 10_000_000
    shop.run("destroy", "--data", "--yes")
    assert listed(shop) is None


def test_people_see_a_line_and_where_it_is(running: Embedded) -> None:
    text = running.run("list", spec=False).out
    at = text.splitlines().index(f"    embedded, {running.spec.name}")
    assert text.splitlines()[at - 1].split()[:2] == [running.name, "running"]


def test_no_program_of_a_project_runs(shop: Embedded) -> None:
    mark = shop.directory / "ran"
    command = [sys.executable, "-c", f"open({str(mark)!r}, 'w'); print('secret')"]
    shop.declare(server={"credentials": {"password": {"command": command}}}).apply()
    mark.unlink()
    (shop.directory / "migrations" / "env.py").write_text(f"open({str(mark)!r}, 'w')\n")
    row = listed(shop)
    assert row is not None
    assert (row["revisions"], mark.exists()) == ({"alembic": ["r2"]}, False)


def test_a_server_that_runs_is_known_without_the_register(running: Embedded, tmp_path: Path) -> None:
    row = listed(running, XDG_STATE_HOME=str(tmp_path))
    assert row is not None
    assert (row["state"], row["mine"], row["revisions"]) == ("running", True, None)


def test_an_environment_that_no_register_has_is_in_it_after_an_apply_with_nothing_to_do(running: Embedded) -> None:
    shutil.rmtree(running.environ["XDG_STATE_HOME"])
    assert "nothing to do" in running.apply().out
    row = listed(running)
    assert row is not None
    assert row["revisions"] == {"alembic": ["r2"]}


def test_what_the_register_says_is_compared_with_what_is_there(shop: Embedded) -> None:
    shop.run("stop")
    shutil.rmtree(shop.data)
    assert listed(shop) is None
    place = Path(shop.environ["XDG_STATE_HOME"]) / "provision" / "environments"
    (file,) = place.iterdir()
    file.write_text("{")
    assert listed(shop) is None
    home, spec, runtime, data, user, trees, _ = register.Entry(str(shop.home), "", "embedded", "", "", (), "")
    file.write_text(json.dumps([home, spec, runtime, data, user, trees, "elsewhere.000000000000"]))
    assert listed(shop) is None


# --- a directory that is gone ---


def test_one_command_ends_a_server_whose_directory_is_gone(shop: Embedded) -> None:
    pid = shop.pid
    shop.await_wal_writer()
    shop.spec.rename(shop.directory.with_name("spec.yml"))
    remove_under(shop.directory)
    shop.directory = shop.directory.parent
    row = listed(shop)
    assert row is not None
    assert row["directory_is_gone"]
    text = shop.run("list", spec=False).out
    line = f"! the directory is gone; to remove it: provision destroy --data --name {shop.name}"
    assert line in text
    asked = shop.run("destroy", "--data", "--name", shop.name, spec=False, code=None)
    if asked.code != 64:  # one that misses its lock file ends by itself, within a minute
        assert any(not is_alive(pid) for _ in attempts(10, 0.1))
    else:
        assert f"of {shop.directory / 'project'}, which is gone, would be removed" in asked.err
        shop.run("destroy", "--data", "--yes", "--name", shop.name, spec=False, code=None)
    assert not is_alive(pid)
    assert listed(shop) is None


def test_data_whose_spec_is_gone_is_removed_when_that_is_confirmed_and_backups_stay(shop: Embedded) -> None:
    shop.run("backup", "make")
    shop.spec.rename(shop.spec.with_suffix(".old"))
    asked = shop.run("destroy", "--data", "--name", shop.name, spec=False, code=64)
    assert f"the data of {shop.name} of {shop.directory} would be removed for good" in asked.err
    assert shop.data.exists()
    assert "the backups in it stay" in shop.run("destroy", "--data", "--yes", "--name", shop.name, spec=False).all
    assert sorted(each.name for each in shop.home.iterdir()) == [".gitignore", "backups"]
    assert listed(shop) is None


def test_data_in_another_place_is_removed_where_a_record_shows_that_it_was_made() -> None:
    with an_open_directory() as place, an_embedded_environment(place / "other") as other:
        data = place / "rows"
        other.server(data={"path": str(data)}).apply()
        pid = other.pid
        other.run("destroy", "--name", other.name, spec=False)
        assert not is_alive(pid)
        other.apply()
        shutil.rmtree(other.directory)
        other.directory = place
        asked = other.run("destroy", "--data", "--name", other.name, spec=False, code=64)
        assert f"of {place / 'other'}, which is gone" in asked.err
        assert f"next: provision destroy --data --yes --name {other.name}" in asked.err
        other.run("destroy", "--data", "--yes", "--name", other.name, spec=False)
        assert not data.exists()  # it has the record that we made it


def test_a_fresh_clone_does_not_take_data_of_a_directory_that_is_gone() -> None:
    with an_open_directory() as place, an_embedded_environment(place / "one") as one:
        one.server(data={"path": str(place / "rows")}).migrations("one").apply()
        one.query("INSERT INTO one VALUES (1)")
        one.run("stop")
        shutil.copytree(one.directory, place / "two", ignore=shutil.ignore_patterns(".provision"))
        shutil.rmtree(one.directory)
        one.directory, one.spec = place / "two", place / "two" / one.spec.name
        one.home = one.directory / ".provision" / one.name
        refused = one.run("apply", code=1)
        assert f"{place / 'one'}" in refused.err
        assert "which is gone" in refused.err
        assert f"next: provision apply --adopt {one.spec.name}" in refused.err
        one.run("apply", "--adopt")
        assert one.query("SELECT count(*) FROM one") == [(1,)]
        one.settled()


# --- which one is meant ---


def test_two_of_one_name_are_told_apart_by_their_directories(running: Embedded) -> None:
    copy = running.directory.with_name("copy")
    shutil.copytree(running.directory, copy, ignore=shutil.ignore_patterns(".provision"))
    second = Embedded(copy, running.name)
    second.environ = dict(running.environ)
    second.document = running.document
    second.declare(server={"port": "auto"}).apply()
    refused = running.run("destroy", "--name", running.name, spec=False, code=64)
    assert f"2 environments are called '{running.name}'" in refused.err
    assert "next: add --directory" in refused.err
    running.run("destroy", "--data", "--yes", "--name", running.name, "--directory", str(copy), spec=False)
    row = listed(running)
    assert row is not None
    assert row["directory"] == str(running.directory)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("destroy", "--name", "no-such-environment"), "next: provision list"),
        (("destroy", "--name", "x", "spec.yml"), "write SPEC, or --name NAME"),
        (("destroy", "--directory", "."), "write SPEC, or --name NAME"),
        (("stop", "--all", "spec.yml"), "--all goes without SPEC"),
        (("apply", "--check", "--adopt", "spec.yml"), "--adopt goes without --check"),
    ],
)
def test_what_does_not_fit_is_refused(words: tuple[str, ...], said: str, running: Embedded) -> None:
    assert said in running.run(*words, spec=False, code=64).err


def test_the_python_api_lists_them(running: Embedded) -> None:
    found = provision.environments(environ=running.environ)
    assert running.name in [each.name for each in found.environments]
    assert "no Docker" in found.silence or found.silence


# --- all at once, in a namespace that has no other processes ---


def test_stop_all_stops_what_runs(shop: Embedded) -> None:
    alone = ("unshare", "--pid", "--fork", "--mount-proc")
    if os.geteuid() or subprocess.run((*alone, "true"), check=False, capture_output=True).returncode:
        pytest.skip("needs root, and a process namespace of its own")
    shop.run("stop")
    copy = shop.directory.with_name("second")
    second = Embedded(copy, f"{shop.name}-2")
    second.server(port="auto", data={"ephemeral": True})
    program = f"{sys.executable} -m provision"
    script = f"""
        cd {shop.directory} && {program} -q start spec.yml && {program} -q apply {second.spec}
        {program} stop --all && {program} list --json && {program} stop --all
    """
    done = subprocess.run((*alone, "sh", "-ec", script), env=shop.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{shop.name}: stopped  (embedded, {shop.directory})" in done.stdout
    assert f"{second.name}: stopped  (embedded, {copy}); the data was in memory and is gone" in done.stdout
    rows = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])["environments"]
    assert {each["state"] for each in rows if each["environment"].startswith(shop.name)} == {"stopped"}
    assert done.stdout.endswith("nothing of yours runs\n")
