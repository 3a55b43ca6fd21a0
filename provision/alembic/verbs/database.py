"""The database that a tree belongs to, where a verb needs one: it has to be up, because nothing is started here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from provision.alembic.tree import version_table
from provision.errors import UnknownRevisionError
from provision.kinds import migrations as kind
from provision.observe import endpoint_of, world
from provision.system.login_errors import diagnosed
from provision.system.postgres import LoginError, ReadOnlyQuery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.alembic.verbs.tree import Tree
    from provision.model import Endpoint
    from provision.observe import World


def running(tree: Tree) -> tuple[World, Endpoint]:
    """Return the world of a tree's environment, and where its server is reached.

    Raises:
        UnavailableError: the server does not run; the next step starts it.
        ProvisionError: its generated password was lost.
    """
    seen = world(tree.spec)
    return seen, endpoint_of(seen)


@contextmanager
def asking(endpoint: Endpoint) -> Iterator[ReadOnlyQuery]:
    """Ask the database, in read-only transactions.

    Raises:
        UnavailableError: the login fails; the error says why.
    """
    query = ReadOnlyQuery(endpoint)
    try:
        yield query
    except LoginError as error:
        raise diagnosed(error, endpoint) from error
    finally:
        query.close()


def refuse_foreign(tree: Tree, rows: tuple[str, ...]) -> None:
    """Refuse a database that this tree leads nowhere from; Git is asked where an unknown revision comes from.

    Raises:
        RefusedError: it is at a revision that the tree does not have, or its rows contradict each other.
    """
    try:
        kind.refuse_foreign(tree.declared, tree.graph, rows)
    except UnknownRevisionError as error:
        from provision.system import git

        git.explain(error, tree.graph, tree.location)
        raise


def rows_of(tree: Tree) -> tuple[str, ...]:
    """Return the rows of a tree's version table; none where there is no such table.

    Raises:
        UnavailableError: the server does not run, or refuses the login.
    """
    _, endpoint = running(tree)
    with asking(endpoint) as query:
        return version_table.read_rows(tree.declared, query) or ()
