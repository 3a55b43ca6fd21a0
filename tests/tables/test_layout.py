"""Where the data of an image is mounted, by its environment and its volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.fake import World

from provision.errors import RefusedError
from provision.model import Secret
from provision.runtimes import docker
from provision.runtimes.docker import data_location
from provision.spec.load import read

TEMPLATES = {name: (Path(__file__).parents[2] / "templates" / name).read_text() for name in docker.TEMPLATES}
SPEC = "name: xx\nserver: {image: 'postgres:17', runtime: docker, port: 59991}\n"

OLD, NEW = "/var/lib/postgresql/data", "/var/lib/postgresql"


def config(pgdata: str | None, *volumes: str) -> dict[str, Any]:
    return {"Env": [f"PGDATA={pgdata}"] if pgdata else None, "Volumes": {each: {} for each in volumes} or None}


@pytest.mark.parametrize(
    ("major", "image", "directory", "mount"),
    [
        (17, config(OLD, OLD), OLD, OLD),
        (18, config(f"{NEW}/18/docker", NEW), f"{NEW}/18/docker", NEW),
        (19, config(f"{NEW}/19/docker", NEW), f"{NEW}/19/docker", NEW),
        (17, config(None), OLD, OLD),
        (18, config(None), f"{NEW}/18/docker", NEW),
        (17, config(f"{OLD}/pgdata", OLD), f"{OLD}/pgdata", OLD),
        (17, config(f"{OLD}/pgdata"), f"{OLD}/pgdata", OLD),
        (18, config(OLD, NEW), OLD, NEW),
        (18, config(OLD, OLD), OLD, OLD),
        (17, config("/home/postgres/pgdata/data"), "/home/postgres/pgdata/data", "/home/postgres/pgdata/data"),
        (17, config("/home/postgres/pgdata/data", "/home/postgres/pgdata", OLD), "/home/postgres/pgdata/data",
         "/home/postgres/pgdata"),
        (17, config("/home/postgres/pgdata/data/", "/home/postgres/pgdata/", "/home"), "/home/postgres/pgdata/data",
         "/home/postgres/pgdata"),
        (17, config("/pgdata"), "/pgdata", "/pgdata"),
        (17, config("/pgdata2", "/pgdata"), "/pgdata2", "/pgdata2"),
        (17, config(f"{NEW}/17/main"), f"{NEW}/17/main", f"{NEW}/17/main"),
        (17, config(f"{NEW}/17/main", NEW), f"{NEW}/17/main", NEW),
    ],
)  # fmt: skip
def test_where_an_image_keeps_its_data(major: int, image: dict[str, Any], directory: str, mount: str) -> None:
    found = data_location.of_image(image, major)
    assert (found.directory, found.mount) == (directory, mount)
    assert data_location.why_not(directory, image, [{"Type": "volume", "Source": "x", "Target": mount}]) is None


@pytest.mark.parametrize(
    ("directory", "volumes", "env", "mounts", "why"),
    [
        ("/", [], [], ["/"], "no volume can be mounted there"),
        ("data", [], [], ["data"], "no volume can be mounted there"),
        ("/sys/pg", [], [], ["/sys/pg"], "no volume can be mounted there"),
        ("/etc", [], [], ["/etc"], "it holds more than data"),
        ("/pgdata", [], [], [OLD], "nothing is mounted there"),
        ("/pgdata", [], [], ["/pg"], "nothing is mounted there"),
        ("/pgdata", ["/pgdata/pg_wal"], [], ["/pgdata"], "a part of it is in a volume of its own"),
        ("/pgdata", [], ["POSTGRES_INITDB_WALDIR=/wal"], ["/pgdata"], "its WAL is in /wal"),
        ("/pgdata", [], [], ["/pgdata", "/pgdata"], "more than one mount has the target /pgdata"),
        ("/pgdata", ["/pgdata/x"], [], ["/pgdata", "/pgdata/x/"], "a volume is mounted below it, at /pgdata/x"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept(directory: str, volumes: list[str], env: list[str], mounts: list[str], why: str) -> None:
    image = {"Env": env, "Volumes": dict.fromkeys(volumes)}
    found = data_location.why_not(
        directory, image, [{"Type": "volume", "Source": "x", "Target": each} for each in mounts]
    )
    assert (found or "").startswith(why)


def test_the_nearest_mount_holds_the_data() -> None:
    mounts = [
        {"Type": "volume", "Name": "a", "Destination": "/srv"},
        {"Type": "bind", "Source": "/b", "Destination": "/srv/pg/data"},
        {"Type": "tmpfs", "Source": "", "Destination": "/srv/pg"},
    ]
    found = data_location.place(mounts, "/srv/pg/data/18")
    assert found is not None
    assert (found.source, found.target, found.below, found.directory) == ("/b", "/srv/pg/data", "18", "/srv/pg/data/18")
    assert data_location.kept(mounts, "/srv/pg/data2") is None, "it is in memory"
    assert data_location.place(mounts, "/var/lib") is None, "it is in the container's own layer"


VOLUME = {"Type": "volume", "Source": "x", "Target": OLD}


@pytest.mark.parametrize(
    "target", [f"{OLD}", f"{OLD}/", f"{OLD}//", f"{OLD}/.", f"/{OLD}", f"{NEW}//data", f"{NEW}/x/../data"]
)
def test_memory_over_the_data_is_refused_in_every_spelling(target: str) -> None:
    for extra in ({"Type": "tmpfs", "Target": target}, {"Type": "bind", "Source": "/b", "Target": target}):
        for mounts in ([VOLUME, extra], [extra, VOLUME]):
            for is_fresh in (True, False):
                found = data_location.why_not(OLD, {}, mounts, is_fresh=is_fresh, used=frozenset({OLD}))
                assert found == f"more than one mount has the target {OLD}"
    assert "is memory" in (data_location.why_not(OLD, {}, [{"Type": "tmpfs", "Target": target}]) or "")


def test_memory_between_the_volume_and_the_data_is_refused_and_above_it_is_not() -> None:
    volume = {"Type": "volume", "Source": "x", "Target": NEW}
    found = data_location.why_not(f"{NEW}/18/docker", {}, [volume, {"Type": "tmpfs", "Target": f"{NEW}/18/"}])
    assert found == f"the tmpfs at {NEW}/18 is memory, which each stop empties"
    assert data_location.why_not(OLD, {}, [VOLUME, {"Type": "tmpfs", "Target": f"{NEW}/"}]) is None, (
        "the engine mounts it first"
    )
    assert data_location.why_not(OLD, {}, [VOLUME, {"Type": "tmpfs", "Target": f"{OLD}2"}]) is None
    wal = {"Env": ["POSTGRES_INITDB_WALDIR=/wal"]}
    assert data_location.why_not(OLD, wal, [VOLUME, {"Type": "tmpfs", "Target": "/wal/"}]) is not None


@pytest.mark.parametrize(
    ("kind", "is_fresh", "used", "refused"),
    [
        ("tmpfs", True, (), True),
        ("tmpfs", False, (), True),
        ("tmpfs", False, (f"{OLD}/pg_wal",), False),
        ("bind", True, (), True),
        ("bind", False, (), False),
        ("volume", True, (f"{OLD}/pg_wal",), False),
    ],
)
def test_a_mount_below_new_data_is_refused(kind: str, *, is_fresh: bool, used: tuple[str, ...], refused: bool) -> None:
    mounts = [VOLUME, {"Type": kind, "Source": "/b", "Target": f"{OLD}//pg_wal/"}]
    found = data_location.why_not(OLD, {}, mounts, is_fresh=is_fresh, used=used)
    assert found == (f"a {kind} is mounted below it, at {OLD}/pg_wal" if refused else None)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("tmpfs: [/var/lib/postgresql/data/]", "more than one mount"),
        ("tmpfs: /var/lib/postgresql/data", "more than one mount"),
        ("tmpfs: [/var/lib/postgresql/data/pg_wal:size=1g]", "a tmpfs is mounted below it"),
        ("user: postgres", "starts as the user 'postgres', who cannot read"),
        ("user: '999:999'", "starts as the user '999', who cannot read"),
        ("environment: {PGDATA: ''}", "PGDATA is empty"),
        ("tmpfs: [/tmp, /var/run/postgresql]", None),
        ("user: root", None),
        ("user: '0:0'", None),
        ("user: '1000'", None),  # whose the file with the password is
    ],
)
def test_a_template_that_cannot_keep_data_or_start_is_refused_in_the_plan(lines: str, why: str | None) -> None:
    text = TEMPLATES["docker-compose.yml.j2"]
    if lines.startswith("environment"):
        text = text.replace("    environment:\n", "    environment:\n      PGDATA: ''\n", 1)
    else:
        text = text.replace("    labels:\n", f"    {lines}\n    labels:\n", 1)
    there = World({**TEMPLATES, "docker-compose.yml.j2": text})
    spec = read(Path("/nowhere/project/spec.yml"), SPEC.encode(), {})
    if why is None:
        assert there.plan(spec, Secret("pw")).steps
        return
    with pytest.raises(RefusedError, match=why) as caught:
        there.plan(spec, Secret("pw"))
    assert "docker-compose.yml.j2" in str(caught.value.next_step)
