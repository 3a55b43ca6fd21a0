"""What a check says, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

from provision.errors import NotRunError, ProvisionError
from provision.model.value import dataclass
from provision.observe import Survey
from provision.spec.model import Spec
from provision.system.look import Look

SHOWN: Final = 5


class Level(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What one check says: about what, how it is, the evidence, and the next command where there is one."""

    subject: str
    level: Level
    sentence: str
    evidence: tuple[str, ...] = ()
    next_step: str = ""


@dataclass(frozen=True)
class Scene:
    """What the checks look at. ``runtime`` is empty where none can be used; ``seen`` is None where nothing was seen."""

    look: Look
    spec: Spec | None = None
    runtime: str = ""
    seen: Survey | None = None

    @property
    def is_running(self) -> bool:
        """Whether the server of the environment runs."""
        return self.seen is not None and self.seen.status.server == "running"


def guarded(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a check; an error that ends it is one of them."""
    try:
        yield from check()
    except NotRunError as error:
        yield Finding(subject, Level.UNKNOWN, error.sentence.removeprefix("--no-commands: "))
    except ProvisionError as error:
        yield failed(subject, error)


def failed(subject: str, error: ProvisionError) -> Finding:
    """Return an error as a finding."""
    return Finding(subject, Level.PROBLEM, error.sentence, error.evidence[:SHOWN], error.next_step or "")
