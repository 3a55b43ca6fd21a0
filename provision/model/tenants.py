"""The key ``tenants`` of migrations, as a value."""

from __future__ import annotations

from typing import Literal

from provision.model.value import dataclass, field


@dataclass(frozen=True)
class Tenants:
    """Which databases, or schemas of one database, a tree migrates, and in which manner.

    Either ``names`` says it, or the ``query`` that the server answers; ``place`` is where that is written, as
    ``path:line``. ``workers`` None is one for each core of this machine. ``first`` are done before any other. ``only``
    and ``without`` are what the options ``--tenant`` and ``--except`` leave of them.
    """

    kind: Literal["databases", "schemas"]
    names: tuple[str, ...] = ()
    query: str | None = None
    workers: int | None = None
    first: tuple[str, ...] = ()
    on_failure: Literal["stop", "continue"] = "stop"
    place: str = field(default="", compare=False)
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def one(self) -> str:
        """The kind, as a word for one of them."""
        return self.kind.removesuffix("s")
