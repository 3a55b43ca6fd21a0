"""Patroni from PyPI, in an environment of its own in the cache of this user: installed once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("patroni[etcd3]==4.1.5", "psycopg2-binary>=2.9,<3")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provision-tests"


def interpreter() -> Path:
    """Return the interpreter that has Patroni."""
    home = _CACHE / "patroni"
    stamp, want = home / "installed", "\n".join((*PACKAGES, sys.base_prefix, sys.version))
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "patroni.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != want:
            subprocess.run((sys.executable, "-m", "venv", "--clear", home), check=True)
            pip = (home / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check")
            subprocess.run((*pip, *PACKAGES), check=True)
            stamp.write_text(want)
    return home / "bin" / "python"
