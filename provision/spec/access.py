"""What a spec declares inside a server: roles, databases, and who may do what there.

These are values with their defaults; :mod:`provision.spec.roles` and :mod:`provision.spec.databases` read them. None
means "not managed": what is not written is neither compared nor changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from provision.model.value import dataclass, field
from provision.spec.passwords import PasswordSource

Values = Mapping[str, tuple[str, ...] | None]
"""Settings by name: the elements of the value (one where it is no list), None for ``default`` (RESET)."""

PUBLIC = None
"""The grantee of a privilege that everybody has. A role can be called "PUBLIC", so it is no name."""

Grantee = str | None
"""The name of a role, or :data:`PUBLIC`."""

AccessWord = Literal["none", "usage", "read", "write", "maintain"]
PublicWord = Literal["none", "usage", "create"]
"""What PUBLIC may do in a schema."""

NO_LIMIT = -1
NEVER = "infinity"


@dataclass(frozen=True)
class NoPassword:
    """``password: none``: the role has none, and one that it has is taken away."""


@dataclass(frozen=True)
class Member:
    """One group that a role belongs to, or must not (``is_absent``). ``inherit`` and ``set`` exist from 16 on.

    https://www.postgresql.org/docs/current/sql-grant.html#SQL-GRANT-DESCRIPTION-ROLES
    """

    group: str
    admin: bool = False
    inherit: bool = True
    set: bool = False
    is_absent: bool = False


@dataclass(frozen=True)
class Role:
    """One entry of ``roles``. A role that is there says all of its attributes, so each is compared.

    ``password`` is None where no source is written: then a login that an apply creates gets a generated one, and a role
    that exists keeps its own. ``valid_until`` is an instant in UTC (``2027-01-01T00:00:00Z``), or :data:`NEVER`.
    ``comment`` is empty where one is to be taken away. ``settings_in`` maps a database to settings of the role there.
    ``is_external``: it is made elsewhere, and may only be named. ``reassign_to``, ``drop_owned`` and ``ends_sessions``
    belong to a role that ``is_absent``. ``place`` is where it is written, as ``path:line``.
    """

    name: str
    is_absent: bool = False
    login: bool = False
    password: PasswordSource | NoPassword | None = None
    superuser: bool = False
    createdb: bool = False
    createrole: bool = False
    replication: bool = False
    bypassrls: bool = False
    inherit: bool = True
    connection_limit: int = NO_LIMIT
    valid_until: str = NEVER
    comment: str | None = None
    settings: Values = field(default_factory=dict)
    settings_in: Mapping[str, Values] = field(default_factory=dict)
    member_of: tuple[Member, ...] = ()
    is_external: bool = False
    renamed_from: str | None = None
    reassign_to: str | None = None
    drop_owned: bool = False
    ends_sessions: bool = False
    place: str = field(default="", compare=False)

    @property
    def has_expired(self) -> bool:
        """Whether the server refuses its password, as far as the clock of this machine can say."""
        from datetime import UTC, datetime

        # Both are in UTC and begin with a year of four digits, so they compare as texts.
        return self.valid_until != NEVER and self.valid_until <= f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"


@dataclass(frozen=True)
class Schema:
    """One entry of ``schemas``. ``owner`` None: the database's owner makes it, and an existing one is not managed.

    ``access`` is exact for each pair of role and schema, for objects that exist and future ones of ``defaults_for``
    (None: the schema's owner, and the login and role of the database's migrations).
    """

    name: str
    is_absent: bool = False
    owner: str | None = None
    access: Mapping[str, AccessWord] = field(default_factory=dict)
    public: PublicWord | None = None
    defaults_for: tuple[str, ...] | None = None
    comment: str | None = None
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class Extension:
    """One entry of ``extensions``. ``version`` None: whatever is there; ``latest`` is the server's default version."""

    name: str
    is_absent: bool = False
    schema: str | None = None
    version: str | None = None
    cascade: bool = False
    place: str = field(default="", compare=False)


ObjectKind = Literal[
    "database",
    "schema",
    "table",
    "sequence",
    "routine",
    "type",
    "domain",
    "language",
    "fdw",
    "server",
    "large_object",
    "parameter",
]


@dataclass(frozen=True)
class Target:
    """What a grant is on. ``name`` is that of one object: ``shop.customers``, ``shop.refund(integer, text)``.

    It and ``columns`` are as the catalogs' ``quote_ident`` and ``format_type`` write them; :func:`split` in
    :mod:`provision.spec.object_names` takes a qualified one apart. ``schema`` is set, without quotes, and ``name``
    empty, where all objects of the kind in a schema are meant (``tables: audit.*``).
    """

    kind: ObjectKind
    name: str
    schema: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grant:
    """One entry of ``grants``: exactly these privileges, in upper case, for a grantee on a target. Empty: ``none``.

    ``("ALL",)`` is every privilege that the server's version has for the kind.
    """

    to: Grantee
    on: Target
    privileges: tuple[str, ...]
    grantable: bool = False
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class Backup:
    """Before what a backup is made: ``downgrade``, ``destructive``, ``upgrade``; how many such ones are kept."""

    before: tuple[str, ...] = ()
    keep: int = 5


@dataclass(frozen=True)
class Database:
    """One entry of ``databases``.

    ``encoding``, ``locale``, ``provider``, ``icu_locale`` and ``template`` count only when it is created; another value
    there is refused. ``connect`` and ``temporary`` are exact lists of who else than the owner has the privilege.
    """

    name: str
    is_absent: bool = False
    owner: str | None = None
    template: str = "template0"
    encoding: str | None = None
    locale: str | None = None
    provider: Literal["libc", "icu", "builtin"] | None = None
    icu_locale: str | None = None
    tablespace: str | None = None
    connection_limit: int | None = None
    allow_connections: bool | None = None
    comment: str | None = None
    connect: tuple[Grantee, ...] | None = None
    temporary: tuple[Grantee, ...] | None = None
    settings: Values = field(default_factory=dict)
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    extensions: tuple[Extension, ...] = ()
    grants: tuple[Grant, ...] = ()
    ends_sessions: bool = False
    backup: Backup | None = None
    place: str = field(default="", compare=False)

    @property
    def has_inside(self) -> bool:
        """Whether something is declared that only a look into the database shows."""
        return bool(self.schemas or self.extensions or self.grants)
