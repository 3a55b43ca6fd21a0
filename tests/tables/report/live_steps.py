"""A made-up apply, for the tests of progress: run it with a terminal or a pipe as its output."""

from __future__ import annotations

import sys
import time

from provision.errors import StepFailedError
from provision.model import Action, Address, Change, Outcome, Plan, Step
from provision.model.effects import Migrate
from provision.report.console import Console
from provision.report.progress import followed

STEPS = (
    Step(Address("settings", "shop"), Action.RELOAD, None, None, (), (Change("work_mem", "4MB", "8MB"),)),
    Step(Address("migrations", "app"), Action.MIGRATE, None, None, (Migrate("app", ("0002",)),), ("0002 add [red]x",)),
)


def main(words: list[str]) -> None:
    console = Console()
    console.quiet, console.verbose, console.json = "quiet" in words, "verbose" in words, "json" in words
    with followed(console) as progress:
        progress.note("the server runs as postgres")
        progress.planned(Plan(STEPS))
        for step in STEPS:
            progress.started(step)
            progress.detail("halfway\x1b[2J")
            time.sleep(0.25)
            if "fail" in words:
                progress.finished(Outcome(step, 0.25, "it broke"))
                raise StepFailedError("it broke")
            progress.finished(Outcome(step, 0.25))


if __name__ == "__main__":
    main(sys.argv[1:])
