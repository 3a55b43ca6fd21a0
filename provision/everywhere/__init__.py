"""Every environment of this machine and engine, whatever its spec says now: what runs, and what is left.

Labels tell of containers and volumes, the command line of a server whose it is, and the user's register of embedded
servers that are stopped. Nothing is started, and no program of a project is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provision.errors import StepFailedError, UnavailableError
from provision.everywhere import docker, embedded
from provision.everywhere.found import Known, Listing
from provision.model.value import replace
from provision.system import register
from provision.system.look import Look

_AT_ONCE = 16


def listing(environ: Mapping[str, str], *, inside: bool = True) -> Listing:
    """Look for all environments; ``inside`` the servers too, for their version, revisions and size."""
    look, known = Look(environ), {each.home: each for each in register.entries()}
    found, silence = embedded.found(known), ""
    try:
        found += docker.found(look, known)
    except (UnavailableError, StepFailedError) as error:
        silence = error.sentence
    if inside:
        from provision.everywhere.inside import seen

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(seen, found))
    rows = [_placed(each.listed, known) for each in found]
    return Listing(tuple(sorted(rows, key=lambda row: (row.name, str(row.directory)))), silence)


def _placed(row: Known, known: Mapping[str, register.Entry]) -> Known:
    """Return a row with the path of its spec, where the register has it and it is there."""
    entry = known.get(str(row.home))
    if entry is not None and entry.spec and Path(entry.spec).is_file():
        return replace(row, spec=Path(entry.spec))
    usual = (row.directory / name for name in ("provision.yml", "provision.yaml"))
    only = [each for each in usual if each.is_file()]
    return replace(row, spec=only[0]) if entry is None and len(only) == 1 else row
