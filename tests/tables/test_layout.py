"""Where the data of an image is mounted, by its environment and its volumes."""

from __future__ import annotations

from typing import Any

import pytest

from provision.runtimes.docker import layout

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
    found = layout.of_image(image, major)
    assert (found.directory, found.mount) == (directory, mount)
    assert layout.why_not(directory, image, [{"Type": "volume", "Source": "x", "Target": mount}]) is None


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
    ],
)  # fmt: skip
def test_what_cannot_be_kept(directory: str, volumes: list[str], env: list[str], mounts: list[str], why: str) -> None:
    image = {"Env": env, "Volumes": dict.fromkeys(volumes)}
    found = layout.why_not(directory, image, [{"Type": "volume", "Source": "x", "Target": each} for each in mounts])
    assert (found or "").startswith(why)


def test_the_nearest_mount_holds_the_data() -> None:
    mounts = [
        {"Type": "volume", "Name": "a", "Destination": "/srv"},
        {"Type": "bind", "Source": "/b", "Destination": "/srv/pg/data"},
        {"Type": "tmpfs", "Source": "", "Destination": "/srv/pg"},
    ]
    found = layout.place(mounts, "/srv/pg/data/18")
    assert found is not None
    assert (found.source, found.target, found.below, found.directory) == ("/b", "/srv/pg/data", "18", "/srv/pg/data/18")
    assert layout.kept(mounts, "/srv/pg/data2") is None, "it is in memory"
    assert layout.place(mounts, "/var/lib") is None, "it is in the container's own layer"
