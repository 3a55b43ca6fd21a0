"""The order in which an interpreter runs the files below a directory, seen by a hook that Python loads at its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOOK = """
import os, sys

def seen(event, arguments):
    if event == "exec":
        name = arguments[0].co_filename
        if name.startswith(os.environ["ORDER_ROOT"]):
            with open(os.environ["ORDER_LOG"], "a") as log:
                log.write(name + "\\n")

sys.addaudithook(seen)
"""


class Order:
    """What is added to the environment of a program (``environ``), and what it ran then."""

    def __init__(self, home: Path, root: Path) -> None:
        home.mkdir()
        (home / "sitecustomize.py").write_text(HOOK)
        self._log = home / "log"
        self.environ = {"PYTHONPATH": str(home), "ORDER_ROOT": f"{root}/", "ORDER_LOG": str(self._log)}

    def files(self) -> list[str]:
        """Return each file once, where it was run first."""
        return list(dict.fromkeys(self._log.read_text().splitlines())) if self._log.exists() else []
