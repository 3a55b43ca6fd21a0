"""What the code of trees has read: kept after an apply from nothing, and compared before a golden is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.golden.key import NOTHING, Recorded

if TYPE_CHECKING:
    from provision.spec.model import Spec


def recorded(spec: Spec) -> Recorded | None:
    """Return what was recorded while the data of an environment was made; None where that is not known."""
    del spec
    return NOTHING


def changed(spec: Spec, before: Recorded) -> str:
    """Return what is not as it was when it was read, in words; empty: everything is."""
    del spec, before
    return ""
