"""A server that others run went away during a step: the run looks again once one takes writes.

A step's statements are one transaction, or are seen by the next look, so what is found there is all that counts.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from provision.errors import ProvisionError
from provision.model import Endpoint, Outcome, Progress
from provision.observe.outside import World
from provision.system import driver_errors, postgres
from provision.system.postgres import LoginError
from provision.system.waiting import STANDBY, Lost, wait_for_writes

_MOST: Final = 3


class Losses:
    """How often the server of one run went away, and how the run goes on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._times, self._began = 0, 0.0
        self.outcome: Outcome | None = None
        """The step that the server went away in, until one takes writes."""

    def is_one(self, error: ProvisionError, world: World) -> bool:
        """Tell whether a run goes on after an error; a migration has waited for another server by itself."""
        return error.server_is_gone and not (world.site.is_ours or error.revisions or self._times >= _MOST)

    def note(self, outcome: Outcome) -> None:
        """Keep the step, which is planned once more if the next server lacks what it does."""
        self.outcome, self._began = outcome, time.monotonic()
        self._times += 1

    def outlive(self, error: ProvisionError, at: Endpoint, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for a server that takes writes, and say so in one line.

        Raises:
            UnavailableError: there was none.
        """
        assert self.outcome is not None  # noqa: S101  # it was noted
        gone = f"the server went away during {self.outcome.step.address}"
        lost = Lost(gone, timeout, f"{timeout:g} s (`ready_timeout`)", (error.sentence,))
        found = wait_for_writes(lost, lambda: _found(at), self._progress.detail)
        seconds = time.monotonic() - self._began
        self._progress.note(f"{gone}; {found.address} answers after {seconds:.0f} s, and is looked at again")
        self.outcome = None


def _found(at: Endpoint) -> Endpoint | tuple[str, ...]:
    """Return where a server takes writes, or why none does yet; the next look says why one does not let us in."""
    try:
        with closing(postgres.connect(at, read_only=True)) as connection:
            ((is_standby,),) = postgres.rows(connection, "SELECT pg_is_in_recovery()")
            here = postgres.settled(connection, at)
    except LoginError as error:
        return error.evidence if error.server_is_gone else at
    except ProvisionError:
        return at
    except Exception as error:
        found = driver_errors.failure(error)
        if found is None:
            raise
        return found.evidence
    return STANDBY if is_standby else here
