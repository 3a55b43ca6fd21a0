"""The ways to get the same server: each can make it from nothing, do it again, and take it away."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Protocol

PASSWORD = "bench"  # noqa: S105  # of a server on the loopback interface that lives for a minute

_PATIENCE = 300  # seconds: nothing here takes a tenth of that


def run(*argv: str | Path, **environment: str) -> str:
    """Run a program quietly, and return what it printed; when it fails, that is shown."""
    # Bytecode is written as it is for everybody who has installed a package.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [str(each) for each in argv]
    try:
        done = subprocess.run(
            command, env={**inherited, **environment}, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"{' '.join(command)} did not end within {_PATIENCE} s") from error
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


class Peer(Protocol):
    """One way."""

    name: str

    def apply(self) -> None:
        """Make the server as declared, or find that nothing is to be done."""

    def renew(self) -> None:
        """Stop the server, and let the next apply begin with nothing, under another name.

        Its data stays until all is measured: ext4 without a journal reads every inode that was removed in the last
        minutes before it gives a new file one, which would be most of what is measured.
        """

    def finish(self) -> None:
        """Take away everything."""


class Provision:
    """``provision apply``; with ``golden``, data begins with a golden that was made before."""

    name = "provision"

    def __init__(
        self,
        directory: Path,
        tree: Path,
        image: str,
        port: int,
        *,
        runtime: str = "docker",
        data: str = "",
        golden: bool = False,
    ) -> None:
        self._spec, self._golden = directory / "spec.yml", golden
        self._parts: list[dict[str, float]] = []
        self._made_goldens: set[str] = set()
        self._names = [f"bench-{directory.name.lower()}"]
        directory.mkdir()
        self._declared = (
            f"server:\n  runtime: {runtime}\n  image: {image}\n  port: {port}\n{data}"
            "  database: app\n  max_connections: 200\n"
            f"  credentials: {{user: postgres, password: {PASSWORD}}}\n"
            f"migrations: {{script_location: {tree}}}\n"
        )
        self._declare(self._names[0])
        self._program = Path(sys.executable).with_name("provision")
        # The caches are not those of the user: a golden that is measured is made here.
        self._environment = {"XDG_CACHE_HOME": str(directory.parent / "caches")}

    def prepare(self) -> bool:
        """Save a golden where one is wanted; tell whether data begins as wanted."""
        if not self._golden:
            return True
        before = self._saved()
        self._run("apply", "--golden", self._spec)
        self._made_goldens = self._saved() - before
        self.renew()
        self.apply()
        return "migrations" not in self._parts[-1]

    def apply(self) -> None:
        """Apply the spec."""
        words = () if self._golden else ("--no-golden",)
        done = json.loads(self._run("apply", "--json", *words, self._spec))
        parts: dict[str, float] = {}
        for step in done["steps"]:
            kind = step["address"].partition("/")[0]
            parts[kind] = parts.get(kind, 0.0) + step["seconds"]
        if parts:
            self._parts.append({**parts, "looks and the rest": done["seconds"] - sum(parts.values())})

    def spent(self) -> dict[str, float]:
        """Return the median of what the applies from nothing spent on each kind, in seconds."""
        return {
            kind: statistics.median(each.get(kind, 0.0) for each in self._parts)
            for kind in dict.fromkeys(kind for each in self._parts for kind in each)
        }

    def renew(self) -> None:
        """Stop the environment, and declare another."""
        self._run("stop", self._spec)
        self._names.append(f"{self._names[0]}-{len(self._names)}")
        self._declare(self._names[-1])

    def finish(self) -> None:
        """Destroy every environment."""
        for name in self._names:
            self._declare(name)
            self._run("destroy", "--data", "--yes", self._spec)

    def forget(self) -> None:
        """Remove the goldens that were saved and are still there; the last container made from one must have gone."""
        for key in self._made_goldens & self._saved():
            self._run("golden", "rm", key)

    def _saved(self) -> set[str]:
        return {each["key"] for each in json.loads(self._run("golden", "list", "--json"))["goldens"]}

    def _declare(self, name: str) -> None:
        self._spec.write_text(f"name: {name}\n{self._declared}")

    def _run(self, *words: str | Path) -> str:
        return run(self._program, *words, **self._environment)


class ComposeAndAlembic:
    """``docker compose up --detach --wait`` and ``alembic upgrade head``."""

    name = "compose + alembic"

    def __init__(self, directory: Path, tree: Path, image: str, port: int) -> None:
        directory.mkdir()
        self._file = directory / "docker-compose.yml"
        self._project, self._made = f"bench-compose-{tree.name}", 0
        self._file.write_text(
            "services:\n  postgres:\n"
            f"    image: {image}\n"
            "    command: [postgres, -c, max_connections=200]\n"
            f"    environment: {{POSTGRES_PASSWORD: {PASSWORD}, POSTGRES_DB: app}}\n"
            f"    ports: ['127.0.0.1:{port}:5432']\n"
            f"    volumes: ['data:/var/lib/postgresql{'' if image.endswith('18') else '/data'}']\n"
            "    healthcheck:\n"
            "      test: [CMD, pg_isready, --host=127.0.0.1, --username=postgres]\n"
            "      interval: 1s\n      retries: 60\n"
            "volumes: {data: {}}\n"
        )
        self._tree = tree
        self._url = f"postgresql+psycopg2://postgres:{PASSWORD}@127.0.0.1:{port}/app"

    @staticmethod
    def is_available() -> bool:
        """Whether the Compose plugin is installed."""
        docker = shutil.which("docker")
        if docker is None:
            return False
        return subprocess.run((docker, "compose", "version"), capture_output=True, check=False).returncode == 0

    def apply(self) -> None:
        """Bring the container up, wait until it is healthy, migrate."""
        self._compose(self._made, "up", "--detach", "--wait")
        alembic = Path(sys.executable).with_name("alembic")
        run(alembic, "--config", self._tree / "alembic.ini", "upgrade", "head", DATABASE_URL=self._url)

    def renew(self) -> None:
        """Take the project down without its volume, and name another."""
        self._compose(self._made, "down")
        self._made += 1

    def finish(self) -> None:
        """Take all projects down with their volumes."""
        for number in range(self._made + 1):
            self._compose(number, "down", "--volumes")

    def _compose(self, number: int, *words: str) -> None:
        run("docker", "compose", "--project-name", f"{self._project}-{number}", "--file", self._file, *words)


class Ansible:
    """An Ansible playbook with ``community.docker``, and ``alembic upgrade head`` as its last task."""

    name = "ansible"

    def __init__(self, directory: Path, tree: Path, image: str, port: int) -> None:
        directory.mkdir()
        target = "/var/lib/postgresql" + ("" if image.endswith("18") else "/data")
        self._name, self._made = f"bench-ansible-{tree.name}", 0
        alembic = Path(sys.executable).with_name("alembic")
        url = f"postgresql+psycopg2://postgres:{PASSWORD}@127.0.0.1:{port}/app"
        container = (
            f"        name: {self._name}\n        image: {image}\n        pull: never\n"
            "        command: [postgres, -c, max_connections=200]\n"
            f"        env: {{POSTGRES_PASSWORD: {PASSWORD}, POSTGRES_DB: app}}\n"
            f"        published_ports: ['127.0.0.1:{port}:5432']\n"
            f"        volumes: ['{{{{ volume }}}}:{target}']\n"
        )
        self._up = directory / "up.yml"
        self._up.write_text(
            "- hosts: localhost\n  connection: local\n  gather_facts: false\n"
            f"  vars: {{ansible_python_interpreter: {sys.executable}}}\n"
            "  tasks:\n    - community.docker.docker_volume:\n"
            "        name: '{{ volume }}'\n"
            f"    - community.docker.docker_container:\n{container}"
            "    - ansible.builtin.command: "
            f"docker exec {self._name} pg_isready --host=127.0.0.1\n"
            "      register: ready\n      until: ready.rc == 0\n      retries: 60\n      delay: 1\n"
            "      changed_when: false\n"
            f"    - ansible.builtin.command: {alembic} --config {tree}/alembic.ini upgrade head\n"
            f"      environment: {{DATABASE_URL: '{url}'}}\n"
        )

    @staticmethod
    def is_available() -> bool:
        """Whether Ansible and its Docker modules are installed beside this Python."""
        doc = Path(sys.executable).with_name("ansible-doc")
        if not doc.exists():
            return False
        argv = (str(doc), "community.docker.docker_container")
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def apply(self) -> None:
        """Run the playbook."""
        volume = f"--extra-vars=volume={self._name}-{self._made}"
        run(Path(sys.executable).with_name("ansible-playbook"), volume, self._up)

    def renew(self) -> None:
        """Remove the container, and name another volume."""
        subprocess.run(("docker", "rm", "--force", self._name), capture_output=True, check=False)
        self._made += 1

    def finish(self) -> None:
        """Remove the container and the volumes."""
        self.renew()
        volumes = [f"{self._name}-{number}" for number in range(self._made)]
        subprocess.run(("docker", "volume", "rm", "--force", *volumes), capture_output=True, check=False)
