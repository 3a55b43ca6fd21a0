"""What backups are called, and what is read of those that are there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from provision.backups import kept
from provision.errors import ProvisionError
from provision.model import Endpoint, Secret
from provision.spec.load import read
from provision.system.client_programs import passfile

if TYPE_CHECKING:
    from pathlib import Path

    from provision.spec.model import Spec

AT = datetime(2026, 11, 30, 1, 22, 58, tzinfo=UTC)


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return read(tmp_path / "spec.yml", b"name: shop\nserver: {image: postgres:17}\n", {})


@pytest.mark.parametrize(
    ("database", "rows", "name"),
    [
        ("shop", {"alembic": ("0006",)}, "shop-20261130T012258Z-0006.dump"),
        ("shop", {"a": ("1", "2"), "b": ("x/y",)}, "shop-20261130T012258Z-1+2+x_y.dump"),
        ("shop", {"alembic": ()}, "shop-20261130T012258Z-base.dump"),
        ("shop", {}, "shop-20261130T012258Z.dump"),
        ("../a \"b'", {}, "_a_b_-20261130T012258Z.dump"),
        ("..", {}, "_-20261130T012258Z.dump"),
        ("é" * 63, {}, "_-20261130T012258Z.dump"),
    ],
)
def test_the_name_says_what_it_is(spec: Spec, database: str, rows: dict[str, tuple[str, ...]], name: str) -> None:
    assert kept.new_path(spec, database, AT, rows) == kept.place(spec) / name


def test_no_two_have_the_same_name(spec: Spec) -> None:
    one = kept.new_path(spec, "a b", AT, {})
    two = kept.new_path(spec, "a_b", AT, {}, [one])
    kept.place(spec).mkdir(parents=True)
    two.touch()
    assert kept.new_path(spec, "a/b", AT, {}, [one]).name == "a_b-20261130T012258Z-3.dump"


@pytest.mark.parametrize("note", ["", "{", "[]", "5", '{"provision": 2}', '{"provision": 1, "database": "shop"}'])
def test_a_note_that_is_not_whole_counts_for_nothing(spec: Spec, note: str) -> None:
    kept.place(spec).mkdir(parents=True)
    path = kept.place(spec) / "one.dump"
    path.write_bytes(b"12345")
    path.with_suffix(".json").write_text(note)
    (kept.place(spec) / "two.dump.part").touch()
    (kept.place(spec) / "three.json").touch()
    assert kept.listing(spec) == (kept.Backup(path, 5),)
    assert [each.name for each in kept.broken_off(spec)] == ["two.dump.part", "three.json"]


def test_a_note_is_read_as_it_was_written(spec: Spec) -> None:
    path = kept.new_path(spec, "shop", AT, {"alembic": ("1",)})
    path.parent.mkdir(parents=True)
    path.touch()
    noted = kept.about(spec, "shop", AT, {"alembic": ("1",)}, "a downgrade") | dict.fromkeys(kept._NOTED)
    path.with_suffix(".json").write_text(json.dumps(noted))
    found = kept.named(spec, path.stem)
    assert (found.database, found.revisions, found.is_automatic) == ("shop", {"alembic": ("1",)}, True)
    assert found.moment == "2026-11-30 01:22:58 UTC"


@pytest.mark.parametrize(("password", "line"), [("pw", b"*:*:*:*:pw\n"), (r"a:b\c", rb"*:*:*:*:a\:b\\c" + b"\n")])
def test_libpq_reads_the_password_from_one_line(password: str, line: bytes) -> None:
    with passfile(Endpoint("localhost", 5432, "app", Secret(password), "shop"), "pg_dump") as file:
        assert file.read() == line


def test_a_password_of_two_lines_is_handed_to_no_program_in_a_file() -> None:
    with pytest.raises(ProvisionError, match="has a line break") as refused:
        passfile(Endpoint("localhost", 5432, "app", Secret("one\ntwo"), "shop"), "pg_dump shop")
    assert "provision run -- pg_dump" in str(refused.value.next_step)
