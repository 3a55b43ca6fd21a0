"""The spec as values: what one YAML file declares, after defaults, with every path absolute and every unit resolved.

Sizes are in bytes, times in seconds. Nothing here has looked at the world: a password is a *source* that
:mod:`provision.observe` resolves, a port may be ``None`` (``auto``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from provision.model.value import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provision.errors import Problem
    from provision.model import Secret
    from provision.model.tenants import Tenants
    from provision.spec.access import Backup, Database, Role
    from provision.spec.passwords import PasswordSource

SettingValue = str | int | float | bool
"""A setting as the spec wrote it, as text: ``256MB``, ``32768``, ``0.9``, ``on``."""

_NEAR = 1000
"""So far from the declared port is the next one that is free."""
RuntimeName = Literal["auto", "docker", "embedded", "external"]


class Worktree(NamedTuple):
    """A linked Git worktree: its name in the repository, its top directory, and that of the main checkout.

    ``main`` is None where the repository has no main checkout, or cannot be read.
    """

    name: str
    root: Path
    main: Path | None


@dataclass(frozen=True)
class Volume:
    """Data in a named volume of the engine.

    ``declared`` is the name in the spec, where an upgrade has brought the data to another volume.
    """

    name: str
    declared: str | None = None


@dataclass(frozen=True)
class DataPath:
    """Data in a directory of the host."""

    path: Path


@dataclass(frozen=True)
class Ephemeral:
    """Data in memory, durability off; gone when the server stops.

    ``golden`` is the key of the golden that the container runs from: the data is in its layer then, and goes with it.
    """

    golden: str = ""


Data = Volume | DataPath | Ephemeral


@dataclass(frozen=True)
class Resources:
    """Limits of the container: bytes, and CPUs as a number (``1.5``); ``None`` is no limit."""

    memory: int | None = None
    cpus: float | None = None
    shm_size: int = 256 * 1024 * 1024


@dataclass(frozen=True)
class Patroni:
    """The REST API of a Patroni cluster: the addresses of its members, and who may change something through it.

    An address is ``https://db1:8008``, without a path. ``ca`` is the file of the authorities that sign their
    certificates; None: those that this machine trusts. ``cert`` and ``key`` are the files that show who we are.
    """

    api: tuple[str, ...]
    user: str | None = None
    password: PasswordSource | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Layout:
    """Where an image keeps the data: its data directory, and what is mounted there or above it."""

    directory: str
    mount: str


@dataclass(frozen=True)
class Direct:
    """Where a server itself listens, past the pooler at its address."""

    host: str
    port: int


@dataclass(frozen=True)
class Server:
    """The server: where it lives, what it is, and how to log in.

    ``sslmode`` and ``sslrootcert`` are libpq's, ``connection`` are its other parameters that are declared, by name, and
    ``settings_via`` says how settings reach a server that others run; None: they are compared only. ``direct`` is past
    a pooler, if there is one. ``patroni`` is the API of the cluster that it belongs to. ``bin_dir`` holds the programs
    of an embedded server. ``initdb`` are scripts in the order in which they run on a new data directory. ``golden`` is
    whether new data may be a copy of earlier data; ``true``: also where a program of the project has made that.
    ``layout`` is that of the image, once the engine has shown it. ``first_port``, where ``port`` is None: take that
    one, or the next one that is free. ``engine`` is the address of the Docker engine, or ``context:NAME``. ``hosts``
    are those of a cluster that others run, with their ports; ``host`` and ``port`` are then the first.
    """

    image: str
    major: int
    runtime: RuntimeName
    container_name: str
    host: str
    port: int | None
    settings: Mapping[str, SettingValue]
    user: str
    password: PasswordSource
    database: str
    data: Data
    resources: Resources = Resources()
    ready_timeout: float = 60.0
    stop_timeout: float = 120.0
    sslmode: str = "prefer"
    sslrootcert: Path | None = None
    settings_via: Literal["alter_system", "patroni"] | None = None
    connection: tuple[tuple[str, str], ...] = ()
    direct: Direct | None = None
    bin_dir: Path | None = None
    initdb: tuple[Path, ...] = ()
    golden: Literal["auto", "true", "off"] = "auto"
    layout: Layout | None = None
    patroni: Patroni | None = None
    first_port: int | None = field(default=None, repr=False)
    engine: str | None = None
    hosts: tuple[tuple[str, int], ...] = ()

    @property
    def places(self) -> tuple[tuple[str, int | None], ...]:
        """Every host and its port, of which one takes writes."""
        return self.hosts or ((self.host, self.port),)

    def may_have(self, port: int) -> bool:
        """Whether a port that was chosen before can be one that is declared like this."""
        return self.first_port is None or -1 <= port - self.first_port < _NEAR

    @property
    def max_connections(self) -> int | None:
        """The number of connections, where the spec gives it as digits."""
        text = str(self.settings.get("max_connections", ""))
        return int(text) if text.isdigit() else None


@dataclass(frozen=True)
class Migrations:
    """One Alembic tree and its target.

    ``script_location`` (a directory), ``package`` (``package:dir``) or ``config`` (an ini file, or
    ``pyproject.toml``) says where it is. ``options``, ``env`` and ``x`` are templates: see
    :mod:`provision.alembic.child.fill`. ``attributes`` maps names in ``config.attributes`` to what is handed in under
    them. ``command`` is the program that migrates in place of Alembic; the tree then only tells which revisions there
    are. ``prepare`` is what the child runs before ``env.py``: ``/path/of.py``, ``/path/of.py:function`` or
    ``module:function``. ``ledger`` says whether it is noted what was in a file when it was applied; None: where the
    server is ours. ``target_place`` is where ``target`` is written, as ``path:line``. ``masked`` is what variables
    put into ``env``, ``options``, ``x`` and ``command``. ``database`` is the one it goes to, None: the declared one of
    the server. ``login`` is the role that logs in (the key ``as``), None: the superuser; ``role`` is what its sessions
    are then set to. ``tenants`` are the databases or schemas that it is for; ``tenant`` is the one that a tree of
    :meth:`for_tenant` is for. On a server that others run, a migration begins when no standby is further behind than
    ``max_replica_lag`` bytes, and with ``require_synchronous`` when commits wait for one.
    """

    name: str
    script_location: Path | None = None
    config: Path | None = None
    target: str = "head"
    allow_downgrade: bool = False
    python: Path | None = None
    version_table: str = "alembic_version"
    version_table_schema: str | None = None
    timeout: float = 15 * 60.0
    package: str | None = None
    section: str = "alembic"
    cwd: Path | None = None
    url_driver: str | None = None
    options: Mapping[str, Secret] = field(default_factory=dict)
    env: Mapping[str, Secret] = field(default_factory=dict)
    x: Mapping[str, Secret] = field(default_factory=dict)
    attributes: Mapping[str, Literal["connection", "engine"]] = field(default_factory=dict)
    lock_timeout: float = 5.0
    transaction_per_revision: bool = True
    command: tuple[str, ...] = ()
    prepare: str | None = None
    ledger: bool | None = None
    target_place: str = field(default="", compare=False)
    masked: tuple[Secret, ...] = ()
    database: str | None = None
    login: str | None = None
    role: str | None = None
    tenants: Tenants | None = None
    tenant: str | None = None
    max_replica_lag: int | None = None
    require_synchronous: bool = False

    def for_tenant(self, name: str) -> Migrations:
        """Return the tree of one of the tenants: a tree like any other, in its database, or its schema."""
        assert self.tenants is not None  # noqa: S101  # who calls this has asked
        own = replace(self, tenants=None, tenant=name)
        return (
            replace(own, database=name) if self.tenants.kind == "databases" else replace(own, version_table_schema=name)
        )

    @property
    def owner(self) -> str | None:
        """The role that owns what the migrations make; None: the superuser."""
        return self.role or self.login


@dataclass(frozen=True)
class Seed:
    """One entry of ``seeds``: files that ``pattern`` finds, or a program; ``name`` is what the spec says, unfilled.

    ``pattern`` is absolute, and ``*`` in it stands for any names. ``table`` is as SQL writes it, None: by the name of
    each file. ``columns`` are those of a CSV file without a header line, ``key`` what tells its rows apart; empty: the
    primary key. ``login`` is the role that logs in (the key ``as``), None: as for the migrations of the ``database``,
    which is None for the declared one of the server. ``masked`` is as in :class:`Migrations`, ``place`` is
    ``path:line``.
    """

    kind: Literal["sql", "csv", "command"]
    name: str
    pattern: Path | None = None
    argv: tuple[str, ...] = ()
    run: Literal["once", "changed", "always"] = "once"
    table: str | None = None
    columns: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    login: str | None = None
    database: str | None = None
    masked: tuple[Secret, ...] = ()
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class Spec:
    """One spec file. ``path`` is absolute; ``directory`` is where its relative paths start.

    ``templates_may`` names the powers that a template may give a container: see
    :mod:`provision.runtimes.docker.privileges`. ``variables`` are those that came from a file, and from which.
    ``remarks`` are about what is right and probably not meant. ``history``: whether each run is noted in the database.
    ``base`` is the file that it extends, and ``overrides`` what is set for one run, as ``server.port=5433``.
    ``missing`` are the variables that are not set, in a spec that was read without them: what they fill is left out.
    ``text`` is what a caller of the Python API gives in place of a file.
    ``fetched`` keeps what was fetched for this spec, so that it is fetched once.
    ``named`` says why the environment is not simply the one that the file names. ``main`` is the directory of the spec
    in the main checkout, where the environment is that (``identity: shared``); ``main_path`` is the path of the spec in
    the main checkout, where this is a linked worktree. ``plain_name`` is what the file says, in a worktree in which
    nothing of either name is kept yet.
    """

    path: Path
    name: str
    server: Server
    templates: Path | None
    migrations: tuple[Migrations, ...]
    templates_may: tuple[str, ...] = ()
    history: bool = True
    variables: tuple[tuple[str, Path], ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    databases: Mapping[str, Database] = field(default_factory=dict)
    seeds: tuple[Seed, ...] = ()
    backup: Backup | None = None
    missing: tuple[Problem, ...] = ()
    remarks: tuple[Problem, ...] = field(default=(), compare=False)
    base: Path | None = field(default=None, compare=False)
    overrides: tuple[str, ...] = field(default=(), repr=False, compare=False)
    text: bytes | None = field(default=None, repr=False, compare=False)
    fetched: dict[str, Secret] = field(default_factory=dict, compare=False, repr=False)
    named: str = field(default="", compare=False, repr=False)
    main: Path | None = field(default=None, repr=False)
    main_path: Path | None = field(default=None, repr=False)
    plain_name: str = field(default="", repr=False)

    @property
    def directory(self) -> Path:
        """The directory of the spec file."""
        return self.path.parent

    @property
    def kept_in(self) -> Path:
        """The directory that has ``.provision/``, and that labels name."""
        return self.main or self.directory

    @property
    def home(self) -> Path:
        """``.provision/<name>/``: rendered files, generated secrets and caches of this environment."""
        return self.kept_in / ".provision" / self.name

    @property
    def backs_up(self) -> bool:
        """Whether a backup of some database is made before something."""
        return self.backup is not None or any(each.backup is not None for each in self.databases.values())

    def backup_of(self, database: str) -> Backup | None:
        """Return before what a database is backed up: what its own entry says, else the spec as a whole."""
        own = self.databases.get(database)
        return own.backup if own is not None and own.backup is not None else self.backup

    def database_of(self, tree: Migrations | Seed) -> str:
        """Return the name of the database that a tree migrates, or that a seed is for."""
        return tree.database or self.server.database

    def login_in(self, database: str) -> str | None:
        """Return the role that migrates a database, the first where there are several; None: the superuser."""
        logins = [tree.login for tree in self.migrations if tree.login and self.database_of(tree) == database]
        return logins[0] if logins and logins[0] != self.server.user else None

    def owner_in(self, database: str) -> str | None:
        """Return the role that owns what migrations make in a database; None where its trees do not agree on one."""
        found = {tree.owner for tree in self.migrations if self.database_of(tree) == database}
        return found.pop() if len(found) == 1 else None

    @property
    def password_file(self) -> Path:
        """Where a generated password is kept, and what a container mounts."""
        return self.home / "secrets" / "postgres_password"

    def role_password_file(self, role: str) -> Path:
        """Return where the generated password of a role is kept; any text can be the name of a role."""
        from urllib.parse import quote

        return self.home / "secrets" / "roles" / quote(role, safe="").replace(".", "%2E")
