"""From an empty database to the head, on a server that runs: ours against plain Alembic."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import PASSWORD, Provision, run

if TYPE_CHECKING:
    from collections.abc import Callable


class Migrations:
    """One tree and a server for it; both ways begin with a database that has just been created."""

    def __init__(self, directory: Path, tree: Path, image: str, port: int) -> None:
        self._ours = Provision(directory, tree, image, port)
        self._tree, self._port = tree, port
        self.destroy = self._ours.finish

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what is measured, by its name."""
        return {Provision.name: self._ours.apply, "alembic": self._alembic}

    def start(self) -> None:
        """Make the server."""
        self._ours.apply()

    def empty(self) -> None:
        """Make the database again, empty."""
        import psycopg2

        login = {"host": "127.0.0.1", "port": self._port, "user": "postgres", "password": PASSWORD}
        with closing(psycopg2.connect(dbname="postgres", **login)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("DROP DATABASE IF EXISTS app WITH (FORCE)")
                cursor.execute("CREATE DATABASE app")
                cursor.execute("CHECKPOINT")  # of what the one has written, the other is not to wait for

    def _alembic(self) -> None:
        url = f"postgresql+psycopg2://postgres:{PASSWORD}@127.0.0.1:{self._port}/app"
        program = Path(sys.executable).with_name("alembic")
        run(program, "--config", self._tree / "alembic.ini", "upgrade", "head", DATABASE_URL=url)
