"""Verdicts on the privileges of one database, as states.

What is only needed where something differs is in :mod:`provision.kinds.privileges.corrections`, and imported then.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from provision.kinds import Look, catalog, rights, role
from provision.kinds.catalog import Contents
from provision.kinds.privileges.access import Access, as_declared, trees
from provision.kinds.privileges.differing import Judge, Makers, crowded
from provision.kinds.privileges.policy import Pair, pairs
from provision.model.value import replace
from provision.spec.access import Database

_OWNER_OF_DATABASE = "pg_database_owner"
MANY = 50
"""So many grantees of one object are worth a remark."""
_ADVICE = "{}; grant to groups, and make logins their members: an ACL has to fit into one row"


class Judged(NamedTuple):
    """The pairs of one database as a look shows them: on objects that exist, and on future ones."""

    present: Mapping[Pair, Access]
    future: Mapping[Pair, Access]


def judge(look: Look, database: str) -> Judged | None:
    """Compare all pairs of a database with what is there; None where it cannot be entered.

    Raises:
        UnseenError: the server cannot be asked.
    """
    contents = rights.contents(look, database)
    if contents is None:
        return None
    own, cluster = look.spec.databases[database], look.once(catalog.cluster)
    makers, renames = partial(_makers, look, own, contents), look.once(role.renames)
    judge = Judge(own, cluster, contents, makers, renames)
    said = pairs(own)
    present = {pair: as_declared(pair, each) for pair, each in said.items()}
    future = {pair: present[pair] for pair, each in said.items() if each.has_future}
    if judge.verdicts:
        from provision.kinds.privileges.corrections import Corrections

        corrections = Corrections(look, own, contents, judge.verdicts)
        for pair, verdict in judge.verdicts.items():
            if pair in future:
                future[pair] = corrections.future(present[pair], verdict)
            present[pair] = corrections.present(present[pair], said[pair], verdict)
    if present and (remarks := tuple(map(_ADVICE.format, crowded(judge.parts, MANY)))):
        first = next(iter(present))
        present[first] = replace(present[first], work=present[first].work._replace(remarks=remarks))
    return Judged(present, future)


def _makers(look: Look, database: Database, contents: Contents, schema: str) -> Makers:
    """Return who owns a schema, or will, and who creates objects in it."""
    cluster, declared, there = look.once(catalog.cluster), database.schemas.get(schema), contents.schemas.get(schema)
    of_database = database.owner or cluster.databases[database.name].owner
    owner = (declared.owner if declared else None) or (there.owner if there else of_database)
    if declared and declared.defaults_for is not None:
        return Makers(owner, declared.defaults_for, is_declared=True)
    creators = [of_database if owner == _OWNER_OF_DATABASE else owner]
    for tree in trees(look.spec, database.name):
        creators += [each for each in (tree.login, tree.role) if each] or [cluster.login]
    # What others create here, for whom our login cannot act, is not for this spec to say.
    creators = [each for each in creators if rights.standing(cluster, each) != "may not be"]
    return Makers(owner, tuple(dict.fromkeys(creators)), is_declared=False)
