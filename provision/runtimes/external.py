"""An external server, which provision does not run: a cloud service, a CI service container, a server on the network.

It is configured and migrated from outside, and never started, stopped or restarted. All that is ours are the caches in
``.provision/<name>/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from provision.errors import ProvisionError, RefusedError
from provision.kinds import Ground
from provision.model import Endpoint, File, Secret, Status, Step
from provision.model.effects import RunLocalSql
from provision.model.sql import identifier
from provision.model.value import dataclass, field, replace
from provision.model.words import socket_address
from provision.runtimes import Site, removing_home
from provision.spec.model import Spec
from provision.spec.passwords import PasswordGenerated
from provision.system.look import Look

TEMPLATES: tuple[str, ...] = ()
FILES: Mapping[str, tuple[str, int]] = {}
MOUNTS_PASSWORD = False
MAKES_DATABASE = False


def made(spec: Spec, look: Look, *, surely: bool = False) -> str | None:
    """Return nothing: no server is ever made by this runtime."""
    del spec, look, surely
    return None


def available(spec: Spec, _look: Look) -> str:
    """Return the declared address; it is chosen only by name."""
    hosts = [host for host, _ in spec.server.hosts]
    return f"the cluster at {', '.join(hosts)}" if hosts else f"the server at {spec.server.host}"


def port(spec: Spec, _look: Look) -> int:
    """Return the declared port.

    Raises:
        ProvisionError: it is ``auto``, which only a server of ours can have.
    """
    if spec.server.port is None:
        raise ProvisionError(
            "`port: auto` has no meaning for an external server",
            next_step="write the port of the server as `server.port`",
        )
    return spec.server.port


def located(spec: Spec, _look: Look) -> Spec:
    """Return the spec as it is: where its data is, is its operator's business."""
    return spec


def identity(_spec: Spec, _look: Look) -> str:
    """Return nothing: the server itself is asked for its settings."""
    return ""


def render(_spec: Spec, _texts: Mapping[str, str], _port: int) -> dict[str, str]:
    """Return nothing: its configuration is its operator's."""
    return {}


def examine(spec: Spec, _files: Mapping[str, File], look: Look) -> ExternalSite:
    """Return the site; there is nothing to look at from outside.

    Raises:
        ProvisionError: the password would have to be generated.
    """
    if isinstance(spec.server.password, PasswordGenerated):
        raise ProvisionError(
            "an external server has its password already, and the spec does not say it",
            next_step="write `server.credentials.password`, for example `${PGPASSWORD}`",
        )
    return ExternalSite(spec, look)


@dataclass(frozen=True)
class ExternalSite(Site):
    """A server of which only the address is known."""

    spec: Spec
    look: Look = field(repr=False)

    is_ours = False
    log_command = "SHOW log_destination"

    @property
    def status(self) -> Status:
        """The server as running, until a connection shows otherwise."""
        return Status("running")

    def logs(self, *, follow: bool, tail: int | None) -> NoReturn:
        """Refuse."""
        del follow, tail
        self._refuse("cannot read its log", "read it where the server is run; SHOW log_destination tells its form")

    def endpoint(self, password: Secret) -> Endpoint:
        """Return the declared address."""
        return self.target(password)

    def target(self, password: Secret) -> Endpoint:
        """Return the declared address, or the one past the pooler there."""
        server = self.spec.server
        if server.direct is not None:
            return self.at(server.direct.host, server.direct.port, password)
        return replace(self.at(server.host, port(self.spec, self.look), password), hosts=server.hosts)

    def for_applications(self, at: Endpoint) -> Endpoint:
        """Return the same login at the declared address."""
        if self.spec.server.direct is None:
            return at
        return replace(at, host=self.spec.server.host, port=port(self.spec, self.look))

    def ground(self, *, starting: bool) -> Ground:
        """Return ground on which nothing can be restarted, and no local socket is entered."""

        def local_sql(script: str, password: Secret) -> RunLocalSql:
            del script, password
            self._refuse("never enters it")

        return Ground((), (), local_sql, starting)

    def start(self) -> NoReturn:
        """Refuse."""
        self._refuse("never starts it")

    def stop(self) -> NoReturn:
        """Refuse."""
        self._refuse("never stops it")

    def restart(self) -> NoReturn:
        """Refuse."""
        self._refuse("never restarts it")

    def _refuse(self, what: str, next_step: str = "do it where the server is run") -> NoReturn:
        sentence = f"the server of {self.spec.name!r} is external: provision {what}"
        raise RefusedError(sentence, evidence=["`runtime: external` in the spec"], next_step=next_step)

    def destroy(self, *, data: bool) -> tuple[Step, ...]:
        """Remove what provision keeps here.

        Raises:
            RefusedError: the data is to be removed too, which is not ours.
        """
        if data:
            raise RefusedError(
                f"the data of {self.spec.name!r} is on an external server: provision never removes it",
                evidence=[f"the server is {socket_address(host, number)}" for host, number in self.spec.server.places],
                next_step=f"to drop the database yourself: DROP DATABASE {identifier(self.spec.server.database)}; "
                "without --data, destroy forgets the environment",
            )
        return tuple(removing_home(self.look, self.spec.home, "the server, its databases and its data are not touched"))
