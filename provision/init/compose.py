"""The PostgreSQL of a compose file → what a spec can say of it; what it cannot becomes a remark.

Compose's variables become the spec's where they mean the same: https://docs.docker.com/reference/compose-file/interpolation/
A password is not looked at: what counts is whether a variable or a file holds it.
"""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Any

from provision.init import compose_files, compose_services
from provision.init.compose_files import assigned, completed, inside, items, mapping, placed, text
from provision.init.compose_services import PORT, databases, ends_of, image_of, inner_ports, port_pair
from provision.init.found import Compose, Service
from provision.spec.masking import is_secret_key
from provision.spec.variables import variables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from provision.init.found import Directory

    Ask = Callable[[Sequence[str]], Mapping[str, Any] | str]

_OTHER_CONTRACT = re.compile(r"(?:^|/)bitnami[^/]*/")
_DATA = "/var/lib/postgresql"
_SCRIPTS = "/docker-entrypoint-initdb.d"
_PLUMBING = {
    *("<path>", "image", "build", "ports", "environment", "env_file", "command", "volumes", "secrets", "extends"),
    *(
        "healthcheck",
        "restart",
        "networks",
        "depends_on",
        "labels",
        "expose",
        "profiles",
        "platform",
        "logging",
        "links",
    ),
    *("shm_size", "mem_limit", "cpus", "deploy", "pull_policy", "attach", "develop", "stdin_open", "tty", "init"),
}
_TAKEN = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "PGDATA", "TZ", "PGTZ"}


def find(directory: Directory, ask: Ask) -> tuple[Compose | None, list[str]]:
    """Return what the project's compose file has, if there is one, and remarks on what was not taken.

    ``ask`` is :meth:`provision.init.found.Machine.compose`.
    """
    said: list[str] = []
    first: Compose | None = None
    for path in compose_files.candidates(directory):
        remarks: list[str] = []
        files = compose_files.Files(directory)
        try:
            content = _content(directory, files, path, ask, remarks)
        except compose_files.ComposeError as error:
            said.append(str(error))
            first = first or Compose(path)
            continue
        services = mapping(content.get("services"))
        known = files.known(path)
        names = {text(each.get("container_name")) for each in services.values()}
        names |= {text(content.get("name")), known.get("COMPOSE_PROJECT_NAME", "")}
        found = databases(services, directory, path)
        if not found:
            said += [*remarks, f"{path} has no service with a PostgreSQL image"] if first is None else []
            first = first or Compose(path, None, frozenset(names))
            continue
        for name in found[1:]:
            profiles = ", ".join(text(each) for each in items(services[name].get("profiles")))
            what = f" (profile {profiles})" if profiles else ""
            remarks.append(f"{path}: the service {name}{what} is not in the spec, which has one server")
        reading = _Reading(directory, path, remarks, known)
        return Compose(path, reading.service(found[0], services[found[0]], content), frozenset(names)), remarks
    return first, said


def _content(
    directory: Directory, files: compose_files.Files, path: str, ask: Ask, remarks: list[str]
) -> Mapping[str, Any]:
    """Return what a file has: as the Compose plugin says, else as it was read here.

    Raises:
        ComposeError: it is not YAML.
    """
    content = files.load(path)
    if not files.unfollowed and not databases(mapping(content.get("services")), directory, path):
        return content
    model = ask(files.parts(path))
    if not isinstance(model, str):
        return completed(model, content)
    if files.unfollowed:
        what = ", ".join(files.unfollowed)
        remarks.append(f"{path}: not followed: {what} ({model}); compare the spec with what you expect")
    return content


class _Reading:
    """One pass over one service; what cannot be taken over becomes a remark."""

    def __init__(self, directory: Directory, path: str, remarks: list[str], known: Mapping[str, str]) -> None:
        self._directory = directory
        self._path = path
        self._remarks = remarks
        self._known = known
        self._left: list[str] = []
        """What of the service is not taken: the names, never a value."""

    def service(self, name: str, service: Mapping[str, Any], content: Mapping[str, Any]) -> Service:
        files = list(self._env_files(service))
        environment = dict(self._environment(service, files))
        password, file = self._password(environment, service, content)
        mounts = list(self._mounts(service))
        found = Service(
            path=self._path,
            name=name,
            image=self._image_of(name, service),
            port=self._port(name, service),
            user=self._value(name, "POSTGRES_USER", environment.get("POSTGRES_USER")),
            database=self._value(name, "POSTGRES_DB", environment.get("POSTGRES_DB")),
            password=password,
            file=file,
            settings=tuple(self._settings(name, service, environment, mounts)),
            initdb=tuple(self._initdb(mounts)),
            resources=tuple(self._resources(name, service)),
            env_files=tuple(path for path in files if path in self._directory.texts),
        )
        self._rest(name, service, environment, mounts, content)
        return found

    def _env_files(self, service: Mapping[str, Any]) -> Iterator[str]:
        for place, each in placed(service, "env_file", self._path):
            is_required = text(mapping(each).get("required")) != "false"
            try:
                path = inside(place, compose_files.plain(text(mapping(each).get("path") or each), self._known))
            except LookupError:
                continue
            yield path
            if path not in self._directory.texts and is_required:
                where = "is outside of this directory" if path.startswith("../") else "is not there"
                self._remarks.append(f"{self._path}: {path}, an env_file, {where}, so what it sets is not known")

    def _environment(self, service: Mapping[str, Any], files: list[str]) -> Iterator[tuple[str, str]]:
        """Yield the variables of the container; one without a value is handed through from outside."""
        for path in files:
            for key, value in variables_of(self._directory.texts.get(path, "")).items():
                # It is in clear in that file; the spec reads it from a variable of the same name.
                is_secret = is_secret_key(key) and not key.endswith("_FILE")
                yield key, f"${{{key}}}" if is_secret else value.replace("$", "$$")
        for key, value in assigned(service.get("environment")).items():
            yield key, text(value) or f"${{{key}}}"

    def _image_of(self, name: str, service: Mapping[str, Any]) -> str | None:
        image, dockerfile, is_built = image_of(service, self._directory, self._path)
        if is_built and image:
            self._remarks.append(
                f"{self._path}: {name} is built from {dockerfile}: the spec has its base, {image}, without what the"
                " Dockerfile adds; to have that, build the image and write its name, with the major version in the tag"
            )
        if _OTHER_CONTRACT.search(image):
            self._remarks.append(f"{self._path}: the image of {name} does not follow the official image's contract")
            return None
        return self._value(name, "the image", image)

    def _port(self, name: str, service: Mapping[str, Any]) -> str | None:
        for _, each in placed(service, "ports", self._path):
            outside, inner = port_pair(each)[0], inner_ports(each)
            if not outside or inner is None or not inner[0] <= PORT <= inner[1]:
                continue
            if inner[0] != inner[1] and (ends := ends_of(outside)):
                outside = str(ends[0] + PORT - inner[0])
            return self._value(name, "the port", outside)
        return None

    def _value(self, name: str, what: str, value: str | None) -> str | None:
        if not value:
            return None
        try:
            return compose_files.for_spec(value, self._known, self._directory.environ)
        except LookupError as error:
            self._remarks.append(f"{self._path}: {what} of {name} was not taken: {error.args[0]}")
            return None

    def _password(
        self, environment: Mapping[str, str], service: Mapping[str, Any], content: Mapping[str, Any]
    ) -> tuple[str | None, str | None]:
        """Return the variable that holds the password, with its default, or the file."""
        value = environment.get("POSTGRES_PASSWORD", "")
        if match := compose_files.VARIABLE.fullmatch(value):
            return compose_files.expression(match), None
        if path := environment.get("POSTGRES_PASSWORD_FILE", ""):
            declared = self._secret(path, service, content)
            if name := text(declared.get("environment")):
                return f"${{{name}}}", None
            if file := text(declared.get("file")):
                try:
                    return None, inside(
                        text(declared.get("<path>")) or self._path, compose_files.plain(file, self._known)
                    )
                except LookupError as error:
                    self._remarks.append(f"{self._path}: the secret with the password was not taken: {error.args[0]}")
            else:
                self._remarks.append(f"{self._path}: {path} holds the password, and is no secret that a file has")
        if value:
            self._remarks.append(
                f"the password in {self._path} is in clear, and was not copied: a new one is generated, and "
                "`provision url` prints it; write `password: ${POSTGRES_PASSWORD}` to share one with the application"
            )
        return None, None

    def _secret(self, path: str, service: Mapping[str, Any], content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the declaration of the secret that is mounted at a path."""
        for _, each in placed(service, "secrets", self._path):
            source = text(mapping(each).get("source") or each)
            target = text(mapping(each).get("target")) or source
            if path in (target, f"/run/secrets/{target}"):
                return mapping(mapping(content.get("secrets")).get(source))
        name = path.removeprefix("/run/secrets/")
        return mapping(mapping(content.get("secrets")).get(name))

    def _mounts(self, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield source and target of each mount; a path of the project is relative to it."""
        for place, each in placed(service, "volumes", self._path):
            if isinstance(each, dict):
                source, target = text(each.get("source")), text(each.get("target"))
                is_path = each.get("type") == "bind"
            else:
                source, _, target = compose_files.split_port(re.sub(r":(?:[a-zA-Z,]+)$", "", text(each)))
                is_path = source.startswith((".", "/", "~", "$"))
            if is_path:
                try:
                    source = inside(place, compose_files.plain(source, {"PWD": ".", **self._known}))
                except LookupError:
                    source = ""
            yield (f"./{source}" if is_path and not source.startswith(("/", "~", "..")) else source), target.rstrip("/")

    def _initdb(self, mounts: list[tuple[str, str]]) -> Iterator[str]:
        for source, target in mounts:
            path = source.removeprefix("./")
            if target != _SCRIPTS and not target.startswith(f"{_SCRIPTS}/"):
                continue
            if source.startswith("./") and path in self._directory.names:
                yield path
            else:
                self._remarks.append(
                    f"{self._path}: {source or 'a source'} at {target} is not there, and was not taken"
                )

    def _resources(self, name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        limits = mapping(mapping(mapping(service.get("deploy")).get("resources")).get("limits"))
        for key, value in (
            ("memory", service.get("mem_limit") or limits.get("memory")),
            ("cpus", service.get("cpus") or limits.get("cpus")),
            ("shm_size", service.get("shm_size")),
        ):
            if found := self._value(name, key, text(value)):
                yield key, f"{found}b" if found.isdigit() and key != "cpus" else found

    def _settings(
        self, name: str, service: Mapping[str, Any], environment: Mapping[str, str], mounts: list[tuple[str, str]]
    ) -> Iterator[tuple[str, str]]:
        command = compose_services.settings_of_command(service.get("command"))
        if command is None:
            self._remarks.append(f"{self._path}: the command of {name} cannot be read, and was not taken")
            command = {}
        found: dict[str, str] = {}
        for zone in [environment[key] for key in ("TZ", "PGTZ") if environment.get(key)][:1]:
            found |= dict.fromkeys(("log_timezone", "timezone"), zone)
        for source, target in mounts:
            if target.endswith("postgresql.conf") or target == command.get("config_file", "-").rpartition("/")[0]:
                found |= self._file(source, target, command)
        found |= command
        for key, value in found.items():
            if compose_services.may_hold_password(key, value):
                self._remarks.append(f"{self._path}: {key} was not taken: there may be a password in it")
            elif (taken := self._value(name, key, value)) is not None:
                yield key, taken

    def _file(self, source: str, target: str, command: Mapping[str, str]) -> dict[str, str]:
        """Return the settings of a configuration file that the server reads."""
        asked = command.get("config_file", "")
        path = source.removeprefix("./")
        if asked.startswith(f"{target}/"):
            path, target = f"{path}/{asked.removeprefix(f'{target}/')}", asked
        if target != asked and not target.startswith(_DATA):
            self._remarks.append(
                f"{self._path}: {path} is mounted at {target}, which the server does not read; it was not taken"
            )
            return {}
        content = self._directory.texts.get(path)
        if content is None:
            self._remarks.append(f"{self._path}: {path}, the server's configuration, is not there, and was not taken")
            return {}
        found, wrong = compose_services.settings_of_file(content)
        self._remarks += [f"{path}: {each}, and was not taken" for each in wrong]
        return {key: value.replace("$", "$$") for key, value in found.items()}

    def _rest(
        self,
        name: str,
        service: Mapping[str, Any],
        environment: Mapping[str, str],
        mounts: list[tuple[str, str]],
        content: Mapping[str, Any],
    ) -> None:
        """Name what of a service is not in the spec, and how its data is kept."""
        left = [key for key in service if key not in _PLUMBING]
        left += [key for key in environment if key.startswith(("POSTGRES_", "PG")) and key not in _TAKEN]
        if environment.get("POSTGRES_HOST_AUTH_METHOD") == "trust":
            left = [
                f"{each} trust (a password is asked for)" if each == "POSTGRES_HOST_AUTH_METHOD" else each
                for each in left
            ]
        for source, target in mounts:
            if target.startswith(_DATA) and not target.endswith(".conf"):
                self._data(name, source, target, environment, content)
            elif not target.startswith((_SCRIPTS, "/etc/localtime", "/etc/timezone")) and not target.endswith(".conf"):
                left.append(f"the mount at {target}")
        if left:
            self._remarks.append(f"{self._path}: not taken from {name}: {', '.join(left)}")

    def _data(
        self, name: str, source: str, target: str, environment: Mapping[str, str], content: Mapping[str, Any]
    ) -> None:
        """Say how to use the data of the compose project."""
        place = environment.get("PGDATA", target)
        below = place.removeprefix(target).strip("/") if place.startswith(target) else ""
        if source.startswith(("./", "/", "..")):
            path = "/".join(filter(None, (source, below)))
            self._remarks.append(self._way(name, f"path: {path}"))
        elif source:
            declared = mapping(mapping(content.get("volumes")).get(source))
            is_external = text(declared.get("external")) == "true"
            volume = text(declared.get("name")) or (source if is_external else f"{self._project(content)}_{source}")
            self._remarks.append(self._way(name, f"volume: {volume}"))

    def _way(self, name: str, data: str) -> str:
        return (
            f"to use the data of {name}, write `data: {{{data}}}` under `server`, and stop {name} before "
            f"the first apply: docker compose -f {quote(self._path)} stop {quote(name)}"
        )

    def _project(self, content: Mapping[str, Any]) -> str:
        """Return the name of the Compose project: in the file, in ``.env``, else that of the file's directory."""
        named = text(content.get("name")) or self._known.get("COMPOSE_PROJECT_NAME", "")
        folder = self._path.rpartition("/")[0].rpartition("/")[2] or self._directory.path.name
        return named or re.sub(r"[^a-z0-9_-]", "", folder.lower()).lstrip("-_")
