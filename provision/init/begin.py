"""What a directory has → what it lacks: the spec, an Alembic environment, models, a line in ``.gitignore``.

What is there stays as it is. A spec that the loader would refuse is never returned.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping as Texts, Sequence
from itertools import chain, count

from provision.alembic.tree import bases
from provision.alembic.tree.bases import Base, Models
from provision.errors import RefusedError
from provision.init import compose, trees
from provision.init.found import SPECS, Beginning, Directory, Finding, Interpreter, NewFile, Options, Tree
from provision.init.specfile import Draft
from provision.init.trees import INI
from provision.rendering import render_template
from provision.spec.layers import merged
from provision.spec.reading import shorten
from provision.spec.yaml import Mapping, Scalar, parse
from provision.system.project import Machine

TEMPLATES = ("alembic.ini.j2", "env.py.j2", "models.py.j2", "provision.yml.j2", "script.py.mako")
_IGNORED = ".provision/"
_COMPILED = "__pycache__/"
"""What Python leaves beside models and revisions: `git worktree remove` refuses with it, and `git add` takes it."""
_COMPILED_TOO = ("__pycache__", "*.pyc", "*.py[c")
_IGNORING = {".provision", "**/.provision", ".provision/*", ".provision/**"}


def begin(directory: Directory, options: Options, machine: Machine, templates: Texts[str, str]) -> Beginning:
    """Return what ``init`` does in a directory; ``templates`` maps each of :data:`TEMPLATES` to its text.

    Raises:
        ProvisionError: a file that decides what is written cannot be read.
        UsageError: what was asked for gives no valid spec.
        RefusedError: there is no name left for a file that has to be made.
    """
    spec = next((name for name in SPECS if name in directory.names), None)
    if spec is None:
        return _begin_anew(directory, options, machine, templates)
    unused, kept = _unused(options, spec), Finding(spec, "the spec, which stays as it is")
    parsed = parse(directory.texts.get(spec, "").encode(errors="surrogateescape"))
    if parsed.faults:
        why = f"{spec} is not a spec that can be read, and nothing is made beside it: provision validate shows why"
        return Beginning(None, spec, _gitignore(directory), (kept,), (*unused, why))
    top, unread = _with_base(parsed.top, directory)
    unused = (*unused, *_imports(top), *unread)
    if unread or (top is not None and _has(top, "migrations")):
        return Beginning(None, spec, _gitignore(directory), (kept,), unused)
    (tree, *_), files, more, remarks, message = _environment(directory, machine, templates)
    place = f"config: {tree.config}" if tree.config else f"script_location: {tree.script}"
    missing = f"{spec} has no migrations, and is not changed; add to it: migrations: {{{place}}}"
    said = (*unused, *remarks, missing)
    return Beginning(None, spec, (*files, *_gitignore(directory)), (kept, *more), said, _next(message, ()))


def _with_base(top: Mapping | None, directory: Directory) -> tuple[Mapping | None, tuple[str, ...]]:
    """Return what a spec says together with the one that it extends, and a remark where that was not read."""
    _, extends = top.entries.get("extends", (None, None)) if top is not None else (None, None)
    if top is None or not isinstance(extends, Scalar):
        return top, ()
    text = directory.texts.get(os.path.normpath(extends.text))
    base = parse(text.encode(errors="surrogateescape")).top if text is not None else None
    if base is None:
        return top, (f"{shorten(extends.text)}, which the spec extends, was not read: nothing is made beside it",)
    return merged(base, top), ()


def _unused(options: Options, spec: str) -> tuple[str, ...]:
    """Return a remark on each option that would have gone into a new spec."""
    keys = {"name": "`name`", "image": "`image` under `server`", "port": "`port` under `server`"}
    return tuple(
        f"--{option} was ignored, because {spec} exists: change {key} there"
        for option, key in keys.items()
        if getattr(options, option) is not None
    )


def _begin_anew(directory: Directory, options: Options, machine: Machine, templates: Texts[str, str]) -> Beginning:
    existing, files, found, remarks, message = _environment(directory, machine, templates)
    composed, said = compose.find(directory, machine.compose)
    draft = Draft(directory, options, machine, composed)
    is_new = message is not None or all(_has_no_revision(tree, directory) for tree in existing)
    spec = NewFile(SPECS[0], draft.write(existing, templates, is_new=is_new))
    if composed and (service := composed.service):
        found = (
            *found,
            Finding(service.path, f"the service {service.name}; its data is not copied: a new, empty database is made"),
        )
    pythons = [directory.interpreter(tree.config or tree.script) for tree in existing]
    found = (*found, *[Finding(each.path, _interpreter(each)) for each in dict.fromkeys(pythons) if each is not None])
    if not directory.complete:
        remarks.append("there are more files here than were looked at: models may be missing from env.py")
    return Beginning(
        draft.name,
        SPECS[0],
        (*files, *_gitignore(directory), spec),  # the spec last: it refers to the others
        found,
        (*remarks, *said, *draft.remarks),
        _next(message, draft.before),
    )


def _has_no_revision(tree: Tree, directory: Directory) -> bool:
    """Tell whether a tree is one that an earlier run made, and that has no revision yet."""
    versions = f"{tree.script}/versions/"
    return f"{versions}.gitkeep" in directory.names and not any(
        name.startswith(versions) and name.endswith(".py") for name in directory.names
    )


def _has(top: Mapping, key: str) -> bool:
    _, value = top.entries.get(key, (None, None))
    return value is not None and not (isinstance(value, Scalar) and value.is_null)


def _imports(top: Mapping | None) -> tuple[str, ...]:
    """Return a remark on a server that others run, whose roles and databases the spec does not declare."""
    _, server = top.entries.get("server", (None, None)) if top is not None else (None, None)
    _, runtime = server.entries.get("runtime", (None, None)) if isinstance(server, Mapping) else (None, None)
    if top is None or _has(top, "roles") or not isinstance(runtime, Scalar) or runtime.text != "external":
        return ()
    return ("`provision import` prints the roles and databases of the server, to be declared in the spec",)


def _environment(
    directory: Directory, machine: Machine, templates: Texts[str, str]
) -> tuple[tuple[Tree, ...], tuple[NewFile, ...], tuple[Finding, ...], list[str], str | None]:
    """Return the trees, the files of one that has to be made, what was found, remarks, and its first revision."""
    existing, remarks = trees.find(directory)
    existing = tuple(trees.above(each, directory, machine) for each in existing)
    found = tuple(Finding(tree.config or f"{tree.script}/env.py", _words(tree)) for tree in existing)
    if existing and any(tree.script is None or f"{tree.script}/env.py" in directory.names for tree in existing):
        return existing, (), found, remarks, None
    made, message, files, models, said = make(directory, existing[0] if existing else None, templates)
    return existing or (made,), files, (*found, *models), [*remarks, *said], message


def _words(tree: Tree) -> str:
    section = f", section {tree.section}" if tree.section != "alembic" else ""
    place = tree.script or (f"a directory below {tree.cwd}" if tree.cwd else "a package")
    return f"the Alembic tree in {place}{section}"


def _interpreter(python: Interpreter) -> str:
    packages = python.packages
    if "alembic" not in packages:
        return "has no Alembic, so provision's own interpreter runs the migrations"
    if not packages.intersection(DRIVERS):
        return "runs the migrations, and has no driver for PostgreSQL yet (psycopg2-binary, or psycopg[binary])"
    return "runs the migrations"


def _gitignore(directory: Directory) -> tuple[NewFile, ...]:
    text = directory.texts.get(".gitignore")
    if text is None:
        return () if ".gitignore" in directory.names else (NewFile(".gitignore", f"{_IGNORED}\n{_COMPILED}\n"),)
    if {line.strip().lstrip("/").removesuffix("/") for line in text.splitlines()} & _IGNORING:
        return ()
    end = "\r\n" if "\r\n" in text else "\n"
    before = "" if not text or text.endswith("\n") else end
    compiled = "" if any(each in text for each in _COMPILED_TOO) else f"{_COMPILED}{end}"
    return (NewFile(".gitignore", f"{before}{_IGNORED}{end}{compiled}", append=True),)


def _next(message: str | None, first: Sequence[str]) -> tuple[str, ...]:
    if message is None:
        return (*first, "provision plan", "provision apply")
    return (*first, "provision apply", f'provision migrate revision --autogenerate -m "{message}"', "provision apply")


_SCRIPTS = ("migrations", "alembic", "alembic_migrations")
_MODELS = ("models", "tables", "database_models")
DRIVERS = ("psycopg2", "psycopg", "asyncpg")
EXAMPLE = "create userdata"
TABLES = "create tables"


def make(
    directory: Directory, tree: Tree | None, templates: Texts[str, str]
) -> tuple[Tree, str, tuple[NewFile, ...], tuple[Finding, ...], list[str]]:
    """Return the tree that is made, the message of its first revision, its files, the models found, and remarks.

    ``tree`` is one whose configuration is there, and its directory is not.

    Raises:
        ProvisionError: a file is not valid Python, so models cannot be looked for.
        RefusedError: there is no name left for a file that has to be made.
    """
    models, remarks = bases.find(directory.texts, directory.names)
    files: list[NewFile] = []  # in an order in which a run that was broken off can be gone on with
    message = TABLES
    found = tuple(Finding(base.path, f"the tables of {base.metadata}") for base in models.bases)
    script = tree.script if tree and tree.script else _free(directory, _SCRIPTS, "migrations", remarks)
    files.append(NewFile(f"{script}/script.py.mako", templates["script.py.mako"]))
    files.append(NewFile(f"{script}/versions/.gitkeep", ""))
    if not models.bases:
        message, module = EXAMPLE, _free(directory, _MODELS, "models", remarks)
        files.append(NewFile(f"{module}.py", templates["models.py.j2"]))
        models = Models((Base(module, "Base", "Base.metadata", f"{module}.py"),))
    values = _values(directory, models, script)
    if tree is None:
        files.insert(0, NewFile(INI, render_template("alembic.ini.j2", templates, values)))
        tree = Tree("alembic", INI, "alembic", script)
    files.append(NewFile(f"{script}/env.py", _tidy(render_template("env.py.j2", templates, values))))
    return tree, message, tuple(file for file in files if file.path not in directory.names), found, remarks


def _values(directory: Directory, models: Models, script: str) -> dict[str, object]:
    """Return what the templates are filled with."""
    python = directory.interpreter()
    packages: frozenset[str] = python.packages if python else frozenset()
    driver = next((each for each in DRIVERS if each in packages), DRIVERS[0])
    named = _distinct(models.bases)
    metadata = [re.sub(r"^\w+", name, base.metadata) for name, base in named]
    roots = ["%(here)s" if root == "." else f"%(here)s/{root.replace('%', '%%')}" for root in models.roots]
    return {
        "asynchronous": driver == "asyncpg",
        "driver": driver,
        "modules": models.modules,
        "bases": [(base.module, base.name if base.name == name else f"{base.name} as {name}") for name, base in named],
        "metadata": metadata[0] if len(metadata) == 1 else f"[{', '.join(metadata)}]",
        "script_location": script,
        "roots": ":".join(roots),
    }


def _distinct(found: Iterable[Base]) -> list[tuple[str, Base]]:
    """Return bases under names that differ: those of several modules are often called the same."""
    named: dict[str, Base] = {}
    for base in found:
        names = chain((base.name,), (f"{base.name}{number}" for number in count(2)))
        named[next(name for name in names if name not in named)] = base
    return list(named.items())


def _tidy(text: str) -> str:
    """Return Python with no more than one empty line between imports, whatever part of them was left out."""
    head, mark, rest = text.partition("\nconfig = ")
    return re.sub(r"\n{3,}", "\n\n", head) + mark + rest


def _free(directory: Directory, names: tuple[str, ...], what: str, remarks: list[str]) -> str:
    """Return the first name that neither a directory nor a module has."""
    taken: list[str] = []
    for name in names:
        found = sorted({name, f"{name}.py"} & directory.names)
        if not found:
            remarks += [f"{each} is something else, and stays as it is; the new {what} are in {name}" for each in taken]
            return name
        taken += found
    raise RefusedError(
        f"there is no name left for {what}: {', '.join(names)} are all taken",
        next_step="rename one of them, then: provision init",
    )
