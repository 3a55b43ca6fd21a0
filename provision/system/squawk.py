"""Runs squawk, the linter for PostgreSQL migrations, on SQL that was rendered.

Its own configuration (``.squawk.toml``) is found as when it is run by hand: in the directory of the project, or above.
https://squawkhq.com/docs/cli
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError, translated
from provision.system import processes
from provision.system.variables import environ, without

PROGRAM = "squawk"
_TIMEOUT = 120.0
_PRINTS_ANNOTATIONS = "GITHUB_ACTIONS"
"""With this variable, squawk 2.20 to 2.56 prints annotations before its JSON, with the paths of our temporary files."""


def find() -> str:
    """Return the path of squawk: beside our own interpreter, or on the PATH.

    Raises:
        ProvisionError: it is not installed.
    """
    beside = str(Path(sys.executable).parent)
    found = shutil.which(PROGRAM, path=os.pathsep.join((beside, environ().get("PATH", ""))))
    if found is None:
        raise ProvisionError(
            "squawk, which looks for what is dangerous in SQL, is not installed",
            evidence=[
                f"there is no program `{PROGRAM}` in {beside}, nor on the PATH",
                "the extra `lint` of provision brings it along",
            ],
            next_step=f"{sys.executable} -m pip install 'squawk-cli>=2,<3'",
        )
    return found


def run(program: str, texts: Mapping[str, str], major: int, directory: Path) -> list[dict[str, Any]]:
    """Lint texts, each under a name, and return what squawk reports; ``file`` is the name.

    ``directory`` is the project's, where squawk looks for its configuration.

    Raises:
        ProvisionError: it fails, or answers in another way than we know.
    """
    if not texts:
        return []
    with tempfile.TemporaryDirectory(prefix="provision-lint-") as scratch:
        paths = {}
        for number, (name, text) in enumerate(texts.items()):
            path = Path(scratch) / f"{number}.sql"
            path.write_text(text, encoding="utf-8")
            paths[str(path)] = name
        argv = (program, "--reporter", "json", "--pg-version", f"{major}.0", *paths)
        failed = ProvisionError(f"{program} cannot be run", next_step=f"{program} --version")
        with translated(OSError, processes.TimeoutExpired, into=failed):
            done = processes.run(
                argv, cwd=directory,
                env=without((_PRINTS_ANNOTATIONS,)), capture_output=True, text=True, stdin=processes.DEVNULL,
                timeout=_TIMEOUT,
            )  # fmt: skip
        try:
            found = json.loads(done.stdout)
            return [{**each, "file": paths[each["file"]]} for each in found]
        except (ValueError, TypeError, KeyError):
            raise ProvisionError(
                f"{program} did not do its work (exit code {done.returncode})",
                evidence=(done.stderr or done.stdout).splitlines()[-10:],
                next_step="run `squawk --version`: this was made with squawk-cli 2.70, "
                "and a configuration file of its own may be wrong",
            ) from None
