"""Which directories may become a data directory, by what is in them and by where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from provision.errors import RefusedError, SpecError
from provision.model.effects import CheckData
from provision.runtimes import data_directory
from provision.runtimes.docker import data_contents
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

    assert data_directory.strangers(entries, below="") == up_to_17
    assert data_directory.strangers(entries, below="18/docker") == from_18


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
    error = data_directory.occupied(declared, place, found)
    assert error.sentence.endswith(f"{place} holds other files {names}")
    assert example in (error.next_step or "")


@pytest.mark.parametrize(
    ("data", "source", "what"),
    [("path: /srv/db", "/srv/db", "directory /srv/db"), ("volume: shop", "shop", "volume 'shop'")],
)
def test_what_is_not_known_as_ours_is_data_or_empty(data: str, source: str, what: str) -> None:
    text = f"name: shop\nserver: {{image: postgres:17, data: {{{data}}}}}\n"
    declared = read(Path("/srv/shop/spec.yml"), text.encode(), {})
    ours, foreign = CheckData("c", "/d", source=source), CheckData("c", "/d", is_foreign=True, source=source)
    unlisted, full = {}.get, {"": ("notes.txt",)}.get
    data_contents.check(declared, foreign, {"PG_VERSION": "17\n"}.get, unlisted)
    data_contents.check(declared, foreign, {}.get, {"": ()}.get)
    data_contents.check(declared, ours, {}.get, full)
    with pytest.raises(RefusedError, match=f"the {what} holds no data of a server, and what else"):
        data_contents.check(declared, foreign, {}.get, unlisted)
    with pytest.raises(RefusedError, match=rf"the {what} holds other files \(notes.txt\)"):
        data_contents.check(declared, foreign, {}.get, full)
    with pytest.raises(RefusedError, match="was made by PostgreSQL 16"):
        data_contents.check(declared, foreign, {"PG_VERSION": "16\n"}.get, {"": ()}.get)
