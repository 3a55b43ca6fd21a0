"""What ``--tenant`` and ``--except`` leave of the tenants that a spec declares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from provision.errors import NextStep, UsageError, command
from provision.model.value import replace
from provision.model.words import shown
from provision.spec.model import Migrations, Spec
from provision.spec.reading import nearest


def chosen(spec: Spec, only: Sequence[str], without: Sequence[str]) -> Spec:
    """Return a spec whose trees are for some of their tenants.

    Raises:
        UsageError: no tree has tenants, or a name is asked for twice, or is in no list of them.
    """
    refuse_without_tenants(spec)
    if both := [each for each in only if each in without]:
        raise UsageError(
            f"--tenant {quote(both[0])} and --except {quote(both[0])} exclude each other",
            next_step="leave out one of them",
        )

    def leave(tree: Migrations) -> Migrations:
        own = tree.tenants
        return tree if own is None else replace(tree, tenants=replace(own, only=tuple(only), without=tuple(without)))

    made = replace(spec, migrations=tuple(map(leave, spec.migrations)))
    trees = [each for each in made.migrations if each.tenants]
    if all(each.tenants.names for each in trees if each.tenants):  # what a query returns, only the server knows
        refuse_unknown(trees, [each.tenants.names for each in trees if each.tenants])
    return made


def refuse_unknown(trees: Sequence[Migrations], known: Sequence[Sequence[str]]) -> None:
    """Refuse a name in the options that is no tenant of any tree; ``known`` are those of each.

    Raises:
        UsageError: there is one.
    """
    asked = trees[0].tenants
    names = [name for each in known for name in each]
    for name in (*asked.only, *asked.without) if asked else ():
        if name not in names:
            refuse_other(trees[0], name, names)


def refuse_without_tenants(spec: Spec) -> None:
    """Refuse an option about tenants where there are none.

    Raises:
        UsageError: no tree has tenants.
    """
    if not any(tree.tenants for tree in spec.migrations):
        raise UsageError(
            f"the migrations of {spec.name!r} have no tenants, so there are none to choose from",
            next_step="leave out the option, or declare `migrations.tenants` (docs/tenants.md)",
        )


def asked(spec: Spec) -> dict[str, list[str]]:
    """Return what the options leave of the tenants, as a document has it; nothing where there are none."""
    found = next((tree.tenants for tree in spec.migrations if tree.tenants), None)
    return {} if found is None else {"tenants": list(found.only), "without": list(found.without)}


def one(tree: Migrations, name: str) -> Migrations:
    """Return the tree of one tenant, of which a verb of ``migrate`` can do everything.

    Raises:
        UsageError: it has no tenants, or the list has no such one.
    """
    if tree.tenants is None:
        raise UsageError(f"the migrations {tree.name!r} have no tenants", next_step="leave out `--tenant`")
    refuse_other(tree, name, tree.tenants.names or [name])  # what a query returns, only the server knows
    return tree.for_tenant(name)


def refuse_other(tree: Migrations, name: str, names: Sequence[str]) -> None:
    """Refuse the name of a tenant that is none of ``names``.

    Raises:
        UsageError: it is none of them.
    """
    if name not in names and tree.tenants is not None:
        close = nearest(name, names)
        raise UsageError(
            f"the migrations {tree.name!r} have no tenant {name!r}",
            evidence=[f"the tenants are declared in {shown(Path(tree.tenants.place))}"],
            next_step=f"did you mean {close!r}?" if close else list_of(tree),
        )


def list_of(tree: Migrations) -> NextStep:
    """Return the command that lists all tenants of a tree."""
    return command("migrate current", f"--tree {quote(tree.name)} -v") + "   (lists them)"
