"""OpenSSH's ``ssh``: where it logs in, and with which arguments; it asks for nothing, and ``~/.ssh/config`` holds.

Keys, agents, jump hosts, host keys and ControlMaster are left to it. https://man.openbsd.org/ssh_config
"""

from __future__ import annotations

from provision.errors import UnavailableError
from provision.model import ssh
from provision.model.ssh import Destination

_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15")

PLAIN = ("-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none")
"""The forwardings of ~/.ssh/config belong to logins of people, and so does its RemoteCommand."""


def destination(url: str, source: str = "") -> Destination:
    """Return the destination of an ``ssh://`` URL; ``source`` says who named it (``from DOCKER_HOST``).

    Raises:
        UnavailableError: it is not one.
    """
    try:
        return ssh.parse(url)
    except ValueError as error:
        raise UnavailableError(
            f"the address of the engine {source}".rstrip() + " is not one for ssh",
            evidence=[str(error)],
            next_step="write it as ssh://[user@]host[:port], where host may be an alias of ~/.ssh/config",
        ) from None


def argv(place: Destination, *options: str, words: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the call of ``ssh``: our options before those of the caller (``-N``, ``-L``, …), then ``--`` and the host.

    ``words`` are the command there. The other side gives them to a shell, so the caller answers for their characters.
    """
    fixed = [word for option in _OPTIONS for word in ("-o", option)]
    user = ("-l", place.user) if place.user else ()
    port = ("-p", str(place.port)) if place.port else ()
    return ("ssh", "-T", *fixed, *options, *user, *port, "--", place.host, *words)
