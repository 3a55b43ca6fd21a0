"""Which tenants a tree has, and where each of them is: one question a server for schemas, one login a database.

Databases are entered side by side, and left at once: a server has fewer connections than an application has tenants.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from contextvars import copy_context
from functools import partial

from provision.alembic import Graph, Revisions, address, database_of, entered, located, schemas_of
from provision.errors import MigrationsError, RefusedError
from provision.kinds import Look
from provision.kinds.tenant_states import Spread, UndefinedError, groups
from provision.model import OWN_DATABASES, Endpoint, Observed
from provision.model.tenants import Tenants
from provision.model.value import replace
from provision.spec.model import Migrations, Spec
from provision.spec.tenant_choice import refuse_other, refuse_unknown
from provision.system import no_commands
from provision.system.login_errors import diagnosed
from provision.system.one_statement import StatementError, ask
from provision.system.postgres import Login, LoginError
from provision.system.read_only import ReadOnlyQuery

_AT_ONCE = 4
_MOST_TRIES, _PAUSE = 5, 0.2
_DATABASES = "SELECT datname::text, datallowconn FROM pg_database WHERE datname = ANY (%s)"
_LIMITED = r"permission denied for database|too many connections for (role|database)"
"""What is so of one database, while others can be entered."""
_UNDEFINED = ("42P01", "3F000", "42703", "42883")
"""SQLSTATE of an undefined table, schema, column and function."""


def spread(look: Look, tree: Migrations, at: Endpoint) -> Spread:
    """Return where the tenants of a tree are; ``at`` is the server's login, in the database of the tree.

    Raises:
        MigrationsError: the server refuses the query, or what it returns are no names.
        UnavailableError: the server cannot be reached.
        RefusedError: our role lacks a privilege.
    """
    tenants, graph = tree.tenants, look.inputs.graphs[tree.name]
    assert tenants is not None  # noqa: S101  # who calls this has asked
    names = names_of(look.spec, tree, at)
    if tree.login and look.reported("is_superuser") != "on":
        at = entered(look.spec, tree, at)
    chosen = chosen_of(tenants, names)
    if tenants.kind == "schemas":
        with closing(ReadOnlyQuery(at, named=at.is_ours)) as query:
            states, closed = schemas_of(tree, graph, chosen, query), dict[str, str]()
    else:
        states, closed = _of_databases(look, tree, chosen, at)
    found = tuple(sorted({each.at for each in groups(states)}))
    return Spread(found, tenants.kind, chosen, states, closed, names)


def names_of(spec: Spec, tree: Migrations, at: Endpoint) -> tuple[str, ...]:
    """Return the names of all tenants, those that are ``first`` before the others.

    The login of the migrations asks the query, where they have one: a function can set a superuser's session back to
    the superuser, whatever role it was set to, and that of another login to nothing that it is not a member of.

    Raises:
        MigrationsError: the server refuses the query, or it returns something else than a column of names.
        NotRunError: ``--no-commands`` forbids it.
        ProvisionError: the server refuses the login, or its password is not known.
    """
    tenants = tree.tenants
    assert tenants is not None  # noqa: S101  # who calls this has asked
    found = tenants.names
    if tenants.query is not None:
        no_commands.refuse(f"which tenants there are: the server was not asked `{tenants.query}`")
        try:
            answer = ask(entered(spec, tree, at) if tree.login else at, tenants.query, role=tree.owner)
        except StatementError as error:
            raise _refused(tenants, error) from error
        if len(answer.columns) != 1:
            raise _no_names(tenants, f"it returns {len(answer.columns)} columns: {', '.join(answer.columns)}")
        names = [name for (name,) in answer.rows if name]
        if len(names) < len(answer.rows):
            raise _no_names(tenants, f"{len(answer.rows) - len(names)} of its rows have no name")
        found = tuple(dict.fromkeys([each for each in names if not re.match(OWN_DATABASES, each)]))
    first = [each for each in tenants.first if each in found]
    return (*first, *[each for each in found if each not in first])


def refuse_stranger(spec: Spec, tree: Migrations, name: str, at: Endpoint) -> None:
    """Refuse a database or schema that is no tenant; ``at`` is the server's login. A list was compared with before.

    Raises:
        UsageError: the query of the tenants does not return it.
        ProvisionError: the server cannot be reached, or refuses the query.
    """
    if tree.tenants is None or tree.tenants.query is None:
        return
    at = located(tree, at)
    try:
        names = names_of(spec, tree, at)
    except LoginError as error:
        raise diagnosed(error, entered(spec, tree, at) if tree.login else at) from error
    refuse_other(tree, name, names)


def _refused(tenants: Tenants, error: StatementError) -> MigrationsError:
    kind = UndefinedError if error.state in _UNDEFINED else MigrationsError
    return kind(
        "the server refuses the query of the tenants",
        evidence=[f"{tenants.place}: {tenants.query}", error.message, error.hint][: 3 if error.hint else 2],
        next_step="correct `migrations.tenants` in the spec: one SELECT, which only reads",
    )


def _no_names(tenants: Tenants, why: str) -> MigrationsError:
    return MigrationsError(
        "the query of the tenants has to return one column, the name of a tenant in each row",
        evidence=[f"{tenants.place}: {tenants.query}", why],
        next_step="correct `migrations.tenants` in the spec: SELECT the name, and WHERE it IS NOT NULL",
    )


def refuse_unknown_of(spec: Spec, observed: Observed) -> None:
    """Refuse a name in the options that is no tenant of any tree, once those of all trees are known.

    Raises:
        UsageError: there is one.
    """
    trees = [each for each in spec.migrations if each.tenants]
    found = [observed.get(address(each)) for each in trees]
    known = [each.known for each in found if isinstance(each, Spread)]
    if trees and len(known) == len(trees):
        refuse_unknown(trees, known)


def chosen_of(tenants: Tenants, names: Sequence[str]) -> tuple[str, ...]:
    """Return what ``--tenant`` and ``--except`` leave of the tenants, in the order in which they are migrated."""
    only, without = tenants.only, tenants.without
    return tuple([each for each in names if (not only or each in only) and each not in without])


def _of_databases(
    look: Look, tree: Migrations, names: Sequence[str], at: Endpoint
) -> tuple[dict[str, Revisions], dict[str, str]]:
    """Return where the databases are that can be entered, and why the others cannot.

    What this run has read itself, under the lock and after it migrated, is not asked again.
    """
    from concurrent.futures import ThreadPoolExecutor  # 4 ms, and schemas need none

    read: dict[str, tuple[str, ...]] = look.spec.fetched.pop(("tenants", tree.name), {})  # type: ignore[call-overload]
    there = dict(look.rows(_DATABASES, (list(names),))) if names else {}
    open_ = [each for each in names if there.get(each) and each not in read]
    closed = {each: "it does not accept connections" for each in names if there.get(each) is False}
    at.password.reveal()  # here: a program may have to be asked for it
    one = partial(_look, look.spec, tree, look.inputs.graphs[tree.name], at)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = dict(zip(open_, threads.map(lambda each: copy_context().run(one, each), open_), strict=True))
    known = {name: Revisions(rows) for name, rows in read.items() if there.get(name)}
    states = known | {name: each for name, each in answers.items() if isinstance(each, Revisions)}
    return states, closed | {name: each for name, each in answers.items() if isinstance(each, str)}


def _look(spec: Spec, tree: Migrations, graph: Graph, at: Endpoint, name: str) -> Revisions | str | None:
    """Return where a database is, or why that cannot be said; None: it is gone since.

    Raises:
        UnavailableError: the server cannot be reached, or has had no connection left for a while.
    """
    own = tree.for_tenant(name)
    for number in range(1, _MOST_TRIES + 1):
        try:
            with closing(ReadOnlyQuery(replace(at, database=name), named=at.is_ours)) as query:
                return database_of(own, graph, query, spec)
        except LoginError as error:
            if error.login is Login.NO_DATABASE:
                return None
            if error.login in (Login.CLOSED, Login.REFUSED) or re.search(_LIMITED, "\n".join(error.evidence)):
                said = next((each for each in error.evidence if "FATAL:" in each), error.words)
                return said.rpartition("FATAL:")[2].strip()
            if error.login is not Login.FULL or number == _MOST_TRIES:
                raise
            time.sleep(_PAUSE * number)
        except RefusedError as error:
            return " ".join([error.sentence, *error.evidence[:1]])
    return None
