"""What parent and child say to each other: one request, then one event a line, each of them a JSON object.

Both ends are typed by this module. It needs nothing but :mod:`typing`, so the child can import it in any interpreter.
"""

from __future__ import annotations

from typing import Literal, Optional, Tuple, TypedDict, Union  # noqa: UP035  # Python 3.8 reads them

Table = Tuple[Optional[str], str]  # noqa: UP006, UP045
"""A schema, or None for the default one, and a name."""
Direction = Literal["upgrade", "downgrade", "stamp"]


class Lock(TypedDict):
    """The advisory lock that our parent holds, by which the child recognises the database."""

    pid: int
    classid: int
    objid: int


class Manner(TypedDict):
    """What is so of a request that is one of many. ``more``: another one may come after it.

    ``session`` is what a session is to have that logs in as the request says: its ``application_name``, and the
    ``search_path`` of a tenant. ``reloads``: the next request finds the project's own modules not yet loaded.
    """

    session: tuple[str | None, str | None]
    more: bool
    reloads: bool


class Request(Manner):
    """What every request holds: the tree, what ``env.py`` is given, and where the database is."""

    kind: Literal["migrate", "render", "compare", "write", "resolve"]
    words: list[str]
    """The arguments of an ``alembic`` command line that does the same."""
    host: str
    port: int
    direct: tuple[str, int] | None
    """Another address of the same server, which takes less time."""
    user: str
    password: str
    database: str
    tenant: str | None
    role: str | None
    """What a session that logs in so is set to."""
    pooled: bool
    """Whether a pooler is between: it takes no ``options``, and sessions are handed on."""
    secrets: list[str]
    tls: dict[str, str]
    """Variables of libpq's, which say how a connection is made."""
    keepalives: dict[str, str]
    """Parameters of libpq's that have no variable."""
    prepare: str | None
    url_driver: str | None
    config: str | None
    section: str
    script_location: str | None
    env_file: str
    cwd: str
    options: dict[str, str]
    env: dict[str, str]
    x: dict[str, str]
    attributes: dict[str, Literal["connection", "engine"]]
    version_table: str
    version_table_schema: str | None
    lock_timeout: float
    transaction_per_revision: bool


class Database(TypedDict):
    """How the child recognises the database to which ``env.py`` may connect.

    ``declared_table`` is the version table of the spec, with its schema, as SQL writes it. ``others`` are tables that
    belong to no model.
    """

    lock: Lock | None
    declared_table: str
    others: list[Table]


class Online(Request, Database):
    """A request for which ``env.py`` may connect."""


class Rehearsal(TypedDict):
    """What is wanted on a scratch database: a report on each statement, or each revision up, down and up again.

    ``walk`` says of each revision whether it goes down, ``quoted_table`` is the version table as SQL writes it.
    """

    trace: bool
    walk: list[tuple[str, bool]]
    quoted_table: str


class Migrate(Online):
    """Run revisions, or write the version table. ``reading``: say what their code reads."""

    direction: Direction
    target: list[str]
    revisions: list[str]
    rows: list[str]
    rehearsal: Rehearsal | None
    reading: bool


class Render(Request):
    """Write down the statements of revisions."""

    direction: Direction
    rows: list[str]
    revisions: list[str]


class Compare(Online):
    """Compare the models with the database. ``no_tables``: they may be empty."""

    no_tables: bool


class NewRevision(TypedDict):
    """The options of ``alembic revision``."""

    message: str
    autogenerate: bool
    head: str | list[str]
    splice: bool
    branch_label: str | None
    version_path: str | None
    rev_id: str | None
    depends_on: list[str] | None


class Write(Compare):
    """Write a revision file."""

    revision: NewRevision
    allow_empty: bool


class Resolve(Request):
    """Say where a ``package:dir`` is; without one, what the revision files state."""

    package: str | None


class Failure(TypedDict):
    """An error of the child, without the parameters of a statement.

    ``clean`` says that nothing was committed since the running revision began, ``address`` where a connection failed.
    """

    event: Literal["error"]
    stage: str
    revision: str | None
    type: str
    message: str
    sqlstate: str | None
    statement: str | None
    place: str | None
    clean: bool
    address: str | None
    versions: dict[str, str]
    traceback: str


class Plain(TypedDict):
    """An event that is its name; ``quiet`` is our own word for a child that has said nothing for a while."""

    event: Literal["ready", "quiet", "needs-server", "statement-failed"]


class Finished(TypedDict):
    """The request was served; ``memory`` is the largest resident size of the process so far, in KiB."""

    event: Literal["finished"]
    memory: int


class Session(TypedDict):
    """A connection to a server was opened, or one is about to run ``CONCURRENTLY`` and waits for our word."""

    event: Literal["session", "concurrently"]
    pid: int


class Connected(TypedDict):
    """``env.py`` runs migrations on a connection; ``table`` is the version table with its schema."""

    event: Literal["connected"]
    pid: int
    database: str
    table: str


class RevisionStart(TypedDict):
    """A revision begins."""

    event: Literal["revision-start"]
    revision: str
    message: str
    table: str


class RevisionDone(TypedDict):
    """A revision has run, and Alembic has written its row."""

    event: Literal["revision-done"]
    revision: str
    message: str
    table: str
    seconds: float


class Committed(TypedDict):
    """A revision has committed a statement by itself."""

    event: Literal["committed"]
    revision: str | None
    statement: str


class Statement(TypedDict):
    """A traced statement: its new locks (table, mode, whether the revisions made the table), and what it rewrote."""

    event: Literal["statement"]
    revision: str
    line: int
    statement: str
    seconds: float
    locks: list[tuple[str, str, bool]]
    new: list[str]
    rewritten: list[str]


class NoDowngrade(TypedDict):
    """A revision file has no function ``downgrade``."""

    event: Literal["no-downgrade"]
    revision: str


class Difference(TypedDict):
    """An object that is not what it was: after the downgrade (``down``), or after the second upgrade (``again``)."""

    event: Literal["difference"]
    revision: str
    phase: Literal["down", "again"]
    kind: str
    name: str
    wanted: str | None
    found: str | None


class Operation(TypedDict):
    """A difference between models and database, as one line."""

    event: Literal["operation"]
    text: str


class Models(TypedDict):
    """How much is compared: see :class:`provision.alembic.running.ask.Comparison`."""

    event: Literal["models"]
    tables: int
    compare_type: bool
    compare_server_default: bool
    include_schemas: bool


class Written(TypedDict):
    """A revision file was written."""

    event: Literal["written"]
    revision: str
    path: str


class Around(TypedDict):
    """The SQL before the first revision, or after the last."""

    event: Literal["prologue", "epilogue"]
    sql: str


class Section(TypedDict):
    """A revision as SQL, in pieces with the line of their operation; or the reason why there is none."""

    event: Literal["section"]
    revision: str
    sql: str
    reason: str | None
    place: str | None
    pieces: list[tuple[str, int | None]]


class WithoutEnv(TypedDict):
    """``env.py`` cannot be part of the SQL."""

    event: Literal["without-env"]
    reason: str


class Place(TypedDict):
    """Where a package is; ``installed`` is the interpreter's path, on which it was found."""

    event: Literal["location"]
    script: str
    installed: list[str]


class Stated(TypedDict):
    """What a revision file states."""

    event: Literal["revision"]
    path: str
    revision: str
    down: list[str]
    depends_on: list[str]
    labels: list[str]
    message: str


class Read(TypedDict):
    """What the code has read: see :mod:`provision.alembic.child.reading`.

    ``changed`` are files that it read and then wrote, ``looked`` those of which it asked whether they are there,
    ``listed`` directories. ``own_variables`` are set by us, or by the code itself. ``lost`` says why something may be
    missing; empty: nothing is.
    """

    event: Literal["read"]
    files: list[str]
    changed: list[str]
    looked: list[str]
    listed: list[str]
    variables: list[str]
    all_variables: bool
    own_variables: list[str]
    programs: list[str]
    lost: str


Event = Union[  # noqa: UP007
    Failure,
    Plain,
    Finished,
    Session,
    Connected,
    RevisionStart,
    RevisionDone,
    Committed,
    Statement,
    NoDowngrade,
    Difference,
    Operation,
    Models,
    Written,
    Around,
    Section,
    WithoutEnv,
    Place,
    Stated,
    Read,
]
