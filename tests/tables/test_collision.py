"""Two containers that were started on the same data: which one is ended, and what this run says."""

from __future__ import annotations

from typing import Any

import pytest

from provision.errors import RefusedError
from provision.runtimes.docker.ownership import collision
from provision.runtimes.names import DIRECTORY, ENVIRONMENT
from provision.runtimes.ownership import DataUser

EARLIER, LATER = "2026-03-01T10:00:00.12Z", "2026-03-01T10:00:00.123456789Z"
OURS, OTHER = {ENVIRONMENT: "b", DIRECTORY: "/b"}, {"com.example": "x"}


class Engine:
    """What the engine shows of the other container."""

    def __init__(self, started: str) -> None:
        self._started = started

    def engine(self, path: str) -> Any:
        assert path == "/containers/b/json"
        return {"State": {"StartedAt": self._started}}


@pytest.mark.parametrize(
    ("ours", "theirs", "labels", "ended", "is_refused"),
    [
        (LATER, EARLIER, OURS, ["a"], True),
        (LATER, EARLIER, OTHER, ["a"], True),
        (EARLIER, LATER, OURS, ["b"], False),
        (EARLIER, LATER, OTHER, [], True),
    ],
)
def test_the_second_one_is_ended(
    ours: str, theirs: str, labels: dict[str, str], ended: list[str], *, is_refused: bool
) -> None:
    refusal = RefusedError("the volume 'v' is in use by the container 'b'")
    inspected = {"Name": "/a", "State": {"StartedAt": ours}}
    found = collision(inspected, DataUser("b", "it has it", labels, "docker"), refusal, Engine(theirs))  # type: ignore[arg-type]
    assert found is not None
    assert [(each.operation, each.target) for each in found.ending] == [("signal_container", each) for each in ended]  # type: ignore[union-attr]
    assert (found.refusal is refusal) == is_refused
    if not is_refused:
        assert "killed the container 'b' of the environment 'b' of /b" in found.note
