"""Why declared privileges cannot be brought about: objects that are not there, and owners that the login cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import RefusedError, command
from provision.kinds import rights
from provision.kinds.policy import place
from provision.kinds.words import KEYWORDS
from provision.model.sql import identifier
from provision.model.words import count
from provision.spec.reading import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provision.kinds.catalog import Cluster, Contents
    from provision.spec.access import Grant

_OPTIONS_SINCE = 16
_SHOWN = 10


def unknown(database: str, contents: Contents, grants: Mapping[str, Sequence[Grant]]) -> RefusedError:
    """Return the refusal of grants, by target, on what is not there and will not be made."""
    said = [f"{each.place}: {on}{_meant(each, contents)}" for on, found in grants.items() for each in found]
    return RefusedError(
        f"`grants` of the database {database!r} name what is not there: {count(len(grants), 'object')}",
        evidence=said,
        next_step="correct the names, or write the migration that creates the objects, then: " + command("apply"),
    )


def _meant(grant: Grant, contents: Contents) -> str:
    """Return the advice with a name that is nearly the same."""
    schema, name = place(grant.on)
    if schema is None:
        meant = nearest(name, [other for kind, other in contents.others if kind == grant.on.kind])
    elif schema not in contents.schemas:
        meant = nearest(schema, contents.schemas)
        return f"; there is no schema {schema}" + (f", did you mean {meant}?" if meant else "")
    else:
        keyword = KEYWORDS[grant.on.kind]
        objects = [each for each in contents.objects if each.schema == schema and KEYWORDS[each.kind] == keyword]
        meant = nearest(name, [other for each in objects for other in each.names])
        meant = meant and grant.on.name.removesuffix(name) + meant
    return f"; did you mean {meant}?" if meant else ""


def out_of_reach(cluster: Cluster, owners: Iterable[str]) -> frozenset[str]:
    """Return the owners for whom the login cannot act, although they exist."""
    if cluster.is_superuser:
        return frozenset()
    return frozenset(owners) & cluster.roles.keys() - rights.inherited(cluster, cluster.login)


def barred(cluster: Cluster, database: str, statements: Mapping[str, Sequence[str]]) -> RefusedError:
    """Return the refusal of what only the owners can do; ``statements`` are what is to be done for each of them."""
    login = identifier(cluster.login)
    option = " WITH INHERIT TRUE" if cluster.major >= _OPTIONS_SINCE else ""
    evidence, ways = [], []
    for owner, lines in statements.items():
        shown = [f"  {each};" for each in lines[:_SHOWN]]
        more = [f"  … and {len(lines) - _SHOWN} more"] if lines[_SHOWN:] else []
        evidence += [f"what belongs to {owner!r} needs:", *shown, *more]
        if not cluster.roles[owner].superuser:
            ways.append(f"GRANT {identifier(owner)} TO {login}{option};")
    return RefusedError(
        f"{cluster.login!r} may not change the privileges on what other roles own in the database {database!r}",
        evidence=evidence,
        next_step=f"as an administrator: {' '.join(ways) or 'run these statements there'}",
    )
