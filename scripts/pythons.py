#!/usr/bin/env python3
"""Run the quick part of the suite on each Python from 3.11 on that this machine has: ``make test-pythons``.

    python scripts/pythons.py [--list] [PYTEST ARGUMENTS …]

Debian's own is among them. The interpreter that runs this is left out: ``make test`` runs the whole suite on it. The
newest runs the whole quick part; the others the laws, with fewer examples, and the command line. Each environment is
made once, in the user's cache, and again when the project's dependencies change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
_SERVERS = (
    # A server as a process: the first command of the README, and programs that the tests unpack.
    "tests/contract/test_choice.py::test_the_quickstart_runs_without_an_engine",
    "tests/server/test_upgrade.py::test_a_new_server_that_does_not_start_leaves_the_old_one_alone",
)
# What a server in a container shows, and what the sources look like, no Python changes.
_LEFT_OUT = ("-m", "not docker and not long", "--ignore", "tests/laws/test_shape.py")
QUICK = (*_LEFT_OUT, "tests/laws", "tests/tables", *_SERVERS)
PART = (
    *_LEFT_OUT,
    *("--hypothesis-profile", "few"),
    "tests/laws",
    *("tests/tables/test_cli.py", "tests/tables/test_cli_verbs.py", "tests/tables/test_hostile_input.py"),
    *_SERVERS,
)
_PINS = ROOT / "requirements" / "dev.txt"
_PROJECT = ROOT / "pyproject.toml"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provision-tests" / "pythons"
_PLACES = (
    "/usr/bin",
    "/usr/local/bin",
    "/opt/python*/bin",
    "~/.pyenv/versions/*/bin",
    "~/.local/share/uv/python/*/bin",
    "~/.asdf/installs/python/*/bin",
)
_ASK = (
    "import os, sys; v = sys.version_info;"
    "print('.'.join(map(str, v[:3])), v.releaselevel, os.path.realpath(sys._base_executable), sep='\\n')"
)


def found() -> dict[str, Path]:
    """Return the final releases from 3.11 on, the oldest first: version → program."""
    known: dict[str, Path] = {}
    for program in _candidates():
        done = subprocess.run((program, "-I", "-c", _ASK), capture_output=True, text=True, check=False)
        said = done.stdout.splitlines()
        if len(said) > len(OLDEST) and said[1] == "final" and _numbers(said[0]) >= OLDEST:
            known.setdefault(said[0], Path(said[2]))
    return dict(sorted(known.items(), key=lambda item: _numbers(item[0])))


def _candidates() -> Iterator[Path]:
    places = [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    for pattern in _PLACES:
        expanded = Path(pattern).expanduser()
        places += sorted(Path(expanded.anchor).glob(str(expanded.relative_to(expanded.anchor))))
    seen: set[Path] = set()
    for place in places:
        for program in sorted((*place.glob("python3"), *place.glob("python3.[0-9]*"))):
            if program.name.removeprefix("python3").removeprefix(".").isdigit() or program.name == "python3":
                real = program.resolve()
                # The programs of pyenv's shims are all one file, which looks at the name that it is called by.
                if os.access(program, os.X_OK) and (real not in seen or "shims" in program.parts):
                    seen.add(real)
                    yield program


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in version.split("."))


def environment(version: str, program: Path) -> Path:
    """Return the interpreter of an environment that has everything but this project, which is run from here."""
    wanted = _requirements()
    text = "\n".join((str(program), *wanted, _PINS.read_text(encoding="utf-8")))
    place = _CACHE / f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        print(f"Python {version}: installing into {place} (once)", flush=True)  # noqa: T201  # a program
        for old in _CACHE.glob(f"{version}-*"):
            shutil.rmtree(old)
        # Debian's Python has no pip of its own without python3-venv; ours installs into any.
        subprocess.run((program, "-m", "venv", "--without-pip", place), check=True)
        pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "-qq")
        subprocess.run((*pip, "--no-compile", "--constraint", _PINS, *wanted), check=True)
        (place / "complete").touch()
    return python


def _requirements() -> list[str]:
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["embedded"], *extras["dev"]]


def main(words: list[str]) -> int:
    """Run the tests on each, and return whether any failed."""
    here = ".".join(map(str, sys.version_info[:3]))
    others = {version: program for version, program in found().items() if version != here}
    for version, program in others.items():
        print(f"Python {version}: {program}", flush=True)  # noqa: T201
    if "--list" in words:
        return 0
    failed = []
    newest = max((here, *others), key=_numbers)
    for version, program in others.items():
        python = environment(version, program)
        text, tests = ("the quick part", QUICK) if version == newest else ("the laws and the command line", PART)
        print(f"Python {version}: {text} of the suite", flush=True)  # noqa: T201
        argv = (python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, *tests)
        if subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode:
            failed.append(version)
    if failed:
        print(f"error: the quick part of the suite fails on Python {', '.join(failed)}", file=sys.stderr)  # noqa: T201
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
