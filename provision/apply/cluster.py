"""What an apply does to a cluster that Patroni runs: its settings, and restarts."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from provision.errors import ProvisionError, command
from provision.kinds import Look, UnseenError
from provision.kinds.pg_settings import OF_SESSION, Row, in_force
from provision.model.cluster import KEPT, Cluster, Member
from provision.observe import cluster as clusters
from provision.spec.parameters import catalogue
from provision.system import files
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from provision.model import Endpoint
    from provision.model.effects import PatchCluster, RestartCluster
    from provision.observe.outside import World
    from provision.system.patroni import Api

_PAUSE, _LONGEST = 0.2, 1.0
_ROUNDS = 3
"""So many intervals of Patroni does a member get for a change; it is woken up at once where it can be."""
_MORE = 10.0
_STREAMING = "streaming"
_WRITTEN = "/postgresql.conf"
"""The file that Patroni writes the settings into; it reads the one that was there before, under another name."""
_RESTART_TIMEOUT = 120.0
_PASSES = 2
"""A lower value of what standbys need as well is in force on them only after the leader restarted with it."""


class Acting:
    """Changes one cluster; ``tell`` hears what is waited for."""

    def __init__(self, world: World, api: Api, at: Endpoint, tell: Callable[[str], None]) -> None:
        self._world, self._api, self._at, self._tell = world, api, at, tell

    def patch(self, effect: PatchCluster) -> None:
        """Change the dynamic configuration, and wait until each member has the settings, or waits for a restart.

        Before that, members that are not well are waited for, a few intervals of Patroni.

        A member that does not get them is left to the look that follows: it says what keeps it from that.

        Raises:
            ProvisionError: Patroni refuses the change.
        """
        # A leader of a moment ago that starts as a standby now would keep the values of before, and Patroni would not
        # say so: a leader with a higher max_connections then ends it.
        self._settled(lambda cluster: all(each.is_well for each in cluster.members))
        change = {"postgresql": {"parameters": dict(effect.parameters)}}
        cluster = self._api.look()
        is_last = not effect.kept and cluster.kept.keys() <= {effect.name}
        self._api.patch({**change, KEPT: None if is_last else {effect.name: list(effect.kept) or None}})
        limit = _ROUNDS * cluster.loop_wait + _MORE
        for _ in attempts(limit, _PAUSE, longest=_LONGEST):
            late = self._late(self._api.look(), effect)
            if not late:
                return
            self._tell(f"{', '.join(late)}: waiting for the settings")

    def restart(self, effect: RestartCluster) -> None:
        """Restart the members that wait for it: standbys first, the leader once they stream again.

        Raises:
            ProvisionError: one does not come up, or Patroni refuses; the others are not restarted then.
        """
        if effect.expected:
            self._settled(lambda cluster: all(each.is_pending for each in cluster.members if each.is_well))
        # Patroni before 3 calls a standby that streams `running`, like any other.
        streaming = {each.name for each in self._api.look().members if each.state == _STREAMING}
        for _ in range(_PASSES):
            for leads in (False, True):
                for member in self._api.look().members:
                    if member.is_pending and member.leads == leads:
                        self._tell(f"restarting {member.name} ({'the leader' if leads else 'a standby'})")
                        self._api.restart(member, _RESTART_TIMEOUT)
                self._settled(partial(_is_whole, streaming))
            if self._settled(lambda cluster: not any(each.is_pending for each in cluster.members)):
                return

    def _settled(self, is_settled: Callable[[Cluster], bool]) -> bool:
        """Wait until the members say so: each looks at itself every ``loop_wait`` seconds."""
        cluster = self._api.look()
        for _ in attempts(2 * cluster.loop_wait + _MORE / 2, _PAUSE, longest=_LONGEST):
            if is_settled(self._api.look()):
                return True
        return False

    def explain(self, error: ProvisionError) -> None:
        """Add to the error of a server that does not answer what Patroni says of its cluster."""
        with suppress(ProvisionError):
            cluster = self._api.look()
            leader = f"{cluster.leader.name} leads" if cluster.leader else "no member leads"
            paused = ", and Patroni is paused" if cluster.is_paused else ""
            states = [f"{each.name} is {each.state or 'not known'}" for each in cluster.members]
            error.evidence = (*error.evidence, f"{cluster.title}: {leader}{paused}; {', '.join(states)}")
            error.next_step = "patronictl list, then: " + command("apply")

    def _late(self, cluster: Cluster, effect: PatchCluster) -> list[str]:
        """Return the members that can be asked and do not have the settings yet."""
        return [each.name for each in cluster.members if each.is_well and not self._has(each, effect)]

    def _has(self, member: Member, effect: PatchCluster) -> bool:
        spec, inputs = self._world.spec, self._world.inputs
        defaults = {name: known.boot or "" for name, known in catalogue(spec.server.major).items()}
        gone = {name: defaults[name] for name in effect.parameters if name not in effect.wanted and name in defaults}
        asking = Look(spec, inputs, {}, "", files.read_text, files.mode_of)
        with ExitStack() as stack:
            look = clusters.known(asking, self._api, self._at, stack)
            try:
                wanted = {**gone, **effect.wanted}
                values, rows = in_force(look.on(member), wanted, "")
            except (ProvisionError, UnseenError):
                return True  # the look that follows says that it cannot be asked
        return all(
            _is_there(rows.get(name), is_gone=name in gone, is_wanted=values.get(name) == wanted[name])
            for name in wanted
        )


def _is_whole(streaming: Collection[str], cluster: Cluster) -> bool:
    """Tell whether all members run again, and stream where they did before."""
    well = [
        each.state == _STREAMING or (each.is_well and each.name not in streaming)
        for each in cluster.members
        if not each.leads
    ]
    return cluster.leader is not None and all(well)


def _is_there(row: Row | None, *, is_gone: bool, is_wanted: bool) -> bool:
    """Tell whether a member has done what it can; a setting that is ``gone`` may be in another file as well."""
    if row is None or row.pending_restart or row.source in OF_SESSION:
        return True
    return is_wanted or (is_gone and not row.file.endswith(_WRITTEN))
