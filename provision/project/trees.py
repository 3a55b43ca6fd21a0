"""The Alembic trees that are there: from ``alembic.ini``, ``pyproject.toml``, or an ``env.py`` alone."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from provision.errors import MigrationsError
from provision.project.found import Tree
from provision.revisions import locate
from provision.spec.model import Migrations

if TYPE_CHECKING:
    from provision.project.found import Directory

INI = "alembic.ini"
_TOML = "pyproject.toml"
_LOCATION = "script_location"
_HOLDS_A_URL = re.compile(
    r"(?:\w+_)?(?:DATABASE|DB|SQLALCHEMY|POSTGRES|POSTGRESQL|PG|ALEMBIC)(?:_\w+)?_(?:URL|URI|DSN)"
)
_TIMEOUT = 900.0


def find(directory: Directory) -> tuple[tuple[Tree, ...], list[str]]:
    """Return the trees of the configuration nearest to the top, and remarks.

    Raises:
        MigrationsError: a configuration is there and cannot be read, or does not say where the migrations are.
    """
    remarks: list[str] = []
    configs = [path for path in directory.texts if _is_config(path, directory)]
    configs.sort(key=lambda path: (path.count("/"), path.endswith(_TOML), path))
    remarks += [f"{other} is not in the spec, which has the trees of {configs[0]}" for other in configs[1:]]
    if configs:
        return tuple(_trees(configs[0], directory, remarks)), remarks
    bare = sorted(
        (path.count("/"), str(PurePosixPath(path).parent)) for path in directory.texts if _is_bare(path, directory)
    )
    if not bare:
        return (), remarks
    return (_with_env(Tree("alembic", None, "alembic", bare[0][1]), directory, remarks),), remarks


def _is_config(path: str, directory: Directory) -> bool:
    name = PurePosixPath(path).name
    if re.search(r"(?:^|/)tests?/", path):
        return False
    return name == INI or (
        name == _TOML and re.search(r"^\s*\[tool\.alembic\]", directory.texts[path], re.MULTILINE) is not None
    )


def _is_bare(path: str, directory: Directory) -> bool:
    here = PurePosixPath(path).parent
    beside = {str(here / "versions"), str(here / "script.py.mako")} & directory.names
    return PurePosixPath(path).name == "env.py" and bool(beside) and "alembic" in directory.texts[path]


def _trees(path: str, directory: Directory, remarks: list[str]) -> list[Tree]:
    parser = configparser.ConfigParser(interpolation=None)
    sections: list[str] = []
    if path.endswith(INI):
        try:
            parser.read_string(directory.texts[path], path)
        except configparser.Error as error:
            raise MigrationsError(
                f"{path} is not a configuration that Alembic can read",
                evidence=str(error).splitlines(),
                next_step="correct it, then: provision init",
            ) from None
        sections = [each for each in parser.sections() if parser.has_option(each, _LOCATION)]
        here = str(PurePosixPath(path).parent)
        if not sections and f"{here}/env.py".removeprefix("./") in directory.texts:
            return [_with_env(Tree("alembic", None, "alembic", here), directory, remarks)]
    trees: list[Tree] = []
    for section in sections or ["alembic"]:
        found = Tree(_name(section, trees), path, section, _script(path, section, directory))
        table = parser.get(section, "version_table", fallback=None)
        trees.append(_with_env(found, directory, remarks, table))
    return trees


def _script(path: str, section: str, directory: Directory) -> str | None:
    """Return the directory of a tree, relative to the project; None where it is not in there.

    Raises:
        MigrationsError: the configuration does not say where it is.
    """
    config = directory.path / path
    asked = Migrations("", None, config, "head", False, None, "", None, _TIMEOUT, section=section)
    place = locate(asked, directory.texts[path], lambda _package: Path("/")).script
    return place.relative_to(directory.path).as_posix() if place.is_relative_to(directory.path) else None


def _name(section: str, before: list[Tree]) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", section).strip("-_") or "tree"
    taken = {each.name for each in before}
    return next(each for each in (name, *(f"{name}-{number}" for number in range(2, 1000))) if each not in taken)


def _with_env(tree: Tree, directory: Directory, remarks: list[str], table: str | None = None) -> Tree:
    """Add what the tree's ``env.py`` tells: variables that hold the URL, and where the revision is noted."""
    path = f"{tree.script}/env.py"
    text = directory.texts.get(path)
    if tree.script is None or text is None:
        return tree
    try:
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call | ast.Subscript)]
    except (SyntaxError, ValueError, RecursionError) as error:
        remarks.append(f"{path}:{getattr(error, 'lineno', 1)}: not valid Python ({getattr(error, 'msg', error)})")
        return tree
    names = [name for node in calls if (name := _variable(node)) and _HOLDS_A_URL.fullmatch(name)]
    literal = {
        key.arg: key.value.value
        for node in calls
        if isinstance(node, ast.Call)
        for key in node.keywords
        if isinstance(key.value, ast.Constant) and isinstance(key.value.value, str)
    }
    return Tree(
        tree.name,
        tree.config,
        tree.section,
        tree.script,
        tuple(dict.fromkeys(names)),
        table or literal.get("version_table"),
        literal.get("version_table_schema"),
    )


def _variable(node: ast.Call | ast.Subscript) -> str | None:
    """Return the name in ``os.environ["NAME"]``, ``os.environ.get("NAME")`` and ``os.getenv("NAME")``."""
    source = ast.unparse(node.value if isinstance(node, ast.Subscript) else node.func).removeprefix("os.")
    arguments = [node.slice] if isinstance(node, ast.Subscript) else node.args[:1]
    if source not in ("environ", "environ.get", "getenv"):
        return None
    return next(
        (each.value for each in arguments if isinstance(each, ast.Constant) and isinstance(each.value, str)), None
    )
