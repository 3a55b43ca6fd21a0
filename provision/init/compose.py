"""The PostgreSQL of a compose file → what a spec can say of it; what it cannot becomes a remark.

Compose's variables become the spec's where they mean the same: https://docs.docker.com/reference/compose-file/interpolation/
A password is not looked at: what counts is whether a variable or a file holds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from shlex import quote

from provision.init import compose_files, compose_services
from provision.init.compose_files import Block, assigned, completed, inside, items, mapping, placed, text
from provision.init.compose_services import PORT, databases, ends_of, image_of, inner_ports, port_pair
from provision.init.found import Compose, Directory, Service
from provision.spec.masking import is_secret_key
from provision.spec.variables import variables_of

Ask = Callable[[Sequence[str]], Block | str]

_OTHER_CONTRACT = r"(?:^|/)bitnami[^/]*/"
_DATA = "/var/lib/postgresql"
_SCRIPTS = "/docker-entrypoint-initdb.d"
_PLUMBING = {
    *("<path>", "image", "build", "ports", "environment", "env_file", "command", "volumes", "secrets", "extends"),
    *("healthcheck", "restart", "networks", "depends_on", "labels", "expose", "profiles", "platform", "logging"),
    *("links", "shm_size", "mem_limit", "cpus", "deploy", "pull_policy", "attach", "develop", "stdin_open", "tty"),
    "init",
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
        reading = _Reading(directory, path, known, content, found[0], remarks)
        return Compose(path, reading.service(), frozenset(names)), remarks
    return first, said


def _content(directory: Directory, files: compose_files.Files, path: str, ask: Ask, remarks: list[str]) -> Block:
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

    def __init__(
        self, directory: Directory, path: str, known: Mapping[str, str], content: Block, name: str, remarks: list[str]
    ) -> None:
        self._directory, self._path, self._known = directory, path, known
        self._content, self._name, self._remarks = content, name, remarks
        self._declared = mapping(mapping(content["services"])[name])
        self._env_files = list(self._read_env_files())
        self._environment = dict(self._read_environment())
        self._mounts = list(self._read_mounts())

    def service(self) -> Service:
        """Return what a spec can have of it."""
        password, file = self._password()
        found = Service(
            path=self._path,
            name=self._name,
            image=self._image(),
            port=self._port(),
            user=self._value("POSTGRES_USER", self._environment.get("POSTGRES_USER")),
            database=self._value("POSTGRES_DB", self._environment.get("POSTGRES_DB")),
            password=password,
            file=file,
            settings=tuple(self._settings()),
            initdb=tuple(self._initdb()),
            resources=tuple(self._resources()),
            env_files=tuple(path for path in self._env_files if path in self._directory.texts),
        )
        self._name_the_rest()
        return found

    def _remark(self, what: str) -> None:
        self._remarks.append(f"{self._path}: {what}")

    def _entries(self, key: str) -> list[tuple[str, object]]:
        return placed(self._declared, key, self._path)

    def _value(self, what: str, value: str | None) -> str | None:
        if not value:
            return None
        try:
            return compose_files.for_spec(value, self._known, self._directory.environ)
        except LookupError as error:
            self._remark(f"{what} of {self._name} was not taken: {error.args[0]}")
            return None

    def _read_env_files(self) -> Iterator[str]:
        for place, each in self._entries("env_file"):
            try:
                path = inside(place, compose_files.plain(text(mapping(each).get("path") or each), self._known))
            except LookupError:
                continue
            yield path
            if path not in self._directory.texts and text(mapping(each).get("required")) != "false":
                where = "is outside of this directory" if path.startswith("../") else "is not there"
                self._remark(f"{path}, an env_file, {where}, so what it sets is not known")

    def _read_environment(self) -> Iterator[tuple[str, str]]:
        """Yield the variables of the container; one without a value is handed through from outside."""
        for path in self._env_files:
            for key, value in variables_of(self._directory.texts.get(path, "")).items():
                # It is in clear in that file; the spec reads it from a variable of the same name.
                is_secret = is_secret_key(key) and not key.endswith("_FILE")
                yield key, f"${{{key}}}" if is_secret else value.replace("$", "$$")
        for key, value in assigned(self._declared.get("environment")).items():
            yield key, text(value) or f"${{{key}}}"

    def _image(self) -> str | None:
        image, dockerfile, is_built = image_of(self._declared, self._directory, self._path)
        if is_built and image:
            self._remark(
                f"{self._name} is built from {dockerfile}: the spec has its base, {image}, without what the"
                " Dockerfile adds; to have that, build the image and write its name, with the major version in the tag"
            )
        if re.search(_OTHER_CONTRACT, image):
            self._remark(f"the image of {self._name} does not follow the official image's contract")
            return None
        return self._value("the image", image)

    def _port(self) -> str | None:
        for _, each in self._entries("ports"):
            outside, inner = port_pair(each)[0], inner_ports(each)
            if not outside or inner is None or not inner[0] <= PORT <= inner[1]:
                continue
            if inner[0] != inner[1] and (ends := ends_of(outside)):
                outside = str(ends[0] + PORT - inner[0])
            return self._value("the port", outside)
        return None

    def _password(self) -> tuple[str | None, str | None]:
        """Return the variable that holds the password, with its default, or the file."""
        value = self._environment.get("POSTGRES_PASSWORD", "")
        if variable := compose_files.variable_alone(value):
            return variable, None
        if path := self._environment.get("POSTGRES_PASSWORD_FILE", ""):
            declared = self._secret(path)
            if name := text(declared.get("environment")):
                return f"${{{name}}}", None
            if file := text(declared.get("file")):
                place = text(declared.get("<path>")) or self._path
                try:
                    return None, inside(place, compose_files.plain(file, self._known))
                except LookupError as error:
                    self._remark(f"the secret with the password was not taken: {error.args[0]}")
            else:
                self._remark(f"{path} holds the password, and is no secret that a file has")
        if value:
            self._remarks.append(
                f"the password in {self._path} is in clear, and was not copied: a new one is generated, and "
                "`provision url` prints it; write `password: ${POSTGRES_PASSWORD}` to share one with the application"
            )
        return None, None

    def _secret(self, path: str) -> Block:
        """Return the declaration of the secret that is mounted at a path."""
        declared = mapping(self._content.get("secrets"))
        for _, each in self._entries("secrets"):
            source = text(mapping(each).get("source") or each)
            target = text(mapping(each).get("target")) or source
            if path in (target, f"/run/secrets/{target}"):
                return mapping(declared.get(source))
        return mapping(declared.get(path.removeprefix("/run/secrets/")))

    def _read_mounts(self) -> Iterator[tuple[str, str]]:
        """Yield source and target of each mount; a path of the project is relative to it."""
        for place, each in self._entries("volumes"):
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

    def _initdb(self) -> Iterator[str]:
        for source, target in self._mounts:
            path = source.removeprefix("./")
            if target != _SCRIPTS and not target.startswith(f"{_SCRIPTS}/"):
                continue
            if source.startswith("./") and path in self._directory.names:
                yield path
            else:
                self._remark(f"{source or 'a source'} at {target} is not there, and was not taken")

    def _resources(self) -> Iterator[tuple[str, str]]:
        limits = mapping(mapping(mapping(self._declared.get("deploy")).get("resources")).get("limits"))
        for key, own in (("memory", "mem_limit"), ("cpus", "cpus"), ("shm_size", "shm_size")):
            if found := self._value(key, text(self._declared.get(own) or limits.get(key))):
                yield key, f"{found}b" if found.isdigit() and key != "cpus" else found

    def _settings(self) -> Iterator[tuple[str, str]]:
        command = compose_services.settings_of_command(self._declared.get("command"))
        if command is None:
            self._remark(f"the command of {self._name} cannot be read, and was not taken")
            command = {}
        found: dict[str, str] = {}
        for zone in [self._environment[key] for key in ("TZ", "PGTZ") if self._environment.get(key)][:1]:
            found |= dict.fromkeys(("log_timezone", "timezone"), zone)
        for source, target in self._mounts:
            if target.endswith("postgresql.conf") or target == command.get("config_file", "-").rpartition("/")[0]:
                found |= self._file(source, target, command.get("config_file", ""))
        found |= command
        for key, value in found.items():
            if compose_services.may_hold_password(key, value):
                self._remark(f"{key} was not taken: there may be a password in it")
            elif (taken := self._value(key, value)) is not None:
                yield key, taken

    def _file(self, source: str, target: str, asked: str) -> dict[str, str]:
        """Return the settings of a configuration file that the server reads."""
        path = source.removeprefix("./")
        if asked.startswith(f"{target}/"):
            path, target = f"{path}/{asked.removeprefix(f'{target}/')}", asked
        if target != asked and not target.startswith(_DATA):
            self._remark(f"{path} is mounted at {target}, which the server does not read; it was not taken")
            return {}
        content = self._directory.texts.get(path)
        if content is None:
            self._remark(f"{path}, the server's configuration, is not there, and was not taken")
            return {}
        found, wrong = compose_services.settings_of_file(content)
        self._remarks += [f"{path}: {each}, and was not taken" for each in wrong]
        return {key: value.replace("$", "$$") for key, value in found.items()}

    def _name_the_rest(self) -> None:
        """Name what of a service is not in the spec, without its values, and say how its data is kept."""
        environment = self._environment
        left = [key for key in self._declared if key not in _PLUMBING]
        left += [key for key in environment if key.startswith(("POSTGRES_", "PG")) and key not in _TAKEN]
        if environment.get("POSTGRES_HOST_AUTH_METHOD") == "trust":
            at = left.index("POSTGRES_HOST_AUTH_METHOD")
            left[at] += " trust (a password is asked for)"
        for source, target in self._mounts:
            if target.endswith(".conf"):
                continue
            if target.startswith(_DATA):
                self._data(source, target)
            elif not target.startswith((_SCRIPTS, "/etc/localtime", "/etc/timezone")):
                left.append(f"the mount at {target}")
        if left:
            self._remark(f"not taken from {self._name}: {', '.join(left)}")

    def _data(self, source: str, target: str) -> None:
        """Say how to use the data of the compose project."""
        place = self._environment.get("PGDATA", target)
        if source.startswith(("./", "/", "..")):
            below = place.removeprefix(target).strip("/") if place.startswith(target) else ""
            data = f"path: {'/'.join(filter(None, (source, below)))}"
        elif source:
            declared = mapping(mapping(self._content.get("volumes")).get(source))
            is_external = text(declared.get("external")) == "true"
            data = f"volume: {text(declared.get('name')) or (source if is_external else f'{self._project}_{source}')}"
        else:
            return
        self._remarks.append(
            f"to use the data of {self._name}, write `data: {{{data}}}` under `server`, and stop {self._name} before "
            f"the first apply: docker compose -f {quote(self._path)} stop {quote(self._name)}"
        )

    @property
    def _project(self) -> str:
        """The name of the Compose project: in the file, in ``.env``, else that of the file's directory."""
        named = text(self._content.get("name")) or self._known.get("COMPOSE_PROJECT_NAME", "")
        folder = self._path.rpartition("/")[0].rpartition("/")[2] or self._directory.path.name
        return named or re.sub(r"[^a-z0-9_-]", "", folder.lower()).lstrip("-_")
