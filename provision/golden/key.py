"""What a golden was made from, and whether it fits what a spec wants now. Nothing here looks at the world.

A golden of level 0 is what initdb and the image's scripts made; one of level 1 has also the declared objects, and all
that the revisions made. What made it is kept by name, each a short text or a digest, so that the reason why a golden
does not fit can be said.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from provision.model.value import asdict, dataclass, field, replace

FORMAT = 1
"""Goldens of another format fit nothing."""
SHORT = 4
"""How many digits of a key are shown where that is enough to tell goldens apart."""
_LEVELS = (0, 1)


class UnknownError(Exception):
    """What decides the result is not known; the message says why."""


@dataclass(frozen=True)
class TreeInputs:
    """One tree of migrations.

    ``applied`` maps each revision that its target includes to the digest of its file, in their order, ``unapplied`` the
    other revisions. ``rows`` are the rows of the version table at the target. ``parts`` is all else that decides what
    its code does, by name: options, environment, interpreter, and the other files below its location.
    """

    name: str
    rows: tuple[str, ...]
    applied: Mapping[str, str]
    unapplied: Mapping[str, str]
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Inputs:
    """All that decides what an apply from nothing makes, as far as it is known before.

    ``cluster`` decides what initdb and the image's scripts make, ``declared`` what is made in it besides the trees;
    both by name. ``trees`` are in the order in which they run.
    """

    cluster: Mapping[str, str]
    declared: Mapping[str, str] = field(default_factory=dict)
    trees: tuple[TreeInputs, ...] = ()

    def level0(self) -> Inputs:
        """Return what decides a golden of level 0; without scripts, the declared database is made like any other."""
        names = self.cluster if "scripts" in self.cluster else self.cluster.keys() - {"variable POSTGRES_DB"}
        return Inputs({name: value for name, value in self.cluster.items() if name in names})


@dataclass(frozen=True)
class Recorded:
    """What the code of trees has read, as far as that is known only after it ran.

    ``files`` maps paths, those in the project relative to the directory of the spec, to the digest of what was there.
    Of a path that ends in ``/``, a directory, the names count. ``variables`` maps names to a keyed digest of the
    caller's value. ``everything`` is a keyed digest of all variables but ``own``, where code went through all of them;
    else it is empty.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    everything: str = ""
    own: tuple[str, ...] = ()


ABSENT = "-"
"""In place of a digest: there was no such file or variable."""
NOTHING = Recorded()


@dataclass(frozen=True)
class Golden:
    """One golden. ``size`` is in bytes, ``made`` and ``used`` are seconds since 1970.

    ``image`` and ``environment`` are the names in the spec that it was made from, ``user`` who has put it into a store
    of several; they decide nothing, and are empty where they are not known.
    """

    key: str
    level: int
    inputs: Inputs
    recorded: Recorded = NOTHING
    size: int = 0
    made: float = 0.0
    used: float = 0.0
    image: str = ""
    environment: str = ""
    user: str = ""

    @classmethod
    def of(cls, inputs: Inputs, recorded: Recorded = NOTHING, *, level: int = 1) -> Golden:
        """Return the golden that is made of this, with its key; of ``level`` 0, only what decides that counts."""
        if level == 0:
            inputs, recorded = inputs.level0(), NOTHING
        golden = cls("", level, inputs, recorded)
        return replace(golden, key=_key(golden))

    @property
    def short(self) -> str:
        """The first digits of the key."""
        return self.key[:SHORT]

    def document(self) -> dict[str, Any]:
        """Return the golden as JSON holds it."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def read(cls, document: Any) -> Golden | None:
        """Return the golden of a document; None where it is no such document, or its key is not that of its inputs."""
        try:
            if document["format"] != FORMAT or document["level"] not in _LEVELS:
                return None
            inputs, recorded = document["inputs"], document["recorded"]
            recorded = {**recorded, "own": tuple(recorded["own"])}
            trees = tuple([TreeInputs(**{**each, "rows": tuple(each["rows"])}) for each in inputs["trees"]])
            made = cls.of(
                Inputs(inputs["cluster"], inputs["declared"], trees), Recorded(**recorded), level=document["level"]
            )
            if made.key != document["key"]:
                return None
            size, at, used = int(document["size"]), float(document["made"]), float(document["used"])
            image, environment = [str(document.get(name, "")) for name in ("image", "environment")]
            return replace(made, size=size, made=at, used=used, image=image, environment=environment)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


def _key(golden: Golden) -> str:
    """Return the SHA-256 of all that made a golden, in hexadecimal."""
    made_of = [FORMAT, golden.level, asdict(golden.inputs), asdict(golden.recorded)]
    text = json.dumps(made_of, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Fit:
    """A golden that can be begun with.

    ``rest`` maps the trees that it does not complete to what they have in it (rows of the version table, none: nothing)
    and to how many of their revisions remain to be run.
    """

    golden: Golden
    rest: Mapping[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)

    @property
    def is_exact(self) -> bool:
        """Whether nothing remains to be run."""
        return self.golden.level == 1 and not self.rest

    @property
    def remaining(self) -> int:
        """How many revisions remain to be run."""
        return sum(count for _, count in self.rest.values())

    def __str__(self) -> str:
        name = f"golden {self.golden.short}…" + (", an empty server" if self.golden.level == 0 else "")
        if self.golden.level == 0 or not self.rest:
            return name
        rows = [row for tree in self.golden.inputs.trees for row in tree.rows]
        count = "1 revision" if self.remaining == 1 else f"{self.remaining} revisions"
        return f"{name}, {' '.join(rows) or 'base'} + {count}"


def match(wanted: Inputs, golden: Golden) -> Fit | str:
    """Return how a golden fits what is wanted, or why it does not, in words; what its code read is not looked at."""
    cluster = wanted.level0().cluster if golden.level == 0 else wanted.cluster
    if found := _difference("", golden.inputs.cluster, cluster):
        return found
    if golden.level == 0:
        return Fit(golden)
    if found := _difference("", golden.inputs.declared, wanted.declared):
        return found
    there = [tree.name for tree in golden.inputs.trees]
    now = [tree.name for tree in wanted.trees]
    if there != now[: len(there)]:
        return f"trees: {', '.join(there) or 'none'} → {', '.join(now) or 'none'}"
    rest: dict[str, tuple[tuple[str, ...], int]] = {}
    for before, after in zip(golden.inputs.trees, wanted.trees, strict=False):
        if found := _tree_difference(before, after):
            return found
        # One tree can need what those before it made, and see all of it.
        if rest and before.applied:
            return f"migrations/{next(iter(rest))} has new revisions, and migrations/{before.name} ran after it"
        if missing := after.applied.keys() - before.applied.keys():
            rest[after.name] = (before.rows, len(missing))
    rest |= {tree.name: ((), len(tree.applied)) for tree in wanted.trees[len(there) :] if tree.applied}
    return Fit(golden, rest)


def _tree_difference(before: TreeInputs, after: TreeInputs) -> str:
    """Return why a tree is neither as it was nor has new revisions only, in words; empty: it is."""
    where = f"migrations/{before.name}: "
    if found := _difference(where, before.parts, after.parts):
        return found
    now = {**after.unapplied, **after.applied}
    for name, digest in {**before.unapplied, **before.applied}.items():
        if now.get(name) != digest:
            return f"{where}revision {name} {'was edited' if name in now else 'is gone'}"
    if beyond := [name for name in before.applied if name not in after.applied]:
        return f"{where}{beyond[-1]} is beyond the target"
    first = next((new for new, old in zip(after.applied, before.applied, strict=False) if new != old), None)
    return "" if first is None else f"{where}revision {first} runs before some of those that it has"


def _difference(where: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the first part that differs, in words; empty: none does."""
    for name in (*before, *[each for each in after if each not in before]):
        old, new = before.get(name), after.get(name)
        if old != new:
            is_readable = not any(each and re.fullmatch(_DIGEST, each) for each in (old, new))
            return f"{where}{name}" + (f": {_shown(old)} → {_shown(new)}" if is_readable else " differs")
    return ""


def _shown(value: str | None) -> str:
    return "none" if value is None else value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"


_LONGEST = 40
_DIGEST = r"[0-9a-f]{20}"


def choose(
    wanted: Inputs,
    candidates: Iterable[Golden],
    changed: Callable[[Recorded], str],
    rejected: Callable[[Golden, str], None] = lambda _golden, _why: None,
) -> Fit | None:
    """Return the best fit: an exact one, else the longest beginning, else one of level 0.

    ``changed`` says what of that which code has read is not as it was (empty: nothing), and is asked only for goldens
    that fit besides. ``rejected`` hears of each that does not fit, and why.
    """
    fits = []
    for golden in candidates:
        found = match(wanted, golden)
        if isinstance(found, Fit):
            fits.append(found)
        else:
            rejected(golden, found)
    for fit in sorted(fits, key=lambda each: (-each.golden.level, each.remaining, -each.golden.used)):
        why = changed(fit.golden.recorded)
        if not why:
            return fit
        rejected(fit.golden, why)
    return None
