"""A golden on trial: data that was copied counts as good once the next look has proved it.

Until then, whatever fails is taken for the fault of the golden, unless others have what the start takes: the data is
removed, the golden too, and the same run makes the data without it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from provision.errors import LockedError, NotConvergedError, ProvisionError
from provision.model import Action, Address, Begun, Outcome, Plan, Wishes
from provision.model.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.alembic import Read
    from provision.observe import Survey
    from provision.observe.outside import World

_PLACES = ("data", "volume", "directory")
"""The kinds of what holds data; data in memory has no place but its container."""


class Trial:
    """What one run knows of the golden that its data was made from."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self.begun: Begun | None = None
        """The golden that the data was made from; None: it was made without."""
        self.is_open = False
        self.containers: tuple[str, ...] = ()
        """The ids of the containers that this run has made."""
        self.world: World | None = None
        """The world that has no data yet."""
        self._first: Begun | None = None
        self._places: tuple[Address, ...] = ()
        self._is_noted = False
        self.has_begun_seeds = False
        """Whether all but the seeds was as declared, so that these ran."""

    def offered(self, survey: Survey) -> Survey:
        """Return a survey whose plan takes new data from a golden where one fits."""
        if not survey.makes_data:
            return survey
        from provision.golden import use

        return use.offered(survey)

    def follow(self, survey: Survey) -> None:
        """Follow what was found and will be done.

        Raises:
            NotConvergedError: the golden has not made what it should have.
        """
        if self.begun is not None and self.is_open:
            from provision.golden import use

            if found := use.doubt(self.begun, survey.plan):
                raise NotConvergedError(f"it lacks {found}")
            # One that is exact has to converge; what others lack is made by this run, which may fail by itself.
            self.is_open = use.is_exact(self.begun)
        elif survey.world.site.is_fresh and not survey.plan.is_empty:
            self.world = self.world or survey.world
            self._first = self._first or survey.begun
            self.begun = survey.begun if survey.begun is not None and survey.begun.key else None
            self.is_open = self.begun is not None
            made = [each for each in survey.plan.steps if each.action in (Action.CREATE, Action.RECREATE)]
            self._places = tuple([each.address for each in made if each.address.kind in _PLACES])

    def blames(self, error: ProvisionError) -> bool:
        """Tell whether an error is taken for the fault of the golden."""
        return self.is_open and not (isinstance(error, LockedError) or error.is_taken)

    def has_made(self, done: Sequence[Outcome]) -> bool:
        """Tell whether this run has made the place of the data: another one may have come between, and has its own."""
        made = {each.step.address for each in done if each.error is None}
        return all(each in made for each in self._places)

    def end(self, world: World) -> str:
        """Give the golden up, and return its name."""
        from provision.golden import load

        assert self.begun is not None  # noqa: S101  # it is open
        key = self.begun.key
        self.begun, self.is_open = None, False
        self.wishes = replace(self.wishes, golden=False)
        goldens = load(world.runtime)
        if goldens is not None:
            with suppress(ProvisionError, OSError):
                goldens.store(world.look).remove(key)
        return f"golden {key[:4]}…"

    def begins_seeds(self, plan: Plan) -> bool:
        """Tell whether only seeds are left to do, for the first time; what fails from now on is no golden's fault."""
        if self.has_begun_seeds or not plan.steps or any(step.action is not Action.SEED for step in plan.steps):
            return False
        self.has_begun_seeds, self.is_open = True, False
        return True

    def sow(self, plan: Plan, done: Sequence[Outcome]) -> None:
        """Have the next look plan the seeds of this run, but for those that it has done."""
        seeds = [step.address.name for step in plan.steps if step.action is Action.SEED]
        if seeds:
            ran = [each.step.address.name for each in done if each.step.action is Action.SEED and each.error is None]
            self.wishes = replace(self.wishes, seed=True, seeded=frozenset(ran))

    def note(self, survey: Survey, reads: Mapping[str, Read | None]) -> None:
        """Note what the data was made of, where this run made all of it; ``reads`` is what the code of trees read."""
        if self.world is None or self._is_noted:
            return
        from provision.golden import saving

        self._is_noted = True
        with suppress(ProvisionError):
            saving.note(survey, self._first, self.begun, reads, self.world.look.began)
