"""Why declared privileges cannot be brought about: what they are on is not there, and nothing will make it."""

from __future__ import annotations

from collections.abc import Sequence

from provision.errors import RefusedError, command
from provision.kinds.catalog import Contents
from provision.kinds.privileges.differing import Absent
from provision.kinds.privileges.policy import place
from provision.kinds.privileges.words import KEYWORDS
from provision.model.words import count
from provision.spec.access import Grant
from provision.spec.reading import nearest


def unknown(database: str, contents: Contents, absent: Sequence[Absent]) -> RefusedError:
    """Return the refusal of grants on what is not there and will not be made."""
    number = len(set(map(str, absent)))
    said = [f"{each.grant.place}: {each}{'' if each.column else _meant(each.grant, contents)}" for each in absent]
    return RefusedError(
        f"`grants` of the database {database!r} name what is not there: {count(number, 'object')}",
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
