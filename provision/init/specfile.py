"""The text of a new spec: short, with remarks where they help, and read back by the loader before it is used."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from shlex import quote

import yaml

from provision.errors import Problem, SpecError, UsageError
from provision.init.found import SPECS, Compose, Directory, Options, Service, Tree
from provision.model import MAINTENANCE
from provision.rendering import render_template
from provision.spec.load import read
from provision.spec.several import DEFAULT_PORT
from provision.spec.variables import BESIDE, variables_of
from provision.system.project import Machine

TEMPLATE = "provision.yml.j2"
_LONGEST_NAME = 48
_SUFFIXES = ("", "-dev", "-db", "-postgres", "-provision")
_APP = "app"
_GENERATED = "{generate: true}"
_VARIABLE = r"\$\{(\w+)(?::-([^}]*))?\}"


class Draft:
    """The spec of a directory: from what was asked for, else what its compose file says, else the defaults.

    What cannot be taken over becomes one of the ``remarks``. ``before`` are commands that an apply needs: they set the
    password's variable, if it is not set, and stop the service of the compose file, if that has the port.
    """

    def __init__(self, directory: Directory, options: Options, machine: Machine, compose: Compose | None) -> None:
        self._directory, self._options, self._machine, self._compose = directory, options, machine, compose
        self.remarks: list[str] = []
        self.before: list[str] = []
        self._service = (compose.service if compose else None) or Service("", "")
        match = re.fullmatch(_VARIABLE, self._service.password or "")
        self._variable = match[1] if match else ""
        """The one that has the password."""
        self._default = match[2] if match else None
        self.name = self._name()

    def write(self, trees: tuple[Tree, ...], templates: Mapping[str, str], *, is_new: bool) -> str:
        """Return the text.

        Where the project ``is_new``, without migrations of its own, its application gets a role that is no superuser.

        Raises:
            UsageError: the loader would not take it, with what is wrong.
        """
        name, compose = self.name, self._compose
        if compose and name in _names(self._directory.path.name, compose):
            self.remarks.append(
                f"{compose.path} has the name {name} too, and `docker compose down` may take this server along"
            )
        server = self._server()
        port, port_remark, stop = self._port()
        files, ask = self._password_files()
        self._check_ignored(files)
        declared = str(yaml.safe_load(str(server["database"] or MAINTENANCE)))
        base = re.sub(_VARIABLE, lambda match: match[2] or "", declared)  # a key has no variable
        if base in ("", MAINTENANCE):
            base = re.sub(r"\W", "_", next(valid_names(self._directory.path.name, None)))
        values = {
            **server,
            "owns": is_new and not self._service.name and base != MAINTENANCE,
            "base": plain(base),
            "app": _APP if server["user"] != _APP else f"{_APP}_login",
            "name": plain(name),
            "env_files": [plain(each) for each in files],
            "port": plain(port),
            "port_remark": port_remark,
            "trees": [_tree(each, self._directory, several=len(trees) > 1) for each in trees if not each.is_multiple],
        }
        text = render_template(TEMPLATE, templates, values)
        self._check(text, trees)
        self.before = [each for each in (ask, stop) if each]
        return text

    def _name(self) -> str:
        """Return the environment's name; unless it was asked for, one that no other directory has."""
        machine, names = self._machine, valid_names(self._directory.path.name, self._compose)
        name = self._options.name or next(names)
        if (where := machine.directory_of(name)) is None:
            return name
        other = next(each for each in names if each != name and machine.directory_of(each) is None)
        if self._options.name is None:
            self.remarks.append(f"{name} is the environment of {where} already, so this one is {other}")
            return other
        self.remarks.append(
            f"{name} is the environment of {where} already, and `provision apply` refuses to share its container: "
            f"change `name`, for example to {other}"
        )
        return name

    def _server(self) -> dict[str, object]:
        """Return the template's values for what runs in the server, most of it from the compose file's service."""
        service, image = self._service, self._image()
        settings = {
            key: value
            for key, value in service.settings
            if self._fits(f"settings: {{{_flow(key)}: {_flow(value)}}}", image)
        }
        user, base = self._taken("credentials: {user: %s}", service.user), self._taken("database: %s", service.database)
        if not base and not service.name:
            base = re.sub(r"\W", "_", next(valid_names(self._directory.path.name, None)))
        password, source = _GENERATED, "  # made once, and kept in .provision/"
        if service.password or service.file:
            password = plain(service.password) if service.password else f"{{file: {_flow(service.file or '')}}}"
            source = f"  # as in {service.path}"
        resources = ((key, self._taken(f"resources: {{{key}: %s}}", value)) for key, value in service.resources)
        return {
            "image": plain(image),
            "max_connections": settings.pop("max_connections", None),
            "settings": [(plain(key), plain(value)) for key, value in settings.items()],
            "initdb": [plain(each) for each in service.initdb if self._taken("initdb: %s", each)],
            "resources": [f"{key}: {plain(value)}" for key, value in resources if value],
            "user": plain(user or "postgres"),
            "password": password,
            "password_remark": source,
            "database": plain(base) if base else None,
        }

    def _image(self) -> str:
        if self._options.image:
            return self._options.image
        asked = self._service.image
        wrong = self._problems(f"name: probe\nserver: {{image: {_flow(asked)}}}") if asked else ()
        if asked and not wrong:
            return asked
        image, why = self._machine.image()
        if wrong:
            why = f"{self._service.path}: {wrong[0].message.removeprefix('`image`: ')}; the spec has {image}"
        self.remarks += [why] if why else []
        return image

    def _problems(self, text: str, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
        try:
            read(self._directory.path / SPECS[0], text.encode(), environ or self._directory.environ)
        except SpecError as error:
            return error.problems
        return ()

    def _fits(self, form: str, image: str = "postgres:17") -> bool:
        """Tell whether a spec may have what a compose file says; ``form`` is a key of its server."""
        wrong = self._problems(f"name: probe\nserver: {{image: {_flow(image)}, {form}}}")
        if wrong:
            self.remarks.append(f"{self._service.path}: not taken: {_words(wrong[0])}")
        return not wrong

    def _taken(self, form: str, value: str | None) -> str | None:
        return value if value is not None and self._fits(form % _flow(value)) else None

    def _port(self) -> tuple[str, str, str | None]:
        """Return the port, what to say of it in the spec, and the command that makes it free."""
        if self._options.port is not None:
            return self._options.port, "", None
        service, listener = self._service, self._machine.listener
        if declared := self._taken("port: %s", service.port):
            number = re.sub(_VARIABLE, lambda match: match[2] or "", declared)
            if not number.isdigit() or (who := listener(int(number))) is None:
                return declared, "", None
            self.remarks.append(
                f"port {number}, which {service.path} publishes, is in use by {who}: stop that server first, or write "
                "`port: auto`"
            )
            return declared, "", f"docker compose stop {quote(service.name)}" if self._is_service(who) else None
        if (who := listener(DEFAULT_PORT)) is None:
            return str(DEFAULT_PORT), "", None
        self.remarks.append(f"port {DEFAULT_PORT} is in use by {who}, so the spec says `port: auto`")
        return "auto", f"  # one that is free, and kept; {DEFAULT_PORT} was taken", None

    def _is_service(self, who: str) -> bool:
        """Whether a container is that of the service, by the names that Compose gives."""
        match = re.fullmatch(r"the container '(.+)'", who)
        if match is None or self._compose is None:
            return False
        numbered = rf".+[-_]{re.escape(self._service.name)}[-_]\d+"
        return match[1] in self._compose.names or re.fullmatch(numbered, match[1]) is not None

    def _password_files(self) -> tuple[list[str], str | None]:
        """Return the `env_file` that has the password's variable, and the command that sets it where no file has it."""
        name, texts = self._variable, self._directory.texts
        if not name or name in self._directory.environ:
            return [], None
        known = {*self._service.env_files, *(each for each in texts if each.endswith(".env"))}
        files = sorted(known, key=lambda each: (each != BESIDE, each))
        for path in files:
            if name in variables_of(texts[path]):
                return [] if path == BESIDE else [*files[: files[0] == BESIDE], path], None
        return [], None if self._default else f"read -rs {name} && export {name}"

    def _check_ignored(self, files: list[str]) -> None:
        """Remark on a file with the password's variable that Git would take into a commit."""
        path = files[-1] if files else BESIDE
        has_it = self._variable in variables_of(self._directory.texts.get(path, ""))
        if has_it and not self._machine.is_ignored(path):
            self.remarks.append(
                f"{path} has the password, and git does not ignore it: add {path} to .gitignore before you commit"
            )

    def _check(self, text: str, trees: tuple[Tree, ...]) -> None:
        """Let the loader read the spec; files that are only about to be made may be missing.

        Raises:
            UsageError: it is wrong.
        """
        names, password = self._directory.names, {self._variable: "set later"} if self._variable else {}
        coming = {f"config: {plain(each.config)}" for each in trees if each.config and each.config not in names}
        found = self._problems(text, {**password, **self._directory.environ})
        if problems := [each for each in found if each.text.strip() not in coming]:
            raise UsageError(
                "no valid spec comes of this, so nothing was written",
                evidence=[_words(each) for each in problems],
                next_step=_corrected(self._options, problems),
            )


def valid_names(folder: str, compose: Compose | None) -> Iterator[str]:
    """Yield a directory's name made valid; beside a compose file those that neither its project nor a container has.

    Compose takes every container with its project's label for its own, and ``down`` would remove ours.
    """
    slug = re.sub(r"[^a-z0-9_-]+", "-", _ascii(folder)).strip("-_") or "app"
    taken = {slug, *_names(folder, compose)} if compose else set()
    for end in chain(_SUFFIXES, (f"-{number}" for number in count(2))):
        name = slug[: _LONGEST_NAME - len(end)].rstrip("-_") + end
        if len(name) > 1 and name not in taken:
            yield name


def _ascii(folder: str) -> str:
    return unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode().lower()


def _names(folder: str, compose: Compose) -> frozenset[str]:
    """Return the names that Compose uses; without one in the file its project has that of the directory."""
    return compose.names | {re.sub(r"[^a-z0-9_-]", "", _ascii(folder)).lstrip("-_")}


def plain(text: str) -> str:
    """Return a text as YAML: plain where every reader takes it for this text or number, else in double quotes."""
    if re.fullmatch(r"[\w./$][\w./:${}@+-]*|[1-9]\d*", text, re.ASCII) and str(yaml.safe_load(text)) == text:
        return text
    return _flow(text)


def _tree(tree: Tree, directory: Directory, *, several: bool) -> list[tuple[str, str]]:
    """Return the lines of a tree: key and value."""
    python = directory.interpreter(tree.config or tree.script)
    said = {
        "name": tree.name if several else None,
        "config": tree.config,
        "script_location": (tree.script or ".") if tree.config is None else None,
        "section": tree.section if tree.section != "alembic" else None,
        "target": tree.target,
        "cwd": tree.cwd,
        "python": python.path if python and "alembic" in python.packages else None,
        "version_table": tree.version_table,
        "version_table_schema": tree.version_table_schema,
        "url_driver": tree.ways.driver,
    }
    return [*((key, plain(value)) for key, value in said.items() if value), *tree.ways.lines()]


def _flow(text: str) -> str:
    """Return a text as YAML between brackets."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def _words(problem: Problem) -> str:
    return f"{problem.message} ({problem.suggestion})" if problem.suggestion else problem.message


def _corrected(options: Options, problems: Iterable[Problem]) -> str:
    """Return the command with its options, and with an example in place of each value that is wrong."""
    examples = {"name": "NAME", "image": "postgres:17", "port": "auto"}
    wrong = {key for key in examples for each in problems if each.message.startswith(f"`{key}`")}
    given = {key: value for key in examples if (value := getattr(options, key)) is not None}
    words = [
        f"--{key} {examples[key] if key in wrong else quote(given[key])}"
        for key in examples
        if key in wrong or key in given
    ]
    return " ".join(("provision init", *words)) if words else "provision init --name NAME --image postgres:17"
