"""Where a server lives: one module a runtime, found by its name.

A runtime decides and describes, and does nothing itself. Its module offers ``TEMPLATES`` (the templates it renders),
``port``, ``render`` and ``examine``; the last one looks at the world once, through a ``Look`` that can only read,
and returns a :class:`Site`: what is declared, what exists, and the steps between the two.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol, Self

from provision.errors import RefusedError
from provision.kinds import Ground
from provision.model import Action, Address, Desired, Effect, Endpoint, File, Observed, Secret, State, Status, Step
from provision.model.effects import CloseTunnel, RemovePath, WaitReady
from provision.model.value import dataclass
from provision.model.words import shown
from provision.runtimes.names import BACKUPS, SUPERUSER, TUNNEL
from provision.spec.model import Spec
from provision.system.look import Look

_REACHED = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared


def here(host: str) -> str:
    """Return the address by which its own host reaches what listens at an address."""
    return _REACHED.get(host, host)


@dataclass(frozen=True)
class Existing(State):
    """Something of which only its existence is declared: an image, a network, a volume, a directory."""

    name: str


@dataclass(frozen=True)
class Trouble:
    """Why a server will not come up, in words, with the lines that show it.

    ``orderly``: it was shut down from outside, as when a run that was killed had asked for that; it can be started.
    ``next_step`` is what to do, where that is more than to read the log.
    """

    sentence: str
    evidence: tuple[str, ...]
    orderly: bool = False
    next_step: str = ""


@dataclass(frozen=True)
class Claim:
    """What another run must not start a server on while we do.

    ``paths`` are data directories of this machine, the outer one first. ``place`` is where the data is on the engine's
    host, None where no container is about to use it; ``image`` and its ``volumes`` (mount points) are what a container
    can be created from meanwhile. ``holder`` is whose run this is, for those that wait.
    """

    holder: str
    paths: tuple[Path, ...] = ()
    place: str | None = None
    image: str = ""
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collision:
    """Two servers that were started on the same data: what ends the second one, and the error for this run.

    ``refusal`` is None where the other one was the second.
    """

    ending: tuple[Effect, ...]
    note: str
    refusal: RefusedError | None


class Watch:
    """Looks at a server that should become ready. This one sees nothing: only a connection shows how the server is."""

    def __call__(self) -> Trouble | None:
        """Return why it will not, or None."""
        return None

    def last_line(self) -> str:
        """Return the last line of the server's log; empty where there is none yet."""
        return ""


class Site(Protocol):
    """One environment's server, as it was seen once. What a runtime leaves out does nothing, or does not exist."""

    is_ours: bool = True
    """Whether provision runs the server, and may start it, restart it and enter it."""

    spec: Spec
    """The spec, with the place where the data is."""

    @classmethod
    def of(cls, site: Site) -> Self:
        """Return a site as one of this runtime, whose modules get no other one."""
        assert isinstance(site, cls)  # noqa: S101  # they are found by the name of the runtime
        return site

    @property
    def desired(self) -> Desired:
        """What is declared outside the server."""
        return {}

    @property
    def observed(self) -> Observed:
        """What exists of it."""
        return {}

    @property
    def is_fresh(self) -> bool:
        """Whether there is no data yet, so that what is inside the server is known to be absent."""
        return False

    @property
    def needs_apply(self) -> bool:
        """Whether a run was interrupted so that only ``apply`` may start the server."""
        return False

    @property
    def status(self) -> Status:
        """The server in a few words."""

    @property
    def container_name(self) -> str | None:
        """The container, where the server lives in one."""
        return None

    @property
    def data_directory(self) -> Path | None:
        """The data directory of a server that is a process of this machine."""
        return None

    @property
    def config_file(self) -> str:
        """The path of the configuration file as the server sees it."""
        return ""

    @property
    def uses_config_file(self) -> bool:
        """Whether the server was started with ``config_file``, so that one with another file is another server."""
        return False

    @property
    def programs(self) -> Path | None:
        """The directory of the server's own client programs, where this machine has it."""
        return None

    @property
    def log_command(self) -> str:
        """What to type to see the server's log."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth knowing about the server's container or process, and no difference."""
        return ()

    def watch(self) -> Watch:
        """Return what looks at the server while it should become ready."""
        return Watch()

    def stop_restarts(self) -> tuple[Effect, ...]:
        """Return what keeps a server that has failed from being started again and again."""
        return ()

    def logs(self, *, follow: bool, tail: int | None) -> Iterator[str] | None:
        """Return the lines of the server's log, or None where there is no server yet."""

    def explain_end(self) -> Trouble:
        """Return why a server ended while we worked on it; the sentence is empty."""
        return Trouble("", ())

    def collected_log(self) -> str:
        """Return the command that shows the log that the server writes into files of its own; empty: it does not.

        https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-LOGGING-COLLECTOR
        """
        return ""

    def plan(self) -> tuple[Step, ...]:
        """Return the steps that lead to a running server.

        Raises:
            provision.errors.RefusedError: they would disturb what is not ours, or cost data.
        """
        return ()

    def leftovers(self) -> tuple[Step, ...]:
        """Return the steps that remove what an interrupted upgrade has left, which nothing ever used."""
        return ()

    def check_data(self, directory: str, version: str) -> None:
        """Refuse a running server of another version, or on another data directory than the one that is kept.

        Raises:
            provision.errors.RefusedError: with how to bring the data there.
        """
        del directory, version

    def claim(self, *, creating: bool) -> Claim | None:
        """Return what to hold while the server is started; None where nothing else can use the data.

        ``creating``: the server is created as declared; otherwise it starts as it was made.
        """
        del creating
        return None

    def look_again(self, *, creating: bool) -> None:
        """Look right before the server starts whether the data, the name and the port are still ours to use.

        Raises:
            provision.errors.RefusedError: another server has one of them; which, and whose.
        """
        del creating

    def collision(self) -> Collision | None:
        """Look right after the server was started whether another one was started on the same data."""
        return None

    @property
    def ready(self) -> WaitReady:
        """What waits until the server answers."""
        return WaitReady(self.spec.server.ready_timeout)

    def at(self, host: str, port: int, password: Secret) -> Endpoint:
        """Return how to log in to a server that listens there; on all addresses is here too."""
        server, at = self.spec.server, here(host)
        tls, login = (server.sslmode, server.sslrootcert), (server.user, password, server.database)
        return Endpoint(at, port, *login, *tls, self.is_ours, connection=server.connection)

    def endpoint(self, password: Secret) -> Endpoint | None:
        """Return where the running server is reached, or None where none runs."""

    def directly(self, at: Endpoint) -> Endpoint:
        """Return where the running server is reached, with the quickest address for many statements."""
        return at

    def target(self, password: Secret) -> Endpoint:
        """Return where the server will be reached once it is as declared."""

    def for_applications(self, at: Endpoint) -> Endpoint:
        """Return the same login at the address that applications use: that of the pooler, where there is one."""
        return at

    def ground(self, *, starting: bool) -> Ground:
        """Return what kinds may build on."""

    def start(self) -> tuple[Step, ...]:
        """Return the steps that start a server that was made before."""

    def stop(self) -> tuple[Step, ...]:
        """Return the steps that stop the server and keep everything."""

    def restart(self) -> tuple[Step, ...]:
        """Return the steps that stop and start the server."""

    def destroy(self, *, data: bool) -> tuple[Step, ...]:
        """Return the steps that remove the server, and its data only if asked."""


class RuntimeModule(Protocol):
    """What the module of a runtime offers."""

    TEMPLATES: tuple[str, ...]
    MOUNTS_PASSWORD: bool
    """Whether the server reads the password from a file of the environment's directory."""
    MAKES_DATABASE: bool
    """Whether new data has the declared database before the server starts."""
    FILES: Mapping[str, tuple[str, int]]
    """The rendered files by name (``configuration``): the path below the environment's directory, permission bits."""

    def made(self, spec: Spec, look: Look, *, surely: bool = False) -> str | None:
        """Return where the environment was made in this runtime, in words, or None where it was not.

        Without ``surely``, rendered files are enough, which costs no question to an engine.
        """

    def available(self, spec: Spec, look: Look) -> str:
        """Return in words what a new environment would use here.

        Raises:
            provision.errors.UnavailableError: nothing.
            provision.errors.RefusedError: nothing that fits the spec.
        """

    def port(self, spec: Spec, look: Look) -> int:
        """Return the declared port; for ``auto`` the remembered one, or one that is free."""

    def located(self, spec: Spec, look: Look) -> Spec:
        """Return the spec with the place where the data is now, which an upgrade may have changed."""

    def identity(self, spec: Spec, look: Look) -> str:
        """Return what tells one build of the server's programs from another; empty where that is not known."""

    def render(self, spec: Spec, texts: Mapping[str, str], port: int) -> dict[str, str]:
        """Return the text of each of :data:`FILES`; ``texts`` maps a template's name to its text."""

    def examine(self, spec: Spec, files: Mapping[str, File], look: Look) -> Site:
        """Look at everything outside the server."""


def removal(kind: str, name: str, *effects: Effect, why: str = "", destroys: bool = False) -> Step:
    """Return the step that removes something of which no state is known."""
    return Step(Address(kind, name), Action.REMOVE, None, None, effects, (why,) if why else (), destroys=destroys)


def removing_home(look: Look, home: Path, why: str = "") -> Iterator[Step]:
    """Yield the step that removes the directory of an environment; backups stay, and what hides them from Git."""
    if not look.exists(home):
        return
    kept = (BACKUPS, ".gitignore") if look.machine.entries(home / BACKUPS) else ()
    if kept and set(look.machine.entries(home) or ()) <= set(kept):
        return
    words = why if not kept else f"{why}{'; ' if why else ''}the backups in it stay: {shown(home / BACKUPS)}"
    closing = [CloseTunnel(home)] if look.exists(home / TUNNEL) else []
    yield removal("directory", str(home), *closing, RemovePath(home, kept), why=words)


def another_port(spec: Spec, look: Look, taken: Callable[[], Collection[int]] = tuple) -> int:
    """Return a port that is free: the first one from the declared port on, but for those that are ``taken``, or any."""
    name = f"{spec.path}/{spec.name}"
    if spec.server.first_port is not None:
        return look.next_port(spec.server.host, name, spec.server.first_port, taken())
    return look.free_port(spec.server.host, name)


def superusers(spec: Spec, look: Look, *known: str) -> tuple[str, ...]:
    """Return the names that the superuser may have beside the declared one, the surest first."""
    kept = (look.kept(spec.home / SUPERUSER) or "").strip()
    return tuple(name for name in dict.fromkeys((*known, kept, "postgres")) if name and name != spec.server.user)


def collected(listed: str | None, data: str) -> str:
    """Return the path of the log that ``current_logfiles`` names; empty where it names none.

    >>> collected("stderr log/a b.log", "/data"), collected(None, "/data")
    ('/data/log/a b.log', '')
    """
    path = (listed or "").partition("\n")[0].partition(" ")[2]
    return str(PurePosixPath(data) / path) if path else ""


def load(name: str) -> RuntimeModule:
    """Return the module of a runtime."""
    return importlib.import_module(f"provision.runtimes.{name}")
