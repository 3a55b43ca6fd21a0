"""The tool is killed with ``kill -9`` while it saves or uses a golden; the next run converges, and nothing is left.

``pytest tests/chaos/test_goldens.py --chaos-moments 40 -v`` shows each moment.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from support.goldens import a_family, begun, left_beside

if TYPE_CHECKING:
    from support.embedded import Embedded

TABLES = ("userdata", "orders", "invoices")
SCENES = {
    "use": ("apply",),
    "stop": ("stop",),
    "destroy": ("destroy", "--data", "--yes"),
    "save": ("apply", "--golden"),
}
_SHARE = 0.5
"""Tests of a pipeline have fewer moments here than elsewhere."""
_LIMIT = 120
pytestmark = pytest.mark.server


def killed(made: Embedded, words: tuple[str, ...], delay: float) -> str:
    run = made.begin(*words)
    time.sleep(delay)
    run.kill()
    said, _ = run.communicate(timeout=_LIMIT)
    return (said.splitlines() or ["nothing said yet"])[-1]


def timed(made: Embedded, *words: str) -> float:
    began = time.monotonic()
    made.run(*words)
    return time.monotonic() - began


def prove(made: Embedded, *, begins: bool) -> None:
    """See that the next apply converges, with a golden where it ``begins`` so, and leaves nothing beside the data."""
    ran = made.run("apply", "--json")
    assert begun(ran.out) or not begins, ran.all
    made.run("verify", "--detailed-exitcode")
    assert made.query("SELECT version_num FROM alembic_version") == [("r3",)]
    assert left_beside(made) == []


def test_killed_while_a_golden_is_saved_or_used(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = random.Random(pytestconfig.getoption("--chaos-seed"))  # noqa: S311  # to be had again
    count = round(pytestconfig.getoption("--chaos-moments") * _SHARE)
    with a_family() as family:
        made = family.member(*TABLES)
        plain = timed(made, "apply")
        took = {"stop": timed(made, "stop")}
        made.run("destroy", "--data", "--yes")
        took |= {"use": timed(made, "apply"), "save": plain + took["stop"], "destroy": took["stop"]}
        for number in range(count):
            scene = list(SCENES)[number % len(SCENES)]
            if scene == "use":
                made.run("destroy", "--data", "--yes")
            else:
                made.run("golden", "prune", spec=False)
                made.run("destroy", "--data", "--yes")
                if scene != "save":
                    made.run("apply")
            delay = chosen.random() * took[scene]
            last = killed(made, SCENES[scene], delay)
            with capsys.disabled():
                print(f"\n{number:02d}-{scene}: after {delay:.2f} s ({last})", flush=True)  # noqa: T201  # in the log
            prove(made, begins=scene == "use" and not (made.home / "data").exists())
        made.run("golden", "prune", spec=False)
        made.run("destroy", "--data", "--yes")
        made.run("apply", "--golden")
        assert [name for name in family.files() if name.startswith(".")] == []
