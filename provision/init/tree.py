"""What the files of one Alembic tree say: how ``env.py`` gets its URL, where revisions are noted, how many heads."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from provision.alembic.tree.env import ways
from provision.alembic.tree.graph import Graph
from provision.errors import MigrationsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.init.found import Directory, Tree

_SAMPLE = re.compile(r"""\b([A-Za-z_]\w*)["']?\s*[:=]\s*["']?((?:postgres|postgresql)(?:\+\w+)?://)""")
_PREPENDED = re.compile(r"^\s*prepend_sys_path\s*=\s*(.+)$", re.MULTILINE)
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
    source = text if "current_app" not in text else text + modules.flask()
    return replace(
        tree,
        ways=ways(source, modules.find, _samples(directory)),
        target=_target(tree, directory, remarks),
        version_table=tree.version_table or _literal(module, "version_table"),
        version_table_schema=_literal(module, "version_table_schema"),
    )


class _Modules:
    """The project's modules, looked for where ``env.py`` finds them."""

    def __init__(self, tree: Tree, directory: Directory) -> None:
        self._texts = directory.texts
        cwd = tree.cwd or (tree.config or "").rpartition("/")[0]
        script = tree.script or ""
        above = [script[: match.start()] for match in re.finditer("/", script)][::-1]
        prepended = _PREPENDED.search(directory.texts.get(tree.config or "", ""))
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
        return "".join(f"\nimport {name}" for path in found for name in self._names(path))

    def _names(self, path: str) -> Iterator[str]:
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if all(part.isidentifier() for part in name.split(".")):
            yield name


def _samples(directory: Directory) -> dict[str, str]:
    """Return how the URLs begin that the project gives to variables: in ``.env`` first, then in examples of it."""
    paths = [
        path for path in directory.texts if ".env" in path or path.endswith((".yml", ".yaml", ".env", "env.example"))
    ]
    paths.sort(key=lambda path: (not path.endswith(".env"), ".env" not in path, path))
    found: dict[str, str] = {}
    for path in paths:
        for name, text in _SAMPLE.findall(directory.texts[path]):
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
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            value = (
                constants.get(keyword.value.id, keyword.value) if isinstance(keyword.value, ast.Name) else keyword.value
            )
            if keyword.arg == name and isinstance(value, ast.Constant) and isinstance(value.value, str):
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
    names = " and ".join(heads)
    remarks.append(
        f"{tree.script} has {len(heads)} heads, {names}: the spec has `target: heads`, which applies them all"
    )
    return "heads"
