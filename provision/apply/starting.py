"""The start of a server, with other runs kept off its data from the last look until it runs.

Two servers on one data directory destroy it, and a plan is made some time before its server starts. So the data is held
first, then everything that a start takes is looked at again (data, name, port), and once more when the server runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from provision.errors import RacedError, RefusedError, StepFailedError, UnavailableError, command
from provision.model import Effect, Progress, Step
from provision.model.effects import EngineCall, MakeDirectory, ServerCall
from provision.runtimes import Site
from provision.system import ports

if TYPE_CHECKING:
    from provision.system.engine_calls import Engine  # an embedded server needs none of it

TIMEOUT = 60.0
"""How long to wait for another run that holds an environment or its data, in seconds."""
_MAKING = ("initialise", "copy")
_STARTING = (*_MAKING, "start", "start_container", "restart_container")
_NAMED = ("create_network", "create_volume", "create_container")


class Starting:
    """Holds the data of one run's server."""

    def __init__(
        self, engine: Callable[[], Engine], perform: Callable[[Effect], None], progress: Progress, timeout: float
    ) -> None:
        self._engine = engine
        self._perform = perform
        self._progress = progress
        self._timeout = timeout
        self._held: ExitStack | None = None
        self._creating = False

    def begin(self, step: Step, site: Site) -> None:
        """Before a step that starts the server, hold the data and look again who has what it takes.

        Raises:
            RefusedError: another server has the data, the name or the port.
            LockedError: another run holds the data for too long.
        """
        self._creating = any(isinstance(e, EngineCall) and e.operation == "create_container" for e in step.effects)
        makes_data = any(isinstance(each, MakeDirectory) and each.record is not None for each in step.effects)
        if makes_data or any(_starts(each, site) for each in step.effects):
            self._hold(site)

    def release(self) -> None:
        """Let other runs use the data."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def perform(self, effect: EngineCall | ServerCall, site: Site, act: Callable[[], None]) -> None:
        """Have ``act`` perform an effect; who took what it needs at the same moment is named.

        Raises:
            RefusedError: another server has the data, the name or the port.
            StepFailedError: it failed otherwise.
        """
        starts = _starts(effect, site)
        if starts:
            self._hold(site)
        runs = starts and effect.operation not in _MAKING
        try:
            act()
            if runs:
                self._part(site)
        except StepFailedError:
            if starts or effect.operation in _NAMED:
                with suppress(UnavailableError):  # an engine that is gone does not explain why
                    self._look_again(site)
            raise
        finally:
            if runs:
                self.release()

    def _part(self, site: Site) -> None:
        """End the second of two servers that were started on the same data."""
        if (found := site.collision()) is None:
            return
        for each in found.ending:
            self._perform(each)
        if found.refusal is not None:
            found.refusal.is_taken = True
            raise found.refusal
        self._progress.note(found.note)

    def _hold(self, site: Site) -> None:
        if self._held is not None:
            return
        self._held = self._claimed(site)
        try:
            self._look_again(site)
        except RefusedError:
            self.release()
            raise

    def _look_again(self, site: Site) -> None:
        try:
            site.look_again(creating=self._creating)
        except RefusedError as error:
            error.is_taken = True
            if error.taken_port is None or site.spec.server.first_port is None:
                raise
            ports.leave_port(error.taken_port)  # it was our choice, so another one does
            raise RacedError(error.sentence, evidence=[error.sentence], next_step=command("apply")) from error

    def _claimed(self, site: Site) -> ExitStack:
        claim = site.claim(creating=self._creating)
        if claim is None:
            return ExitStack()
        from provision.system import claims

        return claims.hold(claim, self._engine, self._timeout, self._progress.note)


def _starts(effect: Effect, site: Site) -> bool:
    if isinstance(effect, EngineCall):
        return effect.operation in _STARTING and effect.target == site.container_name
    return isinstance(effect, ServerCall) and effect.operation in _STARTING and effect.data == site.data_directory
