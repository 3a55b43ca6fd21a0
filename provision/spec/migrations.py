"""The section ``migrations``: one Alembic tree, or a list of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence as Sequence_
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from provision.alembic.child.fill import NAMES, unknown
from provision.alembic.tree.location import LOCATING, locate
from provision.alembic.tree.targets import RELATIVE
from provision.errors import MigrationsError
from provision.model import Secret
from provision.spec.model import Migrations
from provision.spec.readers import boolean, duration, existing, identifier, named, size, text
from provision.spec.reading import (
    Key,
    Reading,
    Wrong,
    all_of,
    attempt,
    failed,
    lazily,
    listed,
    mapping,
    nearest,
    one_or_more,
    read_table,
    scalar,
    shorten,
)
from provision.spec.yaml import Mapping, Node, Scalar, Sequence

PACKAGE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[\w./-]+(:[\w./-]+)*"
"""A place inside a Python package, as Alembic writes it: ``app.db:migrations``."""

_FUNCTION = r"(?P<place>.+):(?P<function>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
_MODULE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_ENVIRONMENT = r"\$\$|\$\{[^}]*\}"
_DRIVER = r"postgres(ql)?(\+[a-z0-9_]+)?"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_OPTION = r"[^\s=:#;\[][^\s=:]*"


def templates(kind: str, example: str, pattern: str) -> Callable[[Node, Reading], dict[str, Secret]]:
    """Return a reader of a mapping of names to texts in which ``{url}`` and the like can stand."""

    def read(node: Node, reading: Reading) -> dict[str, Secret]:
        found: dict[str, Secret] = {}
        for name, (key, value) in mapping(node, f"`{example}`").entries.items():
            if not re.fullmatch(pattern, name):
                reading.report(key.mark, f"`{shorten(name)}` cannot be the name of {kind}", f"for example `{example}`")
                continue
            template = attempt(_template, value, reading, key=name)
            if not failed(template):
                found[name] = template
        return found

    return read


options = templates("an option", "{url: '{url}'}", _OPTION)
environment = templates("an environment variable", "{DATABASE_URL: '{url}'}", _VARIABLE)
x_arguments = templates("an argument of `-x`", "{tenant: acme}", _OPTION)


def _template(node: Node, reading: Reading) -> Secret:
    found = scalar(node, "a text")
    value = reading.given_text(found)
    if "\0" in value:
        raise Wrong("the text has a NUL in it")
    for name in unknown(re.sub(_ENVIRONMENT, "", found.text)):
        meant = nearest(name, NAMES)
        advice = f"did you mean `{{{meant}}}`?" if meant else f"the names are {listed(NAMES)}"
        raise Wrong(f"`{{{shorten(name)}}}` is not a known name", f"{advice} (`{{{{…}}}}` is the text itself)")
    return Secret(value)


def attributes(node: Node, reading: Reading) -> dict[str, str]:
    """Read which live objects ``env.py`` finds in ``config.attributes``, and under which names."""
    example = "`{connection: true}`"
    found: dict[str, str] = {}
    for name, (_key, value) in mapping(node, example).entries.items():
        kind = attempt(_attribute, value, reading, key=name)
        if not failed(kind) and kind is not None:
            found[name] = "engine" if kind == "true" and name == "engine" else kind.replace("true", "connection")
    return found


def _attribute(node: Node, reading: Reading) -> str | None:
    word = reading.text(scalar(node, "`true`, `connection` or `engine`"))
    if word in ("connection", "engine"):
        return word
    try:
        return "true" if boolean(node, reading) else None
    except Wrong:
        shown = reading.show(scalar(node, ""))
        raise Wrong(f"{shown} cannot be handed in", "write `true`, `connection` or `engine`") from None


def url_driver(node: Node, reading: Reading) -> str:
    """Read how the URL begins: SQLAlchemy's name of the dialect, with a driver or without."""
    value = text("a dialect and its driver", "postgresql+psycopg")(node, reading)
    if re.fullmatch(_DRIVER, value):
        return value
    shown = reading.show(scalar(node, ""))
    if re.fullmatch(r"[a-z0-9_]+", value):
        raise Wrong(f"{shown} is no dialect and driver", f"write `postgresql+{value}`" if "$" not in shown else None)
    raise Wrong(f"{shown} is no dialect and driver", "for example `postgresql+psycopg`, `postgresql+asyncpg`")


def prepare(node: Node, reading: Reading) -> str:
    """Read what runs before ``env.py``: a file of Python, a function in one, or a function of a module."""
    written = scalar(node, "`prepare.py` or `module:function`")
    match = re.fullmatch(_FUNCTION, written.text)
    place, function = (match["place"], match["function"]) if match else (written.text, None)
    if not place.endswith(".py"):
        if function and re.fullmatch(_MODULE, place):
            return written.text
        shown = reading.show(written)
        raise Wrong(f"{shown} is neither a file of Python nor a function", "write `prepare.py` or `module:function`")
    file = existing("`prepare`", directory=False)(written._replace(text=place), reading)
    return f"{file}:{function}" if function else str(file)


def argv(node: Node, reading: Reading) -> tuple[str, ...]:
    """Read a program and its arguments."""
    if not isinstance(node, Sequence) or not node.items:
        raise Wrong("it must be a list: the program, then its arguments", "for example `[app, db, upgrade]`")
    return tuple(all_of(_argument, node.items, reading))


def _argument(node: Node, reading: Reading) -> str:
    if isinstance(node, Scalar) and node.is_null:
        raise Wrong("an argument is missing", 'an empty one is `""`')
    value: Any = reading.given_text(scalar(node, "a text"))
    if "\0" in value:
        raise Wrong("an argument cannot have a NUL in it")
    return str(value)


MIGRATIONS_NAME = "alembic"

_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
tree_name = named(
    "a name for migrations", _NAME, "it has letters, digits, `-` and `_`, and begins with a letter or a digit"
)


def _script_location(node: Node, reading: Reading) -> Any:
    written = reading.text(scalar(node, "a path"))
    if re.fullmatch(PACKAGE, written) and not (reading.directory(node) / written).exists():
        return written
    value = existing("`script_location`", directory=True)(node, reading)
    if not (value / "env.py").is_file():
        shown = reading.show(scalar(node, "a path"))
        raise Wrong(f"there is no `env.py` in {shown}", "write the directory that `alembic init` made")
    return value


def _target(node: Node, reading: Reading) -> str:
    read = named("a target", r"\S+", "write `head`, `heads`, `base`, or a revision", 255, verbatim=True)
    value = read(node, reading)
    relative = re.fullmatch(RELATIVE, value)
    if relative and relative["start"] is None:
        shown = reading.show(scalar(node, "a target"))
        raise Wrong(
            f"{shown} counts from where the database is, so each apply would go further",
            "write the target itself: `head`, a revision, or a revision and steps like `1975ea+2`",
        )
    return value


def _schema(node: Node, reading: Reading) -> str | None:
    if isinstance(node, Scalar) and node.is_null:
        return None
    return identifier(node, reading)


def named_role(node: Node, reading: Reading, *, use: Literal["as", "role"]) -> str:
    """Read the name of a role that is declared elsewhere."""
    value = identifier(node, reading)
    reading.mention("role", value, scalar(node, "a role"), use)
    return value


MIGRATIONS_KEYS = {
    "name": Key(tree_name),
    "script_location": Key(_script_location),
    "config": Key(existing("`config`", directory=False)),
    "target": Key(_target),
    "allow_downgrade": Key(boolean),
    "python": Key(existing("`python`", directory=False)),
    "version_table": Key(identifier),
    "version_table_schema": Key(_schema),
    "timeout": Key(duration),
    "section": Key(text("the name of a section", "alembic")),
    "cwd": Key(existing("`cwd`", directory=True)),
    "url_driver": Key(url_driver),
    "options": Key(options),
    "env": Key(environment),
    "attributes": Key(attributes),
    "lock_timeout": Key(duration),
    "transaction_per_revision": Key(boolean),
    "x": Key(x_arguments),
    "command": Key(argv),
    "prepare": Key(prepare),
    "ledger": Key(boolean),
    "as": Key(partial(named_role, use="as")),
    "role": Key(partial(named_role, use="role")),
    "tenants": Key(lazily("tenants", "tenants")),
    "max_replica_lag": Key(size(1)),
    "require_synchronous": Key(boolean),
}
_GIVEN = ("options", "env", "x")
_NOT_WITH_COMMAND = ("prepare", "options", "attributes", "x", "transaction_per_revision", "lock_timeout")


def migrations(
    node: Node, reading: Reading, *, database: str | None = None, others: Sequence_[Migrations] = (), meant: str = ""
) -> tuple[Migrations, ...]:
    """Read one tree of migrations, or a list of them.

    They are those of a ``database``, which also gives its name to one, or of the one that is ``meant`` at the top of
    the file. ``others`` are those that were read before.
    """
    items = list(one_or_more(node))
    trees: list[Migrations] = []
    for item in items:
        read = partial(_tree, database=database)
        tree = attempt(read, item, reading) if isinstance(node, Sequence) else read(item, reading)
        if failed(tree) or tree is None:
            continue
        if len(items) > 1 and not (isinstance(item, Mapping) and "name" in item.entries):
            reading.report(item.mark, "migrations in a list need the key `name`", "for example `name: app`")
        else:
            _compare(tree, (*others, *trees), item, reading, meant)
        trees.append(tree)
    return tuple(trees)


def _compare(tree: Migrations, others: Sequence_[Migrations], node: Node, reading: Reading, meant: str) -> None:
    """Report a tree that another one is already, by its name or by its history."""
    if any(tree.name == other.name for other in others):
        reading.report(node.mark, "these migrations have the name of others in the list", "write another name")
    elif same := next((each for each in others if _history(each, meant) == _history(tree, meant)), None):
        reading.report(
            node.mark,
            f"`{same.name}` and `{tree.name}` are one tree with one version table",
            "keep one (with `target: heads` for several branches), or give each its own `version_table`",
        )


def _history(tree: Migrations, meant: str) -> tuple[Any, ...]:
    """Return what makes the history of a database: where the revisions are, and where is noted what is applied."""
    place: Any = (tree.script_location, tree.package, tree.config, tree.section)
    if not any(place[:3]):
        return (object(),)  # what it says is wrong, and reported
    with suppress(MigrationsError, OSError, UnicodeError):
        text = tree.config.read_text(encoding="utf-8") if tree.config else None
        found = locate(tree, text, Path)
        place = (found.script.resolve(), *[each.resolve() for each in found.versions])
    table = (tree.version_table, tree.version_table_schema or "public", tree.tenants)
    return place, tree.database or meant, *table


def _tree(node: Node, reading: Reading, database: str | None) -> Migrations | None:
    entries = mapping(node, "`script_location: ../migrations` and the like below it")
    if not entries.entries and not entries.duplicates:
        return None
    values = read_table(entries, MIGRATIONS_KEYS, reading, "`migrations`")
    if database and "name" not in entries.entries and not re.fullmatch(_NAME, database):
        raise Wrong("the name of this database cannot be that of its migrations", "give them one: `name: app`")
    _check_together(entries, values, reading)
    if reading.may_lack and not values.keys() >= entries.entries.keys():
        return None  # a variable that it needs is not set, and that was reported
    if "target" in values:
        values["target_place"] = reading.place(entries.entries["target"][1].mark)
    if isinstance(package := values.get("script_location"), str):
        start = reading.directory(entries.entries["script_location"][1])
        values = {"cwd": start, **values, "script_location": None, "package": package}
    login = values.pop("as", None)
    return Migrations(**{"name": database or MIGRATIONS_NAME, "database": database, "login": login, **values})


def _check_together(entries: Mapping, values: dict[str, Any], reading: Reading) -> None:
    """Report keys that contradict each other.

    Raises:
        Wrong: nothing says where the tree is.
    """
    keys = {each: entries.entries[each][0] for each in entries.entries}
    given = [keys[each] for each in ("script_location", "config") if each in keys]
    if len(given) > 1:
        later = max(given, key=lambda key: key.mark)
        reading.report(later.mark, "there are both `script_location` and `config`", "keep one of them")
    elif not given:
        why = "; it tells which revisions there are" if "command" in keys else ""
        raise Wrong(f"it needs `script_location` or `config`{why}", "for example `script_location: ../migrations`")
    if values.get("section", "alembic") != "alembic" and "config" not in keys:
        reading.refuse(entries, "section", "`section` names a section of `config`, which is missing", "add `config`")
    if "tenants" in keys or any(
        "tenant}" in each.reveal() for kind in _GIVEN for each in values.get(kind, {}).values()
    ):
        from provision.spec.tenants import check

        check(entries, values, reading)
    options_ = values.get("options", {})
    for each in _NOT_WITH_COMMAND if "command" in keys else ():
        if not (each == "options" and options_ and set(options_) <= set(LOCATING)):
            advice = "remove it, or pass it on as an argument of the program"
            reading.refuse(entries, each, f"`{each}` has no meaning with `command`", advice)
    if "command" in keys and values.get("allow_downgrade"):
        reading.refuse(entries, "allow_downgrade", "`command` can only upgrade", "remove `allow_downgrade`")
