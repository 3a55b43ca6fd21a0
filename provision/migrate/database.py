"""The database that a tree belongs to, where a verb needs one: it has to be up, because nothing is started here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from provision.errors import UnavailableError
from provision.observe import world
from provision.revisions import version_table
from provision.system.login_errors import diagnosed
from provision.system.postgres import LoginError, ReadOnlyQuery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.migrate.tree import Tree
    from provision.model import Endpoint
    from provision.observe import World


def running(tree: Tree) -> tuple[World, Endpoint]:
    """Return the world of a tree's environment, and where its server is reached.

    Raises:
        UnavailableError: the server does not run; the next step starts it.
    """
    seen = world(tree.spec)
    found = seen.site.endpoint(seen.inputs.password)
    if found is None:
        state = seen.site.status.server
        raise UnavailableError(
            f"the server of {tree.spec.name!r} is {state}, and `provision migrate` starts none",
            next_step="provision start" if state in {"stopped", "paused"} else "provision apply",
        )
    return seen, found


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


def rows_of(tree: Tree) -> tuple[str, ...]:
    """Return the rows of a tree's version table; none where there is no such table.

    Raises:
        UnavailableError: the server does not run, or refuses the login.
    """
    _, endpoint = running(tree)
    with asking(endpoint) as query:
        return version_table.read_rows(tree.declared, query) or ()
