"""A way to a port of the engine's host: ``ssh -N -L``, for as long as this process lives.

``ssh`` is the child of a shell that waits for the end of a pipe, whose other end only this process has: so it ends with
us, also when we are killed. Its port counts once ``ssh`` says that it listens there, by a ``LocalCommand``: until then
another user of this machine could listen in its place, and would get our login.
https://man.openbsd.org/ssh#L ; https://man.openbsd.org/ssh_config#LocalCommand
"""

from __future__ import annotations

import os
import re
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from provision.errors import UnavailableError
from provision.system import processes, ssh, variables

if TYPE_CHECKING:
    from typing import IO

    from provision.model.ssh import Way

HERE = "127.0.0.1"
"""The only address of this machine at which a tunnel listens."""
_KEEP = '"$@" </dev/null & exec >/dev/null 2>&1; read -r _; kill $!'
_SHARED_NO = ("ControlMaster=no", "ControlPath=none", "ForkAfterAuthentication=no")
"""A connection that others share keeps our port open after our process."""
_FORWARDS = ("ClearAllForwardings=no", "PermitLocalCommand=yes", "LocalCommand=echo open", "LogLevel=INFO")
_ALL = "ExitOnForwardFailure={}"
_SECONDS, _TRIES, _GRACE, _LAST = 60.0, 5, 5.0, 5
_NO_SHELLS = ("", "nologin", "false")
_UNKNOWN = "what the server says: no tunnel to it was opened"


def call(way: Way, port: int, *, all_or_none: bool = True) -> tuple[str, ...]:
    """Return the call of ``ssh`` that forwards a port of this machine.

    ``all_or_none``: it ends where one of the ports that ``~/.ssh/config`` forwards besides is taken.
    """
    settings = (_ALL.format("yes" if all_or_none else "no"), *_SHARED_NO, *_FORWARDS)
    options = [word for each in settings for word in ("-o", each)]
    return ssh.argv(way.destination, "-N", *options, "-L", f"{HERE}:{port}:{way.address}")


class Tunnel:
    """A ``ssh`` that forwards a port of this machine, and ends with this process.

    It is begun at once, and used after :meth:`opens`.
    """

    def __init__(self, way: Way, port: int, *, all_or_none: bool = True) -> None:
        from tempfile import TemporaryFile

        self.way, self.port, self.all_or_none = way, port, all_or_none
        self._log: IO[bytes] = TemporaryFile()  # noqa: SIM115  # as long as the tunnel
        self._is_open = False
        argv = ("/bin/sh", "-c", _KEEP, "provision", *call(way, port, all_or_none=all_or_none))
        pipes = {"stdin": processes.PIPE, "stdout": processes.PIPE, "stderr": self._log}
        self._keeper = processes.start(argv, unknown=_UNKNOWN, env=environ(), start_new_session=True, **pipes)

    @property
    def has_ended(self) -> bool:
        """Whether ``ssh`` has ended after it was open: its output says nothing after that."""
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
            self._is_open = True
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


def reached(way: Way) -> int:
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


def announced(output: IO[bytes]) -> bool:
    """Wait until ``ssh`` says that it listens; False: it has ended, or does not come to that."""
    return bool(select.select([output], [], [], _SECONDS)[0] and os.read(output.fileno(), 1 << 10))


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
