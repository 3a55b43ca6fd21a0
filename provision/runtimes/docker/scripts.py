"""The scripts of ``server.initdb``, which the image runs once, while it initialises the data.

The compose file mounts each of them, so that ``docker compose up`` runs them too. Our own container gets copies, which
are no part of the creation call: they matter at the initialisation only, so a changed list recreates nothing, and a
container starts also after a script was moved away. Two scripts of ours before and after all others leave a mark in the
data directory between them: once the data directory is there, the image would start a server on it whether its scripts
have failed or not. ``postgres.sh.j2`` does the same where there are only scripts that the image brings itself.
https://github.com/docker-library/docs/blob/master/postgres/README.md#initialization-scripts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.errors import command

DIRECTORY = "/docker-entrypoint-initdb.d"
_PREFIX = f"{DIRECTORY}/zz-provision-"
"""After the scripts that an image brings itself, whose names begin with a number."""
MARK = "provision.initdb"
_FIRST, _LAST = f"{DIRECTORY}/!provision-begin.sh", f"{DIRECTORY}/zzz-provision-end.sh"
_BEGIN = f'touch "$PGDATA/{MARK}"\n'
_END = f'rm -f "$PGDATA/{MARK}"\n'
DATABASE = "POSTGRES_DB="
"""The variable with the database that the image makes, which matters at the initialisation only, too."""
OVER = "PostgreSQL init process complete"
ANEW = command("destroy --data") + " && " + command("apply")
AGAIN = "correct the script, then: " + ANEW


def targets(scripts: Iterable[Path]) -> list[dict[str, str]]:
    """Return where each script is mounted, so that the image runs them in this order."""
    return [
        {"source": str(each), "target": f"{_PREFIX}{number:04}-{each.name}"} for number, each in enumerate(scripts, 1)
    ]


def split(mounts: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], tuple[tuple[Path, str], ...]]:
    """Return the mounts of a container, and the scripts that are copied in their place: source and target."""
    kept, scripts = [], []
    for each in mounts:
        if each["Type"] == "bind" and str(each["Target"]).startswith(_PREFIX):
            scripts.append((Path(each["Source"]), str(each["Target"])))
        else:
            kept.append(each)
    return kept, tuple(scripts)


def uploads(scripts: Sequence[tuple[Path, str]]) -> Mapping[str, tuple[str | Path, int]]:
    """Return what is copied into a container: target → content or file, and mode.

    The image runs a ``.sh`` that is executable, and reads any other into its own shell.
    """
    found: dict[str, tuple[str | Path, int]] = {target: (source, 0o444) for source, target in scripts}
    return {_FIRST: (_BEGIN, 0o444), **found, _LAST: (_END, 0o444)} if found else {}


def has_failed(lines: Iterable[str]) -> bool:
    """Tell whether a server's log, up to its end, shows that a script was running."""
    running = False
    for line in lines:
        running = (running or f": {DIRECTORY}/" in line or f"running {DIRECTORY}/" in line) and OVER not in line
    return running
