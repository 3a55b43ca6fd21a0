"""The destination in ``ssh://user@host:port/path``, as ``docker`` reads it: a host, or an alias of ``~/.ssh/config``.

https://docs.docker.com/engine/security/protect-access/#use-ssh-to-protect-the-docker-daemon-socket
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from provision.model.value import dataclass
from provision.model.words import SSH, socket_address

# None of them begins with a dash, and none has what a shell reads: ~/.ssh/config may pass each of them on to one.
_HOST = r"[A-Za-z0-9_][A-Za-z0-9_.-]*|(?=.*:)[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?"
_USER = r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]*"
_PATH = r"(?:/[A-Za-z0-9_.@:+-]*)*"


@dataclass(frozen=True)
class Destination:
    """Where ``ssh`` is to log in; ``path`` is the engine's Unix socket there, where the URL names it.

    What is None is left to ``~/.ssh/config``.
    """

    host: str
    user: str | None = None
    port: int | None = None
    path: str | None = None

    def __str__(self) -> str:
        """Return the URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, port = f"{self.user}@" if self.user else "", f":{self.port}" if self.port else ""
        return f"{SSH}{user}{host}{port}{self.path or ''}"


class Way(NamedTuple):
    """A port of a destination's host, at an address that is reached from there."""

    destination: Destination
    host: str
    port: int

    @property
    def place(self) -> str:
        """The destination as people type it."""
        return (f"{self.destination.user}@" if self.destination.user else "") + self.destination.host

    @property
    def address(self) -> str:
        """``127.0.0.1:5432``, or ``[::1]:5432``."""
        return socket_address(self.host, self.port)

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.address} of {self.place}"


def parse(url: str) -> Destination:
    """Return the destination that an ``ssh://`` URL names.

    >>> parse("ssh://ada@build-host:2222/run/user/1000/docker.sock")
    Destination(host='build-host', user='ada', port=2222, path='/run/user/1000/docker.sock')

    Raises:
        ValueError: it is not one; the text says what is wrong with it, without a password that it holds.
    """
    parts = urlsplit(url)
    if parts.password is not None:
        raise ValueError("it holds a password, and ssh takes none: use a key or an agent")
    if parts.query or parts.fragment or not url.startswith(SSH):
        raise ValueError("it is not of the form ssh://[user@]host[:port][/path of the socket]")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port is not a number from 1 to 65535") from None
    host = re.sub(r"\A\[(.*)\]\Z", r"\1", re.sub(r":\d*\Z", "", parts.netloc.rpartition("@")[2]))
    user, path = unquote(parts.username or ""), "" if parts.path == "/" else parts.path
    for what, text, pattern in (("host", host, _HOST), ("user", user, f"(?:{_USER})?"), ("path", path, _PATH)):
        if not text and what == "host":
            raise ValueError("it names no host")
        if not re.fullmatch(pattern, text):
            raise ValueError(f"its {what} is {text!r}; give what needs other characters an alias in ~/.ssh/config")
    if port == 0:
        raise ValueError("its port is not a number from 1 to 65535")
    return Destination(host, user or None, port, path or None)
