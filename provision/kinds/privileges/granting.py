"""The statements that give what is missing, and take what is surplus.

They name each object: so the one that fails is known, and none is meant that was not looked at.
https://www.postgresql.org/docs/current/sql-grant.html
https://www.postgresql.org/docs/current/sql-revoke.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from provision.kinds.catalog import Acl, Cluster, Contents
from provision.kinds.privileges.differing import Difference, Future, Part, is_table
from provision.kinds.privileges.words import ordered
from provision.kinds.rights import OWN_ROLES_SINCE, inherited
from provision.model.sql import identifier, literal
from provision.spec.access import Grantee

Object = tuple[str, str | None, str, str | None]
"""Keyword, schema, name, and column of an object."""
Template = tuple[str, str | None]
"""A statement before and behind the names of objects; None: it has them."""
Filling = Mapping[tuple[Template, ...], list[str]]
"""The names for statements that follow each other."""

_LONGEST = 2_000
_OPTION, _NO_OPTION = " WITH GRANT OPTION", "GRANT OPTION FOR "


def grants(differences: Iterable[Difference]) -> tuple[str, ...]:
    """Return the statements that give what is missing."""
    found: dict[tuple[Template, ...], list[str]] = defaultdict(list)
    columns: dict[tuple[str, Grantee, bool], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for part, names, grantee, missing, _ in differences:
        for option in (False, True):
            given = ordered([each for each, wanted in missing.items() if wanted is option])
            if part.column is not None:
                for each in given:
                    columns[_qualified(part, names[0]), grantee, option][each].append(part.column)
            elif given:
                template = (f"GRANT {', '.join(given)} ON {part.keyword} ", _to((grantee,), option=option))
                found[(template,)] += [_qualified(part, each) for each in names]
    for (table, grantee, option), by_privilege in columns.items():
        privileges = ", ".join([f"{each} ({', '.join(names)})" for each, names in by_privilege.items()])
        found[(f"GRANT {privileges} ON TABLE ", _to((grantee,), option=option)),].append(table)
    return tuple(_filled(found))


def future_grants(futures: Iterable[Future]) -> tuple[str, ...]:
    """Return the statements that have what will be created give what is missing."""
    return tuple(
        [
            f"{_defaults(each)} GRANT {', '.join(given)} ON {each.keyword}S{_to((each.grantee,), option=option)}"
            for each in futures
            for option in (False, True)
            if (given := ordered([name for name, wanted in each.missing.items() if wanted is option]))
        ]
    )


def future_revokes(futures: Iterable[Future]) -> tuple[str, ...]:
    """Return the statements that have what will be created no longer give what is surplus."""
    return tuple(
        [
            f"{_defaults(each)} REVOKE {_NO_OPTION if only else ''}{', '.join(taken)} ON {each.keyword}S"
            f" FROM {_listed((each.grantee,))}"
            for each in futures
            for only in (False, True)
            if (taken := ordered([name for name, is_only in each.surplus.items() if is_only is only]))
        ]
    )


class Revoking:
    """Makes the statements that take what is surplus; it has to know what goes of all pairs.

    A REVOKE takes what the object's owner has granted. What others granted stays, without a word, and what was passed
    on is in the way. There the privilege is taken from everybody with CASCADE, and given by the owner to all who keep
    it. On a table a REVOKE takes the privilege from the columns too, which get it again where they keep it. All of it
    happens in one transaction, so that no other session sees what is between.
    """

    def __init__(self, cluster: Cluster, contents: Contents, differences: Iterable[Difference]) -> None:
        self._cluster, self._columns = cluster, contents.columns
        self._losses: dict[Object, dict[tuple[Grantee, str], bool]] = defaultdict(dict)
        for part, names, grantee, _, surplus in differences:
            lost = {(grantee, privilege): only for privilege, only in surplus.items()}
            for name in names if lost else ():
                self._losses[part.keyword, part.schema, name, part.column] |= lost

    def statements(self, differences: Iterable[Difference]) -> tuple[str, ...]:
        """Return the statements for some of the differences."""
        found: dict[tuple[Template, ...], list[str]] = defaultdict(list)
        for each in differences:
            part = each.part
            is_plain = not any(is_entangled(part.acl, part.owner, each.grantee, lost) for lost in each.surplus)
            plain = tuple(_plain(each, each.surplus))
            for name in each.names if each.surplus else ():
                columns = self._columns.get((part.schema or "", name), {}) if is_table(part) else {}
                templates = plain if is_plain and not columns else tuple(self._templates(each, name, columns))
                found[templates].append(_qualified(part, name))
        return tuple(_filled(found))

    def _templates(self, difference: Difference, name: str, columns: Mapping[str, Acl]) -> Iterator[Template]:
        """Yield the statements for one object where a plain REVOKE does too little or too much."""
        part, grantee = difference.part, difference.grantee
        acls = (part.acl, *columns.values())
        knots = [
            privilege
            for privilege in ordered(difference.surplus)
            if any(is_entangled(acl, part.owner, grantee, privilege) for acl in acls)
        ]
        for privilege in knots:
            yield from self._untangled(part, name, privilege)
        yield from _plain(difference, difference.surplus.keys() - knots)
        for privilege in ordered(difference.surplus):
            for column, acl in columns.items():
                kept = self._kept(acl, part, (name, column), privilege)
                if privilege not in knots:
                    kept = {each: option for each, option in kept.items() if each == grantee}
                yield from _given(f"{privilege} ({column})", part.keyword, kept)

    def _untangled(self, part: Part, name: str, privilege: str) -> Iterator[Template]:
        """Yield what takes a privilege from everybody, whoever granted it, and gives it to all who keep it.

        A role that passed on the privilege of a column by its own on the table gets it on the column first: CASCADE
        follows only what it takes.
        """
        edges = [each for each in part.acl if each.privilege == privilege and each.grantee != part.owner]
        kept, on = self._kept(part.acl, part, (name, part.column), privilege), f" ON {part.keyword} "
        grantors = {each.grantor for each in edges if each.grantor != part.owner}
        holders = grantors | {each.grantee for each in edges if each.grantable}
        gone = ({each.grantee for each in edges} | grantors) - kept.keys()
        named = _named(privilege, part.column)
        if grantors:
            yield f"GRANT {named}{on}", _to(grantors, option=True)
        if looped := self.looped(part, privilege):
            revoke = f"REVOKE {_NO_OPTION}{named}{on}{_qualified(part, name)} FROM {_listed(holders)} CASCADE"
            yield _without_groups(revoke, looped, self._cluster.major), None
        elif holders:
            yield f"REVOKE {_NO_OPTION}{named}{on}", f" FROM {_listed(holders)} CASCADE"
        if gone:
            yield f"REVOKE {named}{on}", f" FROM {_listed(gone)} CASCADE"
        yield from _given(named, part.keyword, kept)

    def looped(self, part: Part, privilege: str) -> list[str]:
        """Return who passed a privilege on, and has its grant option also through a group, or as the owner's member.

        CASCADE takes nothing from those to whom they granted it, as long as they have it in any way.
        """
        edges = [each for each in part.acl if each.privilege == privilege]
        holders = {part.owner, *[each.grantee for each in edges if each.grantable]}
        return [
            each
            for each in sorted({edge.grantor for edge in edges} - {part.owner})
            if not holders.isdisjoint(inherited(self._cluster, each) - {each})
        ]

    def _kept(self, acl: Acl, part: Part, at: tuple[str, str | None], privilege: str) -> dict[Grantee, bool]:
        """Return who keeps a privilege, and whether with the grant option; the owner is not among them."""
        lost = self._losses.get((part.keyword, part.schema, *at), {})
        found: dict[Grantee, bool] = {}
        for each in acl:
            if each.privilege == privilege and each.grantee != part.owner:
                found[each.grantee] = each.grantable or found.get(each.grantee, False)
        return {
            grantee: option and (grantee, privilege) not in lost
            for grantee, option in found.items()
            if lost.get((grantee, privilege), True)
        }


_OF_ROLES = """SELECT pg_catalog.format('ALTER ROLE %I NOINHERIT', r.rolname),
      pg_catalog.format('ALTER ROLE %I INHERIT', r.rolname)
    FROM pg_catalog.pg_roles AS r WHERE r.rolinherit AND r.rolname IN """
_OF_MEMBERSHIPS = """SELECT pg_catalog.format(f, g.rolname, r.rolname, 'FALSE', b.rolname),
      pg_catalog.format(f, g.rolname, r.rolname, 'TRUE', b.rolname)
    FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS r ON r.oid = m.member
      JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid JOIN pg_catalog.pg_roles AS b ON b.oid = m.grantor,
      (VALUES ('GRANT %I TO %I WITH INHERIT %s GRANTED BY %I')) AS v(f)
    WHERE m.inherit_option AND r.rolname IN """


def _without_groups(statement: str, roles: Iterable[str], major: int) -> str:
    """Return a statement that runs while roles inherit nothing from their groups; no other session sees that."""
    rows = (_OF_MEMBERSHIPS if major >= OWN_ROLES_SINCE else _OF_ROLES) + f"({', '.join(map(literal, roles))})"
    body = f"""DECLARE off text; back text; backs text[] := '{{}}';
BEGIN
  FOR off, back IN {rows} LOOP EXECUTE off; backs := backs || back; END LOOP;
  {statement};
  FOREACH back IN ARRAY backs LOOP EXECUTE back; END LOOP;
END"""
    return f"DO {literal(body)}"


def is_entangled(acl: Acl, owner: str, grantee: Grantee, privilege: str) -> bool:
    """Tell whether another role than the owner granted the privilege, or the grantee passed it on."""
    return any(
        each.privilege == privilege and (each.grantor == grantee or (each.grantee == grantee and each.grantor != owner))
        for each in acl
    )


def _plain(difference: Difference, privileges: Iterable[str]) -> Iterator[Template]:
    part, surplus = difference.part, difference.surplus
    for only in (False, True):
        taken = [_named(each, part.column) for each in ordered(privileges) if surplus[each] is only]
        if taken:
            head = f"REVOKE {_NO_OPTION if only else ''}{', '.join(taken)} ON {part.keyword} "
            yield head, f" FROM {_listed((difference.grantee,))}"


def _given(privilege: str, keyword: str, kept: Mapping[Grantee, bool]) -> Iterator[Template]:
    for option in (False, True):
        names = [each for each, wanted in kept.items() if wanted is option]
        if names:
            yield f"GRANT {privilege} ON {keyword} ", _to(names, option=option)


def _filled(filling: Filling) -> Iterator[str]:
    """Yield the statements with their names, as many of these in one as it may be long."""
    for templates, names in filling.items():
        for some in _bounded(sorted(names)):
            for head, tail in templates:
                yield head if tail is None else f"{head}{some}{tail}"


def _bounded(names: Iterable[str]) -> Iterator[str]:
    some, length = list[str](), 0
    for each in names:
        if some and length + len(each) > _LONGEST:
            yield ", ".join(some)
            some, length = [], 0
        some.append(each)
        length += len(each) + 2
    if some:
        yield ", ".join(some)


def _defaults(future: Future) -> str:
    where = f" IN SCHEMA {identifier(future.schema)}" if future.schema is not None else ""
    return f"ALTER DEFAULT PRIVILEGES FOR ROLE {identifier(future.creator)}{where}"


def _to(grantees: Iterable[Grantee], *, option: bool) -> str:
    return f" TO {_listed(grantees)}{_OPTION if option else ''}"


def _listed(grantees: Iterable[Grantee]) -> str:
    return ", ".join(sorted(["PUBLIC" if each is None else identifier(each) for each in grantees]))


def _named(privilege: str, column: str | None) -> str:
    return privilege if column is None else f"{privilege} ({column})"


def _qualified(part: Part, name: str) -> str:
    return name if part.schema is None else f"{identifier(part.schema)}.{name}"
