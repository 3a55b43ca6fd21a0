"""The Alembic trees of a spec: their files are read when the revisions are needed, and what was read is cached.

Most verbs need no revisions: they stop a server or read its log in whatever state its migrations are. The cache only
saves time: a missing, damaged or older one is the same as none. It holds what the revision files state, and what only
the tree's interpreter knows (where a package is, a computed id), which takes seconds to ask.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from provision.alembic.tree.graph import Graph
from provision.alembic.tree.location import Location, adds_directories, locate, runs_in_a_loop
from provision.alembic.tree.source import Fields, NotStaticError, digest, id_fault, names_version_num, stamp, stated_id
from provision.alembic.tree.targets import resolve
from provision.errors import MigrationsError, Problem, ProvisionError, SpecError, UsageError, as_word
from provision.model import MASK, Endpoint
from provision.model.value import dataclass, replace
from provision.spec.model import Migrations, Spec
from provision.system import owned
from provision.system.files import without_waiting, write_atomically
from provision.system.variables import cache_home

_SHORT = 6
_MANY = 50
"""Revisions that take longer to read than the cache of another environment."""
_LONG_AGO = 90 * 86400.0
_DIGITS = 32
_unwritten: dict[Path, str] = {}
"""What this process has learned and no cache holds yet: looking writes nothing, and nothing is asked twice in a run."""
_loaded: dict[str, tuple[tuple[Any, ...], Graph]] = {}
"""By the name of a tree, how its files looked before they were read last, and what they state: a run looks often."""


class Trees(Mapping[str, "Graph"]):
    """The revisions of each tree by its name, as they are when they are first needed."""

    def __init__(self, spec: Spec, *, cached: bool = True) -> None:
        self._cache = spec.home / "cache" if cached else None
        self._declared: dict[str, Migrations] = {tree.name: tree for tree in spec.migrations}
        self._read: dict[str, tuple[Graph, Location]] = {}

    def __getitem__(self, name: str) -> Graph:
        """Return the revisions of a tree.

        Raises:
            provision.errors.MigrationsError: there is no tree there, or it is not in order.
        """
        return self._load(name)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    def location(self, name: str) -> Location:
        """Return where the files of a tree are.

        Raises:
            provision.errors.MigrationsError: as above.
        """
        return self._load(name)[1]

    def read(self) -> None:
        """Read those that can be read without running anything of them, to have them when they are needed.

        Raises:
            provision.errors.MigrationsError: one cannot.
        """
        for name in self._declared:
            self._read[name] = load(self._declared[name], self._cached(name), runs=False)

    @property
    def are_remembered(self) -> bool:
        """Whether what was read is in the caches, so that the next run would not be quicker with new ones."""
        return not any(path.parent == self._cache for path in _unwritten)

    def remember(self) -> None:
        """Write what was learned into the caches; being unable to is no error."""
        if self._cache is not None:
            remember(self._cache)

    def _load(self, name: str) -> tuple[Graph, Location]:
        if name not in self._read:
            self._read[name] = load(self._declared[name], self._cached(name))
        return self._read[name]

    def _cached(self, name: str) -> Path | None:
        return self._cache / f"revisions-{name}.json" if self._cache else None


@dataclass(frozen=True)
class Tree:
    """One tree of a spec, read."""

    spec: Spec
    declared: Migrations
    graph: Graph
    location: Location
    refuse_stranger: Callable[[Endpoint], None] | None = None
    """What asks the server whether this tree, of one tenant, is of one that the spec's query returns."""

    @property
    def name(self) -> str:
        """The name of the tree in the spec."""
        return self.declared.name

    @property
    def other_version_tables(self) -> tuple[tuple[str | None, str], ...]:
        """The version tables (schema or None, name) of the other trees in the same database."""
        database = self.spec.database_of(self.declared)
        others = [
            each for each in self.spec.migrations if each.name != self.name and self.spec.database_of(each) == database
        ]
        return tuple([(each.version_table_schema, each.version_table) for each in others])


def choose(spec: Spec, name: str | None = None, tenant: str | None = None) -> Tree:
    """Return the tree with a name, or the only one; that of a ``tenant`` is a tree like any other.

    Raises:
        UsageError: the spec has no such tree, or several and no name was given; the names are listed.
        MigrationsError: its files are not in order.
    """
    trees = {each.name: each for each in spec.migrations}
    if not trees:
        raise UsageError(
            f"the spec declares no migrations, so there is nothing for {spec.name!r} to migrate",
            next_step="add `migrations:` with the `script_location` or `config` of your tree to the spec",
        )
    if name is None and len(trees) > 1:
        raise UsageError(
            f"which tree? The spec declares {len(trees)}",
            evidence=tuple(trees),
            next_step=f"add --tree, for example --tree {next(iter(trees))}",
        )
    chosen = name if name is not None else next(iter(trees))
    if chosen not in trees:
        raise UsageError(
            f"the spec declares no migrations with the name {chosen!r}",
            evidence=tuple(trees),
            next_step=f"write one of these names: --tree {next(iter(trees))}",
        )
    if tenant is not None:
        from provision.spec.tenant_choice import one

        trees[chosen] = one(trees[chosen], tenant)
        spec = replace(spec, migrations=tuple(trees.values()))
    found = Trees(spec)
    return Tree(spec, trees[chosen], found[chosen], found.location(chosen))


def remember(directory: Path) -> None:
    """Write what was learned into the caches of a directory, and of the user; being unable to is no error."""
    for path in [each for each in _unwritten if each.parent in (directory, _of_the_user())]:
        with suppress(ProvisionError):
            write_atomically(path, _unwritten.pop(path), 0o644 if path.parent == directory else 0o600)
            if path.parent != directory:
                _remove_old(path.parent)


def _of_the_user() -> Path:
    return cache_home() / "provision" / "revisions"


def _remove_old(caches: Path) -> None:
    with suppress(OSError):
        for each in caches.iterdir():
            if time.time() - each.stat().st_mtime > _LONG_AGO:
                each.unlink()


def _shared(sources: Mapping[Path, bytes]) -> Path | None:
    """Return the cache of the user for a tree with these files, in whichever checkout or environment it is.

    It is called after one of the files, the same one as long as that is there. None where reading them is as quick.
    """
    if len(sources) < _MANY:
        return None
    return _of_the_user() / f"{min(map(digest, sources.values()))[:_DIGITS]}.json"


def load(tree: Migrations, cache: Path | None = None, *, runs: bool = True) -> tuple[Graph, Location]:
    """Read a tree; ``cache`` holds what its files stated when they were read last.

    Raises:
        MigrationsError: there is no tree there, or it is not in order; or without ``runs``, only a run can tell.
    """
    location = find(tree, cache, None if runs else _unknown)
    files = tuple(_files(location))
    seen = tree, cache, location, {path: stamp(path) for path in (location.env, *files)}
    before, graph = _loaded.get(tree.name, (None, None))
    if graph is None or before != seen:
        graph = _graph(tree, location, files, cache, runs=runs)
        _loaded[tree.name] = seen, graph
    return graph, location


def _graph(tree: Migrations, location: Location, files: Sequence[Path], cache: Path | None, *, runs: bool) -> Graph:
    """Read the files of a tree."""

    def run(error: NotStaticError) -> Mapping[Path, Fields]:
        from provision.alembic.running.ask import computed_revisions

        return computed_revisions(tree, location, error)

    sources = {path: _read(path) for path in files}
    if not sources:
        _refuse_overlooked(location)
    own = _recall(cache)
    shared = _shared(sources) if cache is not None and not own else None
    known = own or _recall(shared)
    graph = Graph.of(sources, known, run if runs else None, mask=_mask_of(tree))
    for path, before in ((cache, own), (shared, known)):
        if path is not None and graph.cache != before:
            _unwritten[path] = json.dumps(graph.cache, separators=(",", ":"))
    graph.unread = _unread(location)
    if location.env.is_file():
        env = _read(location.env)
        graph.runs_in_a_loop = runs_in_a_loop(env)
        graph.added = None if "version_locations" in tree.options else adds_directories(env)
        texts = (env, *sources.values()) if graph.long else ()
        graph.widens_version_table = any(names_version_num(each) for each in texts)
    return graph


def find(tree: Migrations, cache: Path | None = None, directory: Callable[[str], Path] | None = None) -> Location:
    """Return where a tree is; what only the project's interpreter knows is kept beside ``cache``.

    ``directory`` returns the directory of a ``package:dir``; by default the interpreter is asked.

    Raises:
        MigrationsError: its configuration or its ``env.py`` is not there.
    """
    text = None
    if tree.config is not None:
        try:
            text = tree.config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            sentence = f"{tree.config} cannot be read: {_reason(error)}"
            raise MigrationsError(sentence, next_step="correct `migrations.config` in the spec") from None
    location = locate(tree, text, directory or (lambda place: _directory_of(tree, place, cache)))
    if location.env.is_file():
        return location
    for above in tree.config.parent.parents if tree.config and not tree.cwd else ():
        # A file that is deeper in the project than where Alembic is called from: relative paths begin there.
        other = locate(replace(tree, cwd=above), text, lambda _place: location.script)
        if other.env.is_file():
            return other
    if tree.command:
        return location
    relative = "; a relative `script_location` begins at `migrations.cwd`" if tree.config else ""
    raise MigrationsError(
        f"{location.script} is not an Alembic environment: it has no env.py",
        next_step=f"correct `migrations` in the spec{relative}, or make one: alembic init {location.script}",
    )


def _unknown(place: str) -> Path:
    raise MigrationsError(f"only the project's interpreter knows where {place} is")


def _mask_of(tree: Migrations) -> Callable[[str], str] | None:
    """Return what takes the tree's secrets out of a docstring; one of a few characters counts as a whole word only."""
    from provision.spec.masking import secrets_of

    if not (secrets := [each for each in secrets_of(tree) if each]):
        return None
    words = [re.escape(each) if len(each) >= _SHORT else rf"(?<!\w){re.escape(each)}(?!\w)" for each in secrets]
    pattern = re.compile("|".join(sorted(words, key=len, reverse=True)))
    return lambda text: pattern.sub(MASK, text)


def _directory_of(tree: Migrations, place: str, cache: Path | None) -> Path:
    """Return the directory of ``package:dir``, as the interpreter of a tree finds it.

    Raises:
        MigrationsError: it has no such package, or there is no such directory in it.
    """
    cwd = tree.cwd or (tree.config.parent if tree.config else Path.cwd())
    package, _, rest = place.partition(":")
    here = cwd.joinpath(*package.split("."))
    if here.is_dir():
        return here.joinpath(*rest.split(":"))
    kept = cache.with_name(f"{cache.stem}-{place.replace(os.sep, '_')}.json") if cache else None
    key, known = [str(tree.python), str(cwd), place], _recall(kept)
    with suppress(OSError, KeyError, TypeError, AttributeError):
        # It is there until something is installed or removed on the interpreter's path.
        if known["key"] == key and all(_changed(path) == at for path, at in known["installed"].items()):
            script = Path(known["script"])
            if script.is_dir():
                return script
    from provision.alembic.running.ask import place_of_package

    found = place_of_package(tree, cwd, place)
    if kept:
        installed = {path: _changed(path) for path in found["installed"] if path != str(cwd)}
        _unwritten[kept] = json.dumps({"key": key, "script": found["script"], "installed": installed})
    return Path(found["script"])


def _changed(path: str) -> int | None:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None


def _recall(cache: Path | None) -> Mapping[str, Any]:
    if cache is None:
        return {}
    try:
        found = json.loads(_unwritten.get(cache) or owned.text(cache) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _files(location: Location) -> Iterator[Path]:
    """Return the revision files in Alembic's order; a file that two locations share comes once."""
    seen: set[str] = set()
    for directory in location.versions:
        for path in _walk(str(directory), recursive=location.recursive):
            real = os.path.realpath(path) if len(location.versions) > 1 else path
            if real not in seen:
                seen.add(real)
                yield Path(path)


def _refuse_overlooked(location: Location) -> None:
    """Refuse a tree without revisions whose script directory has some elsewhere: it would seem to have nothing to do.

    An ``env.py`` can choose the directory itself, by the dialect for example.
    """
    places: dict[Path, int] = {}
    for path in sorted(location.script.rglob("*.py")):
        if path.parent not in {location.script, *location.versions} and b"down_revision" in _read(path):
            places[path.parent] = places.get(path.parent, 0) + 1
    if places:
        likely = next((each for each in places if "postgres" in each.name.lower()), next(iter(places)))
        empty = ", ".join(str(each) for each in location.versions)
        raise MigrationsError(
            f"there is no revision in {empty}, but there are some elsewhere",
            evidence=[f"{number} in {place}" for place, number in places.items()],
            next_step=f"say where they are, under `migrations`: options: {{version_locations: '{likely}', "
            "path_separator: newline}, or `config`: the ini file that says it",
        )


def _unread(location: Location) -> tuple[Path, ...]:
    """Return the directories with Python files that lie beside revisions and are not read."""
    if location.recursive:
        return ()
    found = []
    for directory in location.versions:
        with suppress(OSError):
            beside = [Path(each) for each in os.scandir(directory) if each.is_dir() and each.name != "__pycache__"]
            found += [
                each for each in sorted(beside) if next(each.rglob("*.py"), None) and each not in location.versions
            ]
    return tuple(found)


def _walk(directory: str, *, recursive: bool) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise MigrationsError(
            f"{directory} cannot be read: {_reason(error)}", next_step=f"ls -ld {as_word(directory)}"
        ) from None
    for entry in entries:
        name = entry.name
        if name.endswith(".py") and not name.startswith((".#", "__init__")):
            yield entry.path
    if recursive:
        for entry in entries:
            if entry.is_dir() and entry.name != "__pycache__":
                yield from _walk(entry.path, recursive=True)


def _read(path: Path) -> bytes:
    try:
        # Half the time of Path.read_bytes, for 500 files; a pipe that nothing writes to has nothing to read.
        with open(path, "rb", buffering=0, opener=without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MigrationsError(f"{path} is not a regular file", next_step=f"ls -l {as_word(path)}")
            return file.readall()
    except OSError as error:
        raise MigrationsError(f"{path} cannot be read: {_reason(error)}", next_step=f"ls -l {as_word(path)}") from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"


def check_trees(spec: Spec) -> None:
    """Refuse targets that are not in their tree, and revision ids that no version table can hold; nothing is run.

    A tree that is missing or broken, or that only a run can tell, is reported by what reads it.

    Raises:
        SpecError: with each of them, at its line.
    """
    found: list[Problem] = []
    for tree in spec.migrations:
        with suppress(MigrationsError):
            sources, widens = stated_sources(tree)
            found += [each for path, source in sources.items() if (each := _long_id(path, source, widens)) is not None]
            found += _wrong_target(spec, tree, Graph.of(sources, mask=_mask_of(tree))) if sources else ()
    if found:
        raise SpecError(found)


def _wrong_target(spec: Spec, tree: Migrations, graph: Graph) -> tuple[Problem, ...]:
    try:
        resolve(graph, tree.target)
    except MigrationsError as error:
        if not tree.target_place:
            return ()
        path, number = Path(tree.target_place.rpartition(":")[0]), int(tree.target_place.rpartition(":")[2])
        from provision.spec.layers import shown_lines

        lines = shown_lines(spec, path)
        column = lines.line(number, 1).find(tree.target) + 1 or 1
        meant = next((each for each in error.evidence if each.startswith("did you mean")), error.next_step)
        return (Problem(path, number, column, lines.line(number, column), error.sentence, meant),)
    return ()


def _long_id(path: Path, source: bytes, widens: bool) -> Problem | None:  # noqa: FBT001
    name, line = stated_id(source) or (None, 0)
    fault = None if name is None or (name and widens) else id_fault(name)
    if fault is None:
        return None
    text = source.decode("utf-8", "replace").splitlines()[line - 1]
    return Problem(path, line, 1, text, fault, "a shorter id, also in the `down_revision` of what follows it")


def stated_sources(tree: Migrations) -> tuple[Mapping[Path, bytes], bool]:
    """Return the revision files of a tree, and whether it deals with its version table; nothing of it is run.

    Raises:
        MigrationsError: there is no tree there, or only its interpreter knows where.
    """
    location = find(tree, directory=_unknown)
    sources = {path: _read(path) for path in _files(location)}
    return sources, any(names_version_num(each) for each in (_read(location.env), *sources.values()))
