"""A world in memory: files, a Docker engine and the inside of a server, with just enough truth in each for laws.

It performs the same effects as :mod:`provision.apply.effects` and shows itself through the same reading functions, so
that a law can go through the whole flow (declare, observe, plan, act, observe) a thousand times in the time of one
container.
"""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from functools import singledispatchmethod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from provision import desired as desires, plan as planner, runtimes
from provision.errors import RefusedError
from provision.kinds import Inputs, Look, configuration, pg_settings
from provision.model import Proof
from provision.model.effects import (
    ChangeDirectory,
    CheckData,
    EngineCall,
    MakeDirectory,
    ReloadSettings,
    RunLocalSql,
    RunSql,
    WaitReady,
    WriteFile,
)
from provision.observe.server import observed
from provision.runtimes.docker.site import DockerSite
from provision.spec.parameters import canonical_name, catalogue, normalise
from provision.system.engine_address import EngineAddress
from provision.system.machine import SystemUser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Effect, Plan, Secret
    from provision.spec.model import Spec

CONF = "config/postgresql.conf"


def image(major: int) -> dict[str, Any]:
    """Return what the engine shows of an image."""
    config = {"Env": [f"PG_MAJOR={major}", "PATH=/bin"], "Cmd": ["postgres"], "Entrypoint": ["entry.sh"],
              "StopSignal": "SIGINT", "Labels": {"of": "the image"}}  # fmt: skip
    return {"Id": f"sha256:{major:064}", "Config": config}


class Machine:
    """A machine on which no server runs but in containers."""

    def ourselves(self) -> SystemUser:
        return SystemUser("ada", 1000, 1000)

    def postmaster(self, _data: Path) -> None:
        return None

    settled_postmaster = postmaster


class Server:
    """The session of a login that the server has accepted."""

    def __init__(self, world: World, major: int) -> None:
        self._world, self._major = world, major

    def rows(self, sql: str, parameters: Any = (), *, database: str | None = None) -> list[tuple[Any, ...]]:
        assert database
        if sql == pg_settings._AROUND:
            return [("server", 0, DockerSite.config_file, "/var/lib/postgresql/data", "", "")]
        if sql != pg_settings._SETTINGS:
            return []
        known, in_force = catalogue(self._major), self._world.in_force
        shown = {**{name: known[name].boot or "" for name in parameters["names"]}, **in_force}
        files = dict.fromkeys(in_force, ("configuration file", DockerSite.config_file))
        return [
            (name, value, value, known[name].context, *files.get(name, ("default", None)), 0, False)
            for name, value in shown.items()
        ]

    def reported(self, _name: str, *, database: str | None = None) -> str:
        assert database
        return f"{self._major}.0"

    def proves(self, _role: str, _password: Secret) -> Proof:
        return Proof.UNKNOWN


class Reader:
    """An engine that sees every directory, and whose containers have no files."""

    podman = None  # a program that tells whether a path of its host is there

    def __init__(self, program: str) -> None:
        self.program = program

    def misses(self, _path: Path) -> None:
        return None

    def file(self, _container: str, _path: str) -> str | None:
        return None

    def has(self, _container: str, _path: str) -> bool:
        return False


class World:
    """What there is; ``local`` tells whether the engine sees this machine's files.

    ``podman``: it shows a container as Podman does.
    """

    engine_name, machine = "an engine", Machine()
    began = 0.0

    engine_info: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, templates: Mapping[str, str], *, local: bool = True, podman: bool = False) -> None:
        url = "unix:///run/user/1000/docker.sock" if local else "tcp://engine.example:2375"
        self.address = EngineAddress(url, "", is_named=False)
        self.reader = Reader("podman" if podman else "docker")
        self.engine_updates = not podman
        self._templates = templates
        self.files: dict[Path, tuple[str, int]] = {}
        self.images: set[str] = set()
        self.objects: dict[str, dict[str, Any]] = {}
        self.password: str | None = None
        self.major: int | None = None
        self.databases: set[str] = set()
        self.in_force: dict[str, str] = {}

    # --- what a runtime may look at ---

    def engine(self, path: str, **_parameters: str | int) -> Any:
        kind, name = path.strip("/").split("/", 1)
        if kind == "images":
            name = name.removesuffix("/json")
            by_id = {image(major)["Id"]: major for major in range(14, 19)}
            if name in by_id:
                return image(by_id[name])
            return image(int(name.rpartition(":")[2])) if name in self.images else None
        found = self.objects.get(f"{kind}/{name.removesuffix('/json')}")
        return in_podmans_words(found) if found and kind == "containers" and self.reader.program == "podman" else found

    def image(self, reference: str) -> Any:
        return self.engine(f"/images/{reference}/json")

    def volumes(self, _label: str) -> Mapping[str, Any]:
        return {}

    def text(self, path: Path) -> str | None:
        return self.files[path][0] if path in self.files else None

    def kept(self, path: Path) -> str | None:
        return self.text(path)

    def exists(self, path: Path) -> bool:
        return any(path == each or path in each.parents for each in self.files)

    def there(self, path: Path) -> bool:
        return self.exists(path)

    def made(self, _directory: Path, _record: Path) -> bool:
        return True

    def listener(self, _host: str, _port: int, _but: str = "") -> str | None:
        return None

    def listener_there(self, _host: str, _port: int, _but: str = "") -> str | None:
        return None

    def container_on(self, _host: str, _port: int, _but: str) -> str | None:
        return None

    def free_port(self, _host: str, _name: str) -> int:
        return 20001

    def reaches(self, _host: str) -> bool:
        return True

    def sign_port(self, _port: int) -> None: ...

    def is_left(self, _port: int) -> bool:
        return False

    # --- the flow ---

    def plan(self, spec: Spec, password: Secret, **asked: Any) -> Plan:
        module = runtimes.load("docker")
        inputs = Inputs("docker", self._templates, module.port(spec, self), password, {}, {}, None)
        files = desires.files(spec, inputs, lambda work, **_: work())
        site = module.examine(spec, files, self)
        wanted = desires.desired(spec, inputs, files, site.desired)
        look = Look(spec, inputs, wanted, site.config_file, self.text, lambda path: self.files[path][1])
        found = {**site.observed, **observed(self._logged_in(look, spec, password), is_fresh=self.password is None)}
        return planner.plan(spec, inputs, site, wanted, found, **asked)

    def _logged_in(self, look: Look, spec: Spec, password: Secret) -> Look:
        container = self.objects.get(f"containers/{spec.server.container_name}")
        if container is None or container["State"]["Status"] != "running":
            return look
        if self.password != password.reveal():
            return replace(look, login="refused")
        there = spec.server.database in self.databases
        return replace(look, login="accepted", has_database=there, session=Server(self, spec.server.major))

    def converge(self, spec: Spec, password: Secret) -> list[Plan]:
        """Do what apply does, and return the plans of its rounds; the last one is empty if all went well."""
        plans = []
        for _ in range(8):
            plans.append(self.plan(spec, password))
            for step in plans[-1].steps:
                for effect in step.effects:
                    self._perform(effect, spec, password)
                if step.reveals and step.effects:
                    break
            if plans[-1].is_empty:
                break
        return plans

    # --- effects ---

    @singledispatchmethod
    def _perform(self, effect: Effect, spec: Spec, password: Secret) -> None:
        raise NotImplementedError(effect, spec, password)

    @_perform.register(WriteFile)
    def _(self, effect: WriteFile, _spec: Spec, _password: Secret) -> None:
        text = effect.content if isinstance(effect.content, str) else effect.content.reveal()
        self.files[effect.path] = (text, effect.mode)

    @_perform.register(MakeDirectory)
    def _(self, effect: MakeDirectory, _spec: Spec, _password: Secret) -> None:
        self.files[effect.path / "PG_VERSION"] = ("", effect.mode)

    @_perform.register(ChangeDirectory)
    def _(self, effect: ChangeDirectory, _spec: Spec, _password: Secret) -> None:
        below = effect.script.removeprefix('set -- "$1"/').partition("; ")[0]
        self.files[Path(effect.source) / below / "PG_VERSION"] = ("", 0o700)

    @_perform.register(RunLocalSql)
    def _(self, _effect: RunLocalSql, _spec: Spec, password: Secret) -> None:
        self.password = password.reveal()

    @_perform.register(RunSql)
    def _(self, effect: RunSql, _spec: Spec, _password: Secret) -> None:
        self.databases |= {each.removeprefix('CREATE DATABASE "')[:-1].replace('""', '"') for each in effect.statements}

    @_perform.register(ReloadSettings)
    def _(self, _effect: ReloadSettings, spec: Spec, _password: Secret) -> None:
        self._read_settings(spec, starting=False)

    @_perform.register(CheckData)
    def _(self, _effect: CheckData, spec: Spec, _password: Secret) -> None:
        if self.major not in (None, spec.server.major):
            raise RefusedError(f"the data was made by PostgreSQL {self.major}")

    @_perform.register(WaitReady)
    def _(self, _effect: WaitReady, spec: Spec, password: Secret) -> None:
        container = self.objects[f"containers/{spec.server.container_name}"]
        assert container["State"]["Running"]
        if self.password is None:
            self.password, self.databases = password.reveal(), {"postgres", spec.server.user}
            self.major = spec.server.major
        self.databases.add("postgres")

    @_perform.register(EngineCall)
    def _(self, effect: EngineCall, spec: Spec, _password: Secret) -> None:
        kind = effect.operation.partition("_")[2]
        if effect.operation == "pull_image":
            self.images.add(effect.target)
        elif kind in ("network", "volume"):
            labels = {"Labels": json.loads(json.dumps(effect.body["labels"]))}
            self.objects[f"{kind}s/{effect.target}"] = labels
        elif effect.operation == "create_container":
            assert f"containers/{effect.target}" not in self.objects
            self.objects[f"containers/{effect.target}"] = inspected(effect.body, spec.server.major)
        elif effect.operation == "remove_container":
            self.objects.pop(f"containers/{effect.target}", None)
        elif effect.operation == "rename_container":
            self.objects[f"containers/{effect.body['name']}"] = self.objects.pop(f"containers/{effect.target}")
        elif effect.operation != "copy_to_container":
            self.become(spec, "exited" if effect.operation == "stop_container" else "running")
            if effect.operation in ("start_container", "restart_container"):
                self._read_settings(spec, starting=True)

    def become(self, spec: Spec, status: str) -> None:
        """Bring the container into a state."""
        self.objects[f"containers/{spec.server.container_name}"]["State"] = state(status)

    def _read_settings(self, spec: Spec, *, starting: bool) -> None:
        known, major = catalogue(spec.server.major), spec.server.major
        raw = configuration.parse(self.files[spec.home / CONF][0])
        named = {canonical_name(major, name): value for name, value in raw.items()}
        read = {name: normalise(known[name], value) for name, value in named.items()}
        kept = {} if starting else {n: v for n, v in self.in_force.items() if known[n].context == "postmaster"}
        new = {n: v for n, v in read.items() if starting or known[n].context != "postmaster"}
        self.in_force = {**kept, **new}


def state(status: str) -> dict[str, Any]:
    """Return what the engine shows of a container's process."""
    running = status in ("running", "paused")
    return {"Status": status, "Running": running, "ExitCode": 0, "StartedAt": "2026-01-02T03:04:05Z"}


def inspected(body: Mapping[str, Any], major: int) -> dict[str, Any]:
    """Return what the engine shows of a container that was created with a body."""
    body, brought = json.loads(json.dumps(body)), image(major)["Config"]
    env = dict(each.partition("=")[::2] for each in (*brought["Env"], *body.get("Env", ())))
    mounts = [
        {"Type": each["Type"], "Source": each.get("Source", ""), "Destination": each["Target"],
         "RW": not each.get("ReadOnly"), **({"Name": each["Source"]} if each["Type"] == "volume" else {})}
        for each in body["HostConfig"]["Mounts"]
    ]  # fmt: skip
    config = {**brought, **{key: text for key, text in body.items() if key not in ("HostConfig", "NetworkingConfig")}}
    config |= {"Env": [f"{k}={v}" for k, v in env.items()], "Labels": {**brought["Labels"], **body["Labels"]}}
    return {
        "Id": "0" * 64,
        "Image": image(major)["Id"],
        "State": state("created"),
        "RestartCount": 0,
        "Config": config,
        "HostConfig": body["HostConfig"],
        "Mounts": mounts,
        "NetworkSettings": {"Networks": {body["HostConfig"]["NetworkMode"]: {}}},
    }


def in_podmans_words(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a container as Podman 4.3 of an ordinary user shows it: each field below is copied from what it showed."""
    config, host, state = seen["Config"], seen["HostConfig"], seen["State"]
    tmpfs = {each["Destination"]: "rw,rprivate,nosuid,nodev,tmpcopyup" for each in seen["Mounts"]
             if each["Type"] == "tmpfs"}  # fmt: skip
    check = config.get("Healthcheck") or {}
    added = ["TERM=xterm", "container=podman", "HOME=/root", "HOSTNAME=685bf5871a4d", "https_proxy=http://proxy:3128"]
    changed = {
        "Env": [*config["Env"], *added],
        "Image": f"docker.io/library/{config['Image']}",
        "StopSignal": str(int(signal.Signals[config["StopSignal"]])),
        "Labels": {**config["Labels"], "io.podman.compose.version": "1.0.3"},
        "Healthcheck": {**check, "Test": " ".join(check.get("Test", ())).split()},
    }
    return {
        **seen,
        "Config": {**config, **changed},
        "HostConfig": {**host, "Tmpfs": tmpfs, "NetworkMode": "bridge", "Memory": 0, "NanoCpus": 0},
        "Mounts": [each for each in seen["Mounts"] if each["Type"] != "tmpfs"],
        "NetworkSettings": {
            "Networks": {
                "podman" if name == "bridge" else name: each
                for name, each in seen["NetworkSettings"]["Networks"].items()
            }
        },
        "State": {
            **state,
            "Status": {"created": "configured", "exited": "stopped"}.get(state["Status"], state["Status"]),
        },
    }
