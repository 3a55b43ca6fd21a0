"""Files of an environment that another user has put there: never followed, written or believed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from provision.errors import RefusedError
from provision.spec.model import PasswordGenerated
from provision.system import lock, secrets

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534


def held(path: Path) -> None:
    with lock.hold(path, timeout=0, waiting=print):
        pass


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_lock_that_leads_elsewhere_is_refused_and_its_target_stays(tmp_path: Path, kind: str) -> None:
    path, victim = tmp_path / ".provision" / "shop" / "lock", tmp_path / "victim.txt"
    path.parent.mkdir(parents=True)
    victim.write_text("a letter\n")
    path.symlink_to(victim) if kind == "symbolic" else path.hardlink_to(victim)
    with pytest.raises(RefusedError, match=kind):
        held(path)
    assert victim.read_text() == "a letter\n"


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_nobody_else_can_hold_the_lock(tmp_path: Path, umask: int) -> None:
    path = tmp_path / ".provision" / "shop" / "lock"
    before = os.umask(umask)
    try:
        held(path)
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o666)
        held(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o022 == 0


def test_a_pipe_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".provision" / "shop" / "lock"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(RefusedError, match="not a regular file"):
        held(path)


def kept(tmp_path: Path) -> Path:
    path = tmp_path / ".provision" / "shop" / "secrets" / "postgres_password"
    path.parent.mkdir(parents=True)
    path.write_text("planted\n")
    return path


def test_a_generated_password_is_read_where_it_is_ours(tmp_path: Path) -> None:
    assert secrets.resolve(PasswordGenerated(), kept(tmp_path)).reveal() == "planted\n"


@pytest.mark.parametrize("whose", ["link", "file", "directory"])
def test_a_planted_password_is_refused(tmp_path: Path, whose: str) -> None:
    path = kept(tmp_path)
    if whose == "link" or os.geteuid() != 0:  # only root can give a file to another user
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.chown(path if whose == "file" else path.parent, NOBODY, -1)
    with pytest.raises(RefusedError, match=r"is a symbolic link|belongs to the user"):
        secrets.resolve(PasswordGenerated(), path)
