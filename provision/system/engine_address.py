"""Where the engine is: as the ``docker`` command finds it, else at a socket of Docker, Podman, Colima, Rancher Desktop.

An environment stays with the engine that its first apply used: a file in its directory keeps the address of that one,
where a later run can find it without DOCKER_HOST. So the environment does not move to another engine, without its data,
because that one is started, or its own is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from provision.environ import INSECURE_TCP
from provision.errors import RefusedError, UnavailableError
from provision.model.value import dataclass, replace
from provision.model.words import SSH
from provision.system import no_commands

DOCKER, PODMAN = "docker", "podman"
CONTEXT = "context:"
_PLAIN, _TLS = ("tcp://", "http://"), "https://"
_FORWARDERS = ("ssh", "sshd", "sshd-session")
_PROBE_TIMEOUT = 1.0
_SOCKET = "unix://"


@dataclass(frozen=True)
class EngineAddress:
    """Where the engine is (``unix:///var/run/docker.sock``), and who said so where it is not the default place.

    ``tls`` is the directory of the certificates. ``is_named``: the user names this engine, by DOCKER_HOST or a context.
    ``options`` are what ``docker`` needs where it does not find this engine by itself. ``is_forwarded``: ``ssh``
    listens on the socket, so the engine is on another host.
    """

    url: str
    source: str
    tls: Path | None = None
    is_named: bool = True
    options: tuple[str, ...] = ()
    is_forwarded: bool = False

    @property
    def socket_path(self) -> str | None:
        """The path of the Unix socket, or None for another transport."""
        return self.url.removeprefix(_SOCKET) if self.url.startswith(_SOCKET) else None

    @property
    def is_local(self) -> bool:
        """Whether paths of this machine mean something to the engine."""
        return self.socket_path is not None and not self.is_forwarded

    @property
    def is_ssh(self) -> bool:
        """Whether ``ssh`` takes us there."""
        return self.url.startswith(SSH)

    @property
    def hostname(self) -> str:
        """The host on which the engine publishes ports."""
        return "127.0.0.1" if self.socket_path is not None else urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def program(self) -> str:
        """The program that people use with this engine, as far as its address tells."""
        return PODMAN if PODMAN in self.url else " ".join((DOCKER, *self.options))

    def __str__(self) -> str:
        return f"{self.url} ({self.source})" if self.source else self.url


def locate(
    environ: Mapping[str, str], *, declared: str | None = None, kept: str | None = None, is_old: bool = False
) -> EngineAddress:
    """Find the engine as the ``docker`` command does (DOCKER_HOST, DOCKER_CONTEXT, the current context), else a socket.

    ``declared`` is the one that the spec names, which comes before all; ``kept`` the address that an environment was
    made with; ``is_old``: it was made when only Docker's were known.
    https://docs.docker.com/engine/manage-resources/contexts/

    Raises:
        UnavailableError: the context cannot be read, or the environment was made with another user's engine.
        RefusedError: everybody on the way could read what is said to the engine.
        NotRunError: the spec alone names the engine, and ``--no-commands`` is on.
    """
    found = _located(environ, declared, kept, is_old=is_old)
    if not found.url.startswith((_SOCKET, SSH, _TLS, *_PLAIN)):
        raise RefusedError(
            f"the engine's address {found} does not say how to reach it",
            next_step=f"write {SSH}HOST, tcp://HOST:PORT or {_SOCKET}/PATH",
        )
    if found.url.startswith(_PLAIN) or found.is_ssh:
        _check(found, environ)
    if (
        found.is_named
        and found.socket_path is not None
        and not any(found.socket_path in all_ for all_ in sockets(environ))
    ):
        return replace(found, is_forwarded=_is_forwarded(found.socket_path))
    return found


def _located(environ: Mapping[str, str], declared: str | None, kept: str | None, *, is_old: bool) -> EngineAddress:
    config = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")
    tls = Path(environ.get("DOCKER_CERT_PATH") or config) if environ.get("DOCKER_TLS_VERIFY") else None
    host = environ.get("DOCKER_HOST")
    if declared and declared != host:
        no_commands.refuse(f"what the engine {declared} has: only the spec names it, and it was not asked")
        if declared.startswith(CONTEXT):
            context = declared.removeprefix(CONTEXT)
            return replace(_context(config, context), options=("--context", context))
        return EngineAddress(declared, "`server.engine` in the spec", tls, options=("--host", declared))
    if host:
        return EngineAddress(host, "from DOCKER_HOST", tls)
    name = environ.get("DOCKER_CONTEXT") or _current_context(config)
    if name and name != "default":
        return _context(config, name)
    if kept is not None and kept.startswith(SSH):
        return EngineAddress(kept, "where the environment was made", is_named=False, options=("--host", kept))
    of_docker, of_others = sockets(environ)
    if kept is not None:
        if kept.removeprefix(_SOCKET) not in (*of_docker, *of_others):
            raise _elsewhere(kept)
        return EngineAddress(kept, "", is_named=False)
    return EngineAddress(f"{_SOCKET}{chosen(of_docker if is_old else (*of_docker, *of_others))}", "", is_named=False)


def address_to_keep(address: EngineAddress, environ: Mapping[str, str]) -> str | None:
    """Return the address to keep for the next run: that of a standard socket, also where the user names it.

    Of another host it is kept as well, so that the next run does not begin with new data here.
    """
    path = address.socket_path
    if path is None or not address.is_named:
        return address.url
    standard = (each for places in sockets(environ) for each in places)
    return next((f"{_SOCKET}{each}" for each in standard if os.path.realpath(each) == os.path.realpath(path)), None)


def chosen(places: Sequence[str]) -> str:
    """Return the first socket at which something listens, else the first that is there, else the first place."""
    there = [path for path in places if Path(path).exists()]
    return next((path for path in there if len(there) == 1 or _accepts(path)), (*there, *places)[0])


def sockets(environ: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where Docker puts its socket, and where others do.

    https://github.com/abiosoft/colima/blob/main/docs/FAQ.md ; https://docs.rancherdesktop.io/how-to-guides/using-testcontainers/ ;
    https://docs.podman.io/en/latest/markdown/podman-system-service.1.html
    """  # noqa: E501  # addresses
    home, runtime = environ.get("HOME", ""), environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    of_docker = ("/var/run/docker.sock", f"{home}/.docker/run/docker.sock", f"{runtime}/docker.sock")
    return of_docker, (
        f"{home}/.colima/default/docker.sock",
        f"{home}/.rd/docker.sock",
        f"{runtime}/podman/podman.sock",
        f"{home}/.local/share/containers/podman/machine/podman.sock",
        "/run/podman/podman.sock",
    )


def _accepts(path: str) -> bool:
    """Whether something listens on a socket, and lets us in."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        probe.connect(path)
        return True
    return False


def _check(address: EngineAddress, environ: Mapping[str, str]) -> None:
    """Refuse an address that is wrong, and a port of another host without TLS: whoever reaches it owns that host.

    https://docs.docker.com/engine/security/protect-access/
    """
    if address.is_ssh:
        from provision.system import ssh

        ssh.destination(address.url, address.source)
        return
    from ipaddress import ip_address

    host = address.hostname
    if address.tls is not None or host == "localhost" or environ.get(INSECURE_TCP) == "1":
        return
    with suppress(ValueError):
        if ip_address(host).is_loopback:
            return
    raise RefusedError(
        f"the engine at {address} is reached without TLS: others on the network can read its passwords, and use it",
        next_step=f"name it as ssh://{host}, or use TLS (DOCKER_TLS_VERIFY=1, DOCKER_CERT_PATH=…); "
        "where you alone can reach that network: --insecure-tcp",
    )


def _is_forwarded(path: str) -> bool:
    """Whether ``ssh`` listens on a socket: ``ssh -L /run/user/1000/far.sock:/var/run/docker.sock host``.

    Who asked the kernel to listen may have ended since (``ssh -f``), so it is looked for who has the socket.
    """
    with suppress(OSError):
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
        ours = {f"socket:[{words[6]}]" for words in lines if words[7:] == [path]}
        for comm in Path("/proc").glob("[0-9]*/comm"):
            with suppress(OSError):
                if comm.read_text().strip() in _FORWARDERS:
                    links = [str(each.readlink()) for each in (comm.parent / "fd").iterdir()]
                    if ours.intersection(links):
                        return True
    return False


def _elsewhere(kept: str) -> UnavailableError:
    if not kept.startswith(_SOCKET):
        return UnavailableError(
            f"the environment was made with the engine at {kept}, which nothing names now",
            evidence=["with another engine, its data would stay behind"],
            next_step=f"name it in the spec (`server.engine`), or: export DOCKER_HOST={kept}",
        )
    return UnavailableError(
        f"the environment was made with the engine at {kept}, where this user has none",
        evidence=["with another engine, its data would stay behind"],
        next_step=f"run provision as the user who made it, or name the engine: DOCKER_HOST={kept}",
    )


def _current_context(config: Path) -> str | None:
    try:
        return json.loads((config / "config.json").read_bytes()).get("currentContext")  # type: ignore[no-any-return]
    except (OSError, ValueError, AttributeError):
        return None


def _context(config: Path, name: str) -> EngineAddress:
    digest = hashlib.sha256(name.encode()).hexdigest()
    try:
        meta = json.loads((config / "contexts" / "meta" / digest / "meta.json").read_bytes())
        host = meta["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            f"the docker context {name!r} cannot be read",
            evidence=[f"{type(error).__name__}: {error}"],
            next_step="docker context ls",
        ) from error
    tls = config / "contexts" / "tls" / digest / "docker"
    return EngineAddress(host, f"docker context {name!r}", tls if tls.is_dir() else None)


@contextmanager
def reaching(address: EngineAddress, *causes: type[Exception]) -> Iterator[None]:
    """Make an error of what fails on the way to an engine; ``causes`` are those beside an OSError.

    Raises:
        UnavailableError: it failed.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, *causes)):
            raise unreachable(address, error) from error
        raise


def unreachable(address: EngineAddress, error: BaseException) -> UnavailableError:
    """Return the error for an engine that does not answer: which one was tried, why it failed, what to do."""
    if address.is_ssh:
        from provision.system import engine_dial

        if (
            found := engine_dial.unreachable(str(address).removeprefix(SSH), address.program.partition(" ")[0], error)
        ) is not None:
            return found
    place, own = address.socket_path or address.url, "systemctl --user enable --now podman.socket"
    sentence, advice = {
        (PODMAN, True): (f"permission denied on {place}: it is another user's Podman", f"{own}   (your own)"),
        (DOCKER, True): (
            f"permission denied on {place}: join the group docker",
            "sudo usermod -aG docker $USER   (then log in again)",
        ),
        (PODMAN, False): (
            f"no Podman service answers at {address}",
            f"{own if os.getuid() else own.replace(' --user', '')}, or name it in DOCKER_HOST",
        ),
        (DOCKER, False): (
            f"no Docker engine answers at {address}",
            "start Docker, or name the engine in DOCKER_HOST (docker context ls)",
        ),
    }[address.program.partition(" ")[0], isinstance(error, PermissionError)]
    return UnavailableError(sentence, evidence=[f"{type(error).__name__}: {error}"], next_step=advice)
