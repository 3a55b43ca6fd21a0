"""Certificates for servers and clients, signed by an authority of the test's own: openssl makes them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(directory: Path, *arguments: str) -> None:
    """Run openssl in a directory; where there is none, the test is skipped."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates, and is not installed")
    subprocess.run(("openssl", *arguments), cwd=directory, check=True, capture_output=True)


def authority(directory: Path, name: str) -> Path:
    """Make an authority: ``NAME.crt``, which is returned, and ``NAME.key``."""
    out = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
    openssl(directory, "req", "-x509", *_CURVE, "-days", "2", "-subj", f"/CN={name}", *out)
    return directory / f"{name}.crt"


def signed(directory: Path, by: str, name: str, common_name: str, *extensions: str) -> tuple[Path, Path]:
    """Make a certificate that an authority has signed, and its key, which only we can read; return both files."""
    (directory / f"{name}.ext").write_text("".join(f"{each}\n" for each in extensions))
    openssl(directory, "req", *_CURVE, "-subj", f"/CN={common_name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    ours = ("-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial", "-extfile", f"{name}.ext")
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", *ours, "-days", "2", "-out", f"{name}.crt")
    (directory / f"{name}.key").chmod(0o600)
    return directory / f"{name}.crt", directory / f"{name}.key"
