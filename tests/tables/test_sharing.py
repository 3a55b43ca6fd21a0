"""What two specs share, which run side by side, and how the runs of several are summed up."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provision.commands.several import worst
from provision.environment import Environment
from provision.errors import SpecError, UsageError
from provision.several import Read, groups, read
from provision.spec.load import read as read_spec
from provision.spec.sharing import in_order, shared

if TYPE_CHECKING:
    from provision.spec.model import Spec

DOCKER, EMBEDDED, AUTO = ("runtime: docker", "runtime: embedded", "runtime: auto")
OTHERS = 'runtime: external, credentials: {password: "x"}'


def spec(text: str, name: str = "one", directory: str = "/a") -> Spec:
    """Return a spec with these keys of its server."""
    content = f"name: {name}\nserver: {{image: postgres:17, {text}}}\n"
    return read_spec(Path(directory) / f"{name}.yml", content.encode(), {})


def pair(one: str, other: str, **names: str) -> tuple[Spec, Spec]:
    given = {"name": "one", "other_name": "two", "directory": "/a", "other_directory": "/a", **names}
    return spec(one, given["name"], given["directory"]), spec(other, given["other_name"], given["other_directory"])


SHARED = {
    "nothing": (f"{DOCKER}, port: 1", f"{DOCKER}, port: 2", {}, None),
    "a port": (f"{DOCKER}, port: 1", f"{EMBEDDED}, port: 1", {}, "the port 1!"),
    "the usual port": (DOCKER, DOCKER, {}, "the port 5432!"),
    "ports that are free": (f"{DOCKER}, port: auto", f"{DOCKER}, port: auto", {}, None),
    "a port of two addresses": (
        f"{DOCKER}, host: 127.0.0.2",
        f"{DOCKER}, host: 127.0.0.3",
        {},
        None,
    ),
    "a port of all addresses": (f"{DOCKER}, host: 0.0.0.0", f"{DOCKER}, host: 127.0.0.3", {}, "the port 5432!"),
    "a port of two names of one address": (f"{DOCKER}, host: localhost", DOCKER, {}, "the port 5432!"),
    "an environment": (
        f"{EMBEDDED}, port: auto",
        f"{EMBEDDED}, port: auto",
        {"other_name": "one"},
        "the environment one of /a!",
    ),
    "a name": (
        f"{DOCKER}, port: auto",
        f"{DOCKER}, port: auto",
        {"other_name": "one", "other_directory": "/b"},
        "the container one!",
    ),
    "a name without an engine": (
        f"{EMBEDDED}, port: auto",
        f"{EMBEDDED}, port: auto",
        {"other_name": "one", "other_directory": "/b"},
        None,
    ),
    "a name, perhaps with an engine": (
        f"{AUTO}, port: auto",
        f"{DOCKER}, port: auto",
        {"other_name": "one", "other_directory": "/b"},
        "the container one",
    ),
    "a container": (
        f"{DOCKER}, port: 1, container_name: db",
        f"{DOCKER}, port: 2, container_name: db",
        {},
        "the container db!",
    ),
    "a volume": (
        f"{DOCKER}, port: 1, data: {{volume: rows}}",
        f"{DOCKER}, port: 2, data: {{volume: rows}}",
        {},
        "the volume rows!",
    ),
    "a Compose project": (
        f"{DOCKER}, port: 1, container_name: c1, data: {{volume: v1}}",
        f"{DOCKER}, port: 2, container_name: c2, data: {{volume: v2}}",
        {"other_name": "one", "other_directory": "/b"},
        "the Compose project one!",
    ),
    "a data directory": (
        f"{EMBEDDED}, port: 1, data: {{path: ../data}}",
        f"{EMBEDDED}, port: 2, data: {{path: /data}}",
        {},
        "the data in /data!",
    ),
    "a data directory in another": (
        f"{DOCKER}, port: 1, data: {{path: /data}}",
        f"{EMBEDDED}, port: 2, data: {{path: /data/below}}",
        {},
        "the data in /data!",
    ),
    "data directories beside each other": (
        f"{DOCKER}, port: 1, data: {{path: /data}}",
        f"{DOCKER}, port: 2, data: {{path: /data2}}",
        {},
        None,
    ),
    "a server of others": (
        f"{OTHERS}, host: db, database: a",
        f"{OTHERS}, host: db, database: b",
        {},
        "the server at db:5432",
    ),
    "another server of others": (f"{OTHERS}, host: db1", f"{OTHERS}, host: db2", {}, None),
    "another port of others": (f"{OTHERS}, host: db, port: 1", f"{OTHERS}, host: db, port: 2", {}, None),
    "a server that the other one starts": (
        f"{DOCKER}, port: 1",
        f"{OTHERS}, host: localhost, port: 1",
        {},
        "the server at 127.0.0.1:1",
    ),
    "a server elsewhere": (f"{DOCKER}, port: 1", f"{OTHERS}, host: db, port: 1", {}, None),
}


@pytest.mark.parametrize("case", SHARED)
def test_what_two_specs_share(case: str) -> None:
    one, other, names, wanted = SHARED[case]
    specs = pair(one, other, **names)
    found = shared(*specs)
    assert (found and found.what + "!" * found.excludes) == wanted
    assert (shared(*reversed(specs)) is None) == (wanted is None)


def test_specs_that_share_something_run_in_order_and_others_side_by_side() -> None:
    texts = (f"{OTHERS}, host: db", f"{OTHERS}, host: eb", f"{OTHERS}, host: db", f"{DOCKER}, port: 1")
    specs = [spec(text, f"n{number}") for number, text in enumerate(texts)]
    assert in_order(specs) == ((0, 2), (1,), (3,))
    for order in permutations(range(4)):
        found = in_order([specs[number] for number in order])
        assert sorted(number for group in found for number in group) == [0, 1, 2, 3]
        assert all(list(group) == sorted(group) for group in found)
        assert len(found) == 3


def test_two_that_join_groups_make_one() -> None:
    one, other = spec(f"{OTHERS}, host: localhost, port: 1", "n1"), spec(f"{OTHERS}, host: 127.0.0.1, port: 1", "n2")
    assert in_order([one, other, spec(f"{DOCKER}, port: 1", "n3")]) == ((0, 1, 2),)


def written(directory: Path, **texts: str) -> list[Path]:
    for name, text in texts.items():
        (directory / f"{name}.yml").write_text(text)
    return [directory / f"{name}.yml" for name in texts]


WHOLE = "name: {}\nserver: {{image: postgres:17, port: {}}}\n"
BASE = "server: {image: postgres:17, port: auto}\n"


def test_a_base_is_left_out_and_a_spec_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    paths = written(tmp_path, base=BASE, dev="extends: base.yml\nname: dev\n", ci="extends: base.yml\nname: ci\n")
    found = read([*paths, tmp_path / "." / "dev.yml"], lambda path: Environment(path, environ={}), lenient=False)
    assert [path.name for path in found.paths] == ["dev.yml", "ci.yml"]
    assert [path.name for path in found.bases] == ["base.yml"]


def test_a_base_is_left_out_beside_a_spec_that_is_wrong(tmp_path: Path) -> None:
    paths = written(tmp_path, base=BASE, dev="extends: base.yml\nname: D\n", good=WHOLE.format("good", 1))
    with pytest.raises(SpecError) as caught:
        read(paths, lambda path: Environment(path, environ={}), lenient=False)
    assert [str(each.path.name) for each in caught.value.problems] == ["dev.yml"]
    assert caught.value.evidence == ("nothing was done, for the other specs neither",)


def test_all_that_is_wrong_is_said_once(tmp_path: Path) -> None:
    paths = written(
        tmp_path, base=BASE + "nmae: x\n", dev="extends: base.yml\nname: d1\n", ci="extends: base.yml\nname: c1\n"
    )
    with pytest.raises(SpecError) as caught:
        read(paths[1:], lambda path: Environment(path, environ={}), lenient=False)
    assert len(caught.value.problems) == 1


def test_what_can_never_run_at_once_is_refused_only_where_it_would(tmp_path: Path) -> None:
    paths = written(tmp_path, one=WHOLE.format("one", 1), two=WHOLE.format("two", 2), three=WHOLE.format("three", 1))
    found = read(paths, lambda path: Environment(path, environ={}), lenient=False)
    assert groups(found, acting=False) == ((0, 2), (1,))
    with pytest.raises(UsageError, match=r"one\.yml and .*three\.yml both have the port 1; nothing was done"):
        groups(found, acting=True)
    assert groups(Read(found.paths[:2], found.specs[:2], ()), acting=True) == ((0,), (1,))


@pytest.mark.parametrize(
    ("codes", "code"),
    [([], 0), ([0, 0], 0), ([0, 2], 2), ([2, 1], 1), ([1, 69], 1), ([69, 2], 69), ([70, 1], 70), ([0, 137], 137)],
)
def test_the_worst_exit_code(codes: list[int], code: int) -> None:
    assert worst(codes) == code
