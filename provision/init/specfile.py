"""The text of a new spec: short, with remarks where they help, and read back by the loader before it is used."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from itertools import chain, count
from shlex import quote
from typing import TYPE_CHECKING, Any

import yaml

from provision.errors import SpecError, UsageError
from provision.init.found import SPECS
from provision.rendering import render_template
from provision.spec.load import read
from provision.spec.server import DEFAULT_PORT
from provision.spec.variables import BESIDE, variables_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provision.errors import Problem
    from provision.init.found import Compose, Directory, Options, Service, Tree
    from provision.system.project import Machine

TEMPLATE = "provision.yml.j2"
_LONGEST_NAME = 48
_SUFFIXES = ("", "-dev", "-db", "-postgres", "-provision")
_GENERATED = "{generate: true}"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Written:
    """A spec that the loader takes.

    ``before`` are commands that an apply of it needs: they set the password's variable, if it is not set, and stop the
    service of the compose file, if that has the port.
    """

    name: str
    text: str
    remarks: tuple[str, ...]
    before: tuple[str, ...]


def write(
    directory: Directory,
    options: Options,
    machine: Machine,
    compose: Compose | None,
    trees: tuple[Tree, ...],
    templates: Mapping[str, str],
) -> Written:
    """Return the spec of a directory, from what was asked for, else what its compose file says, else the defaults.

    Raises:
        UsageError: the loader would not take it, with what is wrong.
    """
    remarks: list[str] = []
    service = compose.service if compose else None
    name = _name(directory, options, machine, compose, remarks)
    if compose and name in _names(directory.path.name, compose):
        remarks.append(f"{compose.path} has the name {name} too, and `docker compose down` may take this server along")
    image = options.image or _image(directory, machine, service, remarks)
    server = _server(directory, image, service, remarks)
    port, port_remark, stop = _port(directory, options, machine, compose, remarks)
    files, ask = _variable(directory, service)
    remarks += _unignored(machine, directory, service, files)
    values = {
        **server,
        "name": plain(name),
        "env_files": [plain(each) for each in files],
        "port": plain(port),
        "port_remark": port_remark,
        "trees": [list(_tree(tree, directory, several=len(trees) > 1)) for tree in trees if not tree.is_multiple],
    }
    text = render_template(TEMPLATE, templates, values)
    _check(directory, text, options, service, trees)
    before = [each for each in (ask, stop) if each]
    return Written(name, text, tuple(remarks), tuple(before))


def _server(directory: Directory, image: str, service: Service | None, remarks: list[str]) -> dict[str, Any]:
    """Return the template's values for what runs in the server, most of it from the compose file's service."""
    settings = dict(_settings(directory, image, service, remarks))
    user = _taken(directory, "credentials: {user: %s}", service.user if service else None, service, remarks)
    base = _taken(directory, "database: %s", service.database if service else None, service, remarks)
    if not base and not service:
        base = re.sub(r"\W", "_", next(valid_names(directory.path.name, None)))
    password, password_remark = _password(service)
    scripts = service.initdb if service else ()
    return {
        "image": plain(image),
        "max_connections": settings.pop("max_connections", None),
        "settings": [(plain(key), plain(value)) for key, value in settings.items()],
        "initdb": [plain(each) for each in scripts if _taken(directory, "initdb: %s", each, service, remarks)],
        "resources": list(_resources(directory, service, remarks)),
        "user": plain(user or "postgres"),
        "password": password,
        "password_remark": password_remark,
        "database": plain(base) if base else None,
    }


def _name(directory: Directory, options: Options, machine: Machine, compose: Compose | None, remarks: list[str]) -> str:
    """Return the environment's name; unless it was asked for, one that no other directory has for its environment."""
    names = valid_names(directory.path.name, compose)
    name = options.name or next(names)
    if (where := machine.directory_of(name)) is None:
        return name
    other = next(each for each in names if each != name and machine.directory_of(each) is None)
    if options.name is None:
        remarks.append(f"{name} is the environment of {where} already, so this one is {other}")
        return other
    remarks.append(
        f"{name} is the environment of {where} already, and `provision apply` refuses to share its container: change "
        f"`name`, for example to {other}"
    )
    return name


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
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def _wrong(directory: Directory, text: str, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    try:
        read(directory.path / SPECS[0], text.encode(), environ)
    except SpecError as error:
        return error.problems
    return ()


def _taken(
    directory: Directory, form: str, value: str | None, service: Service | None, remarks: list[str]
) -> str | None:
    """Return a value of the compose file when a spec may have it."""
    if value is None or service is None:
        return None
    wrong = _wrong(directory, f"name: probe\nserver: {{image: postgres:17, {form % _flow(value)}}}", directory.environ)
    if not wrong:
        return value
    remarks.append(f"{service.path}: not taken: {wrong[0].message}")
    return None


def _image(directory: Directory, machine: Machine, service: Service | None, remarks: list[str]) -> str:
    if service and service.image:
        wrong = _wrong(directory, f"name: probe\nserver: {{image: {_flow(service.image)}}}", directory.environ)
        if not wrong:
            return service.image
        image, _ = machine.image()
        remarks.append(f"{service.path}: {wrong[0].message.removeprefix('`image`: ')}; the spec has {image}")
        return image
    image, why = machine.image()
    remarks += [why] if why else []
    return image


def _settings(
    directory: Directory, image: str, service: Service | None, remarks: list[str]
) -> Iterable[tuple[str, str]]:
    for key, value in service.settings if service else ():
        where = f"settings: {{{_flow(key)}: {_flow(value)}}}"
        wrong = _wrong(directory, f"name: probe\nserver: {{image: {_flow(image)}, {where}}}", directory.environ)
        if wrong and service:
            advice = f" ({wrong[0].suggestion})" if wrong[0].suggestion else ""
            remarks.append(f"{service.path}: {key} was not taken: {wrong[0].message}{advice}")
        else:
            yield key, value


def _resources(directory: Directory, service: Service | None, remarks: list[str]) -> Iterable[str]:
    for key, value in service.resources if service else ():
        if _taken(directory, f"resources: {{{key}: %s}}", value, service, remarks):
            yield f"{key}: {plain(value)}"


def _port(
    directory: Directory, options: Options, machine: Machine, compose: Compose | None, remarks: list[str]
) -> tuple[str, str, str | None]:
    """Return the port, what to say of it in the spec, and the command that makes it free."""
    if options.port is not None:
        return options.port, "", None
    service = compose.service if compose else None
    declared = _taken(directory, "port: %s", service.port if service else None, service, remarks)
    if declared and compose and service:
        number = _VARIABLE.sub(lambda match: match[2] or "", declared)
        who = machine.listener(int(number)) if number.isdigit() else None
        stop = f"docker compose stop {quote(service.name)}" if who and _is_of(who, compose, service) else None
        if who:
            remarks.append(
                f"port {number}, which {service.path} publishes, is in use by {who}: stop that server first, or write "
                "`port: auto`"
            )
        return declared, "", stop
    who = machine.listener(DEFAULT_PORT)
    if who is None:
        return str(DEFAULT_PORT), "", None
    remarks.append(f"port {DEFAULT_PORT} is in use by {who}, so the spec says `port: auto`")
    return "auto", f"  # one that is free, and kept; {DEFAULT_PORT} was taken", None


def _is_of(who: str, compose: Compose, service: Service) -> bool:
    """Whether a container is that of a service, by the names that Compose gives."""
    match = re.fullmatch(r"the container '(.+)'", who)
    numbered = rf".+[-_]{re.escape(service.name)}[-_]\d+"
    return match is not None and (match[1] in compose.names or re.fullmatch(numbered, match[1]) is not None)


def _password(service: Service | None) -> tuple[str, str]:
    """Return where the password comes from, and what to say of it in the spec."""
    if service and service.password:
        return plain(service.password), f"  # as in {service.path}"
    if service and service.file:
        return f"{{file: {_flow(service.file)}}}", f"  # as in {service.path}"
    return _GENERATED, "  # made once, and kept in .provision/; `provision url` prints it"


def _variable(directory: Directory, service: Service | None) -> tuple[list[str], str | None]:
    """Return the `env_file` that has the password's variable, and the command that sets it where no file has it."""
    match = _VARIABLE.fullmatch(service.password) if service and service.password else None
    if match is None or (name := match[1]) in directory.environ:
        return [], None
    known = {*(service.env_files if service else ()), *(each for each in directory.texts if each.endswith(".env"))}
    files = sorted(known, key=lambda each: (each != BESIDE, each))
    for path in files:
        if name in variables_of(directory.texts[path]):
            return [] if path == BESIDE else [*files[: files[0] == BESIDE], path], None
    return [], None if match[2] else f"read -rs {name} && export {name}"


def _unignored(machine: Machine, directory: Directory, service: Service | None, files: list[str]) -> Iterable[str]:
    """Yield a remark where a file has the password's variable, and Git would take that file into a commit."""
    match = _VARIABLE.fullmatch(service.password) if service and service.password else None
    path = files[-1] if files else BESIDE
    if match is None or match[1] not in variables_of(directory.texts.get(path, "")):
        return
    if not machine.is_ignored(path):
        yield f"{path} has the password, and git does not ignore it: add {path} to .gitignore before you commit"


def _tree(tree: Tree, directory: Directory, *, several: bool) -> Iterable[tuple[str, str]]:
    if several:
        yield "name", plain(tree.name)
    if tree.config is not None:
        yield "config", plain(tree.config)
    else:
        yield "script_location", plain(tree.script or ".")
    if tree.section != "alembic":
        yield "section", plain(tree.section)
    yield "target", tree.target
    if tree.cwd is not None:
        yield "cwd", plain(tree.cwd)
    if (python := directory.interpreter(tree.config or tree.script)) and "alembic" in python.packages:
        yield "python", plain(python.path)
    if tree.version_table:
        yield "version_table", plain(tree.version_table)
    if tree.version_table_schema:
        yield "version_table_schema", plain(tree.version_table_schema)
    if tree.ways.driver:
        yield "url_driver", plain(tree.ways.driver)
    yield from tree.ways.lines()


def _flow(text: str) -> str:
    """Return a text as YAML between brackets."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


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


def _check(directory: Directory, text: str, options: Options, service: Service | None, trees: tuple[Tree, ...]) -> None:
    """Let the loader read the spec; files that are only about to be made may be missing.

    Raises:
        UsageError: it is wrong.
    """
    match = _VARIABLE.fullmatch(service.password) if service and service.password else None
    environ = {match[1]: "set later", **directory.environ} if match else directory.environ
    coming = {f"config: {plain(tree.config)}" for tree in trees if tree.config and tree.config not in directory.names}
    problems = [each for each in _wrong(directory, text, environ) if each.text.strip() not in coming]
    if problems:
        raise UsageError(
            "no valid spec comes of this, so nothing was written",
            evidence=[f"{each.message}{f' ({each.suggestion})' if each.suggestion else ''}" for each in problems],
            next_step=_corrected(options, problems),
        )
