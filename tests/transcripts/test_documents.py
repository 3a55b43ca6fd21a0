"""The documents show what happens: every session in them is typed into a terminal, and the screen is compared.

`pytest tests/transcripts --update-transcripts` writes what is shown now into the documents.
"""

from __future__ import annotations

import sys
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from document import has_sessions, masked, replay
from support.checkout import ROOT, a_checkout, screen

if TYPE_CHECKING:
    from support.engine import Engine

DOCUMENTS = [
    path
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md")))
    if has_sessions(path.read_text(encoding="utf-8"))
]


@pytest.fixture
def engine_or_none(request: pytest.FixtureRequest) -> Engine | None:
    """The engine, or None where a session that needs none can be typed all the same."""
    try:
        found: Engine = request.getfixturevalue("engine")
    except pytest.skip.Exception:
        return None
    return found


@pytest.mark.docker
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_sessions_of_a_document(
    path: Path, tmp_path: Path, engine_or_none: Engine | None, request: pytest.FixtureRequest
) -> None:
    with a_checkout(tmp_path / "checkout", engine_or_none) as checkout:
        done = replay(path.read_text(encoding="utf-8"), checkout, with_engine=engine_or_none is not None)
    if request.config.getoption("--update-transcripts", default=False):
        path.write_text(done.after, encoding="utf-8")
    elif done.before != done.after:
        name = str(path.relative_to(ROOT))
        sides = (done.before.split("\n"), done.after.split("\n"))
        difference = unified_diff(*sides, name, f"{name}, as typed now", lineterm="")
        pytest.fail("\n".join([*difference, "when this is as it shall be: make transcripts"]), pytrace=False)
    if done.left_out:
        pytest.skip(f"{done.left_out} sessions need a Docker engine; the others are as they should be")


def test_a_terminal_shows_what_was_written_last() -> None:
    written = "one\r\n\x1b[32mtwo\x1b[0m  \r\n⠋ turns\x1b[?25l\r\x1b[2Kthree\r\n\r\n\x1b[1A\x1b[1Athree!\r\nfour\r\n"
    assert screen(written) == ["one", "two", "three!", "four"]


def test_times_ports_and_ids_may_differ() -> None:
    before = ["done in 0.12 s", "postgresql://me:secret@127.0.0.1:5432/shop", "2026-01-02 03:04:05.678 UTC [7] LOG:  x"]
    after = ["done in 12.3 s", "postgresql://me:other@127.0.0.1:60123/shop", "2027-01-02 03:04:05.6 UTC [81] LOG:  x"]
    assert masked(before) == masked(after)
    assert masked(["revision 0001"]) != masked(["revision 0002"])
