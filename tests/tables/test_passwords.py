"""A password from a file or a program: its first line, without the marks that editors write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provision.errors import ProvisionError
from provision.spec.passwords import PasswordCommand, PasswordFile
from provision.system.secrets import Password

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "s3cret-ü"
WRITTEN = {
    "plain": PASSWORD.encode(),
    "a line": f"{PASSWORD}\nnot this\n".encode(),
    "Windows": f"{PASSWORD}\r\n".encode(),
    "marked": f"{PASSWORD}\r\n".encode("utf-8-sig"),
    "UTF-16": f"{PASSWORD}\r\n".encode("utf-16"),
    "UTF-16, big-endian": b"\xfe\xff" + f"{PASSWORD}\n".encode("utf-16-be"),
}
REFUSED = {
    "nothing": b"",
    "an empty line": b"\nx",
    "only a mark": b"\xef\xbb\xbf\n",
    "Latin-1": PASSWORD.encode("latin-1"),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_password_is_read(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(WRITTEN[kind])
    for source in (PasswordFile(file), PasswordCommand(("cat", str(file)), tmp_path)):
        assert Password(source, tmp_path / "kept").reveal() == PASSWORD


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_without_a_password_is_named(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(REFUSED[kind])
    with pytest.raises(ProvisionError, match=r"the password file .*/password holds no") as refused:
        Password(PasswordFile(file), tmp_path / "kept").reveal()
    assert "s3cret" not in str(refused.value)
