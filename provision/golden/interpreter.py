"""The interpreter of a tree and its packages, known without running it: a spec can come from a stranger.

A package is known by its name and version, as its directory of metadata says them. One that was not installed from an
index (a path, a URL, a commit) can change without its version, so its list of files counts too; of an editable one the
files themselves do, which the child notes as it reads them.
https://packaging.python.org/en/latest/specifications/direct-url/
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from provision.golden import keyed
from provision.system.variables import environ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provision.spec.model import Migrations

_METADATA = (".dist-info", ".egg-info", ".egg-link")
_LARGEST_SCRIPT = 1 << 16
_VARIABLES = ("TZ", "PYTHON")
"""What begins with these changes how an interpreter runs, before any code of a tree could read it."""
_LOCALES = ("LC_ALL", "LC_CTYPE", "LANG")


def describe(tree: Migrations) -> dict[str, str]:
    """Return the interpreter of a tree, by name."""
    python = tree.python or Path(sys.executable)
    prefix = python.parent.parent
    config = _lines(prefix / "pyvenv.cfg")
    real = Path(os.path.realpath(python))
    version = config.get("version") or config.get("version_info") or f"{real.name} {_build(real)}"
    system = config.get("include-system-site-packages", "true").lower() == "true"
    found = {
        "python": version,
        "packages": keyed.text(sorted(_packages([prefix, *([real.parent.parent] if system else [])], system=system))),
        "locale": next((value for each in _LOCALES if (value := environ().get(each))), ""),
    }
    given = {name: value for name, value in environ().items() if name.startswith(_VARIABLES)}
    if given:
        found["PYTHON*, TZ"] = keyed.secret(given)
    with suppress(OSError):
        if real.stat().st_size < _LARGEST_SCRIPT:  # a script that starts one
            found["python"] = f"{version} {keyed.of_file(real)}"
    return found


def _build(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _lines(path: Path) -> Mapping[str, str]:
    """Return the ``name = value`` lines of a file; none where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition("=") for line in lines)}


def _packages(prefixes: list[Path], *, system: bool) -> Iterator[str]:
    directories = [each for prefix in prefixes for each in prefix.glob("lib*/python3*/*-packages")]
    if system:
        directories += [*Path("/usr/lib/python3").glob("dist-packages"), *_of_the_user()]
    for directory in dict.fromkeys([os.path.realpath(each) for each in directories]):
        with suppress(OSError), os.scandir(directory) as entries:
            for each in entries:
                if each.name.endswith(_METADATA):
                    yield each.name + _installed_from(Path(each.path))


def _of_the_user() -> Iterator[Path]:
    home = environ().get("PYTHONUSERBASE") or os.path.join(environ().get("HOME", ""), ".local")  # noqa: PTH118
    return Path(home).glob("lib/python3*/site-packages")


def _installed_from(metadata: Path) -> str:
    """Return what tells two builds of one version apart; empty for a package from an index, or an editable one."""
    try:
        url = (metadata / "direct_url.json").read_bytes()
    except OSError:
        return ""
    with suppress(ValueError, AttributeError):
        if json.loads(url).get("dir_info", {}).get("editable"):
            return ""
    with suppress(OSError):
        lines = (metadata / "RECORD").read_text(encoding="utf-8", errors="replace").splitlines()
        return " " + keyed.text(sorted([each for each in lines if ".dist-info/" not in each]))
    return " " + keyed.of_bytes(url)
