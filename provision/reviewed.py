"""A plan that somebody has reviewed: an apply does what it has, or less where some is done already, and no more.

A step is one that was reviewed where it leads to the same state by the same action, or a milder one, for reasons that
the plan had. The plan says of each state only a digest, and nothing of a secret. What could not be known when it was
made, because the server was not there, is allowed while everything that it was made from is the same; never where it
destroys data.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set as AbstractSet
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from provision.errors import NotRunError, RefusedError, UsageError, command
from provision.model import Action, Change, Secret, State, Step, Unknown
from provision.model.effects import Migrate, MigrateTenants
from provision.model.value import dataclass, fields, is_dataclass
from provision.model.words import some
from provision.observe import Survey
from provision.spec.tenant_choice import asked

SCHEMA = "provision/plan/1"
_MILDNESS = {each: number for number, each in enumerate(Action)}
_SHOWN = 10
_BACKUP = "backup"
"""The kind of the steps whose reasons count for nothing: they say where a database is by now, and how large."""
_OPTIONS = ("no_restart", "restart_cluster", "reset_overrides", "data", "take_ownership", "golden", "seed")


# --- what a plan says of itself


def made_from(survey: Survey) -> dict[str, Any]:
    """Return the digests of what a plan was made from: the spec, its templates, its seeds, each tree's revisions."""
    spec = survey.spec
    files = [each for each in (spec.path, spec.base) if each is not None]
    return {
        "spec": _digest([*(_bytes(each).decode(errors="replace") for each in files), *spec.overrides]),
        "templates": _digest(dict(survey.world.inputs.templates)),
        "seeds": _digest({each.key: each.sha256 for each in survey.world.inputs.seeds or ()}),
        "migrations": {tree.name: _of_tree(survey, tree.name) for tree in spec.migrations},
    }


def _of_tree(survey: Survey, name: str) -> str | None:
    """Return the digest of the revisions of a tree; None where only a program could tell which it has."""
    try:
        found = survey.world.trees[name].revisions
    except NotRunError:
        return None
    return _digest({revision: each.sha256 for revision, each in found.items()})


def options(survey: Survey) -> dict[str, Any]:
    """Return what was asked for on the command line, as far as it decides what is done."""
    downgrades = [tree for tree in survey.spec.migrations if tree.allow_downgrade]
    return {
        **{name: getattr(survey.wishes, name) for name in _OPTIONS},
        "allow_downgrade": bool(downgrades) and len(downgrades) == len(survey.spec.migrations),
        **asked(survey.spec),
    }


def marks(step: Step, survey: Survey) -> dict[str, Any]:
    """Return what tells a step from another one with the same words: a digest of its state, and of its revisions."""
    groups = _tenants(step)
    moves = [*[each for each in step.effects if isinstance(each, Migrate)], *[move for move, _, _ in groups]]
    return {
        "after": state_digest(step.after, survey.spec.directory),
        "revisions": [
            {"id": name, "sha256": survey.world.trees[each.name][name].sha256}
            for each in dict.fromkeys(moves)
            for name, _ in each.revisions
        ],
        **({"tenants": [_document(*each) for each in groups]} if groups else {}),
    }


def _tenants(step: Step) -> list[tuple[Migrate, tuple[str, ...], list[str]]]:
    """Return the moves of a step about tenants, each with the rows that it begins at, and its tenants."""
    states, found = getattr(step.before, "states", {}), dict[tuple[Migrate, tuple[str, ...]], list[str]]()
    for effect in step.effects:
        for name, move in effect.behind if isinstance(effect, MigrateTenants) else ():
            rows = states[name].rows if name in states else ()
            found.setdefault((move, rows), []).append(name)
    return [(*key, names) for key, names in found.items()]


def _document(move: Migrate, rows: tuple[str, ...], names: list[str]) -> dict[str, Any]:
    ids = [name for name, _ in move.revisions]
    return {"direction": move.direction, "from": list(rows), "revisions": ids, "tenants": names}


def state_digest(state: State | Unknown | None, directory: Path) -> str | None:
    """Return the digest of a state, in which secrets do not count and paths begin at the directory of the spec."""
    return None if state is None else _digest(_canonical(state, str(directory)))


def _canonical(value: Any, root: str) -> Any:
    """Return a value as JSON has it, the same in every process: sets have no order there."""
    if isinstance(value, Secret):
        return None
    if is_dataclass(value):
        found = {each.name: getattr(value, each.name) for each in fields(value) if each.compare}
        return [type(value).__name__, _canonical(found, root)]
    if isinstance(value, Mapping):
        return sorted([[str(key), _canonical(each, root)] for key, each in value.items()], key=lambda each: each[0])
    if isinstance(value, AbstractSet):
        return sorted([_canonical(each, root) for each in value], key=json.dumps)
    if isinstance(value, tuple | list):
        return [_canonical(each, root) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value.value) if isinstance(value, Enum) else str(value)
    return text.replace(root, ".") if isinstance(value, str | PurePath) else text


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a spec that a program has handed over
        return b""


# --- what was reviewed


@dataclass(frozen=True)
class Reviewed:
    """The document of a plan, of which it is known that it has what is asked of it here."""

    document: Mapping[str, Any]

    @classmethod
    def read(cls, text: str, name: str) -> Reviewed:
        """Read the output of ``provision plan --json``; ``name`` is the file's.

        Raises:
            UsageError: it is something else.
        """
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{name} is no JSON document: {error}", next_step=_again()) from None
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            said = f" but {found['schema']!r}" if isinstance(found, dict) and "schema" in found else ""
            if isinstance(found, list) and found:
                said = f" for one spec but a list of {len(found)}"
            sentence = f"{name} is not what `provision plan --json` prints{said}"
            raise UsageError(sentence, next_step=_again())
        if not {"made_from", "options"} <= found.keys() or not all("after" in step for step in found["steps"]):
            sentence = f"{name} was made by an older provision, and does not say what it was made from"
            raise UsageError(sentence, next_step=_again(name))
        return cls(found)

    @property
    def options(self) -> dict[str, Any]:
        """What was asked for when the plan was made."""
        known = (*_OPTIONS, "allow_downgrade", "tenants", "without")
        return {name: value for name, value in self.document["options"].items() if name in known}

    @property
    def is_open(self) -> bool:
        """Whether something could not be known when the plan was made."""
        return bool(self.document["unknown"]) or not all(step["certain"] for step in self.document["steps"])

    def insist(self, survey: Survey) -> None:
        """Refuse a plan with more than was reviewed.

        Raises:
            UsageError: it is of another environment, or of another runtime.
            RefusedError: it has steps that were not in the reviewed one, which the evidence names.
        """
        then = f"{self.document['environment']} on {self.document['runtime']['name']}"
        if then != (now := f"{survey.spec.name} on {survey.runtime}"):
            raise UsageError(f"the reviewed plan is for {then}, and this is {now}", next_step=command("plan", "--json"))
        if beyond := list(self._beyond(survey)):
            raise RefusedError(
                "an apply would do what the reviewed plan does not have",
                evidence=(*some(beyond, _SHOWN), *self._changed(survey)),
                next_step=command("plan") + "   # review this one, then save it with --json",
            )

    def _beyond(self, survey: Survey) -> Iterator[str]:
        """Yield each step that was not reviewed, with what of it is new."""
        is_same = self.is_open and not self._changed(survey)
        for step in survey.plan.steps:
            if not step.effects:
                continue
            found = marks(step, survey)
            if any(_is(step, found, each) for each in self.document["steps"]):
                continue
            if is_same and not step.destroys:
                continue
            yield f"{step.action} {step.address}" + "".join(f": {each}" for each in self._new(step, found))

    def _new(self, step: Step, found: Mapping[str, Any]) -> Sequence[str]:
        """Return what of a step was not reviewed, as far as words say it."""
        before = [each for each in self.document["steps"] if each["address"] == step.address.key]
        known = {why["text"] for each in before for why in each["why"]}
        if new := [str(why) for why in step.why if str(why) not in known]:
            return (", ".join(some(new, _SHOWN)),)
        if step.destroys and before and not any(each["destroys_data"] for each in before):
            return ("it destroys data",)
        hashes = {(each["id"], each["sha256"]) for step_ in before for each in step_["revisions"]}
        edited = [each["id"] for each in found["revisions"] if (each["id"], each["sha256"]) not in hashes]
        if before and edited:
            return (f"the file of {', '.join(some(edited, _SHOWN))} is another one",)
        return ("what it leads to is another state",) if before else ()

    def _changed(self, survey: Survey) -> tuple[str, ...]:
        """Say what the plan was made from is not the same any more."""
        then, now = self.document["made_from"], made_from(survey)
        words = {"spec": "the spec", "templates": "a template", "seeds": "a seed"}
        found = [f"{word} has changed since" for key, word in words.items() if then.get(key) != now[key]]
        trees = {*then.get("migrations", {}), *now["migrations"]}
        return (
            *found,
            *[
                f"the revisions of {name} have changed since"
                for name in sorted(trees)
                if then.get("migrations", {}).get(name) != now["migrations"].get(name)
            ],
        )


def _is(step: Step, found: Mapping[str, Any], reviewed: Mapping[str, Any]) -> bool:
    """Tell whether a step is one that was reviewed, or less of it."""
    return (
        reviewed["certain"]
        and reviewed["address"] == step.address.key
        and reviewed["after"] == found["after"]
        and reviewed["action"] in _MILDNESS
        and _MILDNESS[step.action] <= _MILDNESS[reviewed["action"]]
        and _has_reasons(step, found, reviewed)
        and all(each in reviewed["revisions"] for each in found["revisions"])
        and (reviewed["destroys_data"] or not step.destroys)
    )


def _has_reasons(step: Step, found: Mapping[str, Any], reviewed: Mapping[str, Any]) -> bool:
    """Tell whether a step was reviewed with all its reasons; of one about tenants, with all that moves in each."""
    if "tenants" in found:
        return _moved(found) <= _moved(reviewed)
    return {_comparable(str(each), exact=isinstance(each, Change)) for each in _reasons(step)} <= {
        _comparable(each["text"], exact=each["field"] is not None) for each in reviewed["why"]
    }


def _moved(marks: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Return each revision that moves in a tenant."""
    return {
        (tenant, each["direction"], revision)
        for each in marks.get("tenants", ())
        for tenant in each["tenants"]
        for revision in each["revisions"]
    }


def _reasons(step: Step) -> Sequence[Change | str]:
    return () if step.address.kind == _BACKUP else step.why


def _comparable(text: str, *, exact: bool) -> str:
    """Return a reason as it is compared: the numbers of a sentence, such as the size of a database, may differ.

    Those of revisions are compared by the digests of their files.
    """
    return text if exact else re.sub(r"\d+", "0", text)


def _again(name: str = "plan.json") -> str:
    """Return the command that makes a plan; it is written into another file than one that is no plan."""
    return command("plan", "--json") + f" > {name}"
