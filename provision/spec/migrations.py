"""The section ``migrations``: one Alembic tree, or a list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.spec.model import Migrations
from provision.spec.readers import boolean, duration, existing, identifier, name
from provision.spec.reading import LATER, Key, Wrong, attempt, failed, mapping, read_table, scalar
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
    "target": Key(name("a target", r"\S+", "write `head`, `heads`, `base`, or a revision", 255, verbatim=True)),
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
            reading.report(item.mark, "these migrations have the name of others in the list", "write another name")
        trees.append(tree)
    return tuple(trees)


def _tree(node: Node, reading: Reading) -> Migrations | None:
    entries = mapping(node, "`script_location: ../migrations` and the like below it")
    if not entries.entries and not entries.duplicates:
        return None
    values = read_table(entries, MIGRATIONS_KEYS, reading, "`migrations`")
    given = [entries.entries[each][0] for each in ("script_location", "config") if each in entries.entries]
    if len(given) > 1:
        later = max(given, key=lambda key: key.mark)
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
