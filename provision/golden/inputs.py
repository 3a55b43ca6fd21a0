"""What an apply from nothing would make its data from, gathered from the spec, its trees and the runtime.

Nothing that the spec names is run for it. What is not there (port, host, the environment's name, passwords, the name of
the superuser) is brought to what is declared by steps that any data gets.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError
from provision.golden import keyed
from provision.golden.key import Inputs, UnknownError
from provision.golden.trees import of_trees
from provision.kinds import configuration
from provision.model import Secret
from provision.model.value import fields, is_dataclass
from provision.observe.outside import World
from provision.system import files
from provision.version import __version__

_SUPERUSER = "superuser"
_READS_MORE = (
    r"(?im)(?<!\\)\\(?:(?:ir?|include|include_relative|copy|lo_import|getenv)\b|!|(?:set|q?echo|warn|(?:el)?if|c)\b[^\n`]*`)"
    r"|^\s*\\\w+[^\n`]*`"
    r"|\bfrom\s+(?:program\s+)?(?:e|u&)?['$]+\w*\$?/|\b(?:file_fdw|(?:pg_(?:read|stat)_\w*file|pg_ls_\w+|lo_import)\s*\()"
)
"""What has a script read other files, or run programs: psql's commands, and the server's functions."""
_UNSEEN = (
    r"(log|logging|track|ssl|tcp|unix_socket|autovacuum|vacuum|bgwriter|checkpoint|max_parallel|max_wal|min_wal"
    r"|wal_writer|enable|jit|geqo|effective|huge|cpu|parallel|authentication|debug|update)_\w*"
    r"|listen_addresses|port|max_connections|max_worker_processes|max_files_per_process|\w*(_buffers|work_mem|_cost)"
    r"|fsync|synchronous_commit|full_page_writes|hash_mem_multiplier|superuser_reserved_connections|jit|geqo|ssl|autovacuum"
)
"""Settings that decide how fast a server is, what it logs and where it listens, and nothing that a revision makes."""
_RENDERED = ("compose", "configuration", "gitignore", "password")
_MOST_MOUNTED = 500
_SAMPLE = 1 << 18
OWN_VARIABLES = ("POSTGRES_USER=", "POSTGRES_PASSWORD", "BASH_ENV=")
_SHOWN = ("POSTGRES_DB", "POSTGRES_INITDB_ARGS", "POSTGRES_HOST_AUTH_METHOD", "LANG", "LC_ALL", "TZ")
"""Variables of a container whose values are no secrets."""
_ADVICE = ("--no-sync", "--sync-method", "--username", "--pwfile", "--pgdata")
"""Arguments of initdb that decide nothing about what it makes, or the name of the superuser."""


def gather(world: World) -> Inputs | str:
    """Return what the data of an environment would be made from; or why that is not known, in words."""
    try:
        cluster = _embedded(world) if world.runtime == "embedded" else _docker(world)
        cluster |= _scripts(world)
        return Inputs(cluster, _declared(world), tuple(of_trees(world)))
    except UnknownError as error:
        return str(error)
    except ProvisionError as error:
        return error.sentence


# --- what initdb and the image's scripts make


def _embedded(world: World) -> dict[str, str]:
    from provision.runtimes.embedded.command_line import initdb_argv

    programs = world.site.programs
    if programs is None:
        raise UnknownError("there are no programs of this version")
    argv = initdb_argv(programs, world.spec, durable=True)[1:]
    return {
        "runtime": "embedded",
        "major": str(world.spec.server.major),
        "programs": _build(programs, world.spec.server.major),
        "architecture": f"{platform.system()} {platform.machine()}",
        "initdb": " ".join([each for each in argv if not each.startswith(_ADVICE)]),
    }


def _build(programs: Path, major: int) -> str:
    """Return what tells one build of a server and its extensions from another, wherever they are installed."""
    server = programs / "postgres"
    with server.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_SAMPLE)
        file.seek(max(0, size - _SAMPLE))
        parts: list[Any] = [size, keyed.of_bytes(head + file.read(_SAMPLE))]
    places = (programs.parent / "share", programs.parent / "share/postgresql", Path(f"/usr/share/postgresql/{major}"))
    for each in [place / "extension" for place in places if (place / "extension").is_dir()][:1]:
        with os.scandir(each) as entries:
            found = sorted((entry.name, entry.stat().st_size, entry.path) for entry in entries)
        parts += [(name, length) for name, length, _ in found]
        parts += [keyed.of_file(Path(path)) for name, _, path in found if name.endswith(".control")]
    return keyed.text(parts)


def _docker(world: World) -> dict[str, str]:
    site: Any = world.site
    image = site.base_image
    if image is None:
        raise UnknownError("the engine does not have the image yet")
    body = site.creation.body
    mounted = [each for each in body["HostConfig"].get("Mounts", ()) if each["Type"] == "bind"]
    found = {
        "runtime": "docker",
        "major": str(world.spec.server.major),
        "image": str(image["Id"]),
        "architecture": " ".join([str(image.get(each) or "") for each in ("Os", "Architecture", "Variant")]),
        "user": str(body.get("User", "")),
        "command": " ".join(body.get("Cmd") or ()),
        "password_encryption": configuration.parse(_text(world, "configuration")).get("password_encryption", ""),
    }
    for each in sorted([each for each in body.get("Env", ()) if not each.startswith(OWN_VARIABLES)]):
        name, _, value = _without_advice(each).partition("=")
        found[f"variable {name}"] = value if name in _SHOWN else keyed.secret(value)
    for each in mounted:
        if not _is_ours(Path(each["Source"]), world):
            found[f"mount {each['Target']}"] = keyed.text(list(_below(Path(each["Source"]))))
    return found


def _without_advice(variable: str) -> str:
    name, _, value = variable.partition("=")
    if name != "POSTGRES_INITDB_ARGS":
        return variable
    return f"{name}={' '.join([each for each in value.split() if not each.startswith(_ADVICE)])}"


def _is_ours(source: Path, world: World) -> bool:
    data = getattr(world.spec.server.data, "path", None)
    return source.is_relative_to(world.spec.home) or source == data


def _below(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the files at or below a path of the host, with their digests."""
    if not path.is_dir():
        yield "", keyed.of_file(path)
        return
    for number, each in enumerate(sorted(path.rglob("*"))):
        if number > _MOST_MOUNTED:
            raise UnknownError(f"there are more than {_MOST_MOUNTED} files in {path}, which the container sees")
        if each.is_file():
            yield str(each.relative_to(path)), keyed.of_file(each)


def _scripts(world: World) -> dict[str, str]:
    """Return the scripts of ``server.initdb``, and what only they can see of the spec."""
    server = world.spec.server
    if not server.initdb:
        return {}
    if server.golden != "true":
        for each in server.initdb:
            if each.suffix == ".sql" and (found := re.search(_READS_MORE, files.read_text(each) or "")):
                what = found.group().strip()
                raise UnknownError(f"nothing tells what {each.name} reads with {what}; `server.golden: true` trusts it")
    digests = {f"initdb/{each.name}": keyed.of_file(each) or "" for each in server.initdb}
    order = " ".join([each.name for each in server.initdb])
    return {**digests, "scripts": order, "database": server.database, _SUPERUSER: server.user}


# --- what is declared in it


def _declared(world: World) -> dict[str, str]:
    spec = world.spec
    found = {"provision": __version__, "database": spec.server.database}
    texts = {name: _text(world, name) for name in world.files}
    settings = configuration.parse(texts.get("configuration", "")) if texts.get("configuration") else {}
    found |= {f"setting {name}": value for name, value in sorted(settings.items()) if not re.fullmatch(_UNSEEN, name)}
    found |= {f"file {name}": keyed.text(text) for name, text in texts.items() if name not in _RENDERED and text}
    found |= {f"role {name}": keyed.text(plain(each)) for name, each in sorted(spec.roles.items())}
    found |= {f"database {name}": keyed.text(plain(each)) for name, each in sorted(spec.databases.items())}
    return found


def _text(world: World, name: str) -> str:
    content = world.files[name].content
    return "" if isinstance(content, Secret) else content


def plain(value: Any) -> Any:
    """Return what a spec declares as JSON has it, without passwords and places.

    >>> plain({"b": (1, None), "a": frozenset("x")})
    {'b': [1, None], 'a': ['x']}
    """
    if is_dataclass(value) and not isinstance(value, type):
        kept = [each.name for each in fields(value) if each.compare and each.name != "password"]
        return {name: plain(getattr(value, name)) for name in kept}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain_items(value), key=str)
    if isinstance(value, list | tuple):
        return _plain_items(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _plain_items(values: Iterable[Any]) -> list[Any]:
    return [plain(each) for each in values]
