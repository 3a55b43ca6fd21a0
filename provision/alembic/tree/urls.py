"""How an ``env.py`` gets the URL of its database, found by reading it and the project's modules that it imports."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.alembic.tree import variables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Find = Callable[[str], tuple[str, str] | None]
    """The name of a module → its name as a package's or module's, and its text; None where the project has none."""

_MOST_MODULES = 100
_TEMPLATES = {"credentials": "{user}:{password}"}
_URL_LIKE = re.compile(r"(?i)url|uri|dsn|conninfo")
_SCHEME = re.compile(r"\b(postgres(?:ql)?(?:\+\w+)?)://")
_BARE = re.compile(r"""\b(?:replace|startswith|removeprefix|split|sub)\(\s*r?["']\^?(postgres(?:ql)?)(?::|["'])""")
"""Code that puts a driver into a URL without one."""
_OPTIONS = {"get_main_option": 0, "get_alembic_option": 0, "get_section_option": 1}
"""Functions of the configuration, and where in their arguments the option's name is."""
_PREFIXED = {"engine_from_config", "async_engine_from_config"}


@dataclass(frozen=True)
class Ways:
    """What the spec can set so that ``env.py`` connects to the declared server: templates by name.

    ``driver`` is how its URL begins, where the project's own texts show that.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    x: Mapping[str, str] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    driver: str | None = None
    module: str | None = None
    """The module of the application whose settings it reads."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield each key of ``migrations`` with the value to write."""
        for key in ("options", "x", "env"):
            if found := getattr(self, key):
                yield key, "{" + ", ".join(f'{name}: "{text}"' for name, text in found.items()) + "}"
        if self.attributes:
            yield "attributes", "{" + ", ".join(f"{name}: true" for name in self.attributes) + "}"


def ways(text: str, find: Find, samples: Mapping[str, str] | None = None) -> Ways:
    """Return the ways of one ``env.py``; ``samples`` are values of variables that the project shows, as in ``.env``."""
    try:
        env = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return Ways()
    modules = _reached(env, find)
    found = variables.read([env, *(tree for _, _, tree in modules)])
    named = {each: what for each in found if (what := variables.part(each.name))}
    if set(named.values()) >= variables.COMPLETE:  # a URL is made of them where none is given
        named = {each: what for each, what in named.items() if what != "url" or each.default is None}
    urls = [each for each, what in named.items() if what == "url"]
    sources = [text, *(source for _, source, _ in modules)]
    return Ways(
        env={each.name: _TEMPLATES.get(what, f"{{{what}}}") for each, what in named.items()},
        options=_options(env),
        x=dict.fromkeys(_looked_up(env, "get_x_argument"), "{url}"),
        attributes=tuple(dict.fromkeys(_attributes(env))),
        driver=_driver(urls, samples or {}, sources) if urls else None,
        module=next((name for name, _, tree in modules if variables.read([tree])), None),
    )


def variables_of(text: str, find: Find) -> frozenset[str]:
    """Return the names of the environment variables that an ``env.py``, or a module that it imports, reads."""
    try:
        env = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    trees = [env, *(tree for _, _, tree in _reached(env, find))]
    return frozenset(each.name for each in variables.read(trees))


def _reached(env: ast.Module, find: Find) -> list[tuple[str, str, ast.Module]]:
    """Return the project's modules that are imported, directly or by another: name, text and syntax tree."""
    found: dict[str, tuple[str, str, ast.Module]] = {}
    waiting = list(_imports(env, ""))
    while waiting and len(found) < _MOST_MODULES:
        name = waiting.pop(0)
        if name in found or (module := find(name)) is None:
            continue
        package, text = module
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        found[name] = (name, text, tree)
        waiting += _imports(tree, package)
    return list(found.values())


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            name = ".".join(filter(None, [*base, node.module or ""]))
            yield name
            yield from (f"{name}.{each.name}" for each in node.names)


def _options(env: ast.Module) -> dict[str, str]:
    """Return the options of the configuration that hold a URL, ``sqlalchemy.url`` excepted, which is always set."""
    found = dict.fromkeys(_looked_up(env, "get_section"), "{url}")
    for node in _calls(env):
        called = _last(node.func)
        texts = [_text(each) for each in node.args]
        if called in _OPTIONS and len(texts) > _OPTIONS[called]:
            name = texts[_OPTIONS[called]] or ""
            if _URL_LIKE.search(name) and name != "sqlalchemy.url":
                found[name] = "{url}"
        elif called in _PREFIXED and texts:
            prefix = next((_text(each.value) for each in node.keywords if each.arg == "prefix"), None)
            prefix = prefix if prefix is not None else next((each for each in texts[1:] if each is not None), None)
            if prefix is not None and prefix != "sqlalchemy.":
                found[f"{prefix}url"] = "{url}"
    return found


def _looked_up(env: ast.Module, function: str) -> Iterator[str]:
    """Yield what holds a URL, as its name says, among the keys that are looked up in what a function returns."""
    held = {
        target.id
        for node in ast.walk(env)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and _last(node.value.func) == function
    }
    for name, source in _keys(env):
        is_held = (isinstance(source, ast.Name) and source.id in held) or (
            isinstance(source, ast.Call) and _last(source.func) == function
        )
        if is_held and _URL_LIKE.search(name) and name != "sqlalchemy.url":
            yield name


def _attributes(env: ast.Module) -> Iterator[str]:
    """Yield the attributes of the configuration without which there is no connection: ``attributes["connection"]``."""
    for name, source in _keys(env, optional=False):
        if _last(source) == "attributes" and re.search(r"(?i)conn|engine|bind", name):
            yield name


def _keys(env: ast.Module, *, optional: bool = True) -> Iterator[tuple[str, ast.expr]]:
    """Yield what is looked up by a name: the name, and where."""
    for node in ast.walk(env):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield _text(node.slice) or "", node.value
        elif optional and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            yield _text(node.args[0]) or "", node.func.value


def _driver(urls: list[variables.Variable], samples: Mapping[str, str], sources: list[str]) -> str | None:
    """Return how the URL begins that the project gives itself; without a driver only where its code adds one."""
    shown = [*(samples.get(each.name, "") for each in urls), *(each.default or "" for each in urls)]
    scheme = next((match[1] for each in shown if (match := _SCHEME.match(each))), None)
    if scheme is not None and "+" in scheme:
        return scheme
    completed = next((match[1] for source in sources if (match := _BARE.search(source))), None)
    return (scheme or completed) if completed else None


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
