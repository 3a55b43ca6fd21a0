"""An ordinary user: not root, in no group, with a home; and who can reach what the tests run with."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

USER, NAME = 4711, "provision-tester"
_ASIDE = "/run/provision-test-places"


def only_root() -> None:
    """Skip a test that has to become another user, or to have a mount namespace."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")


def as_ordinary_user(
    home: Path, *groups: int, flags: Iterable[str] = (), places: Iterable[Path] = ()
) -> tuple[str, ...]:
    """Return what a command begins with, so that it runs as this user; root starts it.

    Python, this checkout and other ``places`` may lie below a directory that only root may enter: in a mount namespace
    of the command's own, an open directory takes its place. ``flags`` are more options of ``unshare``.
    """
    names = ("--groups", ",".join(map(str, groups))) if groups else ("--clear-groups",)
    user = ("setpriv", f"--reuid={USER}", f"--regid={USER}", *names, "env", f"HOME={home}")
    script = f'{reachable(places)}\n{_named(home)}\nexec "$@"'
    return ("unshare", "--mount", *flags, "sh", "-ec", script, "sh", *user)


def reachable(more: Iterable[Path] = ()) -> str:
    """Return a script that makes Python, this checkout and more reachable for everybody, in a mount namespace."""
    places = {Path(sys.prefix), Path(sys.base_prefix), ROOT, *more}
    closed = {place: wall for place in places if (wall := _wall(place)) is not None}
    lines = [f"mkdir -p {_ASIDE}", f"mount -t tmpfs tmpfs {_ASIDE}"]
    for number, place in enumerate(closed):
        lines += [f"mkdir {_ASIDE}/{number}", f"mount --rbind {shlex.quote(str(place))} {_ASIDE}/{number}"]
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(each))}" for each in set(closed.values())]
    for number, place in enumerate(closed):
        shown = shlex.quote(str(place))
        lines += [f"mkdir -p {shown}", f"mount --rbind {_ASIDE}/{number} {shown}"]
    return "\n".join(lines)


def _named(home: Path) -> str:
    """Return a script that gives the user a name; initdb wants one."""
    line = f"{NAME}:x:{USER}:{USER}::{shlex.quote(str(home))}:/bin/sh"
    copy = f"{_ASIDE}/passwd"
    return f"cp /etc/passwd {copy}; echo {line} >>{copy}; mount --bind {copy} /etc/passwd"


def _wall(place: Path) -> Path | None:
    """Return the outermost directory above a place that only its owner may pass through."""
    return next((each for each in reversed(place.parents) if not each.stat().st_mode & 0o001), None)


if __name__ == "__main__":
    sys.stdout.write(reachable())
