"""Connections to an engine that ``ssh`` reaches: it runs ``docker system dial-stdio`` there, which is Docker's own way.

Each is one end of a socket pair, of which the other end is the input and the output of ``ssh``. So whatever speaks to a
Unix socket speaks to it: with time limits, kept for several requests, and taken over for the streams of a program.
https://docs.docker.com/engine/security/protect-access/#use-ssh-to-protect-the-docker-daemon-socket
"""

from __future__ import annotations

import http.client
import socket
import tempfile
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from provision.errors import UnavailableError
from provision.system import processes, ssh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import APIClient

    from provision.model.ssh import Destination

PODMAN = "podman"
_OF_SSH, _NOT_FOUND = 255, 127
"""Exit codes: ssh's own for what it could not do, and a shell's for a command that is not there."""
_DROPPED, _BY_PROXY = "kex_exchange_identification: ", "UNKNOWN port 65535"
"""What ssh says of a server that went away before it said what it is (sshd drops some logins once 10 have begun), and
where a ``ProxyCommand`` or a jump host is in between: then that may be what ended."""
_ENDING, _KEPT = 2.0, 10
_LAST_WORDS = 4096


class Dialled(socket.socket):
    """A connection; what ``ssh`` and the program there complained, and how they ended, explains why it broke off."""

    def __init__(self, place: Destination, timeout: float | None) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(fileno=ours.detach())
        self.settimeout(timeout)
        self.place = place
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115  # a pipe that nobody reads could fill
        with theirs:
            self._process = processes.start_ssh(_argv(place), stdin=theirs, stdout=theirs, stderr=self.complaints)
        Thread(target=self._process.wait, daemon=True).start()  # it ends once this end is closed

    def ended(self) -> BrokenOffError | None:
        """Return why the connection broke off; None where it did not."""
        with suppress(processes.TimeoutExpired):
            code = self._process.wait(_ENDING)
            self.complaints.seek(0)
            return BrokenOffError(self.place, code, self.complaints.read(_LAST_WORDS).decode(errors="replace"))
        return None


class BrokenOffError(ConnectionError):
    """``ssh``, or what it runs there, ended; with its exit code and what it said."""

    def __init__(self, place: Destination, code: int, said: str) -> None:
        self.place, self.code = place, code
        self.lines = said.strip().splitlines()
        super().__init__(" ".join(self.lines[-1:]) or f"ssh ended with exit code {code}")


def _argv(place: Destination) -> tuple[str, ...]:
    socket_there = f"unix://{place.path}"
    if PODMAN in (place.path or ""):
        words: tuple[str, ...] = (PODMAN, "--url", socket_there)
    else:
        words = ("docker", *(("--host", socket_there) if place.path else ()))
    return ssh.argv(place, *ssh.PLAIN, words=(*words, "system", "dial-stdio"))


class Connection(http.client.HTTPConnection):
    """HTTP over such a connection, which stays open for the next request."""

    def __init__(self, place: Destination, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self.place = place

    def connect(self) -> None:
        """Start ``ssh``."""
        self.sock = Dialled(self.place, self.timeout)

    def getresponse(self) -> http.client.HTTPResponse:
        """Return the answer, or raise what became of the connection."""
        with explained(self.sock):
            return super().getresponse()

    def ask(self, target: str, posted: str | None) -> tuple[http.client.HTTPResponse, bytes]:
        """Return the answer to a GET, or to a POST of JSON that changes nothing, and its body.

        Raises:
            OSError: there is none; where the connection broke off, with what ``ssh`` said.
        """
        is_kept = self.sock is not None
        try:
            return self._ask(target, posted)
        except OSError:
            self.close()
            if not is_kept:  # one that is kept may have ended since
                raise
            return self._ask(target, posted)

    def _ask(self, target: str, posted: str | None) -> tuple[http.client.HTTPResponse, bytes]:
        if self.sock is None:
            self.connect()
        with explained(self.sock):
            headers = {"Content-Type": "application/json"} if posted is not None else {}
            self.request("GET" if posted is None else "POST", target, posted, headers)
            answer: http.client.HTTPResponse = self.getresponse()
            return answer, answer.read()


@contextmanager
def explained(dialled: Any) -> Iterator[None]:
    """Say why a connection broke off, when it does within the block.

    Raises:
        OSError: it did.
    """
    try:
        yield
    except (http.client.HTTPException, OSError) as error:
        why = dialled.ended() if isinstance(dialled, Dialled) and not isinstance(error, TimeoutError) else None
        raise why or ConnectionError(str(error)) from error


def client(place: Destination, version: str, timeout: float) -> APIClient:
    """Return the SDK's client, whose connections are such ones: the SDK's own way needs paramiko."""
    import docker
    import urllib3.connection
    import urllib3.connectionpool
    from docker.transport.unixconn import UnixHTTPAdapter

    class OverSSH(urllib3.connection.HTTPConnection):
        def connect(self) -> None:
            self.sock = Dialled(place, timeout)

        def getresponse(self) -> Any:
            with explained(self.sock):
                return super().getresponse()

    class Adapter(UnixHTTPAdapter):
        def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:
            del url, proxies
            return pool

    pool = urllib3.connectionpool.HTTPConnectionPool("docker", maxsize=_KEPT, timeout=timeout)
    pool.ConnectionCls = OverSSH
    made = docker.APIClient(base_url="unix://ssh", version=version, timeout=int(timeout))
    made.mount("http+docker://", Adapter("http+unix://ssh"))
    return made


def unreachable(place: str, program: str, error: BaseException) -> UnavailableError | None:
    """Return the error for an engine that ``ssh`` did not reach; None where it is another matter.

    ``program`` is the one that people use with it.
    """
    if isinstance(error, FileNotFoundError):
        return UnavailableError(
            f"the engine at {place} is reached by ssh, which is not installed here",
            next_step="install OpenSSH's client (Debian: apt install openssh-client)",
        )
    if not isinstance(error, BrokenOffError):
        return None
    line = login(error.place)
    said = " ".join(error.lines)
    if error.code == _OF_SSH and _DROPPED in said and _BY_PROXY not in said:
        sentence = f"the sshd of {place} ended a login before it began; perhaps too many come at once (`MaxStartups`)"
        advice = "run the same command again; `ControlMaster auto` and a `ControlPath` in ~/.ssh/config share one login"
    elif error.code == _OF_SSH:
        sentence = f"ssh cannot log in at {place}"
        advice = f"{line} true   (until it works without a question: provision answers none)"
    elif error.code == _NOT_FOUND:
        sentence = f"there is no program `{program}` for logins by ssh at {place}"
        advice = f"install it there (Debian: apt install docker.io), or put it on the PATH that `{line} env` shows"
    elif "permission denied" in said.lower():
        sentence = f"who logs in at {place} may not use the engine there: join the group docker"
        advice = f"{line}   and there: sudo usermod -aG docker $USER"
    else:
        sentence, advice = f"no engine answers at {place}", f"{line} {program} version"
    return UnavailableError(sentence, evidence=error.lines[-5:] or [str(error)], next_step=advice)


def login(place: Destination) -> str:
    """Return what a person types to log in there."""
    user, port = f"{place.user}@" if place.user else "", f"-p {place.port} " if place.port else ""
    return f"ssh {port}{user}{place.host}"
