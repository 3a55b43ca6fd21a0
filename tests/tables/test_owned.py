"""Files of an environment that another user has put there: never followed, written or believed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from provision.errors import RefusedError
from provision.spec.passwords import PasswordGenerated
from provision.system import lock, logfile, owned, secrets

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
    assert secrets.Password(PasswordGenerated(), kept(tmp_path)).reveal() == "planted\n"


@pytest.mark.parametrize("whose", ["link", "file", "directory"])
def test_a_planted_password_is_refused(tmp_path: Path, whose: str) -> None:
    path = kept(tmp_path)
    if whose == "link" or os.geteuid() != 0:  # only root can give a file to another user
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.chown(path if whose == "file" else path.parent, NOBODY, -1)
    with pytest.raises(RefusedError, match=r"is a symbolic link|belongs to the user"):
        secrets.Password(PasswordGenerated(), path).reveal()


def test_a_file_of_ours_is_believed(tmp_path: Path) -> None:
    path = cached(tmp_path)
    assert owned.text(path) == "kept\n"
    assert owned.text(path.with_name("missing")) is None
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, -1)
        os.chown(path, NOBODY, -1)
        assert owned.text(path) == "kept\n"


@pytest.mark.parametrize("whose", ["link", "writable", "directory", "pipe", "binary", "other user's"])
def test_a_file_that_others_could_have_written_is_no_text(tmp_path: Path, whose: str) -> None:
    path = cached(tmp_path)
    match whose:
        case "link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        case "writable":
            path.chmod(0o666)
        case "binary":
            path.write_bytes(b"\xff")
        case "other user's" if os.geteuid() == 0:
            os.chown(path, NOBODY, -1)
        case _:
            path.unlink()
            path.mkdir() if whose == "directory" else os.mkfifo(path)
    assert owned.text(path) is None


@pytest.mark.parametrize("place", ["", "shop", "shop/secrets", "shop/cache", "shop/cache/memo"])
def test_a_directory_or_a_file_of_another_user_is_refused(tmp_path: Path, place: str) -> None:
    path = cached(tmp_path)
    kept(tmp_path)
    planted = tmp_path / ".provision" / place
    if os.geteuid() == 0:
        os.chown(planted, NOBODY, -1)
        with pytest.raises(RefusedError, match=f"{planted} belongs to the user 'nobody'"):
            held(path.parents[1] / "lock")
        os.chown(tmp_path, NOBODY, -1)
    held(path.parents[1] / "lock")


def test_directories_that_are_too_wide_are_narrowed(tmp_path: Path) -> None:
    cached(tmp_path).parents[1].rename(home := tmp_path / ".provision" / "secrets")  # that is its name, too
    places = (home.parent, home, home / "secrets", home / "cache")
    (home / "secrets").mkdir()
    for each in places:
        each.chmod(0o777)
    (home / "data").mkdir()
    (home / "data").chmod(0o750)
    held(home / "lock")
    assert [oct(each.stat().st_mode & 0o777) for each in (*places, home / "data")] == [
        "0o755", "0o755", "0o700", "0o755", "0o750"
    ]  # fmt: skip


def test_a_directory_of_secrets_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    home = cached(tmp_path).parents[1]
    (home / "secrets").symlink_to(tmp_path)
    with pytest.raises(RefusedError, match="secrets is a symbolic link"):
        held(home / "lock")


def test_a_directory_of_ours_may_be_elsewhere(tmp_path: Path) -> None:
    home, elsewhere = cached(tmp_path).parents[1], tmp_path / "another disk"
    home.parent.rename(elsewhere)
    home.parent.symlink_to(elsewhere)
    held(home / "lock")
    assert (elsewhere / "shop" / "lock").exists()


def cached(tmp_path: Path) -> Path:
    path = tmp_path / ".provision" / "shop" / "cache" / "memo"
    path.parent.mkdir(parents=True)
    path.write_text("kept\n")
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("follow", [False, True])
def test_a_log_that_is_a_link_is_not_shown(tmp_path: Path, *, follow: bool) -> None:
    (tmp_path / "elsewhere").write_text("not for everybody\n")
    path = tmp_path / "postgresql.log"
    assert list(logfile.lines(path)) == []
    path.symlink_to("elsewhere")
    with pytest.raises(RefusedError, match="is a symbolic link"):
        list(logfile.lines(path, follow=follow, tail=1))
    assert logfile.last(path, 1) == []
    path.unlink()
    path.write_text("one\ntwo\n")
    assert list(logfile.lines(path, tail=1)) == logfile.last(path, 1) == ["two"]
