"""What a migration waits for on a server that others run: that its standbys follow, and that commits wait for one.

https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from provision.alembic import entered
from provision.errors import LockedError, RefusedError, command
from provision.model import MAINTENANCE, Endpoint
from provision.model.sql import IS_STANDBY, identifier
from provision.observe.outside import World
from provision.spec.model import Migrations
from provision.system.read_only import ReadOnlyQuery
from provision.system.waiting import attempts

_STANDBYS = f"""
SELECT application_name, state, coalesce(sync_state, ''), pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint
FROM pg_stat_replication AS r WHERE {IS_STANDBY}
"""  # noqa: S608  # from constants only
_COMMIT = "SELECT current_setting('synchronous_commit')"
_WAITING = frozenset({"on", "remote_write", "remote_apply"})
"""The values of ``synchronous_commit`` with which a commit waits for a standby."""
_SYNCHRONOUS = ("sync", "quorum")
_PAUSE, _LONGEST = 0.25, 2.0


def wait(world: World, tree: Migrations, at: Endpoint, tell: Callable[[str], None]) -> None:
    """Return once the standbys are as a tree wants them, which has its timeout; ``tell`` hears what is waited for.

    ``at`` is where the tree logs in.

    Raises:
        LockedError: they were not in time.
        RefusedError: our role may not see how far they are, or its commits wait for none.
    """
    if tree.require_synchronous:
        _refuse_asynchronous(world, tree, at)
    held: list[str] = []
    for _ in attempts(tree.timeout, _PAUSE, longest=_LONGEST):
        held = list(_held(world, tree))
        if not held:
            return
        tell(f"waiting for standbys: {'; '.join(held)}")
    raise LockedError(
        f"the migrations {tree.name!r} did not begin: the standbys were not ready within {tree.timeout:g} s",
        evidence=held,
        next_step="bring the standbys back, or change `max_replica_lag` and `require_synchronous`, then: "
        + command("apply"),
    )


def _refuse_asynchronous(world: World, tree: Migrations, at: Endpoint) -> None:
    login = entered(world.spec, tree, at)
    with closing(ReadOnlyQuery(login)) as query:
        ((value,),) = query.rows(_COMMIT, database=at.database)
    if value not in _WAITING:
        raise RefusedError(
            f"commits of {login.user!r} wait for no standby, and `require_synchronous` wants that",
            evidence=[f"synchronous_commit is {value}"],
            next_step=f"ALTER ROLE {identifier(login.user)} SET synchronous_commit = on; "
            "or take out `require_synchronous`",
        )


def _held(world: World, tree: Migrations) -> Iterator[str]:
    """Yield what is not as the tree wants it."""
    endpoint = world.endpoint()
    with closing(ReadOnlyQuery(endpoint)) as query:
        rows = query.rows(_STANDBYS, database=MAINTENANCE)
    if any(state is None for _, state, *_ in rows):
        raise RefusedError(
            f"the role {endpoint.user!r} may not see how far the standbys are",
            evidence=["pg_stat_replication shows it to members of pg_monitor"],
            next_step=f"as an administrator: GRANT pg_monitor TO {identifier(endpoint.user)}",
        )
    if tree.require_synchronous and not any(
        state == "streaming" and sync in _SYNCHRONOUS for _, state, sync, _ in rows
    ):
        yield "no standby is synchronous (synchronous_standby_names; with Patroni `synchronous_mode: true`)"
    if tree.max_replica_lag is not None:
        yield from _behind(world, tree.max_replica_lag, {name: lag for name, _, _, lag in rows})


def _behind(world: World, most: int, lags: dict[str, int | None]) -> Iterator[str]:
    """Yield which standbys are too far behind; what runs a cluster also knows of those that do not stream at all."""
    if world.cluster is not None:
        for each in world.cluster.look().members:
            if each.leads:
                continue
            if not each.is_well:
                yield f"{each.name} is {each.state or 'not known'}"
            lags.setdefault(each.name, each.lag)  # its standbys call themselves like the member
    for name, lag in lags.items():
        if lag is None:
            yield f"how far {name} is behind is not known"
        elif lag > most:
            yield f"{name} is {lag:,} bytes behind ({most:,} are allowed)"
