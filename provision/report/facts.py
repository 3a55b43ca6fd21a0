"""The shape of what is reported, as the reports read it.

The values themselves are made by :mod:`provision.observe`, which stands above the reports in the flow; these
protocols say which of their fields are shown, without importing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Endpoint, Plan
    from provision.spec.model import Spec


class Status(Protocol):
    """What runs."""

    @property
    def server(self) -> str:
        """``running``, ``stopped``, ``paused``, ``restarting``, ``absent`` or ``unreachable``."""

    @property
    def detail(self) -> str:
        """A sentence that says more, or nothing."""

    @property
    def image(self) -> str | None:
        """The image of the container."""

    @property
    def container(self) -> str | None:
        """The container's name."""

    @property
    def version(self) -> str | None:
        """The server's version (``17.6``)."""

    @property
    def started(self) -> str | None:
        """When the server was started, in ISO 8601."""

    @property
    def revisions(self) -> Mapping[str, tuple[str, ...]]:
        """The rows of each tree's version table."""

    @property
    def data(self) -> str | None:
        """Where the data is."""


class Survey(Protocol):
    """What was seen, and what that means."""

    @property
    def spec(self) -> Spec:
        """The spec that was compared with the world."""

    @property
    def runtime(self) -> str:
        """Where the server lives."""

    @property
    def reason(self) -> str:
        """Why it lives there."""

    @property
    def plan(self) -> Plan:
        """What differs."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the server listens; None while that cannot be said."""

    @property
    def status(self) -> Status:
        """What runs."""
