"""What no way can be quicker than: a server that is started on data that is there already."""

from __future__ import annotations

import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from bench.embedded import ByHand
from bench.peers import PASSWORD, Peer, run

if TYPE_CHECKING:
    from pathlib import Path

FLOOR = "floor"
_PATIENCE = 60.0  # seconds


class Floor(Peer, Protocol):
    """A server on data that is there."""

    def prepare(self) -> None:
        """Make the data."""


class FilledVolume:
    """``docker run`` on a volume with data in it, until the server takes a login."""

    name = FLOOR

    def __init__(self, _directory: Path, tree: Path, image: str, port: int) -> None:
        self._name, self._image, self._port = f"bench-floor-{tree.name}", image, port
        self._target = "/var/lib/postgresql" + ("" if image.endswith("18") else "/data")

    def prepare(self) -> None:
        """Fill the volume."""
        self.apply()
        run("docker", "stop", self._name)
        self.renew()

    def apply(self) -> None:
        """Start a server on it."""
        run("docker", "run", "--detach", f"--name={self._name}", f"--env=POSTGRES_PASSWORD={PASSWORD}",
            f"--publish=127.0.0.1:{self._port}:5432", f"--volume={self._name}:{self._target}", self._image)  # fmt: skip
        _wait(self._port)

    def renew(self) -> None:
        """Remove the container."""
        subprocess.run(("docker", "rm", "--force", self._name), capture_output=True, check=False)

    def finish(self) -> None:
        """Remove the container and the volume."""
        self.renew()
        subprocess.run(("docker", "volume", "rm", "--force", self._name), capture_output=True, check=False)


class FilledDirectory(ByHand):
    """``pg_ctl start`` on a directory with data in it."""

    name = FLOOR

    def prepare(self) -> None:
        """Fill the directory."""
        ByHand.apply(self)
        self.stop()

    def apply(self) -> None:
        """Start a server on it."""
        self.start()

    def renew(self) -> None:
        """Stop the server."""
        self.stop()


def _wait(port: int) -> None:
    """Wait until a server takes a login over TCP: while an image initialises data, its server has none."""
    import psycopg2

    until = time.monotonic() + _PATIENCE
    while True:
        try:
            login = {"user": "postgres", "password": PASSWORD, "dbname": "postgres"}
            with closing(psycopg2.connect(host="127.0.0.1", port=port, **login)):
                return
        except psycopg2.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
