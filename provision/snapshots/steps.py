"""The steps of each verb, from what a server has. Nothing is done here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from provision.errors import NextStep, RefusedError, UsageError, command
from provision.kinds import declared_database
from provision.model import MAINTENANCE, REPLACED, SNAPSHOT, Action, Address, Plan, Step
from provision.model.effects import CopyDatabase, RenameDatabases, RunSql
from provision.model.sql import identifier, literal
from provision.model.value import replace
from provision.model.words import count, size
from provision.snapshots.kept import Database, Kept, Server, by, now
from provision.spec.model import Spec
from provision.system.database_copy import maintenance, new_name

MOST_AUTOMATIC = 3
"""How many snapshots that an apply has saved are kept of a database."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_SPEC = (".yml", ".yaml")
_OUR_OWN = (".complete", "provision.snapshots")
"""How what marks snapshots is called beside them."""
_LIST = command("snapshot list")
_WAITS = "its sessions are ended, and logins wait until it is copied"
_AWAY = "its sessions are ended, and logins wait while it is renamed, well below a second"
_STAYS = "the database stays available while it is copied"
_KEPT = "what it replaces is kept until the next restore or reset: "


def declared(spec: Spec) -> tuple[str, ...]:
    """Return the databases that a spec is about; the one for maintenance only where there is no other."""
    present = [each.name for each in spec.databases.values() if not each.is_absent]
    own = spec.server.database
    return tuple(dict.fromkeys(present if present and own == MAINTENANCE else [own, *present]))


def chosen(spec: Spec, name: str | None) -> tuple[str, ...]:
    """Return the databases that are meant: one that was named, or all.

    Raises:
        UsageError: the spec has no such database.
    """
    every = declared(spec)
    if name is None or name in every:
        return every if name is None else (name,)
    raise UsageError(f"the spec has no database {name!r}; it has {', '.join(every)}", next_step=_LIST)


def words(revisions: Mapping[str, Sequence[str]]) -> str:
    """Return revisions as people read them; empty where there are none."""
    return ", ".join([" ".join(rows) for _, rows in sorted(revisions.items()) if rows])


class Planner:
    """Makes the plans of one moment: ``revisions`` are those of each tree, ``trees`` in which database each is."""

    def __init__(self, spec: Spec, server: Server, revisions: Mapping[str, Sequence[str]]) -> None:
        self.spec, self.server = spec, server
        self._revisions = revisions
        self._trees = {each.name: each.database or spec.server.database for each in spec.migrations}
        self._at = now()

    # --- the verbs ---

    def save(self, names: Sequence[str], name: str, *, automatic: bool = False) -> Plan:
        """Copy databases, under a name.

        Raises:
            RefusedError: there is a snapshot of that name, or a database that cannot be copied.
            UsageError: no snapshot can have that name.
        """
        check_name(name)
        there = [self._there(each) for each in names if each in self.server.databases]
        if not there:
            self._there(names[0])
        taken = [each for each in self.server.snapshots if each.name == name and each.database in names]
        if taken:
            raise RefusedError(
                f"there is a snapshot {name!r} of the database {taken[0].database!r}, saved {taken[0].moment}",
                next_step=command("snapshot rm " + name) + "   (or save it under another name)",
            )
        steps = [self._saving(each, name, automatic=automatic) for each in there]
        return self._plan(*steps, *(self._fewer(there) if automatic else ()))

    def restore(self, names: Sequence[str], name: str) -> Plan:
        """Put copies of snapshots in the place of databases.

        Raises:
            UsageError: there is no such snapshot.
            RefusedError: a database cannot be replaced.
        """
        kept = self._named(names, name)
        beside = {each.database: new_name(SNAPSHOT, each.database) for each in kept}
        copies = [self._beside(each, beside[each.database]) for each in kept]
        comments = {each.database: each.comment for each in kept}
        why = [f"{each.database} as it was saved {each.moment}{at(each.revisions)}" for each in kept]
        return self._plan(*copies, self._swap(beside, comments, "restore", why), *self._older(beside))

    def undo(self, names: Sequence[str]) -> Plan:
        """Put back what the last restore or reset has replaced.

        Raises:
            RefusedError: nothing is kept.
        """
        found = [each for each in self.server.replaced if each.database in names]
        if not found:
            raise RefusedError(
                "nothing is kept that a restore or a reset has replaced", next_step=_LIST + "   (what there is)"
            )
        kept = {each.database: each for each in found if each.at == found[0].at}
        beside = {name: each.place for name, each in kept.items()}
        comments = {name: each.comment for name, each in kept.items()}
        why = [
            f"{name} as {by(each.name)} has replaced it {each.moment}{at(each.revisions)}"
            for name, each in kept.items()
        ]
        return self._plan(self._swap(beside, comments, "undo", why), *self._older(beside))

    def replacing(self, copy: Step, name: str, beside: str, comment: str, why: str) -> Plan:
        """Put a new database, which the step ``copy`` makes as ``beside``, in the place of the one called ``name``.

        Raises:
            RefusedError: that cannot be replaced.
        """
        places = {name: beside}
        return self._plan(copy, self._swap(places, {name: comment}, "restore", [why]), *self._older(places))

    def reset(self, names: Sequence[str]) -> Plan:
        """Put new databases in the place of those that are there; an apply then makes what is declared.

        Raises:
            RefusedError: a database cannot be replaced.
        """
        beside = {each: new_name(SNAPSHOT, each) for each in names if each in self.server.databases}
        if not beside:
            self._there(names[0])
        fresh = [self._fresh(name, other) for name, other in beside.items()]
        comments = {each: made.comment or "" if (made := self.spec.databases.get(each)) else "" for each in beside}
        why = ["then apply makes what the spec declares, and runs its revisions; until then it is not complete"]
        return self._plan(*fresh, self._swap(beside, comments, "reset", why), *self._older(beside))

    def remove(self, names: Sequence[str], name: str) -> Plan:
        """Remove snapshots of a name.

        Raises:
            UsageError: there is none.
        """
        kept = self._named(names, name)
        return self._plan(*(self._dropping(each, f"saved {each.moment}{at(each.revisions)}") for each in kept))

    def _named(self, names: Sequence[str], name: str) -> list[Kept]:
        """Return the snapshots of a name, in the order of their databases.

        Raises:
            UsageError: there is none.
        """
        kept = [each for each in self.server.snapshots if each.name == name and each.database in names]
        if not kept:
            every = list(dict.fromkeys(each.name for each in self.server.snapshots))
            raise near(name, every, _LIST)
        return sorted(kept, key=lambda each: names.index(each.database))

    # --- their steps ---

    def _plan(self, *steps: Step) -> Plan:
        why = "an interrupted run has left it; nothing uses it"
        left = (_drop(Address("database", each.name), each, why) for each in self.server.left)
        return Plan((*left, *steps))

    def _saving(self, there: Database, name: str, *, automatic: bool) -> Step:
        kept = self._record(there, name)._replace(is_automatic=automatic)
        place = new_name(SNAPSHOT, f"{there.name}_{name}")
        copy = CopyDatabase(there.name, place, self.server.at.user, kept.text())
        return Step(
            _address(kept), Action.CREATE, None, None, (copy,),
            (f"{size(there.size)}{at(kept.revisions)}",), _WAITS, clients=there.clients,
        )  # fmt: skip

    def _fewer(self, there: Sequence[Database]) -> Iterator[Step]:
        """Yield what removes the older ones of the snapshots that an apply saves."""
        for each in there:
            own = [one for one in self.server.snapshots if one.is_automatic and one.database == each.name]
            for kept in own[MOST_AUTOMATIC - 1 :]:
                yield self._dropping(kept, f"an apply has saved it {kept.moment}; the newest {MOST_AUTOMATIC} are kept")

    def _beside(self, kept: Kept, name: str) -> Step:
        current = self.server.databases.get(kept.database)
        fallback = current.owner if current is not None else self.server.at.user
        owner = kept.owner if kept.owner in self.server.roles else fallback
        copy = CopyDatabase(kept.place, name, owner, kept.comment)
        why = f"{size(kept.size)} of {_address(kept)}"
        return Step(Address("copy", kept.database), Action.CREATE, None, None, (copy,), (why,), _STAYS)

    def _fresh(self, name: str, beside: str) -> Step:
        made = self.spec.databases.get(name)
        why = f"an empty database, beside {name}"
        if made is not None:
            effects = declared_database.made(replace(made, name=beside))
        else:
            effects = (RunSql(maintenance(name), (f"CREATE DATABASE {identifier(beside)}",), shown=True),)
        return Step(Address("copy", name), Action.CREATE, None, None, effects, (why,))

    def _swap(self, beside: Mapping[str, str], comments: Mapping[str, str], verb: str, why: Sequence[str]) -> Step:
        """Return the step that calls others as the databases are called, and keeps these."""
        renames: list[tuple[str, str]] = []
        statements: list[str] = []
        clients, kept = 0, []
        for name, other in beside.items():
            there = self.server.databases.get(name)
            if there is not None:
                self._there(name)
                aside = new_name(REPLACED, name)
                record = self._record(there, verb)._replace(is_replaced=True)
                renames.append((name, aside))
                statements += [_closing(aside, record.text())]
                clients += there.clients
                kept.append(name)
            renames.append((other, name))
            statements += [_opening(name, comments[name], there)]
        statements += [f"COMMENT ON DATABASE {identifier(each.place)} IS NULL" for each in self._before(beside)]
        text = f"{_AWAY}; {_KEPT}{command('snapshot undo')}" if kept else ""
        address = Address("database", " ".join(beside))
        effect = RenameDatabases(tuple(renames), tuple(statements))
        return Step(address, Action.UPDATE, None, None, (effect,), tuple(why), text, clients=clients)

    def _before(self, beside: Mapping[str, str]) -> list[Kept]:
        """Return what was kept of these databases so far, and is not put back."""
        return [each for each in self.server.replaced if each.database in beside and each.place not in beside.values()]

    def _older(self, beside: Mapping[str, str]) -> Iterator[Step]:
        for each in self._before(beside):
            yield self._dropping(each, f"{by(each.name)} has replaced it {each.moment}")

    def _dropping(self, kept: Kept, why: str) -> Step:
        return _drop(_address(kept), kept.copy, why, size(kept.size), destroys=True)

    def _record(self, there: Database, name: str) -> Kept:
        revisions = {tree: list(rows) for tree, rows in self._revisions.items() if self._trees.get(tree) == there.name}
        return Kept(there.name, name, self._at, revisions, there.owner, there.comment)

    def _there(self, name: str) -> Database:
        """Return a database that can be copied and renamed.

        Raises:
            RefusedError: it cannot, or is not there.
        """
        found = self.server.databases.get(name)
        if found is None:
            raise RefusedError(f"the server has no database {name!r} yet", next_step=command("apply"))
        if found.hindrances:
            raise RefusedError(
                f"the database {name!r} can be neither copied nor replaced as a whole",
                evidence=found.hindrances,
                next_step="drop what is named above; or copy what is in it: pg_dump -Fc",
            )
        return found


def near(name: str, every: Sequence[str], listing: NextStep) -> UsageError:
    """Return the error for a name that no snapshot has, with the one that is meant."""
    alike = get_close_matches(name, every, n=1)
    known = f"did you mean {alike[0]}?" if alike else f"only {', '.join(every)}" if every else "none was saved"
    return UsageError(f"there is no snapshot {name!r}; {known}", next_step=listing)


def automatic_name(revision: str) -> str:
    """Return the name of a snapshot that an apply saves before a revision."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", revision)[:40].strip("-.")
    return f"before-{plain}-{re.sub(r'[-:]', '', now()[:19]).replace('T', '-')}"


def check_name(name: str) -> None:
    """Refuse a name that no snapshot can have.

    Raises:
        UsageError: with what it may be.
    """
    if not re.fullmatch(_NAME, name) or name.endswith((*_SPEC, *_OUR_OWN)):
        raise UsageError(
            f"{name!r} is no name of a snapshot: letters, digits, and . _ - in it, up to 100, "
            "and not .yml or .complete at its end",
            next_step=command("snapshot save before-the-import"),
        )


def at(revisions: Mapping[str, Sequence[str]]) -> str:
    """Return revisions as people read them behind something else."""
    return f", at {found}" if (found := words(revisions)) else ""


def _address(kept: Kept) -> Address:
    return Address("replaced" if kept.is_replaced else "snapshot", f"{kept.database}/{kept.name}")


def _drop(address: Address, there: Database, why: str, much: str = "", *, destroys: bool = False) -> Step:
    name = identifier(there.name)
    first = (f"ALTER DATABASE {name} IS_TEMPLATE false",) if there.is_template else ()
    effect = RunSql(maintenance(there.name), (*first, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"), shown=True)
    return Step(address, Action.REMOVE, None, None, (effect,), tuple(filter(None, (why, much))), destroys=destroys)


def _closing(place: str, comment: str) -> str:
    name = identifier(place)
    options = "ALLOW_CONNECTIONS false IS_TEMPLATE false"  # a template cannot be dropped
    return f"ALTER DATABASE {name} {options}; COMMENT ON DATABASE {name} IS {literal(comment)}"


def _opening(database: str, comment: str, before: Database | None) -> str:
    name, text = identifier(database), literal(comment) if comment else "NULL"
    opens, is_template = before is None or before.connects, before is not None and before.is_template
    options = f"ALLOW_CONNECTIONS {str(opens).lower()} IS_TEMPLATE {str(is_template).lower()}"
    return f"ALTER DATABASE {name} {options}; COMMENT ON DATABASE {name} IS {text}"


def ending(plan: Plan) -> str:
    """Return how many sessions a plan ends, in words; empty where it ends none."""
    clients = sum(step.clients for step in plan.steps)
    return f"{count(clients, 'session')} would be ended" if clients else ""
