"""Where a tree is: from the spec's ``script_location``, or from the text of an ini file or ``pyproject.toml``.

Relative paths in a configuration start at Alembic's working directory: the directory of the configuration file, unless
the spec names another.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from provision.errors import MigrationsError, translated
from provision.model.value import dataclass
from provision.spec.model import Migrations

_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}
_LOGGING = ("logger", "handler", "formatter", "post_write_hooks")
LOCATING = (
    "script_location",
    "version_locations",
    "path_separator",
    "version_path_separator",
    "recursive_version_locations",
)
"""The options of Alembic's configuration that say where a tree is."""


@dataclass(frozen=True)
class Location:
    """The directories of a tree. ``cwd`` is the working directory and import root of ``env.py``."""

    script: Path
    versions: tuple[Path, ...]
    recursive: bool
    cwd: Path

    @property
    def env(self) -> Path:
        """The environment's ``env.py``."""
        return self.script / "env.py"


def locate(tree: Migrations, config: str | None = None, find: Callable[[str], Path] | None = None) -> Location:
    """Find the directories of a tree.

    ``config`` is the text of ``tree.config`` where there is one; ``find`` returns the directory of a ``package:dir``.

    Raises:
        MigrationsError: the configuration does not say where, or says it in a way that needs an import.
    """
    given = {key: tree.options[key].reveal() for key in LOCATING if key in tree.options}
    script = tree.script_location
    if tree.package is not None:
        script = _path(tree.package, tree.cwd or Path(), Path("the spec"), find)
    if script is not None:
        return _location(script, tree.cwd or script.parent, given, Path("the spec"), find)
    if tree.config is None or config is None:
        sentence = "a tree needs its script_location or its config"
        raise TypeError(sentence)
    is_toml = tree.config.suffix == ".toml"
    options = _toml(config, tree.config) if is_toml else _ini(config, tree.config, tree.section)
    options = {**options, **given}
    cwd = tree.cwd or tree.config.parent
    where = options.get("script_location")
    if not where:
        section = "" if tree.section == "alembic" else f" in its section [{tree.section}]"
        sentence = f"{tree.config} does not say where the migrations are{section}"
        advice = "write `script_location`, the directory with env.py, in place of `config`, or add it to the file: "
        advice += "`script_location = %(here)s/migrations`; it may also be in a pyproject.toml with [tool.alembic]"
        raise MigrationsError(sentence, next_step=advice)
    return _location(_path(str(where), cwd, tree.config, find), cwd, options, tree.config, find)


def _location(
    script: Path, cwd: Path, options: Mapping[str, Any], config: Path, find: Callable[[str], Path] | None
) -> Location:
    versions = tuple([_path(each, cwd, config, find) for each in _version_locations(options, config)])
    recursive = str(options.get("recursive_version_locations", "")).lower() in {"1", "true", "on", "yes"}
    return Location(script, versions or (script / "versions",), recursive, cwd)


def _ini(text: str, path: Path, section: str) -> Mapping[str, Any]:
    import configparser

    parser = configparser.ConfigParser({"here": str(path.parent)})
    advice = "rename the directory: Alembic takes a % in its path for a variable" if "%" in str(path.parent) else ""
    sentence = f"{path} is not a configuration that Alembic can read"
    wrong = MigrationsError(sentence, next_step=advice or "correct the file")
    with translated(configparser.Error, into=wrong):
        parser.read_string(text, str(path))
        if section != "alembic" and not parser.has_section(section):
            raise MigrationsError(
                f"{path} has no section [{section}]",
                evidence=[f"[{each}]" for each in parser.sections() if not each.startswith(_LOGGING)],
                next_step="correct `migrations.section` in the spec",
            )
        return {key: parser.get(section, key) for key in LOCATING if parser.has_option(section, key)}


def _toml(text: str, path: Path) -> Mapping[str, Any]:
    import tomllib

    try:
        table = tomllib.loads(text).get("tool", {}).get("alembic", {})
    except tomllib.TOMLDecodeError as error:
        raise MigrationsError(f"{path} is not valid TOML: {error}", next_step="correct the file") from None
    here = {"here": path.parent.as_posix()}
    found: dict[str, Any] = {}
    for key in LOCATING:
        value = table.get(key)
        if isinstance(value, str):
            found[key] = value % here
        elif isinstance(value, list):
            found[key] = [str(item) % here for item in value]
        elif value is not None:
            found[key] = value
    return found


def _version_locations(options: Mapping[str, Any], path: Path) -> list[str]:
    value = options.get("version_locations")
    if not value:
        return []
    if isinstance(value, list):
        return value
    word = options.get("path_separator", options.get("version_path_separator"))
    if word is None:
        return [each for each in re.split(r", *|(?: +)", value) if each]
    if word not in _SEPARATORS:
        sentence = f"{path} has `path_separator = {word}`"
        raise MigrationsError(sentence, next_step=f"write one of {', '.join(_SEPARATORS)}")
    return [each.strip() for each in value.split(_SEPARATORS[word]) if each.strip()]


def _path(text: str, cwd: Path, config: Path, find: Callable[[str], Path] | None) -> Path:
    if ":" not in text or Path(text).is_absolute():
        return Path(os.path.normpath(cwd / text))
    if find is not None:
        return find(text)
    raise MigrationsError(
        f"{config} names a place inside a Python package ({text}), which only an import could find",
        next_step="write the directory: `script_location = %(here)s/…`",
    )


_LOOP = rb"(?m)^\s*(?:async\s+)?(?:for|while)\b|\bfor\b.*\bin\b"
_RUNS = "run_migrations"
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.GeneratorExp)


def runs_in_a_loop(env: bytes) -> bool:
    """Tell whether an ``env.py`` runs migrations in a loop."""
    if not re.search(_LOOP, env):
        return False
    from provision.alembic.tree.source import parsed  # few trees have any of it

    module = parsed(env)
    if module is None:
        return False
    functions = {
        node.name: set(_names(node))
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    running = {_RUNS}
    while more := {name for name, names in functions.items() if names & running} - running:
        running |= more
    return any(set(_names(loop)) & running for loop in ast.walk(module) if isinstance(loop, _LOOPS))


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that are used below a node: a function may also be handed on, to ``run_sync()`` for example."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield each.attr


def is_in_repository(path: Path) -> bool:
    """Tell whether a directory above a path has a ``.git``, which in a worktree is a file."""
    return any((each / ".git").exists() for each in path.absolute().parents)


def adds_directories(env: bytes) -> tuple[int, tuple[str, ...]] | None:
    """Return where an ``env.py`` sets directories of revisions, and the texts that it names there; None: nowhere.

    It is the line of ``set_main_option("version_locations", …)``, or of what is put into ``script.version_locations``.
    """
    if b"version_locations" not in env:
        return None
    from provision.alembic.tree.source import parsed  # few trees have any of it

    module = parsed(env)
    if module is None:
        return None
    for node in ast.walk(module):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            is_setter = any(_is_locations(each) for each in targets)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = [each.value for each in node.args if isinstance(each, ast.Constant)]
            is_setter = (node.func.attr.startswith("set_") and "version_locations" in named) or (
                node.func.attr in {"append", "extend", "insert"} and _is_locations(node.func.value)
            )
        else:
            continue
        if is_setter:
            texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            return node.lineno, tuple([each for each in texts if isinstance(each, str) and "/" in each])
    return None


def _is_locations(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr.lstrip("_") == "version_locations"
