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
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from provision.golden import keyed
from provision.golden.key import UnknownError
from provision.spec.model import Migrations
from provision.system.variables import environ

_METADATA = (".dist-info", ".egg-info")
_PATHS, _EDITABLE = (".pth", ".egg-link"), "__editable__"
"""Files that say where else code is."""
_DEBIANS = Path("/usr/local")
"""Where Debian's Python looks, too."""
_VARIABLES = ("TZ", "PYTHON")
"""What begins with these changes how an interpreter runs, before any code of a tree could read it."""
_HARMLESS = (
    *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER", "PYTHONBREAKPOINT", "PYTHONSTARTUP"),
    *("PYTHON_HISTORY", "PYTHON_COLORS", "PYTHONPYCACHEPREFIX"),
)


def describe(tree: Migrations, root: Path) -> dict[str, str]:
    """Return the interpreter of a tree, by name; ``root`` is where the project lies.

    Raises:
        UnknownError: only running it would tell which one it is.
    """
    python = tree.python or Path(sys.executable)
    real = Path(os.path.realpath(python))
    if _is_script(real):
        raise UnknownError(f"{python} is a script, and only running it would tell which Python it starts")
    config = _lines(python.parent.parent / "pyvenv.cfg")
    is_alone = config.get("include-system-site-packages", "true").lower() == "false"
    prefixes = [python.parent.parent] if is_alone else [python.parent.parent, real.parent.parent]
    given = {name: value for name, value in environ().items() if name.startswith(_VARIABLES) and name not in _HARMLESS}
    return {
        "python": config.get("version") or config.get("version_info") or f"{real.name} {_build(real)}",
        "packages": keyed.text(sorted(_packages(prefixes, root, is_alone=is_alone))),
        "locale": _locale(environ()),
        "time zone": keyed.of_file(Path("/etc/localtime")) or "UTC",
        **({"PYTHON* and TZ": keyed.text(given)} if given else {}),
    }


def _locale(variables: Mapping[str, str]) -> str:
    """Return the variables that say in which language code speaks, and how it writes numbers and dates.

    >>> _locale({"LC_ALL": "C", "LC_TIME": "de_DE", "LANGUAGE": "de"}), _locale({"LANG": "C", "LC_TIME": "de_DE"})
    ('LANGUAGE=de LC_ALL=C', 'LANG=C LC_TIME=de_DE')
    """
    names = ["LC_ALL"] if variables.get("LC_ALL") else ["LANG", *[each for each in variables if each.startswith("LC_")]]
    return " ".join(sorted([f"{each}={variables[each]}" for each in (*names, "LANGUAGE") if variables.get(each)]))


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


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


def _packages(prefixes: list[Path], root: Path, *, is_alone: bool) -> Iterator[str]:
    directories = [each for prefix in prefixes for each in prefix.glob("lib*/python3*/*-packages")]
    if not is_alone:
        directories += [*_DEBIANS.glob("lib*/python3*/dist-packages"), *_of_the_user()]
    for directory in dict.fromkeys([os.path.realpath(each) for each in directories]):
        with suppress(OSError), os.scandir(directory) as entries:
            for each in entries:
                if each.name.endswith(_METADATA):
                    yield each.name + _installed_from(Path(each.path))
                elif each.name.endswith(_PATHS) or each.name.startswith(_EDITABLE):
                    yield f"{each.name} {_led_to(Path(each.path), root)}"


def _of_the_user() -> Iterator[Path]:
    home = environ().get("PYTHONUSERBASE") or os.path.join(environ().get("HOME", ""), ".local")  # noqa: PTH118
    return Path(home).glob("lib/python3*/site-packages")


def _led_to(path: Path, root: Path) -> str:
    """Return the digest of a file with paths in it; in another checkout, those of the project are others."""
    with suppress(OSError):
        return keyed.of_bytes(path.read_bytes().replace(str(root).encode(), b""))
    return ""


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
