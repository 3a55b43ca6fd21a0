"""What an apply from nothing would make its data from, gathered from the spec, its trees and the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.golden.key import Inputs
    from provision.observe.outside import World


def gather(world: World) -> Inputs | str:
    """Return what the data would be made from; or why that cannot be said, in words."""
    del world
    return "not known yet"
