"""Why declared privileges cannot be brought about: objects that are not there, and owners that the login cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import RefusedError, command
from provision.kinds.policy import place
from provision.kinds.words import KEYWORDS
from provision.model.words import count
from provision.spec.reading import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.kinds.catalog import Contents
    from provision.spec.access import Grant


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
