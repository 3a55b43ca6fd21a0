"""Effects: what an apply can do, one class each, with its words for people.

A step carries them, and only :mod:`provision.apply` performs them. A new effect is its class here and its method there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from provision.model import Effect, Secret
from provision.model.value import dataclass, field
from provision.model.words import count, shown


@dataclass(frozen=True)
class WriteFile(Effect):
    """Write ``content`` to ``path`` atomically, with ``mode``; missing directories are made."""

    path: Path
    content: str | Secret
    mode: int = 0o644

    def __str__(self) -> str:
        path = shown(self.path)
        return f"write {path} (secret, {self.mode:04o})" if isinstance(self.content, Secret) else f"write {path}"


@dataclass(frozen=True)
class MakeDirectory(Effect):
    """Make a directory and its missing parents, with ``mode``. One that is there already is fine.

    ``record`` is the file that remembers that this one was made by us.
    """

    path: Path
    mode: int = 0o755
    record: Path | None = None

    def __str__(self) -> str:
        return f"make {shown(self.path)}/"


@dataclass(frozen=True)
class CopyPath(Effect):
    """Copy a file or a directory in one rename: after a kill it is there as a whole or not at all.

    With ``trees``, only these directories below ``source`` are copied, and a copy that has them all is left as it is.
    """

    source: Path
    path: Path
    trees: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"copy {shown(self.source)} to {shown(self.path)}"


@dataclass(frozen=True)
class MovePath(Effect):
    """Give a file or directory another name beside its own, in one rename. ``if_there``: a missing one is fine."""

    source: Path
    path: Path
    if_there: bool = False

    def __str__(self) -> str:
        return f"move {shown(self.source)} to {shown(self.path)}"


@dataclass(frozen=True)
class RemovePath(Effect):
    """Remove a file, or a directory with all that is in it but what is ``kept``. A path that is not there is fine."""

    path: Path
    kept: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"remove {shown(self.path)}{f', but not {self.kept[0]}' if self.kept else ''}"


@dataclass(frozen=True)
class CloseTunnel(Effect):
    """End the tunnel that stays open for an environment, whose directory is ``home``."""

    home: Path

    def __str__(self) -> str:
        return "close the tunnel to its server"


EngineOperation = Literal[
    "pull_image",
    "create_network",
    "connect_network",
    "remove_network",
    "create_volume",
    "remove_volume",
    "create_container",
    "rename_container",
    "update_container",
    "start_container",
    "unpause_container",
    "signal_container",
    "stop_container",
    "restart_container",
    "remove_container",
    "copy_to_container",
    "run_container",
    "tag_image",
]


@dataclass(frozen=True)
class EngineCall(Effect):
    """One call of the Docker Engine API. ``target`` is the object's name, ``body`` the JSON that goes with it."""

    operation: EngineOperation
    target: str
    body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __str__(self) -> str:
        return f"engine: {self.operation.replace('_', ' ')} {self.target}"


@dataclass(frozen=True)
class CheckData(Effect):
    """Look at what is mounted at ``target`` in a container that was made and not started.

    What another major version made is refused, and the container goes away again; with ``is_foreign``, so are files
    that are no data of a server. ``below`` is the path of the data directory in it; ``source`` is the volume or
    directory. With ``from_golden``, so is a copy of a golden that was not finished.
    """

    container: str
    target: str
    is_foreign: bool = False
    below: str = ""
    source: str = ""
    from_golden: bool = False

    def __str__(self) -> str:
        return f"look at the data before {self.container} starts"


@dataclass(frozen=True)
class Scripts:
    """SQL files that run on a new data directory before it counts, and the server that runs meanwhile.

    The server is reached as ``user`` through its socket only: in ``sockets``, with ``port`` as its number. ``database``
    is made first. ``psql`` is the client.
    """

    files: tuple[Path, ...]
    database: str
    user: str
    psql: Path
    argv: tuple[str, ...]
    sockets: Path
    port: int
    log: Path
    timeout: float = 60.0


@dataclass(frozen=True)
class ChangeDirectory(Effect):
    """Have the engine's root change a directory of its host, where we may not: in a container that is thrown away.

    ``source`` is a path, or with the ``kind`` "volume" the name of one. ``script`` is a line for ``sh``, to which the
    directory is ``$1``. ``image`` is one that the engine has, and ``container`` the name of the container.
    ``unmapped``: root is the host's, also where the engine maps user ids. What the line prints is kept in ``record``.
    """

    source: str
    script: str
    image: str
    container: str
    unmapped: bool = False
    kind: str = "bind"
    record: Path | None = None

    def __str__(self) -> str:
        return f"in {self.container}: {self.script} (1: {shown(self.source)})"


@dataclass(frozen=True)
class ReadSettings(Effect):
    """Read the settings of a major version that the program does not know, before anything is made for a server.

    They come from an ``image``, in a container that is thrown away, or from ``programs`` of this machine, run as
    ``user`` (None: ours). ``is_root``: the image runs as root, as which PostgreSQL refuses to run.
    """

    major: int
    identity: str
    image: str = ""
    container: str = ""
    is_root: bool = True
    programs: Path | None = None
    user: str | None = None

    def __str__(self) -> str:
        return f"read the settings of PostgreSQL {self.major} from {self.image or self.programs}"


@dataclass(frozen=True)
class ServerCall(Effect):
    """One operation on a server process of this machine, which is known by its data directory.

    ``argv`` is the program to run and ``user`` the system user to run it as (None: ours). ``sockets`` is the directory
    of the server's own socket, ``link`` a symbolic link that shows where the data of the running server is.
    ``timeout`` is in seconds. ``record`` is the file in it that remembers that we made it; ``scripts`` run before the
    data directory counts. After ``close`` the server lets nobody in any more, and goes on with whom it has. ``kill``
    ends it without a last write to the data. ``copy`` makes the data directory from the golden ``source``.
    """

    operation: Literal["initialise", "copy", "start", "close", "stop", "kill"]
    data: Path
    argv: tuple[str, ...] = ()
    user: str | None = None
    log: Path | None = None
    sockets: Path | None = None
    link: Path | None = None
    timeout: float = 60.0
    record: Path | None = None
    scripts: Scripts | None = None
    source: str = ""

    def __str__(self) -> str:
        if self.operation == "copy":
            return f"copy a golden to {shown(self.data)}"
        return f"{self.operation} the server on {shown(self.data)}"


@dataclass(frozen=True)
class SaveGolden(Effect):
    """Keep a copy of the data of a server that was stopped a moment ago, for the next apply from nothing.

    ``about`` is the JSON text that describes it in the store. ``next_xid`` is the transaction id that the server would
    have given next when all was made, in the cluster ``system``: where it gave others since, nothing is kept. None: no
    server ever ran on the data but to make it. ``databases`` are those that it has, and ``sequences`` says of some of
    them what their sequences have given, which takes no transaction; neither does a file of configuration, so
    ``configuration`` has the SHA-256 of each. ``asked``: the user wants it, so why it was not saved is said. With
    ``refused``, nothing is saved, and that is why.
    """

    key: str
    about: str
    next_xid: int | None = None
    system: str = ""
    databases: tuple[str, ...] = ()
    sequences: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, str] = field(default_factory=dict)
    asked: bool = False
    refused: str = ""

    def __str__(self) -> str:
        return f"save no golden: {self.refused}" if self.refused else f"save the data as golden {self.key[:8]}"


@dataclass(frozen=True)
class RunProgram(Effect):
    """Run a program with a secret on its standard input; it says nothing when all goes well.

    ``what`` is what it is for, in words, and the sentence of the error when it fails. ``container`` names the container
    to enter (docker); otherwise it runs on this machine, and what it calls is looked for in ``programs`` first.
    """

    argv: tuple[str, ...]
    secret: Secret
    what: str
    container: str | None = None
    programs: Path | None = None

    def __str__(self) -> str:
        return f"in {self.container}: {self.what}" if self.container is not None else self.what


@dataclass(frozen=True)
class CompareOutput(Effect):
    """Run two programs, and fail with the lines in which their output differs."""

    one: RunProgram
    other: RunProgram

    def __str__(self) -> str:
        return str(self.one)


@dataclass(frozen=True)
class HoldWrites(Effect):
    """Let everybody who writes to the server wait, and nobody who reads, for as long as this process works on.

    Large objects have to be held by themselves (``large_objects``), because reading them needs the same lock.
    """

    databases: tuple[str, ...]
    large_objects: bool = False

    def __str__(self) -> str:
        return f"let writers wait in {count(len(self.databases), 'database')}"


@dataclass(frozen=True)
class EndSessions(Effect):
    """End everybody else's sessions on a server that lets nobody in any more, while writers are still held back.

    A shutdown ends sessions one after the other: were ours among the first, a writer that waits for it could still
    commit, with success, after all was copied.
    """

    def __str__(self) -> str:
        return "end all sessions, of writers first"


@dataclass(frozen=True)
class RunSql(Effect):
    """Run statements over the network connection, each in its own transaction, in ``database``.

    ``shown``: there is no value in them that a plan has to hide.
    """

    database: str
    statements: tuple[str, ...]
    shown: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """The words, and each statement that may be shown."""
        return (str(self), *(self.statements if self.shown else ()))

    def __str__(self) -> str:
        return f"SQL in {self.database}: {count(len(self.statements), 'statement')}"


@dataclass(frozen=True)
class CopyDatabase(Effect):
    """Copy a database inside the server, as ``name``; no session gets into the copy.

    The sessions of the source are ended, and logins wait until it is copied. An empty comment is none.
    """

    source: str
    name: str
    owner: str
    comment: str = ""

    def __str__(self) -> str:
        return f"copy the database {self.source} as {self.name}"


@dataclass(frozen=True)
class RenameDatabases(Effect):
    """Give databases other names, (old, new) in turn, and run statements with them: all or nothing, sessions ended."""

    renames: tuple[tuple[str, str], ...]
    statements: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The words, and each new name."""
        return (str(self), *(f"{old} is called {new}" for old, new in self.renames))

    def __str__(self) -> str:
        return f"rename {count(len(self.renames), 'database')}, in one transaction"


@dataclass(frozen=True)
class ClientPrograms:
    """Where the client programs of a server are: in its ``container``, or in a ``directory`` of this machine."""

    container: str | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class DumpDatabase(Effect):
    """Write a dump of a database to ``path``, prove it, and note beside it what it leaves out, and ``about``.

    ``revisions`` are the rows that the trees of the database have by their names, before and after.
    """

    database: str
    path: Path
    programs: ClientPrograms
    about: Mapping[str, Any]
    revisions: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        return f"dump the database {self.database}, and prove the dump"


@dataclass(frozen=True)
class RestoreDump(Effect):
    """Restore the dump at ``path`` into a new database ``name``, in the place of which ``original`` is later.

    ``about`` is what was noted beside the dump, ``major`` the version of the server. ``revisions`` are the rows that
    its trees must have by their names.
    """

    path: Path
    name: str
    original: str
    owner: str
    programs: ClientPrograms
    about: Mapping[str, Any]
    major: int
    revisions: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        return f"restore {shown(self.path)} into {self.name}"


@dataclass(frozen=True)
class CopyCluster(Effect):
    """Copy a data directory that no server runs on into ``folder``, which is made again.

    ``record`` is the name of the file in it that remembers which directory it is.
    """

    source: Path
    folder: Path
    record: str

    def __str__(self) -> str:
        return f"copy the data in {shown(self.source)} to {shown(self.folder)}"


@dataclass(frozen=True)
class ExchangeClusters(Effect):
    """Exchange a data directory with the one in ``folder``, in one step; ``about`` is what is known of the former."""

    data: Path
    folder: Path
    about: str

    def __str__(self) -> str:
        return f"exchange {shown(self.data)} with the data in {shown(self.folder)}"


OWNER_OF_DATABASE = "pg_database_owner"
"""PostgreSQL's own name for whoever owns the database."""
VERIFIER = "@verifier@"
"""Stands for a SCRAM verifier of a password in a statement; its salt is drawn when the statement runs."""


@dataclass(frozen=True)
class RunInTransaction(Effect):
    """Run statements in one transaction, together with the steps beside it that change the same database.

    ``shared``: they change what all databases share (roles, memberships, a database's owner), which one run at a time
    does in a cluster; ``database`` is then the maintenance database. ``password`` is the one that :data:`VERIFIER`
    stands for. What another session changes at the same time rolls all of it back, and everything is looked at again.
    ``acts_for`` are the roles that own what is changed, or will: who is no superuser has to be their member; those of
    the database's owner may be left to :data:`OWNER_OF_DATABASE`.
    """

    database: str
    statements: tuple[str, ...]
    shared: bool = False
    password: Secret | None = None
    acts_for: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The words, and each statement."""
        return (str(self), *self.statements)

    def __str__(self) -> str:
        return f"SQL in {self.database}: {count(len(self.statements), 'statement')}, in one transaction"


@dataclass(frozen=True)
class RunLocalSql(Effect):
    """Run a script as the superuser through the server's own socket, where no password is asked for.

    ``others`` are names that the superuser may have still; they are tried in turn until one may do it.
    ``container`` names the container to enter (docker); otherwise ``socket_directory`` is used (embedded).
    In the script :data:`VERIFIER` stands for a SCRAM verifier of ``password``; its salt is drawn when the script runs.
    ``sync``: afterwards, wait until the data of the container is on the disk. ``known`` is a password that the first of
    them may have: a login from here is quicker than to enter the container.
    """

    script: str
    password: Secret
    user: str
    container: str | None = None
    socket_directory: Path | None = None
    port: int = 5432
    others: tuple[str, ...] = ()
    sync: bool = False
    known: Secret | None = None

    def __str__(self) -> str:
        return f"SQL as {self.user} through the server's local socket"


@dataclass(frozen=True)
class ReloadSettings(Effect):
    """Have the server read its configuration again, once it sees a file that holds ``expected`` (name → raw value).

    None: there is no file to wait for.
    """

    expected: Mapping[str, str] | None

    def __str__(self) -> str:
        names = ", ".join(sorted(self.expected or ()))
        return f"reload the settings ({names})" if names else "reload the settings"


@dataclass(frozen=True)
class PatchCluster(Effect):
    """Change settings where Patroni keeps them, and wait until every member has them.

    None takes a setting out. ``kept`` are then the settings that came from the environment ``name``. ``wanted`` are
    those of ``parameters`` in the form that the server shows.
    """

    name: str
    parameters: Mapping[str, str | None]
    kept: tuple[str, ...]
    wanted: Mapping[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[str, ...]:
        """The words, and each setting."""
        return (
            str(self),
            *(f"{name}: {'null' if value is None else value}" for name, value in self.parameters.items()),
        )

    def __str__(self) -> str:
        return "Patroni: PATCH /config, and wait until every member has it"


@dataclass(frozen=True)
class RestartCluster(Effect):
    """Have Patroni restart the members that wait for it: standbys first, then the leader.

    ``expected``: a change a moment ago makes each of them wait for it.
    """

    expected: bool = False

    def __str__(self) -> str:
        return "Patroni: POST /restart on each member that waits for it, standbys first"


@dataclass(frozen=True)
class WaitReady(Effect):
    """Wait until the final server answers a login over TCP from here, or fail with the server's last words.

    ``timeout`` is in seconds.
    """

    timeout: float

    def __str__(self) -> str:
        return f"wait until ready, at most {self.timeout:g} s"


@dataclass(frozen=True)
class Migrate(Effect):
    """Bring one Alembic tree to ``target``; ``name`` selects the tree among the spec's migrations.

    ``revisions`` are those that will run as far as is known now, in their order: the id and its file. A stamp runs
    none, and writes ``target`` in place of the rows that are there. ``seen`` are the rows that this was decided on,
    where it would be wrong on others. ``everywhere``: run ``env.py`` although the declared version table
    is at the target, because it keeps others as well.
    """

    name: str
    target: tuple[str, ...]
    direction: Literal["upgrade", "downgrade", "stamp"] = "upgrade"
    revisions: tuple[tuple[str, Path], ...] = ()
    seen: tuple[str, ...] | None = None
    everywhere: bool = False

    def __str__(self) -> str:
        return f"{self.direction} {self.name} to {', '.join(self.target) or 'base'}"

    @property
    def lines(self) -> tuple[str, ...]:
        """The words, and each revision with its file."""
        return (str(self), *(f"{self.direction} {name}: {shown(path)}" for name, path in self.revisions))


@dataclass(frozen=True)
class MigrateTenants(Effect):
    """Migrate tenants of the tree ``name``, side by side: the name of each that is ``behind``, and what is done there.

    Tenants that are at the same revision share one value.
    """

    name: str
    behind: tuple[tuple[str, Migrate], ...]

    def __str__(self) -> str:
        moves = dict.fromkeys(str(move) for _, move in self.behind)
        return f"{', '.join(moves)}: {count(len(self.behind), 'tenant')}"


@dataclass(frozen=True)
class RunSeed(Effect):
    """Run what a seed declares and note it in the ledger: a file as one transaction, a program with its own.

    ``name`` is that of its address, ``sha256`` the digest of the content that was planned.
    """

    name: str
    database: str
    sha256: str

    def __str__(self) -> str:
        return f"run {self.name} in {self.database}"
