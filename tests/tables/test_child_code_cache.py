"""What a process keeps between two databases: the code of revision files, and nothing that they hold."""

from __future__ import annotations

import os
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from alembic.script import Script, ScriptDirectory

from provision.alembic.child import code_cache
from provision.alembic.child.channel import Channel, Progress, describe
from provision.alembic.child.code_cache import keep_code, read_ahead

if TYPE_CHECKING:
    from pathlib import Path

_REVISION = "revision = '{0}'\ndown_revision = {1}\nseen = []\n\n\ndef upgrade():\n    seen.append('{2}')\n"


def _load(directory: Path) -> dict[str, Any]:
    """Return the modules of a tree, as they are loaded for one database."""
    script = ScriptDirectory(directory)
    keep_code(script, more=True)
    return {each.revision: each.module for each in script.walk_revisions()}


def _write(directory: Path, name: str, down: str | None, word: str) -> None:
    (directory / "versions" / f"{name}.py").write_text(_REVISION.format(name, repr(down), word))


def test_modules_are_made_anew_from_code_that_is_kept(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    _write(tmp_path, "a", None, "first")
    _write(tmp_path, "b", "a", "first")
    _load(tmp_path)  # Python makes a directory for its bytecode there
    first, second = _load(tmp_path), _load(tmp_path)
    first["a"].upgrade()
    assert (first["a"].seen, second["a"].seen) == (["first"], [])
    assert second["a"].upgrade.__code__ is not first["b"].upgrade.__code__
    assert second["a"].upgrade.__code__ is _load(tmp_path)["a"].upgrade.__code__
    assert (second["a"].__file__, second["a"].__spec__.name) == (first["a"].__file__, first["a"].__spec__.name)


def test_a_file_that_is_changed_added_or_removed_is_seen(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    _write(tmp_path, "a", None, "first")
    _load(tmp_path)
    _write(tmp_path, "a", None, "other")  # as long as it was
    os.utime(tmp_path / "versions" / "a.py", (1, 1))
    module = _load(tmp_path)["a"]
    module.upgrade()
    assert module.seen == ["other"]
    _write(tmp_path, "b", "a", "second")
    os.utime(tmp_path / "versions", (2, 2))
    assert sorted(_load(tmp_path)) == ["a", "b"]
    (tmp_path / "versions" / "b.py").unlink()
    os.utime(tmp_path / "versions", (3, 3))
    assert sorted(_load(tmp_path)) == ["a"]


def test_a_file_that_fails_for_a_later_database_is_said_to_fail_while_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "a.py").write_text("import os\nos.environ['TENANT']\n" + _REVISION.format("a", None, ""))
    monkeypatch.setenv("TENANT", "first")
    _load(tmp_path), _load(tmp_path)
    monkeypatch.delenv("TENANT")
    progress = Progress(Channel(StringIO()))
    progress.stage = "env"  # which asks Alembic for its revisions
    with pytest.raises(KeyError) as caught:
        _load(tmp_path)
    found = describe(caught.value, progress)
    assert (found["stage"], found["place"]) == ("load", f"{tmp_path / 'versions' / 'a.py'}:2")


def test_what_is_read_ahead_runs_when_it_is_loaded_and_makes_the_modules_that_alembic_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    _write(tmp_path, "a", None, "first")
    _write(tmp_path, "b", "a", "second")
    (versions / "b.py").write_text("import os\nos.environ['RAN'] = '1'\n" + (versions / "b.py").read_text())
    (versions / "notes.txt").write_text("no revision")
    plain = {each.revision: each.module for each in ScriptDirectory(tmp_path).walk_revisions()}
    monkeypatch.setenv("RAN", "0")
    read_ahead([str(versions)], lambda: False)
    assert os.environ["RAN"] == "0"
    monkeypatch.setattr(Script, "_from_path", None, raising=False)  # Alembic's own way, which is not gone
    monkeypatch.setattr(Script, "_from_filename", None, raising=False)
    found = _load(tmp_path)
    assert os.environ["RAN"] == "1"
    assert [_shape(each) for each in found.values()] == [_shape(each) for each in plain.values()]


@pytest.mark.parametrize("text", ["def", "revision = '\\d'\n"], ids=["broken", "warned of"])
def test_files_that_alembic_has_something_to_say_of_are_left_to_it(tmp_path: Path, text: str) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    _write(tmp_path, "a", None, "first")
    (versions / "b.py").write_text(text)
    read_ahead([str(versions)], lambda: False)
    assert (str(versions),) not in code_cache._known


def test_reading_ahead_ends_when_the_request_is_there(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    _write(tmp_path, "a", None, "first")
    _write(tmp_path, "b", "a", "first")
    answers = iter([False, True])
    read_ahead([str(tmp_path / "versions")], lambda: next(answers))
    assert (str(tmp_path / "versions"),) not in code_cache._known
    assert sorted(_load(tmp_path)) == ["a", "b"]


def _shape(module: Any) -> tuple[Any, ...]:
    return (
        module.__name__,
        module.__file__,
        module.__doc__,
        module.revision,
        module.down_revision,
        type(module.__loader__),
    )


def test_a_file_without_an_id_gets_the_one_that_alembic_gives_it(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    _write(tmp_path, "a", None, "first")
    (versions / "b1.py").write_text("revision = 'x'\ndel revision\ndown_revision = 'a'\n")
    plain = {each.revision: each.path for each in ScriptDirectory(tmp_path).walk_revisions()}
    read_ahead([str(versions)], lambda: False)
    assert (str(versions),) in code_cache._known
    script = ScriptDirectory(tmp_path)
    keep_code(script, more=False)
    assert {each.revision: each.path for each in script.walk_revisions()} == plain


def test_a_file_that_is_written_while_others_are_read_is_read_again(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    _write(tmp_path, "a", None, "first")
    _write(tmp_path, "b", "a", "first")
    asked = []

    def is_over() -> bool:
        asked.append(1)
        if len(asked) == 2:  # the first file was read
            _write(tmp_path, "a", None, "newer")
            os.utime(versions / "a.py", (1, 1))  # as long as it was, and perhaps in the same tick of the clock
        return False

    read_ahead([str(versions)], is_over)
    module = _load(tmp_path)["a"]
    module.upgrade()
    assert module.seen == ["newer"]
