"""A database for tests, and its URLs."""

from __future__ import annotations

from typing import NamedTuple

from provision.model import Endpoint


class Url(str):  # noqa: SLOT000  # a text that knows how it is shown
    """A URL with its password, which pytest's reports show masked: they show the ``repr`` of a test's arguments."""

    masked: str

    @classmethod
    def of(cls, endpoint: Endpoint, driver: str | None = None) -> Url:
        """Return the URL of a database."""
        made = cls(endpoint.url(driver=driver))
        made.masked = endpoint.url(driver=driver, masked=True)
        return made

    def __repr__(self) -> str:
        return repr(self.masked)


class Database(NamedTuple):
    """A database for tests; ``drivers`` are those of a sync and an async engine."""

    endpoint: Endpoint
    drivers: tuple[str, str]

    def url(self) -> Url:
        """Return the URL."""
        return Url.of(self.endpoint)

    def sync_url(self) -> Url:
        """Return the URL for a sync engine of SQLAlchemy."""
        return Url.of(self.endpoint, self.drivers[0])

    def async_url(self) -> Url:
        """Return the URL for an async engine of SQLAlchemy."""
        return Url.of(self.endpoint, self.drivers[1])
