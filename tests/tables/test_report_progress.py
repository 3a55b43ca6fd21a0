"""Progress: plain lines in a pipe, a live line on a terminal, nothing with ``--quiet``."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from provision.model import Action, Address, File, Outcome, Plan, Step
from provision.model.effects import EngineCall, Migrate, WaitReady, WriteFile
from provision.report.console import Console
from provision.report.progress import FRAMES, PAUSE, Plain

ROOT = Path(__file__).parent.parent.parent
SCRIPT = Path(__file__).parent / "report" / "live_steps.py"
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}},
    "PYTHONPATH": str(ROOT),
    "TERM": "xterm-256color",
    "COLUMNS": "80",
}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PLAIN_LINES = """\
the server runs as postgres
reload settings/shop: done in 0.25 s
  work_mem: 4MB → 8MB
migrate migrations/app …
migrate migrations/app: done in 0.25 s
  0002 add [red]x
"""


def piped(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, SCRIPT, *words),
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def on_terminal(*words: str, columns: int = 0, **environment: str) -> str:
    ours, theirs = pty.openpty()
    if columns:
        termios.tcsetwinsize(theirs, (24, columns))
    with subprocess.Popen(
        (sys.executable, SCRIPT, *words),
        env={**ENVIRONMENT, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    ):
        os.close(theirs)
        seen = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            seen += chunk
    os.close(ours)
    return seen.decode()


def test_a_pipe_gets_plain_lines() -> None:
    assert piped().stdout == PLAIN_LINES


def test_json_leaves_standard_output_to_the_document() -> None:
    done = piped("json")
    assert (done.stdout, done.stderr) == ("", PLAIN_LINES)


def test_quiet_says_nothing() -> None:
    done = piped("quiet")
    assert (done.stdout, done.stderr) == ("", "")


def test_verbose_passes_every_detail_on_without_control_characters() -> None:
    seen = piped("verbose").stdout
    assert seen.count("  halfway\N{REPLACEMENT CHARACTER}[2J") == 2


def test_a_pipe_may_be_forced_to_colours() -> None:
    seen = piped(FORCE_COLOR="1").stdout
    assert COLOUR.sub("", seen) == PLAIN_LINES
    assert seen != PLAIN_LINES


def test_a_dumb_terminal_gets_plain_lines() -> None:
    assert on_terminal(TERM="dumb").replace("\r\n", "\n") == PLAIN_LINES


def test_a_terminal_gets_a_live_line_and_keeps_the_steps() -> None:
    seen = on_terminal()
    assert "⠋" in seen
    assert COLOUR.search(seen)
    kept = COLOUR.sub("", seen)
    assert "✓ reload    settings/shop  0.25 s" in kept
    assert "✓ migrate   migrations/app  0.25 s" in kept
    assert "0002 add [red]x" in kept
    assert "\x1b[2J" not in seen
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h")  # the cursor is given back


def test_the_live_line_leaves_room_for_what_the_terminal_writes() -> None:
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_terminal(columns=32, COLUMNS="32"))
    live = [line for line in re.split(r"[\r\n]+", seen) if line.strip()[:1] in set(FRAMES)]
    assert live
    assert max(len(line) for line in live) == 32 - len("^C") - 1


def test_no_color_is_respected_on_a_terminal() -> None:
    assert not re.search(r"\x1b\[[1-9;][0-9;]*m", on_terminal(NO_COLOR="1"))


def test_a_failed_step_gives_the_terminal_back() -> None:
    seen = on_terminal("fail")
    assert "✗ reload    settings/shop  failed" in COLOUR.sub("", seen)
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h")


@pytest.mark.parametrize(
    ("effect", "announced"),
    [(EngineCall("pull_image", "x"), True), (WaitReady(1), True), (EngineCall("create_volume", "x"), False)],
)
def test_only_a_step_that_lasts_is_announced(effect: EngineCall | WaitReady, announced: bool) -> None:  # noqa: FBT001
    out = io.StringIO()
    Plain(Console(out, out, {})).started(Step(Address("a", "b"), Action.CREATE, None, None, (effect,)))
    assert out.getvalue() == ("create a/b …\n" if announced else "")


def _file(name: str, action: Action = Action.CREATE) -> Step:
    after = File(Path("/srv/.provision/shop") / name, "", 0o644)
    why = ("content differs",) if action is Action.UPDATE else ()
    return Step(Address("file", name), action, None, after, (WriteFile(after.path, ""),), why)


FILES = (_file(".gitignore"), _file("config/a.conf"), _file("config/b.conf", Action.UPDATE), _file("c", Action.UPDATE))


def _told(*, verbose: bool, failing: str = "") -> list[str]:
    out = io.StringIO()
    console = Console(out, out, {})
    console.verbose = verbose
    plain = Plain(console)
    plain.planned(Plan(FILES))
    for step in FILES:
        plain.started(step)
        plain.finished(Outcome(step, 0.25, "no room" if step.address.name == failing else None))
        if step.address.name == failing:
            break
    plain.close()
    return out.getvalue().splitlines()


def test_files_share_a_line() -> None:
    assert _told(verbose=False) == [
        "create 2 files in /srv/.provision/shop: done in 0.50 s",
        "update 2 files in /srv/.provision/shop: done in 0.50 s",
        "  config/b.conf: content differs",
        "  c: content differs",
    ]
    assert len(_told(verbose=True)) == 6


def test_a_file_that_fails_is_named() -> None:
    assert _told(verbose=False, failing="config/a.conf") == [
        "create file/.gitignore: done in 0.25 s",
        "create file/config/a.conf: failed after 0.25 s",
    ]


def test_a_detail_that_stays_is_passed_on_once() -> None:
    out = io.StringIO()
    console = Console(out, out, {})
    console.verbose = True
    plain = Plain(console)
    for text in ("starting", "starting", "recovering", "starting"):
        plain.detail(text)
    assert out.getvalue() == "  starting\n  recovering\n  starting\n"


def test_a_failed_migration_says_what_ran_what_failed_and_what_was_not_reached() -> None:
    names = [f"{number:04}" for number in range(1, 31)]
    effect = Migrate("app", ("0030",), revisions=tuple((name, Path(name)) for name in names))
    step = Step(
        Address("migrations", "app"), Action.MIGRATE, None, None, (effect,), tuple(f"{each}  x" for each in names)
    )
    fates = {name: "applied" if name < "0007" else "failed" if name == "0007" else "not reached" for name in names}

    def told(*, verbose: bool) -> list[str]:
        out = io.StringIO()
        console = Console(out, out, {})
        console.verbose = verbose
        Plain(console).finished(Outcome(step, 1, "it failed", fates))
        return out.getvalue().splitlines()

    assert told(verbose=False) == [
        "migrate migrations/app: failed after 1.00 s",
        "  applied      0001  x",
        "  applied      0002  x",
        "  applied      … 2 more (-v shows them)",
        "  applied      0005  x",
        "  applied      0006  x",
        "  failed       0007  x",
        "  not reached  0008  x",
        "  not reached  0009  x",
        "  not reached  … 19 more (-v shows them)",
        "  not reached  0029  x",
        "  not reached  0030  x",
    ]
    assert len(told(verbose=True)) == 31


def test_details_come_every_few_seconds() -> None:
    now = [0.0]
    out = io.StringIO()
    plain = Plain(Console(out, out, {}), lambda: now[0])
    step = Step(Address("image", "postgres"), Action.CREATE, None, None, (EngineCall("pull_image", "x"),))
    plain.planned(Plan((step,)))
    plain.started(step)
    for second in range(int(PAUSE) * 2 + 1):
        now[0] = second
        plain.detail(f"layer {second}")
    plain.finished(Outcome(step, 11))
    assert out.getvalue().splitlines() == [
        "create image/postgres …",
        f"  layer {int(PAUSE)}",
        f"  layer {int(PAUSE) * 2}",
        "create image/postgres: done in 11.0 s",
    ]
