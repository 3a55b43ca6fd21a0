"""Where the application's tables are: the declarative base, and every module that has tables on it.

An ``env.py`` that imports the base alone has empty metadata, and a comparison with it would drop every table. So all
modules with tables are found too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping

from provision.alembic.tree.source import last_name
from provision.errors import ProvisionError
from provision.model.value import dataclass, field

_HINT = (
    r"DeclarativeBase|declarative_base|as_declarative|generate_base|SQLAlchemy\(|SQLModel|__tablename__|MetaData\("
    r"|Table\("
)
_HAS_BASE = r"DeclarativeBase|declarative_base|as_declarative|generate_base|SQLAlchemy\(|SQLModel"
_CLASSES = {"DeclarativeBase", "DeclarativeBaseNoMeta"}
_CALLS = {"declarative_base", "generate_base"}
_OTHERS = r"(?:^|/)(?:tests?|testing|versions|alembic|migrations)/|(?:^|/)(?:conftest|setup|test_[^/]*|[^/]*_test)\.py$"


@dataclass(frozen=True)
class Base:
    """A name in a module that has the metadata of tables: ``metadata`` is the expression for it."""

    module: str
    name: str
    metadata: str
    path: str


@dataclass(frozen=True)
class Models:
    """Where the application's tables are.

    ``modules`` are those to import beside the modules of the ``bases``, ``tables`` all that define a table, and
    ``roots`` the directories to import from.
    """

    bases: tuple[Base, ...] = ()
    modules: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    roots: tuple[str, ...] = (".",)


@dataclass
class _Seen:
    """What one file has."""

    path: str
    bases: list[tuple[str, str]] = field(default_factory=list)
    """Names, and the expressions for their metadata."""
    plain: list[tuple[str, str]] = field(default_factory=list)
    """The same for ``MetaData`` without a base."""
    replaced: set[str] = field(default_factory=set)
    """Bases that Flask-SQLAlchemy takes as the pattern of its own."""
    parents: set[str] = field(default_factory=set)
    has_tables: bool = False


def find(contents: Mapping[str, str], names: Collection[str]) -> tuple[Models, list[str]]:
    """Return where the tables are, and remarks on files that could not be read.

    Raises:
        ProvisionError: no base was found, and a file that may have it cannot be parsed.
    """
    seen: list[_Seen] = []
    broken: dict[str, str] = {}
    texts = {path: text for path, text in sorted(contents.items()) if path.endswith(".py")}
    texts = {path: text for path, text in texts.items() if not re.search(_OTHERS, path)}
    for path, text in texts.items():
        if re.search(_HINT, text):
            _look(path, text, seen, broken)
    bases = list(_bases(seen, names))
    if not bases and (suspects := [place for path, place in broken.items() if re.search(_HAS_BASE, texts[path])]):
        raise ProvisionError(
            "cannot look for models: a file that names a declarative base is not valid Python",
            evidence=suspects,
            next_step="correct it, then: provision init",
        )
    children = re.compile(rf"^class .*\b(?:{'|'.join(re.escape(base.name) for base in bases)})\b", re.MULTILINE)
    known = {each.path for each in seen} | set(broken)
    for path, text in texts.items() if bases else ():
        if path not in known and children.search(text):
            _look(path, text, seen, broken)
    return _models(bases, seen, names), [f"{place}; it was not read" for place in broken.values()]


def _look(path: str, text: str, seen: list[_Seen], broken: dict[str, str]) -> None:
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = f"{path}:{error.lineno}:{error.offset}" if isinstance(error, SyntaxError) else path
        reason = "it is not UTF-8" if isinstance(error, UnicodeError) else getattr(error, "msg", None) or error
        broken[path] = f"{at}: not valid Python ({reason})"
        return
    found = _Seen(path)
    for statement in module.body:
        if isinstance(statement, ast.ClassDef):
            _class(statement, found)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Call):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    _assignment(target.id, statement.value, found)
    seen.append(found)


def _class(statement: ast.ClassDef, found: _Seen) -> None:
    parents = {last_name(each) for each in statement.bases}
    decorators = {last_name(each.func if isinstance(each, ast.Call) else each) for each in statement.decorator_list}
    found.parents |= parents
    if parents & _CLASSES or "as_declarative" in decorators:
        found.bases.append((statement.name, f"{statement.name}.metadata"))
    is_table = any(each.arg == "table" and getattr(each.value, "value", None) is True for each in statement.keywords)
    if is_table:
        found.bases.append(("SQLModel", "SQLModel.metadata"))
    named = {last_name(target) for each in statement.body if isinstance(each, ast.Assign) for target in each.targets}
    found.has_tables |= is_table or "__tablename__" in named or "__table__" in named


def _assignment(name: str, call: ast.Call, found: _Seen) -> None:
    called = last_name(call.func)
    if called in _CALLS:
        found.bases.append((name, f"{name}.metadata"))
    elif called == "SQLAlchemy":
        found.bases.append((name, f"{name}.metadata"))
        found.replaced |= {last_name(each.value) for each in call.keywords if each.arg == "model_class"}
    elif called == "MetaData":
        found.plain.append((name, name))
    found.has_tables |= called == "Table"


def _bases(seen: list[_Seen], names: Collection[str]) -> Iterator[Base]:
    replaced = {name for each in seen for name in each.replaced}
    declared = [(each, name, value) for each in seen for name, value in each.bases if name not in replaced]
    plain = [(each, name, value) for each in seen for name, value in each.plain]
    done = set()
    for each, name, value in declared or plain:
        module = "sqlmodel" if name == "SQLModel" else module_of(each.path, names)[1]
        if (module, name) not in done:
            done.add((module, name))
            yield Base(module, name, value, each.path)


def _models(bases: list[Base], seen: list[_Seen], names: Collection[str]) -> Models:
    if not bases:
        return Models()
    names = {base.name for base in bases} | {"Model"}
    paths = [each.path for each in seen if each.has_tables or each.parents & names]
    used = {*paths, *(base.path for base in bases if base.module != "sqlmodel")}
    places = {path: module_of(path, names) for path in sorted(used)}
    own = {base.module for base in bases}
    modules = [places[path][1] for path in sorted(paths) if places[path][1] not in own]
    # A child of SQLModel is a table only with `table=True`; without it, it is a schema of data.
    tables = [each.path for each in seen if each.has_tables or each.parents & (names - {"SQLModel"})]
    return Models(
        tuple(bases),
        tuple(dict.fromkeys(modules)),
        tuple(dict.fromkeys(places[path][1] for path in sorted(tables))),
        tuple(dict.fromkeys(root for root, _ in places.values())),
    )


def module_of(path: str, names: Collection[str]) -> tuple[str, str]:
    """Return the directory that a file is imported from (``.`` or ``src``), and the name of its module.

    A package is imported from the directory above its topmost ``__init__.py``. A file outside any package is taken for
    one of a namespace package, as far up as the directories have names that Python can say.
    """
    *folders, name = path.removesuffix(".py").split("/")
    at = len(folders)
    while at and "/".join((*folders[:at], "__init__.py")) in names:
        at -= 1
    if at == len(folders):
        while at and folders[at - 1].isidentifier() and not (at == 1 and folders[0] == "src"):
            at -= 1
    parts = folders[at:] if name == "__init__" else [*folders[at:], name]
    return "/".join(folders[:at]) or ".", ".".join(parts)
