"""Who may connect to a database, and make temporary tables in it: exact lists, beside the owner and superusers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from provision.kinds.catalog import Cluster, Database, Edge
from provision.kinds.pieces import Piece
from provision.model import Change, Stage
from provision.model.sql import identifier
from provision.model.value import dataclass
from provision.spec import access
from provision.spec.access import PUBLIC, Grantee

CONNECT, TEMPORARY = "CONNECT", "TEMPORARY"
_EVERYBODY = "public"
_GRANTABLE = " with grant option"


@dataclass(frozen=True)
class Privileges:
    """The privileges on a database as they are once ``owner`` owns it; ``others`` are those of all others.

    ``login`` is the one that asks, where it is no superuser: it keeps its privileges, because it has to connect.
    """

    owner: str
    others: tuple[Edge, ...]
    login: str | None

    @classmethod
    def of(cls, there: Database, owner: str, cluster: Cluster) -> Privileges:
        """Return what the catalog says; ALTER DATABASE OWNER puts the new owner in the place of the old one."""

        def moved(name: str | None) -> str | None:
            return owner if name == there.owner else name

        edges = [each._replace(grantee=moved(each.grantee), grantor=moved(each.grantor) or owner) for each in there.acl]
        others = sorted((each for each in edges if each.grantee != owner), key=str)
        return cls(owner, tuple(others), None if cluster.is_superuser else cluster.login)

    def shown(self, privilege: str, wanted: Collection[Grantee] | None) -> frozenset[str] | None:
        """Return who has a privilege, as a spec has it; None where that is not declared."""
        if wanted is None:
            return None
        edges = self._edges(privilege, wanted)
        grantable = {each.grantee for each in edges if each.grantable}
        named = {_name(each.grantee) + _GRANTABLE * (each.grantee in grantable) for each in edges}
        return frozenset(named | ({self.owner} & {*wanted}))

    def _edges(self, privilege: str, wanted: Collection[Grantee]) -> list[Edge]:
        found = [each for each in self.others if each.privilege == privilege]
        return [
            each for each in found if each.grantee in wanted or each.grantee != self.login or each.grantee is PUBLIC
        ]

    def pieces(self, database: str, privilege: str, wanted: Collection[Grantee]) -> Iterator[Piece]:
        """Yield what takes a privilege from those who are not ``wanted`` to have it, and what gives it."""
        field, on = privilege.lower(), f"{privilege} ON DATABASE {identifier(database)}"
        edges = self._edges(privilege, wanted)
        # Whoever got it from another than the owner loses it with that one's grant option.
        bound = {each.grantee for each in edges if each.grantable}
        direct = {each.grantee for each in edges if each.grantor == self.owner}
        has = {each.grantee for each in edges}
        lost, kept = has - {*wanted}, has & {*wanted}
        shown, left = self.shown(privilege, wanted) or (), _names(kept | ({self.owner} & {*wanted}))
        # Without CONNECT, our login could not look into the database.
        stays = [self.login] if self.login not in (None, self.owner, *has) and privilege == CONNECT else []
        taking = (
            *(f"GRANT {on} TO {_sql(each)}" for each in stays),
            *(f"REVOKE GRANT OPTION FOR {on} FROM {_sql(each)} CASCADE" for each in _sorted(bound)),
            *(f"REVOKE {on} FROM {_sql(each)}" for each in _sorted(lost & direct)),
            *(f"GRANT {on} TO {_sql(each)}" for each in _sorted(kept - direct)),
        )
        if bound or lost:
            text = f"{_listed(lost)} cannot connect to it any more" if lost and privilege == CONNECT else ""
            yield Piece(Stage.REVOKE, Change(field, _text(shown), _text(left)), taking, text)
        if missing := {*wanted} - has - {self.owner}:
            giving = tuple([f"GRANT {on} TO {_sql(each)}" for each in _sorted(missing)])
            yield Piece(Stage.CHANGE, Change(field, _text(left), _text(left | _names(missing))), giving)


def shown(wanted: Iterable[Grantee] | None) -> frozenset[str] | None:
    """Return a declared list as it is compared; None is not."""
    return None if wanted is None else _names(wanted)


def of_new(declared: access.Database) -> Iterator[str]:
    """Yield the statements that a database needs which nobody has changed yet."""
    for privilege, wanted in ((CONNECT, declared.connect), (TEMPORARY, declared.temporary)):
        if wanted is not None:
            on = f"{privilege} ON DATABASE {identifier(declared.name)}"
            if PUBLIC not in wanted:
                yield f"REVOKE {on} FROM PUBLIC"
            yield from (f"GRANT {on} TO {_sql(each)}" for each in wanted if each not in (PUBLIC, declared.owner))


def shuts_out(declared: access.Database, login: str) -> bool:
    """Tell whether the declared lists leave out a login that is no superuser, and not the owner."""
    return (
        declared.connect is not None
        and not {PUBLIC, login} & {*declared.connect}
        and declared.owner not in (None, login)
    )


def _name(grantee: Grantee) -> str:
    return _EVERYBODY if grantee is PUBLIC else grantee or ""


def _sql(grantee: Grantee) -> str:
    return "PUBLIC" if grantee is PUBLIC else identifier(grantee or "")


def _names(grantees: Iterable[Grantee]) -> frozenset[str]:
    return frozenset([_name(each) for each in grantees])


def _sorted(grantees: Iterable[Grantee]) -> list[Grantee]:
    return sorted(grantees, key=_name)


def _listed(grantees: Iterable[Grantee]) -> str:
    return ", ".join([_sql(each) if each is PUBLIC else str(each) for each in _sorted(grantees)])


def _text(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
