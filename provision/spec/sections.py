"""The sections of a spec: which keys each has, how they are read, and what holds where a key is left out.

The tables here are the list of what a spec may say; ``docs`` and ``spec-reference.yml`` describe the same keys. A key
whose reader is None is known and comes with a later version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.model import Secret
from provision.spec.image import image
from provision.spec.model import (
    DataPath,
    Ephemeral,
    Migrations,
    PasswordCommand,
    PasswordFile,
    PasswordGenerated,
    PasswordValue,
    Resources,
    Server,
    Spec,
    Volume,
)
from provision.spec.readers import (
    boolean,
    choice,
    cpus,
    duration,
    existing,
    host,
    identifier,
    name,
    path,
    port,
    refuse_misread,
    size,
    text,
)
from provision.spec.reading import Key, Wrong, attempt, failed, read_table, scalar
from provision.spec.settings import check_max_connections, max_connections, read_settings
from provision.spec.yaml import Mapping, Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType

    from provision.spec.model import Data, PasswordSource
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

MEBIBYTE = 1024 * 1024
DEFAULT_PORT = 5432
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 120.0
MIGRATIONS_TIMEOUT = 15 * 60.0
MIGRATIONS_NAME = "alembic"
LATER = Key(None)

_LONGEST_NAME = 48  # with `-data` and the like behind it still a host name
environment_name = name(
    "a name for an environment",
    r"[a-z0-9][a-z0-9_-]+",
    "it names a container, a volume and a project of Compose, so it has at least two characters, which are "
    "lower-case letters, digits, `-` and `_`, and begins with a letter or a digit",
    _LONGEST_NAME,
)
# https://github.com/moby/moby/blob/master/daemon/names/names.go
object_name = name(
    "a name for an object of the engine",
    r"[A-Za-z0-9][A-Za-z0-9_.-]+",
    "it has at least two characters, which are letters, digits, `-`, `_` and `.`, and begins with a letter or a digit",
    128,
)
tree_name = name(
    "a name for migrations",
    r"[A-Za-z0-9][A-Za-z0-9_-]*",
    "it has letters, digits, `-` and `_`, and begins with a letter or a digit",
)


def mapping(node: Node, example: str) -> Mapping:
    """Return ``node`` when it is a mapping; nothing at all is an empty one.

    Raises:
        Wrong: it is a text or a list.
    """
    if isinstance(node, Mapping):
        return node
    if isinstance(node, Scalar) and node.is_null:
        return Mapping(node.mark, node.end)
    raise Wrong(f"this is a {'list' if isinstance(node, Sequence) else 'text'}, and must be a mapping", f"write {example}")


def read_version(node: Node, reading: Reading) -> int:
    """Read the version of the spec's format; there is one."""
    found = scalar(node, "`1`")
    if reading.text(found) != "1":
        raise Wrong(f"{reading.show(found)} is not a version of the spec's format", "write `1`, or leave out the key")
    return 1


# --- Credentials -------------------------------------------------------------------------------------------------


def user(node: Node, reading: Reading) -> str:
    """Read the superuser's name."""
    value = identifier(node, reading)
    if value.startswith("pg_"):
        raise Wrong("names that begin with `pg_` are PostgreSQL's own", "write another one", at=node)
    return value


def password(node: Node, reading: Reading) -> PasswordSource:
    """Read where the password comes from."""
    forms = "a text, `{file: …}`, `{command: […]}` or `{generate: true}`"
    if isinstance(node, Sequence):
        raise Wrong(f"this is a list, and must be {forms}")
    if isinstance(node, Mapping):
        before = len(reading.problems)
        values = read_table(node, PASSWORD_KEYS, reading, "`password`")
        if len(reading.problems) > before:
            return PasswordGenerated()
        if len(values) != 1:
            raise Wrong(f"there must be one source, and there are {len(values)}", f"write {forms}")
        return next(iter(values.values()))  # type: ignore[no-any-return]
    if node.is_null:
        raise Wrong("there is no password", f"write {forms}")
    refuse_misread(node, reading)
    value = reading.text(node)
    if not value:
        raise Wrong("the password is empty", "`{generate: true}` makes one")
    if any(char in value for char in "\0\r\n"):
        raise Wrong("the password has a line break or a NUL in it", "write it in one line")
    return PasswordValue(Secret(value))


def _password_file(node: Node, reading: Reading) -> PasswordFile:
    return PasswordFile(path(node, reading))


def _password_command(node: Node, reading: Reading) -> PasswordCommand:
    if not isinstance(node, Sequence) or not node.items:
        raise Wrong("it must be a list: the program, then its arguments", "for example `[pass, show, shop]`")
    argv = [attempt(_argument, item, reading) for item in node.items]
    return PasswordCommand(tuple(each for each in argv if not failed(each)), reading.path.parent)


def _argument(node: Node, reading: Reading) -> str:
    found = scalar(node, "a text")
    value = reading.text(found)
    if "\0" in value:
        raise Wrong("an argument cannot have a NUL in it")
    return value


def _password_generated(node: Node, reading: Reading) -> PasswordGenerated:
    if not boolean(node, reading):
        raise Wrong("it can only be `true`", "leave out the key, and give another source")
    return PasswordGenerated()


PASSWORD_KEYS = {
    "file": Key(_password_file),
    "command": Key(_password_command),
    "generate": Key(_password_generated),
}
CREDENTIALS_KEYS = {"user": Key(user), "password": Key(password)}


def credentials(node: Node, reading: Reading) -> MappingType[str, Any]:
    """Read the superuser's name and password."""
    return read_table(mapping(node, "`{user: …, password: …}`"), CREDENTIALS_KEYS, reading, "`credentials`")


# --- The server --------------------------------------------------------------------------------------------------


def data(node: Node, reading: Reading) -> Data | None:
    """Read where the data lives; None is the default volume."""
    example = "one of `{volume: NAME}`, `{path: DIRECTORY}` and `{ephemeral: true}`"
    entries = mapping(node, example)
    values = read_table(entries, DATA_KEYS, reading, "`data`")
    if values.get("ephemeral") is False:
        del values["ephemeral"]
    if len(values) > 1:
        later = max((key for text_, (key, _) in entries.entries.items() if text_ in values), key=_place)
        raise Wrong(f"`{later.text}` comes beside another place for the data", f"write {example}", at=later)
    return next(iter(values.values()), None)


def _place(node: Scalar) -> tuple[int, int]:
    return node.mark.line, node.mark.column


def _volume(node: Node, reading: Reading) -> Volume:
    return Volume(object_name(node, reading))


def _data_path(node: Node, reading: Reading) -> DataPath:
    value = path(node, reading)
    if value == value.parent or value == reading.path.parent:
        raise Wrong("the server needs a directory of its own", "write a directory that holds nothing else")
    return DataPath(value)


def _ephemeral(node: Node, reading: Reading) -> Ephemeral | bool:
    return Ephemeral() if boolean(node, reading) else False


DATA_KEYS = {"volume": Key(_volume), "path": Key(_data_path), "ephemeral": Key(_ephemeral)}
RESOURCES_KEYS = {
    "memory": Key(size(6 * MEBIBYTE)),  # the engine's smallest
    "cpus": Key(cpus),
    "shm_size": Key(size(MEBIBYTE)),
}


def resources(node: Node, reading: Reading) -> Resources:
    """Read the limits of the container."""
    return Resources(**read_table(mapping(node, "`{memory: 1g, cpus: 2}`"), RESOURCES_KEYS, reading, "`resources`"))


SERVER_KEYS = {
    "runtime": Key(choice("auto", "docker", "embedded", "external")),
    "image": Key(image, required=True, example="image: postgres:17"),
    "container_name": Key(object_name),
    "host": Key(host),
    "port": Key(port),
    "max_connections": Key(max_connections),
    "settings": Key(lambda node, _: mapping(node, "`shared_buffers: 256MB` and the like below it")),
    "credentials": Key(credentials),
    "database": Key(identifier),
    "data": Key(data),
    "resources": Key(resources),
    "ready_timeout": Key(duration),
    "stop_timeout": Key(duration),
    "bin_dir": LATER,
    "sslmode": LATER,
    "sslrootcert": LATER,
    "settings_via": LATER,
}


def server(node: Node, reading: Reading, environment: str) -> Server:
    """Read the section ``server``; ``environment`` is the name that its defaults are made of."""
    values = read_table(
        mapping(node, "`image: postgres:17` and the like below it"), SERVER_KEYS, reading, "`server`", _ELSEWHERE
    )
    reference, major = values.get("image", ("", 0))
    login = values.get("credentials", {})
    declared = values.get("settings")
    if major:
        check_max_connections(values.get("max_connections"), declared, major, reading)
    number = values.get("max_connections")
    return Server(
        image=reference,
        major=major,
        runtime=values.get("runtime", "auto"),
        container_name=values.get("container_name", environment),
        host=values.get("host", "127.0.0.1"),
        port=values.get("port", DEFAULT_PORT),
        max_connections=number.value if number else None,
        settings=read_settings(declared, major, reading) if declared and major else {},
        user=login.get("user", "postgres"),
        password=login.get("password", PasswordGenerated()),
        database=values.get("database", login.get("user", "postgres")),
        data=values.get("data") or Volume(f"{environment}-data"),
        resources=values.get("resources", Resources()),
        ready_timeout=values.get("ready_timeout", READY_TIMEOUT),
        stop_timeout=values.get("stop_timeout", STOP_TIMEOUT),
    )


# --- Migrations --------------------------------------------------------------------------------------------------


def _script_location(node: Node, reading: Reading) -> Any:
    value = existing("`script_location`", directory=True)(node, reading)
    if not (value / "env.py").is_file():
        shown = reading.show(scalar(node, "a path"))
        raise Wrong(f"there is no `env.py` in {shown}", "write the directory that `alembic init` made")
    return value


def _schema(node: Node, reading: Reading) -> str | None:
    if isinstance(node, Scalar) and node.is_null:
        return None
    return identifier(node, reading)


MIGRATIONS_KEYS = {
    "name": Key(tree_name),
    "script_location": Key(_script_location),
    "config": Key(existing("`config`", directory=False)),
    "target": Key(name("a target", r"\S+", "write `head`, `heads`, `base`, or a revision", 255)),
    "allow_downgrade": Key(boolean),
    "python": Key(existing("`python`", directory=False)),
    "version_table": Key(identifier),
    "version_table_schema": Key(_schema),
    "timeout": Key(duration),
    **dict.fromkeys(
        (
            "section",
            "cwd",
            "url_driver",
            "options",
            "env",
            "attributes",
            "lock_timeout",
            "transaction_per_revision",
            "x",
            "command",
        ),
        LATER,
    ),
}


def migrations(node: Node, reading: Reading) -> tuple[Migrations, ...]:
    """Read one tree of migrations, or a list of them."""
    if not isinstance(node, Sequence):
        tree = _tree(node, reading)
        return (tree,) if tree else ()
    trees: list[Migrations] = []
    for item in node.items:
        tree = attempt(_tree, item, reading)
        if failed(tree) or tree is None:
            continue
        named = isinstance(item, Mapping) and "name" in item.entries
        if not named and len(node.items) > 1:
            reading.report(item.mark, "migrations in a list need the key `name`", "for example `name: app`")
        elif any(tree.name == other.name for other in trees):
            reading.report(item.mark, f"two migrations have the name `{tree.name}`", "write another name")
        trees.append(tree)
    return tuple(trees)


def _tree(node: Node, reading: Reading) -> Migrations | None:
    entries = mapping(node, "`script_location: ../migrations` and the like below it")
    if not entries.entries and not entries.duplicates:
        return None
    values = read_table(entries, MIGRATIONS_KEYS, reading, "`migrations`", _ELSEWHERE)
    given = [entries.entries[each][0] for each in ("script_location", "config") if each in entries.entries]
    if len(given) > 1:
        later = max(given, key=_place)
        reading.report(later.mark, "there are both `script_location` and `config`", "keep one of them")
    elif not given and not any(each in entries.entries for each in ("command", "section")):
        raise Wrong("it needs `script_location` or `config`", "for example `script_location: ../migrations`")
    return Migrations(
        name=values.get("name", MIGRATIONS_NAME),
        script_location=values.get("script_location"),
        config=values.get("config"),
        target=values.get("target", "head"),
        allow_downgrade=values.get("allow_downgrade", False),
        python=values.get("python"),
        version_table=values.get("version_table", "alembic_version"),
        version_table_schema=values.get("version_table_schema"),
        timeout=values.get("timeout", MIGRATIONS_TIMEOUT),
    )


# --- The whole ---------------------------------------------------------------------------------------------------


def _templates(node: Node, reading: Reading) -> Any:
    value = existing("`templates`", directory=True)(node, reading)
    if not any((value / each).is_file() for each in ("docker-compose.yml.j2", "postgresql.conf.j2")):
        raise Wrong(
            f"neither `docker-compose.yml.j2` nor `postgresql.conf.j2` is in {reading.show(scalar(node, 'a path'))}",
            "put one there, or leave out the key",
        )
    return value


SPEC_KEYS = {
    "version": Key(read_version),
    "name": Key(environment_name, required=True, example="name: shop-dev"),
    "server": Key(lambda node, _: node, required=True, example="server: {image: postgres:17}"),
    "templates": Key(_templates),
    "migrations": Key(migrations),
    "roles": LATER,
    "databases": LATER,
}
# Keys that have one home, for those who look for them in another section.
_ELSEWHERE = {
    key: section
    for section, keys in (
        ("server.credentials", CREDENTIALS_KEYS),
        ("server.resources", RESOURCES_KEYS),
        ("server.data", {"volume": None, "ephemeral": None}),
        ("server", SERVER_KEYS),
        ("migrations", MIGRATIONS_KEYS),
    )
    for key in keys
    if key != "name"
}


def spec(top: Mapping, reading: Reading) -> Spec | None:
    """Read the whole file; None when the server could not be read at all. Problems are in ``reading``."""
    values = read_table(top, SPEC_KEYS, reading, "the spec", _ELSEWHERE)
    environment = values.get("name", "unnamed")
    if "server" not in values:
        return None
    found = attempt(lambda node, _: server(node, reading, environment), values["server"], reading, key="server")
    if failed(found):
        return None
    return Spec(
        path=reading.path,
        name=environment,
        server=found,
        templates=values.get("templates"),
        migrations=values.get("migrations", ()),
    )
