"""How an ``env.py`` gets the URL of its database: found by reading it and the modules that it imports.

Variables are calls and lookups (``os.environ["NAME"]``, ``os.getenv("NAME")``, ``config("NAME")`` of Starlette and of
decouple, ``env.str("NAME")``), and the fields of pydantic's settings, with their prefixes and nested models:
https://docs.pydantic.dev/latest/concepts/pydantic_settings/#environment-variable-names
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from provision.alembic.tree.source import last_name, parsed, text_of
from provision.model.value import dataclass, field

Find = Callable[[str], tuple[str, str] | None]
"""The name of a module → its name as a package's or module's, and its text; None where the project has none."""


_MOST_MODULES = 100
_TEMPLATES = {"credentials": "{user}:{password}"}
_URL_LIKE = r"(?i)url|uri|dsn|conninfo"
_SCHEME = r"\b(postgres(?:ql)?(?:\+\w+)?)://"
_BARE = r"""\b(?:replace|startswith|removeprefix|split|sub)\(\s*r?["']\^?(postgres(?:ql)?)(?::|["'])"""
"""Code that puts a driver into a URL without one, or only takes `postgres://`, the spelling of some hosts, as well."""
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
    env = parsed(text)
    if env is None:
        return Ways()
    modules = _reached(env, find)
    found = read_variables([env, *(tree for _, _, tree in modules)])
    named = {each: what for each in found if (what := part(each.name))}
    if set(named.values()) >= COMPLETE:  # a URL is made of them where none is given
        named = {each: what for each, what in named.items() if what != "url" or each.default is None}
    urls = [each for each, what in named.items() if what == "url"]
    sources = [text, *(source for _, source, _ in modules)]
    return Ways(
        env={each.name: _TEMPLATES.get(what, f"{{{what}}}") for each, what in named.items()},
        options=dict.fromkeys(filter(_is_url, _options(env)), "{url}"),
        x=dict.fromkeys(filter(_is_url, _looked_up(env, "get_x_argument")), "{url}"),
        attributes=tuple(dict.fromkeys(_attributes(env))),
        driver=_driver(urls, samples or {}, sources) if urls else None,
        module=next((name for name, _, tree in modules if read_variables([tree])), None),
    )


def variables_of(text: str, find: Find) -> frozenset[str]:
    """Return the names of the environment variables that an ``env.py``, or a module that it imports, reads."""
    env = parsed(text)
    if env is None:
        return frozenset()
    trees = [env, *(tree for _, _, tree in _reached(env, find))]
    return frozenset(each.name for each in read_variables(trees))


def _reached(env: ast.Module, find: Find) -> list[tuple[str, str, ast.Module]]:
    """Return the project's modules that are imported, directly or by another: name, text and syntax tree."""
    found: dict[str, tuple[str, str, ast.Module]] = {}
    waiting = list(_imports(env, ""))
    while waiting and len(found) < _MOST_MODULES:
        name = waiting.pop(0)
        if name in found or (module := find(name)) is None:
            continue
        package, text = module
        if tree := parsed(text):
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


def _is_url(name: str) -> bool:
    """Whether a name says that it is that of a URL; ``sqlalchemy.url`` is always set."""
    return re.search(_URL_LIKE, name) is not None and name != "sqlalchemy.url"


def _options(env: ast.Module) -> Iterator[str]:
    """Yield the options of the configuration that are looked up."""
    yield from _looked_up(env, "get_section")
    for node in (each for each in ast.walk(env) if isinstance(each, ast.Call)):
        called = last_name(node.func)
        texts = [text_of(each) for each in node.args]
        if called in _OPTIONS and len(texts) > _OPTIONS[called]:
            yield texts[_OPTIONS[called]] or ""
        elif called in _PREFIXED and texts:
            prefix = next((text_of(each.value) for each in node.keywords if each.arg == "prefix"), None)
            prefix = prefix if prefix is not None else next((each for each in texts[1:] if each is not None), None)
            if prefix is not None:
                yield f"{prefix}url"


def _looked_up(env: ast.Module, function: str) -> Iterator[str]:
    """Yield the keys that are looked up in what a function returns."""
    held = {
        target.id
        for node in ast.walk(env)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and last_name(node.value.func) == function
    }
    for name, source in _keys(env):
        if (isinstance(source, ast.Name) and source.id in held) or (
            isinstance(source, ast.Call) and last_name(source.func) == function
        ):
            yield name


def _attributes(env: ast.Module, *, optional: bool = False) -> Iterator[str]:
    """Yield the attributes of the configuration without which there is no connection: ``attributes["connection"]``."""
    for name, source in _keys(env, optional=optional):
        if last_name(source) == "attributes" and re.search(r"(?i)conn|engine|bind", name):
            yield name


def _keys(env: ast.Module, *, optional: bool = True) -> Iterator[tuple[str, ast.expr]]:
    """Yield what is looked up by a name: the name, and where."""
    for node in ast.walk(env):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield text_of(node.slice) or "", node.value
        elif optional and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            yield text_of(node.args[0]) or "", node.func.value


def _driver(urls: list[Variable], samples: Mapping[str, str], sources: list[str]) -> str | None:
    """Return how the URL begins that the project gives itself; without a driver only where its code adds one."""
    shown = [*(samples.get(each.name, "") for each in urls), *(each.default or "" for each in urls)]
    scheme = next((match[1] for each in shown if (match := re.match(_SCHEME, each))), None)
    if scheme is not None and "+" in scheme:
        return scheme
    bare = ((name, source) for source in sources for name in re.findall(_BARE, source))
    completed = next((name for name, source in bare if name != "postgres" or "postgresql+" in source), None)
    return (scheme or completed) if completed else None


_DATABASES = {"postgres", "postgresql", "pg", "psql", "db", "database", "sql", "sqlalchemy", "alembic", "migration"}
_OTHERS = {
    *("redis", "mongo", "mongodb", "mysql", "mariadb", "sqlite", "oracle", "mssql", "clickhouse", "neo4j", "influx"),
    *("smtp", "mail", "email", "rabbitmq", "amqp", "celery", "broker", "cache", "elastic", "kafka", "s3", "minio"),
    *("test", "tests", "testing", "pytest"),
}
_URLS = {"url", "uri", "dsn", "urls", "conninfo"}
_PARTS = {
    "user": ("user", "username", "login"),
    "password": ("password", "passwd", "pass", "pwd", "pw"),
    "host": ("host", "hostname", "server", "address", "addr"),
    "port": ("port",),
    "database": ("name", "db", "database", "dbname"),
    "credentials": ("credentials", "creds"),
}
_LIBPQ = {"PGUSER": "user", "PGPASSWORD": "password", "PGHOST": "host", "PGPORT": "port", "PGDATABASE": "database"}
_ENVIRON = r"(?:.*\.)?environ|(?:\w+\.)?env"
_READERS = r"(?:.*\.)?environ\.(?:get|pop|setdefault)|(?:\w+\.)?getenv|\w*env\w*(?:\.\w+)?|(?:\w+\.)?config"
_DEEPEST = 3
"""Deep enough for a model in a model."""
COMPLETE = {"user", "password", "host", "database"}
"""The parts without which there is no URL."""


@dataclass(frozen=True)
class Variable:
    """A variable that Python reads, and the text that it has otherwise; None: it is required."""

    name: str
    default: str | None = None


def part(name: str) -> str | None:
    """Return what a variable holds, as its name says: ``url``, or a part of it; None where it has another purpose.

    >>> part("POSTGRES_SERVER"), part("DATABASE_URL_ASYNC"), part("REDIS_HOST"), part("HOST")
    ('host', 'url', None, None)
    """
    if name.upper() in _LIBPQ:
        return _LIBPQ[name.upper()]
    words = [each for each in re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()) if each]
    if not _DATABASES & set(words[:-1] or words) and not (words and _URLS & set(words) and _DATABASES & set(words)):
        return None
    if _OTHERS & set(words) or len(words) == 1:
        return None
    if _URLS & set(words) or words[-2:] in (["connection", "string"], ["conn", "str"], ["conn", "string"]):
        return "url"
    return next((what for what, known in _PARTS.items() if words[-1] in known), None)


def read_variables(modules: Iterable[ast.Module]) -> list[Variable]:
    """Return the variables that modules read, those of settings last."""
    trees = list(modules)
    found = {each.name: each for tree in trees for node in ast.walk(tree) if (each := _called(node)) is not None}
    classes = _Classes(trees)
    for each in classes.variables():
        found.setdefault(each.name, each)
    return list(found.values())


def _called(node: ast.AST) -> Variable | None:
    """Return the variable that an expression reads."""
    if isinstance(node, ast.Subscript):
        name = text_of(node.slice)
        return Variable(name) if name and re.fullmatch(_ENVIRON, ast.unparse(node.value)) else None
    if not isinstance(node, ast.Call) or not node.args or (name := text_of(node.args[0])) is None:
        return None
    source = ast.unparse(node.func)
    if not re.fullmatch(_READERS, source):
        return None
    rest = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "default")]
    default = next((text for each in rest if (text := text_of(each)) is not None), "")
    return Variable(name, default if rest or source.endswith((".get", "getenv")) else None)


@dataclass
class _Class:
    """A class of settings or of a model in them."""

    parents: list[str]
    fields: dict[str, tuple[str, str | None, list[str]]] = field(default_factory=dict)
    """Name → the words of its annotation, its default, and the names of variables given for it."""
    options: dict[str, str] = field(default_factory=dict)


class _Classes:
    """The classes of several modules, by their names."""

    def __init__(self, modules: Iterable[ast.Module]) -> None:
        nodes = [node for tree in modules for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        self._known = {node.name: _class(node) for node in nodes}

    def variables(self) -> Iterator[Variable]:
        """Yield the variables of all classes of settings."""
        for name in self._known:
            family = list(self._family(name))
            if any(each.endswith("BaseSettings") and each not in self._known for each in family):
                classes = [self._known[each] for each in family if each in self._known]
                options = {key: value for each in classes for key, value in each.options.items()}
                yield from self._of(name, options.get("env_prefix", ""), options)

    def _family(self, name: str, depth: int = 0) -> Iterator[str]:
        """Yield a class after its parents, near and far, which may be those of a library."""
        if name in self._known and depth <= _DEEPEST:
            for each in self._known[name].parents:
                yield from self._family(each, depth + 1)
        yield name

    def _of(self, name: str, prefix: str, options: Mapping[str, str], depth: int = 0) -> Iterator[Variable]:
        """Yield the variables of one class whose names begin with ``prefix``."""
        delimiter, is_exact = options.get("env_nested_delimiter"), options.get("case_sensitive") == "True"
        classes = (self._known[each] for each in self._family(name) if each in self._known)
        for key, (annotation, default, given) in (each for known in classes for each in known.fields.items()):
            names = given or [f"{prefix}{key}"]
            models = [each for each in re.findall(r"\w+", annotation) if each in self._known]
            if not delimiter or not models:
                yield from (Variable(each if given or is_exact else each.upper(), default) for each in names)
            elif depth < _DEEPEST:
                for each in names:
                    yield from self._of(models[0], f"{each}{delimiter}", options, depth + 1)


def _class(node: ast.ClassDef) -> _Class:
    found = _Class([ast.unparse(each).rpartition(".")[2] for each in node.bases])
    for statement in node.body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(target, ast.Name) and target.id == "model_config":
            found.options |= _settings_options(getattr(statement, "value", None))
        elif isinstance(statement, ast.AnnAssign) and isinstance(target, ast.Name):
            found.fields[target.id] = _field(statement)
        elif isinstance(statement, ast.ClassDef) and statement.name == "Config":
            found.options |= _assigned(statement.body)
    found.options |= {each.arg: ast.unparse(each.value).strip("'\"") for each in node.keywords if each.arg}
    return found


def _settings_options(value: ast.AST | None) -> dict[str, str]:
    if isinstance(value, ast.Call):
        return {each.arg: _plain(each.value) for each in value.keywords if each.arg}
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return {str(text_of(key)): _plain(each) for key, each in pairs}
    return {}


def _assigned(body: Iterable[ast.stmt]) -> dict[str, str]:
    return {
        each.targets[0].id: _plain(each.value)
        for each in body
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
    }


def _plain(node: ast.expr) -> str:
    return text_of(node) if text_of(node) is not None else ast.unparse(node)  # type: ignore[return-value]  # asked before


def _field(statement: ast.AnnAssign) -> tuple[str, str | None, list[str]]:
    annotation = ast.unparse(statement.annotation)
    value = statement.value
    if value is None:
        return annotation, None, []
    if not isinstance(value, ast.Call):
        return annotation, text_of(value) or "", []
    given = {each.arg: each.value for each in value.keywords}
    names = [
        text
        for key in ("validation_alias", "alias", "env")
        if key in given
        for node in ast.walk(given[key])
        if (text := text_of(node)) is not None
    ]
    first = value.args[0] if value.args else given.get("default")
    is_required = first is None or ast.unparse(first) == "..."
    return annotation, None if is_required and not given.get("default_factory") else text_of(first) or "", names[:1]


_MAYBE_URL = r"(?i)(url|uri|dsn|database|conn|postgres|pg|db)"
_SETTINGS = r"(?im)^\s*from\s+([\w.]+)\s+import\s+[^#\n]*\b(\w*settings\w*|\w*config\w*|engine|\w*_url)\b"
_OURS = {"sqlalchemy.url", "version_table", "version_table_schema", "script_location"}


def guesses(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield what may lead an ``env.py`` to its database, most likely first: a key of ``migrations``, a name, a value.

    What it reads for other ends is left out as far as its name tells.
    """
    env = parsed(text)
    if env is None:
        return
    read = [each.name for each in read_variables([env])]
    for key, names in (("x", _looked_up(env, "get_x_argument")), ("options", _options(env)), ("env", read)):
        for name in dict.fromkeys(names):
            if name not in _OURS and re.search(_MAYBE_URL, name) and part(name) in (None, "url"):
                yield key, name, "'{url}'"
    yield from (("attributes", name, "true") for name in dict.fromkeys(_attributes(env, optional=True)))


def settings_module(env: str) -> str | None:
    """Return the application's module that ``env.py`` takes its URL from, as far as an import tells."""
    found = [
        match for match in re.findall(_SETTINGS, env) if not match[0].startswith(("alembic", "sqlalchemy", "logging"))
    ]
    return f"{found[0][0]}.{found[0][1]}" if found else None
