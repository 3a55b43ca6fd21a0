"""Carries out the step of a tree with tenants, and says how far it is: counts, never a line a tenant that is well."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final

from provision.alembic import Graph, Location, Migrated, entered, located
from provision.errors import CONTINUES, ProvisionError, TenantsFailedError, command
from provision.model import Endpoint, Progress
from provision.model.effects import MigrateTenants
from provision.model.value import replace
from provision.model.words import count
from provision.spec.model import Migrations, Spec
from provision.tenants import workers
from provision.tenants.workers import Job, TenantEvent

_EVERY: Final = 1.0
_IN_FULL: Final = 3
"""So many different failures are shown with all that is known of them."""
_NOTED: Final = frozenset({"invalid", "unrecorded", "resumed"})


class Following:
    """One run of a tree with tenants: what became of each, and what ran."""

    def __init__(self, tree: Migrations, progress: Progress) -> None:
        assert tree.tenants is not None  # noqa: S101  # the step is about them
        self._tree, self._tenants, self._progress = tree, tree.tenants, progress
        self._began = self._shown = time.monotonic()
        self._total = 0
        self._running: set[str] = set()
        self._waiting: dict[str, str] = {}
        self._said: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._rows: dict[str, tuple[str, ...]] = {}
        self.done = 0
        self.failures: dict[str, ProvisionError] = {}

    @property
    def revisions(self) -> list[tuple[str, str, float]]:
        """The tree, the id and the seconds, in all tenants together, of each revision that ran."""
        return [(self._tree.name, name, seconds) for name, seconds in self._seconds.items()]

    @property
    def summary(self) -> dict[str, Any]:
        """What became of the tenants, for the history."""
        begun = self.done + len(self.failures) + len(self._running)
        found = {"tree": self._tree.name, "done": self.done, "failed": list(self.failures)}
        return {**found, "not_begun": self._total - begun}

    def run(self, spec: Spec, files: tuple[Graph, Location], server: Endpoint, effect: MigrateTenants) -> None:
        """Migrate the tenants of an effect.

        Raises:
            TenantsFailedError: some of them failed.
            ProvisionError: the login of the tree is not known.
        """
        jobs = tuple(self._jobs(spec, server, effect))
        self._total, goes_on = len(jobs), self._tenants.on_failure == "continue"
        with closing(workers.run(jobs, files, workers=self._tenants.workers, goes_on=goes_on)) as events:
            for event in events:
                self._follow(event)
        if self.failures:
            raise self._failed()
        # The look that ends the run need not log in to each again: these rows were read there, under the lock.
        spec.fetched["tenants", self._tree.name] = self._rows  # type: ignore[index,assignment]

    def _jobs(self, spec: Spec, server: Endpoint, effect: MigrateTenants) -> Iterator[Job]:
        """Yield the tenants with those that are ``first`` before the others, in their order."""
        first = {name: number for number, name in enumerate(self._tenants.first)}
        session = entered(spec, self._tree, located(self._tree, server))
        for name, move in sorted(effect.behind, key=lambda each: first.get(each[0], len(first))):
            tree = self._tree.for_tenant(name)
            at = located(tree, server)
            yield workers.Job(name, tree, move, at, replace(session, database=at.database), name in first)

    def _follow(self, event: TenantEvent) -> None:
        name = event.tenant
        if event.what == "started":
            self._running.add(name)
        elif event.what == "said" and event.event is not None:
            self._pass_on(name, event.event.what, str(event.event))
        elif event.what != "quiet":
            self._running.discard(name)
            self._waiting.pop(name, None)
            if event.failure is not None:
                self.failures[name] = event.failure
                self._progress.note(f"{name} failed: {_in_short(event.failure)}")
            self._note(name, event.migrated)
        self._show(now=event.what == "failed" or self.done == self._total)

    def _note(self, name: str, migrated: Migrated | None) -> None:
        if migrated is not None:
            self.done += 1
            self._rows[name] = migrated.after
            for revision, seconds in migrated.revisions:
                self._seconds[revision] = self._seconds.get(revision, 0.0) + seconds

    def _pass_on(self, name: str, what: str, text: str) -> None:
        if what not in _NOTED:
            self._waiting[name] = f"{name}: {text}"
            return
        self._waiting.pop(name, None)
        if text not in self._said:  # of many tenants, the same is said once
            self._said.add(text)
            self._progress.note(f"{name}: {text}")

    def _show(self, *, now: bool) -> None:
        if now or time.monotonic() - self._shown >= _EVERY:
            self._shown = time.monotonic()
            rate = self.done / max(self._shown - self._began, 0.001)
            counts = f"{self.done} of {self._total} done, {len(self._running)} running, {len(self.failures)} failed"
            waiting = next(iter(self._waiting.values()), "")
            self._progress.detail(f"{counts}, {rate:.1f} a second{'; ' if waiting else ''}{waiting}")

    def _failed(self) -> TenantsFailedError:
        groups: dict[str, list[str]] = {}
        for name, failure in self.failures.items():
            groups.setdefault(_in_short(failure), []).append(name)
        evidence = [line for short, names in groups.items() for line in self._lines(short, names, len(groups))]
        left = int(self.summary["not_begun"])
        if left:
            why = "`on_failure: stop`" if self._tenants.on_failure == "stop" else "the server is gone"
            evidence.append(f"not begun: {count(left, 'tenant')} ({why})")
        evidence.append(f"done: {count(self.done, 'tenant')}; each that failed keeps what was applied there")
        failed = "1 tenant" if len(self.failures) == 1 else f"{len(self.failures)} tenants"
        first = next(iter(self.failures.values()))
        step = first.next_step if len(groups) == 1 else "correct what they say, then: " + command("apply") + CONTINUES
        sentence = f"{failed} of {self._total} failed"
        return TenantsFailedError(sentence, self.failures, evidence=evidence, next_step=step)

    def _lines(self, short: str, names: Sequence[str], groups: int) -> Iterator[str]:
        """Yield what failed in the same way, and where."""
        yield f"{', '.join(names)}: {short}"
        if groups <= _IN_FULL:
            yield from (f"  {line}" for line in self.failures[names[0]].evidence[1:])


def _in_short(failure: ProvisionError) -> str:
    return ": ".join([failure.sentence, *failure.evidence[:1]])
