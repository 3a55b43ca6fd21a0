"""The section ``migrations``: one Alembic tree, or a list of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.alembic.tree.location import LOCATING, locate
from provision.alembic.tree.targets import RELATIVE
from provision.errors import MigrationsError
from provision.spec.model import Migrations
from provision.spec.readers import boolean, duration, existing, identifier, name, text
from provision.spec.reading import Key, Wrong, attempt, failed, mapping, read_table, scalar
from provision.spec.tree_values import (
    PACKAGE,
    argv,
    attributes,
    environment,
    options,
    prepare,
    url_driver,
    x_arguments,
)
from provision.spec.yaml import Mapping, Scalar, Sequence

if TYPE_CHECKING:
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

MIGRATIONS_TIMEOUT = 15 * 60.0
MIGRATIONS_NAME = "alembic"

tree_name = name(
    "a name for migrations",
    r"[A-Za-z0-9][A-Za-z0-9_-]*",
    "it has letters, digits, `-` and `_`, and begins with a letter or a digit",
)


def _script_location(node: Node, reading: Reading) -> Any:
    written = reading.text(scalar(node, "a path"))
    if PACKAGE.fullmatch(written) and not (reading.path.parent / written).exists():
        return written
    value = existing("`script_location`", directory=True)(node, reading)
    if not (value / "env.py").is_file():
        shown = reading.show(scalar(node, "a path"))
        raise Wrong(f"there is no `env.py` in {shown}", "write the directory that `alembic init` made")
    return value


def _target(node: Node, reading: Reading) -> str:
    read = name("a target", r"\S+", "write `head`, `heads`, `base`, or a revision", 255, verbatim=True)
    value = read(node, reading)
    relative = RELATIVE.fullmatch(value)
    if relative and relative["start"] is None:
        shown = reading.show(scalar(node, "a target"))
        raise Wrong(
            f"{shown} counts from where the database is, so each apply would go further",
            "write where it shall stand: `head`, a revision, or a revision and steps like `1975ea+2`",
        )
    return value


def _schema(node: Node, reading: Reading) -> str | None:
    if isinstance(node, Scalar) and node.is_null:
        return None
    return identifier(node, reading)


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
}
_NOT_WITH_COMMAND = ("prepare", "options", "attributes", "x", "transaction_per_revision", "lock_timeout")


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
            reading.report(item.mark, "these migrations have the name of others in the list", "write another name")
        elif (same := next((other for other in trees if _history(other) == _history(tree)), None)) is not None:
            reading.report(
                item.mark,
                f"`{same.name}` and `{tree.name}` are one tree with one version table",
                "keep one (with `target: heads` for several branches), or give each its own `version_table`",
            )
        trees.append(tree)
    return tuple(trees)


def _history(tree: Migrations) -> tuple[Any, ...]:
    """Return what makes the history of a database: where the revisions are, and where is noted what is applied."""
    place: Any = (tree.script_location, tree.package, tree.config, tree.section)
    if not any(place[:3]):
        return (object(),)  # what it says is wrong, and reported
    with suppress(MigrationsError, OSError, UnicodeError):
        text = tree.config.read_text(encoding="utf-8") if tree.config else None
        found = locate(tree, text, Path)
        place = (found.script.resolve(), *[each.resolve() for each in found.versions])
    return place, tree.version_table, tree.version_table_schema or "public"


def _tree(node: Node, reading: Reading) -> Migrations | None:
    entries = mapping(node, "`script_location: ../migrations` and the like below it")
    if not entries.entries and not entries.duplicates:
        return None
    values = read_table(entries, MIGRATIONS_KEYS, reading, "`migrations`")
    _check_together(entries, values, reading)
    if reading.may_lack and not values.keys() >= entries.entries.keys():
        return None  # a variable that it needs is not set, and that was reported
    place = values.pop("script_location", None)
    defaults = {
        "name": MIGRATIONS_NAME,
        "config": None,
        "target": "head",
        "allow_downgrade": False,
        "python": None,
        "version_table": "alembic_version",
        "version_table_schema": None,
        "timeout": MIGRATIONS_TIMEOUT,
    }
    if "target" in values:
        values["target_place"] = f"{reading.path}:{entries.entries['target'][1].mark.line}"
    if isinstance(place, str):
        return Migrations(
            **{"script_location": None, "package": place, "cwd": reading.path.parent, **defaults, **values}
        )
    return Migrations(**{"script_location": place, **defaults, **values})


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
        reading.report(keys["section"].mark, "`section` names a section of `config`, and there is none", "add `config`")
    told = values.get("options", {})
    for each in _NOT_WITH_COMMAND if "command" in keys else ():
        if each in keys and not (each == "options" and told and set(told) <= set(LOCATING)):
            advice = "remove it, or pass it on as an argument of the program"
            reading.report(keys[each].mark, f"`{each}` has no meaning with `command`", advice)
    if "command" in keys and values.get("allow_downgrade"):
        reading.report(keys["allow_downgrade"].mark, "`command` can only upgrade", "remove `allow_downgrade`")
