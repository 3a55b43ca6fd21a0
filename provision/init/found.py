"""The values: a directory as it was read, what was found in it, and what a beginning adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from provision.alembic.tree.env import Ways
from provision.model.value import dataclass, field

SPECS = ("provision.yml", "provision.yaml")


@dataclass(frozen=True)
class Interpreter:
    """The Python of a virtual environment: its path in the project, and the top-level packages installed in it."""

    path: str
    packages: frozenset[str]


@dataclass(frozen=True)
class Directory:
    """A project's directory. Paths are relative to it, with ``/``.

    ``texts`` are the files that can matter, ``names`` all files and directories that were seen, ``environ`` the
    environment's variables.
    """

    path: Path
    texts: Mapping[str, str] = field(repr=False)
    names: frozenset[str]
    environ: Mapping[str, str] = field(repr=False)
    interpreters: tuple[Interpreter, ...] = ()
    complete: bool = True
    """Whether all of it was seen."""

    def interpreter(self, config: str | None = None) -> Interpreter | None:
        """Return the Python nearest to a configuration, one with Alembic first."""

        def fits(each: Interpreter) -> tuple[bool, bool, int]:
            place = each.path.rpartition("/bin/")[0].rpartition("/")[0]
            return "alembic" in each.packages, f"{config or ''}/".startswith(f"{place}/" if place else ""), len(place)

        return max(self.interpreters, key=fits, default=None)


@dataclass(frozen=True)
class Options:
    """What was said on the command line."""

    name: str | None = None
    image: str | None = None
    port: str | None = None


@dataclass(frozen=True)
class NewFile:
    """A file to make, or with ``append`` lines to add at the end of one."""

    path: str
    text: str
    append: bool = False


@dataclass(frozen=True)
class Finding:
    """Something that was there: the file, and what it is in a few words."""

    path: str
    what: str


@dataclass(frozen=True)
class Tree:
    """An Alembic tree that is there. ``script`` is its directory, None where only an import could tell.

    ``cwd`` is the directory that its relative paths start in, None where that is its configuration's. ``ways`` say how
    ``env.py`` gets the URL. ``is_multiple``: it migrates several databases, which one spec does not have.
    """

    name: str
    config: str | None
    section: str
    script: str | None
    cwd: str | None = None
    target: str = "head"
    ways: Ways = field(default_factory=Ways)
    version_table: str | None = None
    version_table_schema: str | None = None
    is_multiple: bool = False


@dataclass(frozen=True)
class Service:
    """The PostgreSQL of a compose file, as texts for a spec: ``${NAME}`` in them is a variable, ``$$`` is a ``$``.

    ``password`` is a variable, with its default, or ``file`` the path of a file; a password itself is never kept.
    """

    path: str
    name: str
    image: str | None = None
    port: str | None = None
    user: str | None = None
    database: str | None = None
    password: str | None = None
    file: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    initdb: tuple[str, ...] = ()
    resources: tuple[tuple[str, str], ...] = ()
    env_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compose:
    """A compose file: its PostgreSQL, and the names that it gives to its project and containers."""

    path: str
    service: Service | None = None
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Beginning:
    """What ``init`` does: the environment's name, files to write, what was found, remarks, next commands."""

    name: str | None
    spec: str
    files: tuple[NewFile, ...]
    found: tuple[Finding, ...]
    remarks: tuple[str, ...] = field(default=())
    next: tuple[str, ...] = field(default=())
