"""Which volume holds the data after an upgrade: decided by what happened, whatever the clocks said meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.runtimes.docker.generations import find
from provision.spec.load import read

SPEC = read(Path("/srv/spec.yml"), yaml.safe_dump({"name": "shop", "server": {"image": "postgres:18"}}).encode(), {})
OURS = {"provision.environment": "shop", "provision.directory": "/srv"}
COPY = {**OURS, "provision.base": "shop-data", "provision.major": "18"}
STARTED = "2026-03-01T12:00:00Z"


class Engine:
    """An engine in which a copy was verified, while the old server had been started at ``STARTED``."""

    def __init__(self, started: str, mounted: str, marked: str) -> None:
        mark = {**OURS, "provision.verified": "shop-data-18", "provision.from-start": STARTED}
        self._volumes = [
            {"Name": "shop-data", "Labels": {**OURS, "provision.major": "17"}},
            {"Name": "shop-data-18", "Labels": COPY},
            {"Name": "shop-data-18.verified", "Labels": mark, "CreatedAt": marked},
        ]
        self._container = {
            "Config": {"Image": "postgres:17"},
            "HostConfig": {},
            "Mounts": [{"Name": mounted, "Destination": "/var/lib/postgresql/data"}],
            "State": {"StartedAt": started, "Status": "running"},
        }

    def volumes(self, _label: str) -> dict[str, Any]:
        return {each["Name"]: each for each in self._volumes}

    def engine(self, _path: str, **_parameters: object) -> Any:
        return self._container

    def exists(self, _path: Path) -> bool:
        return True


@pytest.mark.parametrize("marked", ["2026-03-01T13:00:00Z", "2026-03-01T11:00:00Z"], ids=["in order", "set back"])
@pytest.mark.parametrize(
    ("started", "mounted", "current"),
    [
        (STARTED, "shop-data", "shop-data-18"),
        ("2026-03-01T14:00:00Z", "shop-data", "shop-data"),
        ("2026-03-01T10:00:00Z", "shop-data", "shop-data"),
        ("2026-03-01T10:00:00Z", "shop-data-18", "shop-data-18"),
    ],
    ids=["untouched", "started again", "started again, set back", "switched"],
)
def test_where_the_data_is(started: str, mounted: str, current: str, marked: str) -> None:
    found = find(SPEC, Engine(started, mounted, marked))  # type: ignore[arg-type]  # all that it asks
    assert found.current is not None
    assert found.current.name == current
