"""The Alembic trees that are there: from ``alembic.ini``, ``pyproject.toml``, or an ``env.py`` alone."""

from __future__ import annotations

import ast
import configparser
import os.path
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from shlex import quote

from provision.alembic.tree.env import ways
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.location import locate
from provision.errors import MigrationsError
from provision.init.found import Directory, Tree
from provision.model.value import replace
from provision.spec.model import Migrations
from provision.system.project import Machine

INI = "alembic.ini"
_TOML = "pyproject.toml"
_LOCATION = "script_location"
_TIMEOUT = 900.0
_NOWHERE = Path("/")


def find(directory: Directory) -> tuple[tuple[Tree, ...], list[str]]:
    """Return the trees that one spec can have, and remarks on the others.

    Raises:
        MigrationsError: a configuration is there and cannot be read, or does not say where the migrations are.
    """
    remarks: list[str] = []
    configs = sorted(_configs(directory), key=lambda path: (path.count("/"), path.endswith(_TOML), path))
    found = [each for path in configs[:1] for each in _trees(path, directory)]
    for path in configs[1:]:
        found += _beside(path, found, directory, remarks)
    if not configs:
        bare = sorted((path.count("/"), _parent(path)) for path in directory.texts if _is_bare(path, directory))
        found = [Tree("alembic", None, "alembic", place) for _, place in bare[:1]]
        remarks += [f"{place}/env.py is not in the spec, which has the tree in {bare[0][1]}" for _, place in bare[1:]]
    trees = [described(each, directory, remarks) for each in found]
    return tuple(_named(trees)), remarks


def _configs(directory: Directory) -> Iterator[str]:
    """Yield the files that say where a tree is: where both are in one directory, the one that Alembic listens to."""
    for path, text in directory.texts.items():
        if re.search(r"(?:^|/)(?:tests?|testing|examples?|docs?)/", path):
            continue
        name, beside = PurePosixPath(path).name, _join(_parent(path), _TOML)
        if name == _TOML:
            is_alone = "[tool.alembic]" in text and _join(_parent(path), INI) not in directory.texts
            is_config = is_alone or _is_toml(text)
        else:
            is_config = name == INI and not _is_toml(directory.texts.get(beside, ""))
        if is_config:
            yield path


def _is_toml(text: str) -> bool:
    return re.search(rf"^\s*\[tool\.alembic\](?:[^\[]|\[(?!tool))*?^\s*{_LOCATION}\s*=", text, re.MULTILINE) is not None


def _is_bare(path: str, directory: Directory) -> bool:
    here = PurePosixPath(path).parent
    beside = {str(here / "versions"), str(here / "script.py.mako")} & directory.names
    return PurePosixPath(path).name == "env.py" and bool(beside) and "alembic" in directory.texts[path]


def _beside(path: str, found: list[Tree], directory: Directory, remarks: list[str]) -> list[Tree]:
    """Return the trees of another configuration, where they can be migrated in one database with those found so far."""
    try:
        more = _trees(path, directory)
    except MigrationsError:
        more = []
    tables = [_table(each, directory) for each in (*found, *more)]
    if more and all(each.script for each in more) and len(set(tables)) == len(tables):
        return more
    known = {each.script for each in found}
    if not more or {each.script for each in more} - known:
        remarks.append(
            f"{path} is not in the spec: its tree has the version table of another one, and so needs another server: "
            f"provision init --directory {quote(_parent(path))} --port auto"
        )
    return []


def _table(found: Tree, directory: Directory) -> tuple[str | None, str | None]:
    tree = described(found, directory, [])
    return tree.version_table, tree.version_table_schema


def _trees(path: str, directory: Directory) -> list[Tree]:
    sections = ["alembic"]
    table: dict[str, str | None] = {}
    if path.endswith(INI):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(directory.texts[path], path)
        except configparser.Error as error:
            raise MigrationsError(
                f"{path} is not a configuration that Alembic can read",
                evidence=str(error).splitlines(),
                next_step="correct it, then: provision init",
            ) from None
        common = parser.defaults()
        own = [
            each for each in parser.sections() if parser.get(each, _LOCATION, fallback=None) != common.get(_LOCATION)
        ]
        sections = own or sections
        table = {each: parser.get(each, "version_table", fallback=None) for each in sections}
        here = _parent(path)
        if not own and _LOCATION not in common and f"{here}/env.py".removeprefix("./") in directory.texts:
            return [Tree("alembic", None, "alembic", here)]
    found = []
    for section in sections:
        script, cwd = _place(path, section, directory)
        found.append(Tree(section, path, section, script, cwd=cwd, version_table=table.get(section)))
    return found


def _place(path: str, section: str, directory: Directory) -> tuple[str | None, str | None]:
    """Return the directory of a tree and the one that its relative paths start in, None where that is the file's own.

    People call Alembic in the directory of the configuration, or in one above it (``alembic -c conf/alembic.ini``).

    Raises:
        MigrationsError: the configuration does not say where it is.
    """
    here = _parent(path)
    above = [str(each) for each in PurePosixPath(path).parents]
    script = _located(path, section, here, directory)
    for cwd in above:
        other = _located(path, section, cwd, directory)
        if other is not None and f"{other}/env.py" in directory.names:
            return other, None if cwd == here else cwd
    return script, None


def above(found: Tree, directory: Directory, machine: Machine) -> Tree:
    """Return a tree whose location leads nowhere in the project, and somewhere from a directory above it."""
    if found.config is None or found.script is None or f"{found.script}/env.py" in directory.names:
        return found
    below = os.path.relpath(found.script, _parent(found.config))
    for parent in directory.path.parents:
        if machine.exists(parent / below / "env.py"):
            return replace(found, script=None, cwd=os.path.relpath(parent, directory.path))
    return found


def _located(path: str, section: str, cwd: str, directory: Directory) -> str | None:
    """Return the directory of a tree, relative to the project; None where it is not in there."""

    def package(text: str) -> Path:
        name, _, below = text.partition(":")
        wanted = "/".join((name.replace(".", "/"), *below.split(":")))
        found = [each.removesuffix("/env.py") for each in directory.names if f"/{each}".endswith(f"/{wanted}/env.py")]
        return directory.path / min(sorted(found), key=len, default=_NOWHERE)

    config, start = directory.path / path, directory.path / cwd
    asked = Migrations("", None, config, "head", False, None, "", None, _TIMEOUT, section=section, cwd=start)
    place = locate(asked, directory.texts[path], package).script
    return place.relative_to(directory.path).as_posix() if place.is_relative_to(directory.path) else None


def _named(found: list[Tree]) -> Iterator[Tree]:
    """Give each tree a name of its own: that of its section, and of its directory where there are several files."""
    several = len({each.config for each in found}) > 1
    taken: set[str] = set()
    for each in found:
        folders = reversed(PurePosixPath(each.config or "").parts[:-1]) if several else ()
        places = [*folders, each.section] if each.section == "alembic" else [each.section, *folders]
        slugs = [re.sub(r"[^A-Za-z0-9_-]+", "-", place).strip("-_") or "tree" for place in places]
        name = next(
            name for name in (*slugs, *(f"{slugs[0]}-{number}" for number in range(2, 1000))) if name not in taken
        )
        taken.add(name)
        yield replace(each, name=name)


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _join(place: str, name: str) -> str:
    return name if place == "." else f"{place}/{name}"


# What the files of one Alembic tree say: how ``env.py`` gets its URL, where revisions are noted, how many heads.


_SAMPLE = r"""\b([A-Za-z_]\w*)["']?\s*[:=]\s*["']?((?:postgres|postgresql)(?:\+\w+)?://)"""
_PREPENDED = r"(?m)^\s*prepend_sys_path\s*=\s*(.+)$"
_FLASK = "SQLALCHEMY_DATABASE_URI"


def described(tree: Tree, directory: Directory, remarks: list[str]) -> Tree:
    """Return a tree with what its files tell."""
    path = f"{tree.script}/env.py"
    text = directory.texts.get(path)
    if tree.script is None or text is None:
        return tree
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        remarks.append(f"{path}:{getattr(error, 'lineno', 1)}: not valid Python ({getattr(error, 'msg', error)})")
        return tree
    if "engine_name=" in text and "run_migrations" in text:
        remarks.append(f"{path} migrates several databases (Alembic's template multidb), and a spec has one")
        return replace(tree, is_multiple=True)
    modules = _Modules(tree, directory)
    needs_app = "current_app" in text
    source = text + modules.flask() if needs_app else text
    return replace(
        tree,
        cwd=_home_of_app(tree, directory) if needs_app and tree.cwd is None else tree.cwd,
        ways=ways(source, modules.find, _samples(directory)),
        target=_target(tree, directory, remarks),
        version_table=tree.version_table or _literal(module, "version_table"),
        version_table_schema=_literal(module, "version_table_schema"),
    )


def _home_of_app(tree: Tree, directory: Directory) -> str | None:
    """Return the directory with the Flask application that ``env.py`` needs; None where Alembic's is the right one.

    ``flask db`` runs in the project, and ``Migrate(directory="db/migrations")`` may put the tree deep below it.
    """
    homes = [str(each) for each in PurePosixPath(tree.script or ".").parents]
    usual = _parent(tree.config) if tree.config else homes[0]
    makes = [path for path, text in directory.texts.items() if path.endswith(".py") and "Flask(" in text]
    home = next((each for each in homes if any(PurePosixPath(path).is_relative_to(each) for path in makes)), usual)
    return None if home == usual else home


class _Modules:
    """The project's modules, looked for where ``env.py`` finds them."""

    def __init__(self, tree: Tree, directory: Directory) -> None:
        self._texts = directory.texts
        cwd = tree.cwd or (tree.config or "").rpartition("/")[0]
        script = tree.script or ""
        above = [script[: match.start()] for match in re.finditer("/", script)][::-1]
        prepended = re.search(_PREPENDED, directory.texts.get(tree.config or "", ""))
        named = re.split(r"[\s:;,\[\]\"']+", prepended[1]) if prepended else []
        places = [cwd, *(f"{cwd}/{each.replace('%(here)s', '.')}" for each in named), *above, "", f"{cwd}/src", "src"]
        self._roots = list(
            dict.fromkeys("/".join(part for part in each.split("/") if part not in ("", ".")) for each in places)
        )

    def find(self, name: str) -> tuple[str, str] | None:
        """Return the package of a module of the project, and the module's text."""
        path = name.replace(".", "/")
        for root in self._roots:
            for file, package in ((f"{path}.py", name.rpartition(".")[0]), (f"{path}/__init__.py", name)):
                if (text := self._texts.get(f"{root}/{file}".lstrip("/"))) is not None:
                    return package, text
        return None

    def flask(self) -> str:
        """Return imports of the modules that configure Flask-SQLAlchemy, which ``env.py`` finds in the application."""
        found = sorted(path for path, text in self._texts.items() if path.endswith(".py") and _FLASK in text)
        names = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in found]
        return "".join(f"\nimport {name}" for name in names if all(map(str.isidentifier, name.split("."))))


def _samples(directory: Directory) -> dict[str, str]:
    """Return how the URLs begin that the project gives to variables: in ``.env`` first, then in examples of it."""
    paths = [
        path for path in directory.texts if ".env" in path or path.endswith((".yml", ".yaml", ".env", "env.example"))
    ]
    paths.sort(key=lambda path: (not path.endswith(".env"), ".env" not in path, path))
    found: dict[str, str] = {}
    for path in paths:
        for name, text in re.findall(_SAMPLE, directory.texts[path]):
            found.setdefault(name, text)
    return found


def _literal(module: ast.Module, name: str) -> str | None:
    """Return what a call gives for a keyword: a text, or the constant of that module that has it."""
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.keyword) and node.arg == name:
            value = constants.get(node.value.id) if isinstance(node.value, ast.Name) else node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return value.value
    return None


def _target(tree: Tree, directory: Directory, remarks: list[str]) -> str:
    """Return ``head``, or ``heads`` where the tree has several."""
    place = f"{tree.script}/versions/"
    sources = {
        directory.path / path: text.encode(errors="surrogateescape")
        for path, text in directory.texts.items()
        if path.startswith(place) and path.endswith(".py") and "/" not in path[len(place) :]
    }
    try:
        heads = sorted(Graph.of({path: text for path, text in sources.items() if path.name != "__init__.py"}).heads)
    except MigrationsError:
        return "head"  # what is wrong is said where the revisions are needed
    if len(heads) < 2:  # noqa: PLR2004
        return "head"
    remarks.append(f"{tree.script} has the heads {' and '.join(heads)}: the spec has `target: heads`, to apply all")
    return "heads"
