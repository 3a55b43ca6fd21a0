"""Files in the environment's directory: rendered from the spec, or holding a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.model import Action, Address, Secret, State, Step, Unknown
from provision.model.effects import WriteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

KIND = "file"


@dataclass(frozen=True, slots=True)
class File(State):
    """A file with its whole content."""

    path: Path
    content: str | Secret
    mode: int


def desired(files: Sequence[WriteFile], home: Path) -> dict[Address, State]:
    """Return the files that shall be there; an address is named by the path below ``home``."""
    return {_address(each.path, home): File(each.path, each.content, each.mode) for each in files}


def observe(
    wanted: Mapping[Address, State], read: Callable[[Path], str | None], mode_of: Callable[[Path], int]
) -> dict[Address, State]:
    """Read the files that are wanted; one that is not there has no key."""
    found: dict[Address, State] = {}
    for address, want in wanted.items():
        if isinstance(want, File) and (text := read(want.path)) is not None:
            content = Secret(text) if isinstance(want.content, Secret) else text
            found[address] = File(want.path, content, mode_of(want.path))
    return found


def plan(address: Address, before: State | Unknown | None, after: State | None) -> tuple[Step, ...]:
    """Write a file that is missing or differs."""
    if before == after or not isinstance(after, File):
        return ()
    effects = (WriteFile(after.path, after.content, after.mode),)
    if not isinstance(before, File):
        return (Step(address, Action.CREATE, None, after, effects),)
    why = "content differs" if before.content != after.content else f"mode: {before.mode:o} → {after.mode:o}"
    return (Step(address, Action.UPDATE, before, after, effects, why=(why,)),)


def _address(path: Path, home: Path) -> Address:
    return Address(KIND, str(path.relative_to(home)))
