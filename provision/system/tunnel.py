"""A way to a port of the engine's host: ``ssh -N -L``, for as long as this process lives.

``ssh`` is the child of a shell that waits for the end of a pipe, whose other end only this process has: so it ends with
us, also when we are killed. The shell ends with ``ssh``, which shows by its output; ``ssh`` closes its own.

A port counts once ``ssh`` says that it listens there, by a ``LocalCommand``: until then another user of this machine
could listen in its place, and would get our login.
https://man.openbsd.org/ssh#L ; https://man.openbsd.org/ssh_config#LocalCommand
"""

from __future__ import annotations

import os
import re
import select
import threading
import time
from contextlib import suppress
from typing import IO

from provision.errors import UnavailableError
from provision.model.ssh import Way
from provision.system import processes, ssh, variables

HERE = "127.0.0.1"
"""The only address of this machine at which a tunnel listens."""
SHARED = "shared"
_OF_OTHERS = f'ssh -O check "$@" 2>/dev/null && ssh -O forward "$@" && echo {SHARED}'
"""A connection that ``ControlMaster`` shares forwards the port at once, and is the only way where a login asks for more
than a key. It keeps a port open until that is cancelled, or it ends."""
_OWN = 'ssh -N -o ControlMaster=no -o ControlPath=none -o ForkAfterAuthentication=no "$@" </dev/null'
_TO_THE_END = f"""
exec 3<&0
if {_OF_OTHERS}; then read -r _; ssh -O cancel "$@"
else {_OWN} & ssh=$!; {{ read -r _ <&3; kill $ssh; }} >/dev/null 2>&1 & wait $ssh; kill $!; fi
"""
LASTING = f"""
{_OF_OTHERS} || exec {_OWN}
exec >/dev/null 2>&1; trap 'ssh -O cancel "$@"; exit' TERM
while ssh -O check "$@"; do sleep 10 & wait $!; done
"""
"""What keeps a port open until it is ended, or the connection is."""
_FORWARDS = ("ClearAllForwardings=no", "PermitLocalCommand=yes", "LocalCommand=echo open", "LogLevel=INFO")
_ALL = "ExitOnForwardFailure={}"
_SECONDS, _TRIES, _GRACE, _LAST, _CHECK_EVERY = 60.0, 5, 5.0, 5, 5.0
_NO_SHELLS = ("", "nologin", "false")
_UNKNOWN = "what the server says: no tunnel to it was opened"


def arguments(way: Way, port: int, *, all_or_none: bool = True) -> tuple[str, ...]:
    """Return the arguments of ``ssh`` that forward a port of this machine.

    ``all_or_none``: it ends where one of the ports that ``~/.ssh/config`` forwards besides is taken.
    """
    options = [word for each in (_ALL.format("yes" if all_or_none else "no"), *_FORWARDS) for word in ("-o", each)]
    return ssh.argv(way.destination, *options, "-L", f"{HERE}:{port}:{way.address}")[1:]


def argv(script: str, way: Way, port: int, *, all_or_none: bool) -> tuple[str, ...]:
    """Return the command line of a shell that runs one of the scripts above."""
    return ("/bin/sh", "-c", script, "provision", *arguments(way, port, all_or_none=all_or_none))


class Tunnel:
    """A ``ssh`` that forwards a port of this machine, and ends with this process.

    It is begun at once, and used after :meth:`opens`.
    """

    def __init__(self, way: Way, port: int, *, all_or_none: bool = True) -> None:
        from tempfile import TemporaryFile

        self.way, self.port, self.all_or_none = way, port, all_or_none
        self._log: IO[bytes] = TemporaryFile()  # noqa: SIM115  # as long as the tunnel
        self._is_open = self._is_shared = False
        self._checked = 0.0
        line = argv(_TO_THE_END, way, port, all_or_none=all_or_none)
        pipes = {"stdin": processes.PIPE, "stdout": processes.PIPE, "stderr": self._log}
        self._keeper = processes.start(line, unknown=_UNKNOWN, env=environ(), start_new_session=True, **pipes)

    @property
    def has_ended(self) -> bool:
        """Whether ``ssh`` has ended after it was open: the shell says nothing more, and ends with it."""
        if self._is_shared and time.monotonic() > self._checked + _CHECK_EVERY:
            self._checked = time.monotonic()
            line = ("ssh", "-O", "check", *arguments(self.way, self.port))
            return processes.run(line, env=environ(), capture_output=True).returncode != 0
        return self._is_open and bool(select.select([self._output], [], [], 0)[0])

    def opens(self) -> bool:
        """Wait until the port is open; False: it has to be another one.

        Raises:
            UnavailableError: ``ssh`` cannot log in.
        """
        if self._is_open:
            return True
        said_so = announced(self._output)
        taken = taken_ports(self.words)
        if said_so and self.port not in taken:
            self._is_open, self._is_shared, self._checked = True, SHARED in said_so, time.monotonic()
            return True
        self.close()
        if not taken:
            raise failed(self.way, self.words)
        self.all_or_none = self.all_or_none and self.port in taken
        return False

    @property
    def words(self) -> str:
        """What ``ssh`` has said so far."""
        return os.pread(self._log.fileno(), 1 << 16, 0).decode(errors="replace")

    def pass_on(self) -> None:
        """Have the tunnel end with the program that takes the place of this process."""
        os.set_inheritable(self._pipe.fileno(), True)

    def close(self) -> None:
        """End ``ssh``."""
        self._pipe.close()
        with suppress(processes.TimeoutExpired):
            self._keeper.wait(_GRACE)
        self._output.close()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._keeper.stdin is not None  # noqa: S101  # it is a pipe
        return self._keeper.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._keeper.stdout is not None  # noqa: S101  # it is a pipe
        return self._keeper.stdout


_tunnels: dict[tuple[int, Way], Tunnel] = {}
"""Those of this process, and of the one that it is a copy of, by the number of the process."""
_changing = threading.RLock()


def begin(way: Way) -> Tunnel:
    """Return the tunnel of this process; where there is none, begin to open one, and do not wait for it."""
    with _changing:
        found = _tunnels.get((os.getpid(), way))
        if found is None or found.has_ended:
            found = _tunnels[os.getpid(), way] = Tunnel(way, free_port())
        return found


def opened_port(way: Way) -> int:
    """Return the port of this machine that leads there; the tunnel is opened where it is not yet.

    Raises:
        UnavailableError: ``ssh`` cannot log in, or finds no port.
    """
    with _changing:
        found = begin(way)
        for _ in range(_TRIES):
            if found.opens():
                return found.port
            found = _tunnels[os.getpid(), way] = Tunnel(way, free_port(), all_or_none=found.all_or_none)
        del _tunnels[os.getpid(), way]
        raise failed(way, found.words)


def words(way: Way) -> list[str]:
    """Return the last lines that ``ssh`` has said on this way, where a tunnel of this process leads there."""
    found = _tunnels.get((os.getpid(), way))
    return found.words.splitlines()[-_LAST:] if found is not None else []


def pass_on() -> None:
    """Have the tunnels of this process end with the program that takes its place."""
    for (process, _), each in _tunnels.items():
        if process == os.getpid():
            each.pass_on()


def free_port() -> int:
    """Return a port that nothing listens on, and that no other run of ours is about to use."""
    import socket

    with socket.socket() as probe:
        probe.bind((HERE, 0))
        port: int = probe.getsockname()[1]
    return port


def announced(output: IO[bytes]) -> str:
    """Wait until ``ssh`` says that it listens; empty: it has ended, or does not come to that."""
    if not select.select([output], [], [], _SECONDS)[0]:
        return ""
    return os.read(output.fileno(), 1 << 10).decode(errors="replace")


def taken_ports(words: str) -> set[int]:
    """Return the ports of this machine on which ``ssh`` says that it cannot listen.

    https://github.com/openssh/openssh-portable/blob/master/channels.c (channel_setup_fwd_listener_tcpip)
    """
    return {int(each) for each in re.findall(r"cannot listen to port: (\d+)", words)}


def environ() -> dict[str, str]:
    """Return the variables of ``ssh``, which has a shell run what it is to run here: one that runs something."""
    found = dict(variables.environ())
    if os.path.basename(found.get("SHELL", "")) in _NO_SHELLS:  # noqa: PTH119  # a text
        found["SHELL"] = "/bin/sh"
    return found


def failed(way: Way, words: str) -> UnavailableError:
    """Return the error for a tunnel that does not open."""
    return UnavailableError(
        f"ssh opens no tunnel to {way}",
        evidence=words.splitlines()[-_LAST:] or [f"it said nothing within {_SECONDS:g} s"],
        next_step=f"ssh {way.place} true   (without a question: with a key that has no passphrase, or an agent)",
    )
