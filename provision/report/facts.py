"""What a survey is to the reports.

It is made by :mod:`provision.observe`, which stands above the reports in the flow; the protocol says which of its
fields are shown, without importing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from provision.errors import ProvisionError
    from provision.model import Desired, Endpoint, Observed, Plan, Status
    from provision.spec.model import Spec


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


class Comparison(Survey, Protocol):
    """A survey that goes on where no plan can be made."""

    @property
    def desired(self) -> Desired:
        """What is declared."""

    @property
    def observed(self) -> Observed:
        """What was found."""

    @property
    def refusal(self) -> ProvisionError | None:
        """Why no plan can be made; the plan is empty then."""
