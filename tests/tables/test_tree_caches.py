"""What revision files state is read once: an environment keeps it, and the user for other checkouts of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from provision.alembic import trees
from provision.alembic.tree import graph as graphs
from provision.alembic.trees import load, remember
from provision.spec.model import Migrations


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(trees, "_loaded", {})
    monkeypatch.setattr(trees, "_unwritten", {})
    return tmp_path / "caches" / "provision" / "revisions"


def a_checkout(place: Path, count: int) -> tuple[Migrations, Path]:
    """Return a tree of so many revisions, and the cache of an environment."""
    (place / "versions").mkdir(parents=True)
    (place / "env.py").touch()
    for number in range(count):
        down = repr(f"r{number - 1}") if number else None
        text = f"revision = 'r{number}'\ndown_revision = {down}\n\n\ndef upgrade():\n    pass\n"
        (place / "versions" / f"r{number}.py").write_text(text)
    return Migrations("app", place, None, "head", False, None, "alembic_version", None, 60.0), place / "kept" / "r.json"


def unread(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that the files are added to that are read from now on."""
    found: list[Path] = []
    read = graphs.read_fields

    def reading(source: bytes, path: Path) -> Any:
        found.append(path)
        return read(source, path)

    monkeypatch.setattr(graphs, "read_fields", reading)
    return found


def test_another_checkout_reads_only_what_is_new(tmp_path: Path, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, kept = a_checkout(tmp_path / "first", 60)
    before = load(first, kept)[0]
    assert not caches.exists()  # looking writes nothing
    remember(kept.parent)
    (made,) = caches.iterdir()
    assert made.stat().st_mode & 0o777 == 0o600
    old = caches / "old.json"
    old.touch()
    os.utime(old, (1, 1))
    second, other = a_checkout(tmp_path / "second", 61)
    files = unread(monkeypatch)
    after = load(second, other)[0]
    assert [each.name for each in files] == ["r60.py"]
    assert after.heads == ("r60",)
    assert [each.sha256 for each in before.revisions.values()] == [
        each.sha256 for name, each in after.revisions.items() if name != "r60"
    ]
    remember(other.parent)
    assert other.is_file()
    assert not old.exists()
    made.unlink()
    monkeypatch.setattr(trees, "_loaded", {})
    load(second, other)
    assert len(files) == 1


def test_what_another_user_could_have_written_is_not_taken(
    tmp_path: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, kept = a_checkout(tmp_path / "first", 50)
    load(first, kept)
    remember(kept.parent)
    (made,) = caches.iterdir()
    made.chmod(0o666)
    files = unread(monkeypatch)
    load(*a_checkout(tmp_path / "second", 50))
    assert len(files) == 50


def test_few_revisions_are_in_no_cache_of_the_user(tmp_path: Path, caches: Path) -> None:
    tree, kept = a_checkout(tmp_path / "first", 49)
    load(tree, kept)
    remember(kept.parent)
    assert kept.is_file()
    assert not caches.exists()
