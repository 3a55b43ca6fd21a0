"""Another host with a Docker engine and sshd, and a client that reaches it by nothing but ``ssh``.

The host is a set of namespaces: its own engine, data, /run, /tmp and homes, behind a network of two addresses.
Commands of the client run in a mount namespace without this machine's engine, without the program `docker`, and with
a home whose ``~/.ssh/config`` has the alias :data:`ALIAS`.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import docker
import pytest

from provision.system.engine_address import EngineAddress, locate
from provision.system.waiting import attempts
from support.checkout import ROOT
from support.engine import Engine
from support.environment import an_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

ALIAS = "build-host"
USER = "builder"
_HOST = Path(__file__).parent / "remote_host"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provision-tests" / "sshd"
_PATIENCE = 60.0


class Remote:
    """The host, while it runs."""

    def __init__(self, place: Path, pid: int, address: str) -> None:
        self.place, self.address, self._pid = place, address, pid
        self.root = Path(f"/proc/{pid}/root")
        """Its file system, as root sees it."""
        self.home = place / "client"
        """The client's home; ``.ssh/config`` can be appended to."""
        self.engine = Engine(EngineAddress(f"unix://{self.root}/run/docker.sock", ""))
        """Its engine, past ssh."""
        self.before = ("unshare", "--mount", "sh", "-ec", f'{_client(place)}\nexec "$@"', "sh")
        """What a command of the client begins with."""
        self.entering = ("nsenter", f"--target={pid}", "--all", "--")
        """What a command of the host's root begins with."""
        self.on_its_network = ("nsenter", f"--target={pid}", "--net", "--")
        """What a command begins with that sees this machine's files, and the host's network."""

    @property
    def client_address(self) -> str:
        """The address of this machine that the host reaches."""
        network, _, last = self.address.rpartition(".")
        return f"{network}.{int(last) - 1}"

    @property
    def url(self) -> str:
        """What the client writes in DOCKER_HOST."""
        return f"ssh://{ALIAS}"

    def run(self, *argv: str) -> str:
        """Run a program on the host, as its root, and return what it printed."""
        return subprocess.run((*self.entering, *argv), check=True, capture_output=True, text=True).stdout

    @contextmanager
    def configured(self, *lines: str) -> Iterator[None]:
        """Have lines about the alias in ``~/.ssh/config`` that come before the usual ones."""
        path = self.home / ".ssh" / "config"
        usual = path.read_text()
        path.write_text("\n  ".join((f"Host {ALIAS}", *lines)) + f"\n{usual}")
        try:
            yield
        finally:
            path.write_text(usual)

    @contextmanager
    def environment(self, directory: Path) -> Iterator[Environment]:
        """Have an environment of the client whose engine is the host's; what it made is removed."""
        with an_environment(self.engine, directory) as made:
            made.before = self.before
            made.environ |= {"HOME": str(self.home), "DOCKER_HOST": self.url}
            yield made


@contextmanager
def remote_host(*images: str) -> Iterator[Remote]:
    """Run a host whose engine has these images of this machine's engine."""
    place = Path(tempfile.mkdtemp(prefix="provision-remote-"))
    place.chmod(0o755)
    _prepare(place)
    sshd = _sshd()
    argv = (
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--uts",
        "--fork",
        "--kill-child",
        "--mount-proc",
        _HOST,
        place,
        sshd,
    )
    outer = subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        yield _reached(place, outer, images)
    finally:
        outer.kill()
        outer.wait()
        shutil.rmtree(place, ignore_errors=True)


def need_root() -> None:
    """Skip where namespaces cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("only root can give an engine namespaces of its own")


def _prepare(place: Path) -> None:
    """Make the keys, and what the client sees in place of this machine's files; ssh finds its home in /etc/passwd."""
    for each in ("client-run", "empty"):
        (place / each).mkdir()
    users = re.sub(r"(?m)^root:.*", f"root:x:0:0:root:{place}/client:/bin/bash", Path("/etc/passwd").read_text())
    (place / "client-passwd").write_text(users)
    home = place / "client" / ".ssh"
    home.mkdir(parents=True, mode=0o700)
    for key in (home / "id_ed25519", place / "host_key"):
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key), check=True)


def _sshd() -> Path:
    """Return sshd: this machine's, or Debian's, unpacked once into the cache of this user."""
    if found := shutil.which("sshd", path="/usr/sbin"):
        return Path(found)
    program = _CACHE / "root" / "usr" / "sbin" / "sshd"
    if not program.exists():
        _CACHE.parent.mkdir(parents=True, exist_ok=True)
        fetched = Path(tempfile.mkdtemp(prefix="provision-fetch-"))
        fetched.chmod(0o755)
        release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
        argv = (
            ROOT / ".ci" / "apt-fetch",
            release["VERSION_CODENAME"],
            fetched,
            "--with-dependencies",
            "openssh-server",
        )
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        with suppress(OSError):  # another run of the tests was quicker
            fetched.rename(_CACHE)
    return program


def _reached(place: Path, outer: subprocess.Popen[bytes], images: tuple[str, ...]) -> Remote:
    """Wait for the host, and connect it with this machine."""
    pid = _first_process(outer.pid)
    number = uuid4().int
    net = f"10.213.{number % 256}.{number // 256 % 64 * 4}".rpartition(".")
    ours, theirs = (f"{net[0]}.{int(net[2]) + each}" for each in (1, 2))
    link = f"prov{uuid4().hex[:8]}"
    for line in (
        f"ip link add {link} type veth peer name eth0 netns {pid}",
        f"ip address add {ours}/30 dev {link}",
        f"ip link set {link} up",
        f"nsenter --target={pid} --net ip address add {theirs}/30 dev eth0",
        f"nsenter --target={pid} --net ip link set eth0 up",
    ):
        subprocess.run(line.split(), check=True)
    config = f"Host {ALIAS}\n  HostName {theirs}\n  User {USER}\n  IdentityFile {place}/client/.ssh/id_ed25519\n"
    (place / "client" / ".ssh" / "config").write_text(config)
    key = " ".join((place / "host_key.pub").read_text().split()[:2])
    (place / "client" / ".ssh" / "known_hosts").write_text(f"{theirs} {key}\n")
    return _ready(place, outer, pid, theirs, images)


def _ready(place: Path, outer: subprocess.Popen[bytes], pid: int, address: str, images: tuple[str, ...]) -> Remote:
    listening = Path(f"/proc/{pid}/root/run/docker.sock")
    for _ in attempts(_PATIENCE, 0.05):
        assert outer.poll() is None, (place / "engine.log").read_text()
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            if (place / "own-run").exists():
                probe.connect(str(listening))
                break
    made = Remote(place, pid, address)
    if images:
        with closing(docker.APIClient(locate(os.environ).url, version="auto", timeout=300)) as ours:
            kept = ours.get(f"{ours.base_url}/images/get", params={"names": images}, stream=True)
            list(made.engine.client.load_image(kept.iter_content(1 << 20)))
    return made


def _first_process(outer: int) -> int:
    """Return the process that is the first one in its namespace."""
    path = Path(f"/proc/{outer}/task/{outer}/children")
    for _ in attempts(_PATIENCE, 0.01):
        if children := path.read_text().split():
            return int(children[0])
    raise AssertionError("unshare has started nothing")


def _client(place: Path) -> str:
    """Return the script that makes the client's mount namespace: no engine, no `docker`, a home of its own."""
    return f"""
mount --make-rprivate /
mount --bind {place}/client-run /run
for each in /var/lib/docker /var/lib/containerd; do [ ! -d $each ] || mount --bind {place}/empty $each; done
for each in $(which -a docker podman || true); do mount --bind /dev/null $each; done
mount --bind {place}/client-passwd /etc/passwd"""
