"""Settings of a cluster that Patroni runs: kept in its dynamic configuration, and the same on every member.

A difference is removed by ``PATCH /config``; Patroni brings it to each member, and says which of them have to be
restarted for it, which is done only where that is asked for. Which settings came from a spec is noted in the dynamic
configuration itself, so that one that the spec no longer has is taken out again, from whatever machine.
https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
"""

from __future__ import annotations

from collections.abc import Mapping

from provision.errors import ProvisionError, RefusedError, UnavailableError
from provision.kinds import Look, Scene, UnseenError
from provision.kinds.pg_settings import OF_SESSION, InCluster, OnMember, Row, Settings, in_force, is_same
from provision.model import Action, Address, Change, Effect, Plan, Step
from provision.model.cluster import Cluster, Member
from provision.model.effects import PatchCluster, RestartCluster
from provision.model.value import dataclass, replace
from provision.spec.parameters import catalogue

_RESTART = "postmaster"
_AUTO_CONF = "postgresql.auto.conf"


def seen(look: Look, want: Settings) -> Settings:
    """Read the declared settings: in the dynamic configuration, and on each member that can be asked."""
    values, rows = in_force(look, want.values, "")
    if look.cluster is None:
        raise UnseenError
    cluster = look.cluster()
    members = {each.name: _on(look, each, want) for each in cluster.members}
    found = replace(want, values=values, raw={}, rows=rows, around=InCluster(cluster, members))
    differing = {name for name in want.values if not _is_kept(cluster, name, want, look.spec.server.major)}
    differing |= {name for each in members.values() for name in _differing(each, want)}
    return replace(
        found, values={name: values.get(name, "") if name in differing else want.values[name] for name in want.values}
    )


def _on(look: Look, member: Member, want: Settings) -> OnMember:
    if not member.is_well:
        return OnMember(error=f"Patroni says that it is {member.state or 'not known'}")
    try:
        values, rows = in_force(look.on(member), want.values, "")
    except (ProvisionError, UnseenError) as error:
        return OnMember(error=str(error))
    return OnMember(values, rows)


def _is_kept(cluster: Cluster, name: str, want: Settings, major: int) -> bool:
    kept = cluster.parameters.get(name)
    return kept is not None and is_same(major, name, want.values[name], kept)


def _differing(found: OnMember, want: Settings) -> list[str]:
    return [] if found.error else [name for name, value in want.values.items() if found.values.get(name) != value]


@dataclass(frozen=True)
class _Judgement:
    """What is to be done: the settings to set and those to take out, and what each member waits for.

    ``overrides`` are sentences about members that have another value although nothing is left to do.
    """

    differing: tuple[str, ...]
    gone: tuple[str, ...]
    waiting: dict[str, tuple[str, ...]]
    overrides: tuple[str, ...]


def steps(address: Address, before: Settings, after: Settings, scene: Scene) -> Plan:
    """Return the change of the dynamic configuration, and the restarts where they are asked for.

    Raises:
        RefusedError: the cluster is paused.
    """
    around = before.around
    if around is None:
        return Plan()
    found = _judge(after, around, scene)
    remarks = [
        f"whether {name} has the declared settings is not known: {each.error}"
        for name, each in around.members.items()
        if each.error and after.values
    ]
    notes: list[str] = []
    if found.waiting and not scene.wishes.restart_cluster:
        declared = {name for names in found.waiting.values() for name in names if name in after.values}
        sentence = f"{'; '.join(_grouped(found.waiting))}: --restart-cluster has Patroni do it"
        (notes if declared else remarks).append(sentence)
    step = _step(address, before, after, scene, around.cluster, found)
    return Plan((step,) if step else (), tuple(notes), found.overrides, tuple(remarks))


def _judge(after: Settings, around: InCluster, scene: Scene) -> _Judgement:
    major, cluster, ours = scene.spec.server.major, around.cluster, scene.spec.name
    differing = tuple([name for name in sorted(after.values) if not _is_kept(cluster, name, after, major)])
    of_others = {name for each, names in cluster.kept.items() if each != ours for name in names}
    gone = tuple(
        [
            name
            for name in cluster.kept.get(ours, ())
            if name not in after.values and name in cluster.parameters and name not in of_others
        ]
    )
    waiting = {each.name: names for each in cluster.members if (names := _waiting(each, around.members[each.name]))}
    overrides = [
        f"{name} is {found.rows[name].shown if name in found.rows else 'not set'!r} on {member}, "
        f"and {after.raw[name]!r} is declared: {_whose(found.rows.get(name))}"
        for member, found in around.members.items()
        for name in _differing(found, after)
        if name not in differing and name not in waiting.get(member, ())
    ]
    return _Judgement(differing, gone, waiting, tuple(overrides))


def _waiting(member: Member, found: OnMember) -> tuple[str, ...]:
    """Return the settings for which a member waits for a restart; Patroni before 4 says only that it does."""
    names = {*member.pending, *[name for name, row in found.rows.items() if row.pending_restart]}
    return tuple(sorted(names)) or (("a setting",) if member.is_pending else ())


def _grouped(waiting: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return a sentence for the members that wait for the same settings."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for member, names in waiting.items():
        groups.setdefault(names, []).append(member)
    return [
        f"{' and '.join(filter(None, (', '.join(members[:-1]), members[-1])))} "
        f"{'wait' if members[1:] else 'waits'} for a restart ({', '.join(names)})"
        for names, members in groups.items()
    ]


def _whose(row: Row | None) -> str:
    """Say what keeps a member from having a value that the dynamic configuration has."""
    if row is None:
        return "its PostgreSQL does not have this setting"
    if row.source in OF_SESSION:
        return "a role or a database has a value of its own (ALTER ROLE or ALTER DATABASE … SET)"
    if row.file.endswith(_AUTO_CONF):
        return "ALTER SYSTEM has set it there, and wins; ALTER SYSTEM RESET on that member"
    return (
        "`postgresql.parameters` in the patroni.yml of that member has it, and wins; or Patroni refused the value: its "
        "log says so"
    )


def _restarting(found: _Judgement, major: int) -> tuple[str, ...]:
    """Return the settings that a change brings into force only with a restart."""
    known = catalogue(major)
    return tuple(
        [name for name in (*found.differing, *found.gone) if name in known and known[name].context == _RESTART]
    )


def _step(
    address: Address, before: Settings, after: Settings, scene: Scene, cluster: Cluster, found: _Judgement
) -> Step | None:
    changed, restarting = (*found.differing, *found.gone), _restarting(found, scene.spec.server.major)
    restarts = scene.wishes.restart_cluster and bool(restarting or found.waiting)
    if not changed and not restarts:
        return None
    _refuse_while_paused(cluster, changed)
    effects: list[Effect] = []
    if changed:
        parameters = {**{name: after.raw[name] for name in found.differing}, **dict.fromkeys(found.gone)}
        kept = [name for name in cluster.kept.get(scene.spec.name, ()) if name not in found.gone]
        wanted = {name: after.values[name] for name in found.differing}
        effects.append(PatchCluster(scene.spec.name, parameters, tuple(sorted({*kept, *found.differing})), wanted))
    if restarts:
        effects.append(RestartCluster(expected=bool(restarting)))
    why: tuple[Change | str, ...] = tuple([_change(name, before, after, cluster) for name in changed]) or tuple(
        _grouped(found.waiting)
    )
    action, text = Action.RELOAD, "reload on every member: no connection is dropped"
    if restarts:
        action = Action.RESTART
        text = "Patroni restarts the members that wait for it, standbys first: connections are dropped on each"
    elif restarting:
        text = f"in force only after a restart of each member (--restart-cluster): {', '.join(restarting)}"
    return Step(address, action, before, after, tuple(effects), why=why, consequence=text, reveals=restarts)


def _change(name: str, before: Settings, after: Settings, cluster: Cluster) -> Change:
    kept = cluster.parameters.get(name)
    is_seen = name in before.rows and before.rows[name].shown != after.raw.get(name)
    return Change(name, before.rows[name].shown if is_seen else kept, after.raw.get(name))


def _refuse_while_paused(cluster: Cluster, changed: tuple[str, ...]) -> None:
    if cluster.leader is None:
        raise UnavailableError(
            f"{cluster.title} has no leader, so nothing is changed",
            evidence=[f"{each.name} is {each.state or 'not known'} ({each.role})" for each in cluster.members],
            next_step="patronictl list",
        )
    if cluster.is_paused:
        raise RefusedError(
            f"{cluster.title} is paused: its operator keeps Patroni from acting, so nothing is changed",
            evidence=[f"{name} differs" for name in changed] or ["members wait for a restart"],
            next_step=f"patronictl resume{f' {cluster.scope}' if cluster.scope else ''}",
        )
