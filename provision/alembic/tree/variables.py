"""Variables that hold the URL of a database or a part of it, found in Python that is read and not run.

Those are calls and lookups (``os.environ["NAME"]``, ``os.getenv("NAME")``, ``config("NAME")`` of Starlette and of
decouple, ``env.str("NAME")``), and the fields of pydantic's settings, with their prefixes and nested models:
https://docs.pydantic.dev/latest/concepts/pydantic_settings/#environment-variable-names
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
_ENVIRON = re.compile(r"(?:\w+\.)?(?:environ|env)")
_READERS = re.compile(
    r"(?:\w+\.)?environ\.(?:get|pop|setdefault)|(?:\w+\.)?getenv|\w*env\w*(?:\.\w+)?|(?:\w+\.)?config"
)
_DEEPEST = 3
"""Deep enough for a model in a model."""
COMPLETE = {"user", "password", "host", "database"}
"""The parts without which there is no URL."""


@dataclass(frozen=True, slots=True)
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


def read(modules: Iterable[ast.Module]) -> list[Variable]:
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
        name = _text(node.slice)
        return Variable(name) if name and _ENVIRON.fullmatch(ast.unparse(node.value)) else None
    if not isinstance(node, ast.Call) or not node.args or (name := _text(node.args[0])) is None:
        return None
    source = ast.unparse(node.func)
    if not _READERS.fullmatch(source):
        return None
    rest = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "default")]
    default = next((text for each in rest if (text := _text(each)) is not None), "")
    return Variable(name, default if rest or source.endswith((".get", "getenv")) else None)


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


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
            if self._is_settings(name, 0):
                options = self._options(name, 0)
                yield from self._of(name, options.get("env_prefix", ""), options, 0)

    def _is_settings(self, name: str, depth: int) -> bool:
        known = self._known.get(name)
        if known is None or depth > _DEEPEST:
            return name.endswith("BaseSettings")
        return any(self._is_settings(each, depth + 1) for each in known.parents)

    def _options(self, name: str, depth: int) -> dict[str, str]:
        known = self._known.get(name)
        if known is None or depth > _DEEPEST:
            return {}
        inherited = [self._options(each, depth + 1) for each in known.parents]
        return {key: value for each in (*inherited, known.options) for key, value in each.items()}

    def _of(self, name: str, prefix: str, options: Mapping[str, str], depth: int) -> Iterator[Variable]:
        """Yield the variables of one class whose names begin with ``prefix``."""
        known = self._known.get(name)
        if known is None or depth > _DEEPEST:
            return
        for parent in known.parents:
            yield from self._of(parent, prefix, options, depth + 1)
        delimiter = options.get("env_nested_delimiter")
        for key, (annotation, default, given) in known.fields.items():
            names = given or [f"{prefix}{key}"]
            models = [each for each in re.findall(r"\w+", annotation) if each in self._known]
            if delimiter and models:
                for each in names:
                    yield from self._of(models[0], f"{each}{delimiter}", options, depth + 1)
                continue
            is_exact = options.get("case_sensitive") == "True"
            yield from (Variable(each if given or is_exact else each.upper(), default) for each in names)


def _class(node: ast.ClassDef) -> _Class:
    found = _Class([ast.unparse(each).rpartition(".")[2] for each in node.bases])
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found.fields[statement.target.id] = _field(statement)
        elif isinstance(statement, ast.ClassDef) and statement.name == "Config":
            found.options |= _assigned(statement.body)
    for statement in node.body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and target.id == "model_config":
            found.fields.pop("model_config", None)
            found.options |= _options(value)
    found.options |= {each.arg: ast.unparse(each.value).strip("'\"") for each in node.keywords if each.arg}
    return found


def _options(value: ast.AST | None) -> dict[str, str]:
    if isinstance(value, ast.Call):
        return {each.arg: _plain(each.value) for each in value.keywords if each.arg}
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return {str(_text(key)): _plain(each) for key, each in pairs}
    return {}


def _assigned(body: Iterable[ast.stmt]) -> dict[str, str]:
    return {
        each.targets[0].id: _plain(each.value)
        for each in body
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
    }


def _plain(node: ast.expr) -> str:
    return _text(node) if _text(node) is not None else ast.unparse(node)  # type: ignore[return-value]  # asked before


def _field(statement: ast.AnnAssign) -> tuple[str, str | None, list[str]]:
    annotation = ast.unparse(statement.annotation)
    value = statement.value
    if value is None:
        return annotation, None, []
    if not isinstance(value, ast.Call):
        return annotation, _text(value) or "", []
    given = {each.arg: each.value for each in value.keywords}
    names = [
        text
        for key in ("validation_alias", "alias", "env")
        if key in given
        for node in ast.walk(given[key])
        if (text := _text(node)) is not None
    ]
    first = value.args[0] if value.args else given.get("default")
    is_required = first is None or ast.unparse(first) == "..."
    return annotation, None if is_required and not given.get("default_factory") else _text(first) or "", names[:1]
