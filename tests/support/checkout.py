"""What a reader of the documents has: the example specs and migrations in a directory, and a terminal to type in.

Names and ports are replaced by some that are free on this machine, on the way in and on the way out, so that
a test runs beside environments that were made from the same specs and meets none of them.
"""

from __future__ import annotations

import fcntl
import os
import pty
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import termios
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine

ROOT = Path(__file__).parent.parent.parent
NAMES = "shop-"
"""What the names of all example environments begin with."""
PORT = "5432"
HOME = "/home/me/shop"
"""Where the documents stand, in what they show."""
SECRET = "specs/secrets/postgres"

_COPIED = ("specs", "migrations")
_LEFT_OUT = shutil.ignore_patterns(".provision", "__pycache__", "secrets")
_TIMEOUT = 120
_ROWS, _COLUMNS = 1000, 400  # nothing wraps: where it would depends on how long the name of the directory is
_CONTROL = re.compile(r"\x1b\[(?P<number>[0-9;?]*)(?P<letter>[A-Za-z])|(?P<char>.)", re.DOTALL)


@dataclass(frozen=True)
class Typed:
    """What the terminal showed after a command, and the command's exit code."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)


class Checkout:
    """A directory with ``specs/`` and ``migrations/`` as a fresh clone has them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # As long as what they stand for: what is set in columns stays in columns.
        self.names = f"{random.choice('qxyz')}{random.getrandbits(12):03x}-"  # noqa: S311  # a name, not a key
        self.port = _free_port()
        for each in _COPIED:
            shutil.copytree(ROOT / each, directory / each, ignore=_LEFT_OUT)
        for spec in (directory / "specs").glob("*.yml"):
            spec.write_text(self._ours(spec.read_text()))
        secret = directory / SECRET
        secret.parent.mkdir(mode=0o700)
        secret.write_text("it's a secret: 50% of $x\n")
        secret.chmod(0o600)

    def type(self, command: str) -> Typed:
        """Type a command, as a document has it, into a terminal."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        try:
            process = subprocess.Popen(
                ("bash", "-c", self._ours(command)),
                cwd=self.directory,
                env=_environ(self.directory),
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        with closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
            shown = self._theirs(_all_of(terminal.fileno()).decode())
        return Typed(process.wait(_TIMEOUT), tuple(screen(shown)))

    def destroy(self) -> None:
        """Destroy the environments that were made from the specs as they are now, wherever their servers live."""
        specs = self.directory / "specs"
        made = [each.name for each in specs.glob(".provision/*")]
        for spec in specs.glob("*.yml"):
            if any(f"name: {name}\n" in spec.read_text() for name in made):
                argv = (sys.executable, "-m", "provision", "destroy", "--data", "--yes", str(spec))
                subprocess.run(argv, env=_environ(self.directory), capture_output=True, timeout=_TIMEOUT, check=False)

    def _ours(self, text: str) -> str:
        return text.replace(NAMES, self.names).replace(PORT, self.port)

    def _theirs(self, text: str) -> str:
        return text.replace(self.names, NAMES).replace(self.port, PORT).replace(str(self.directory), HOME)


@contextmanager
def a_checkout(directory: Path, engine: Engine | None) -> Iterator[Checkout]:
    """Have a checkout, and remove what its specs made."""
    made = Checkout(directory)
    try:
        yield made
    finally:
        made.destroy()
        if engine is not None:
            engine.remove_all(made.names)


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows after ``text``: what was overwritten and erased is gone."""
    lines: list[list[str]] = [[]]
    row = column = 0
    for match in _CONTROL.finditer(text):
        char, letter, number = match["char"], match["letter"], match["number"]
        if char == "\n":
            row += 1
            lines += [[] for _ in range(row + 1 - len(lines))]
        elif char == "\r":
            column = 0
        elif char is not None:
            line = lines[row]
            line += " " * (column + 1 - len(line))
            line[column] = char
            column += 1
        elif letter == "A":
            row = max(0, row - int(number or 1))
        elif letter == "K":
            lines[row] = [] if number == "2" else lines[row][:column]
        elif letter not in ("m", "h", "l"):
            raise NotImplementedError(match.group())
    shown = ["".join(line).rstrip() for line in lines]
    while shown and not shown[-1]:
        shown.pop()
    return shown


def _all_of(descriptor: int) -> bytes:
    read = b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the last program has closed the terminal
            return read
        if not part:
            return read
        read += part


def _environ(directory: Path) -> dict[str, str]:
    kept = ("HOME", "LANG", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "TMPDIR", "XDG_RUNTIME_DIR")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "xterm",
        "NO_COLOR": "1",
        "PAGER": "cat",
        "LC_ALL": "C.UTF-8",
        "XDG_STATE_HOME": str(directory.parent / "state"),
        "PROVISION_GOLDEN": "off",  # other tests leave an empty server in the engine, which any spec would begin with
    }


def _free_port() -> str:
    """Return a free port, with as many digits as PostgreSQL's own."""
    for port in random.sample(range(5500, 9900), 100):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return str(port)
    raise RuntimeError("a hundred ports are in use")
