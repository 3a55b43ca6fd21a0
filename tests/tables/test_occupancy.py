"""Which directories may become a data directory, by what is in them and by where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from provision.errors import RefusedError, SpecError
from provision.runtimes import occupancy
from provision.runtimes.docker import contents
from provision.spec.load import read
from provision.spec.model import DataPath

CLUSTER, BY_MAJOR = ("PG_VERSION", "base"), {"": ("18",), "18": ("docker",), "18/docker": ("PG_VERSION",)}


@pytest.mark.parametrize(
    ("tree", "up_to_17", "from_18"),
    [
        ({"": ()}, (), ()),
        ({"": CLUSTER}, (), ()),
        ({"": (*CLUSTER, "lost+found", "notes.txt")}, (), ()),
        (BY_MAJOR, (), ()),
        ({**BY_MAJOR, "": ("18", "lost+found")}, (), ()),
        ({"": ("data",), "data": CLUSTER}, (), ()),
        ({"": ("notes.txt",)}, ("notes.txt",), ("notes.txt",)),
        ({"": (".gitkeep",)}, (".gitkeep",), (".gitkeep",)),
        ({"": ("data", "b", "a"), "data": ("x",)}, ("a", "b", "data"), ("a", "b", "data")),
        ({"": ("lost+found",)}, ("lost+found",), ()),
        ({"": ("18",), "18": ("docker",)}, ("18",), ()),
        ({"": ("18",), "18": ("docker",), "18/docker": ("x",)}, ("18",), ("18",)),
        ({"": ("18",), "18": (".docker.initdb-x", ".docker.provision-lock")}, ("18",), ()),
        ({"": ("18",), "18": ("docker", ".docker.provision-lock")}, ("18",), ()),
        ({"": ("18",), "18": ()}, ("18",), ("18",)),
        ({"": ("2024",), "2024": ("photo.jpg",)}, ("2024",), ("2024",)),
        ({"": None}, None, None),
        ({"": ("18",), "18": ("docker",), "18/docker": None}, None, None),
    ],
)  # fmt: skip
def test_what_is_in_the_way(
    tree: dict[str, tuple[str, ...] | None], up_to_17: tuple[str, ...] | None, from_18: tuple[str, ...] | None
) -> None:
    def entries(below: str) -> tuple[str, ...] | None:
        return tree.get(below, ())

    assert occupancy.strangers(entries, below="") == up_to_17
    assert occupancy.strangers(entries, below="18/docker") == from_18


def spec(path: str, home: str = "/home/ann") -> Path:
    text = yaml.safe_dump({"name": "shop", "server": {"image": "postgres:18", "data": {"path": path}}})
    found = read(Path("/srv/shop/specs/spec.yml"), text.encode(), {"HOME": home}).server.data
    assert isinstance(found, DataPath)
    return found.path


@pytest.mark.parametrize(
    "path",
    ["/", ".", "..", "/srv", "~", "/home", "/home/ann/", ".provision", ".provision/shop", "../specs/./.provision"],
)
def test_no_server_gets_a_directory_that_holds_more(path: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(path)
    assert [each.message for each in caught.value.problems] == ["`path`: the server needs a directory of its own"]


@pytest.mark.parametrize("path", ["db", "../db", "~/db", "/home/other", "/srv/data", ".provision/shop/db"])
def test_any_other_directory_is_fine(path: str) -> None:
    assert str(spec(path)).startswith("/")


@pytest.mark.parametrize(
    ("place", "found", "names", "example"),
    [
        ("/srv/full", ("a",), "(a)", "path: ./full/pgdata}"),
        ("/srv/full", ("a", "b", "c"), "(a, b, c)", "path: ./full/pgdata}"),
        ("/etc", ("a", "b", "c", "d"), "(a, b, c, …)", "path: /etc/pgdata}"),
    ],
)
def test_what_is_said(place: str, found: tuple[str, ...], names: str, example: str) -> None:
    declared = read(Path("/srv/spec.yml"), b"name: shop\nserver: {image: postgres:18}\n", {})
    error = occupancy.refusal(declared, Path(place), found)
    assert error.sentence.endswith(f"{place} holds other files {names}")
    assert example in (error.next_step or "")


def test_what_only_the_engine_sees_has_to_be_data() -> None:
    text = b"name: shop\nserver: {image: postgres:17, data: {path: /srv/db}}\n"
    declared = read(Path("/srv/shop/spec.yml"), text, {})
    contents.check(declared, "it", "", {"PG_VERSION": "17\n"}.get, must_hold=True)
    contents.check(declared, "it", "", {}.get)
    with pytest.raises(RefusedError, match="the directory /srv/db holds no data of a server"):
        contents.check(declared, "it", "", {}.get, must_hold=True)
    with pytest.raises(RefusedError, match="was made by PostgreSQL 16"):
        contents.check(declared, "it", "", {"PG_VERSION": "16\n"}.get, must_hold=True)
