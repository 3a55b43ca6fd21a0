"""The program as an earlier commit of this repository has it, run with this interpreter and its packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EARLIEST = "fea112e"
"""The oldest commit whose environments today's program takes over."""


def checkout(directory: Path, commit: str = EARLIEST) -> Path:
    """Check a commit of this repository out into a directory; PYTHONPATH makes its code run."""
    if (reason := _missing(commit)) is not None:
        pytest.fail(f"the commit {commit} is needed, whose program makes the environments of this test: {reason}")
    _git("clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(directory))
    _git("-C", str(directory), "checkout", "--quiet", "--detach", commit)
    return directory


def _missing(commit: str) -> str | None:
    if _git("rev-parse", "--git-dir", code=None).returncode:
        return f"{ROOT} is no Git repository; run the tests in a clone"
    if not _git("cat-file", "-e", f"{commit}^{{commit}}", code=None).returncode:
        return None
    if _git("rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        return "this clone is shallow; run: git fetch --unshallow"
    return "this clone does not have it; run: git fetch origin"


def _git(*words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    argv = ("git", "-c", "safe.directory=*", *words)
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert code is None or done.returncode == code, done.stderr
    return done
