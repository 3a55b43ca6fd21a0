"""A cluster that Patroni runs: what its REST API shows, and how one of its members is asked."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import cache
from typing import TYPE_CHECKING

from provision.kinds import Look, UnseenError
from provision.model.value import replace
from provision.system.read_only import ReadOnlyQuery

if TYPE_CHECKING:
    from provision.model import Endpoint
    from provision.model.cluster import Member
    from provision.system.patroni import Api


def known(look: Look, api: Api, at: Endpoint, stack: ExitStack) -> Look:
    """Return a look that can ask for the cluster, once, and its members; ``stack`` closes their connections."""

    def member(which: Member) -> ReadOnlyQuery:
        return stack.enter_context(closing(ReadOnlyQuery(endpoint_of(which, at))))

    return replace(look, cluster=cache(api.look), member=member)


def endpoint_of(member: Member, at: Endpoint) -> Endpoint:
    """Return where the PostgreSQL of a member listens, with the login of the cluster.

    Raises:
        UnseenError: it does not say.
    """
    if member.host is None or member.port is None:
        message = "it does not say where it listens"
        raise UnseenError(message)
    return replace(at, host=member.host, port=member.port, hosts=())
