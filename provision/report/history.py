"""What has happened to an environment, run by run, as text and as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from provision.model import Action
from provision.model.words import count
from provision.observe.history import PastRun
from provision.report.console import Paint
from provision.report.plan import PAST
from provision.report.words import clean, head, seconds
from provision.spec.model import Spec

_COMMIT: Final = 9
"""So many digits of a commit are shown, as Git does."""
_FILES: Final = "file/"


def lines(spec: Spec, runs: Sequence[PastRun], paint: Paint, *, verbose: bool = False) -> Iterator[str]:
    """Yield each run, the newest first: when, who and from which commit, what it did, and below it what changed."""
    if not runs:
        why = "no run is noted yet" if spec.history else "`history: false` in the spec: no run is noted"
        yield f"{paint('bold', spec.name)}: {why}"
    for each in runs:
        run = each.details
        commit = f" at {run['commit'][:_COMMIT]}" if run["commit"] else ""
        about = f"{clean(str(run['who']))}{commit}, provision {clean(str(run['version']))}"
        yield f"{paint('bold', f'{each.began} UTC')}  {clean(str(run['verb']))} by {about}"
        if run["error"]:
            yield f"  {paint('red', '✗')} {clean(str(run['error']))}"
        yield f"  {_deeds(run)}  {paint('dim', seconds(run['seconds']))}"
        yield from _below(run, paint, verbose=verbose)


def _deeds(run: Mapping[str, Any]) -> str:
    done = Counter(PAST[Action(each["action"])] for each in run["steps"] if not each["error"])
    found = [f"{number} {word}" for word, number in done.items() if word != PAST[Action.MIGRATE]]
    if run["revisions"]:
        found.append(count(len(run["revisions"]), "revision"))
    for each in run.get("tenants", ()):  # rows that earlier versions wrote have none
        failed = f", {len(each['failed'])} failed" if each["failed"] else ""
        found.append(f"{count(each['done'], 'tenant')} done{failed}")
    return ", ".join(found) or "nothing was done"


def _below(run: Mapping[str, Any], paint: Paint, *, verbose: bool) -> Iterator[str]:
    for step in run["steps"]:
        if step["address"].startswith(_FILES) and not verbose:
            continue
        for why in step["why"] if step["action"] != "migrate" else ():
            yield f"    {clean(step['address'])}: {clean(_reason(why))}"
    width = max((len(each["revision"]) for each in run["revisions"]), default=0)
    for each in run["revisions"]:
        yield f"    {clean(each['revision']):<{width}}  {paint('dim', seconds(each['seconds']))}"


def _reason(why: Mapping[str, Any] | str) -> str:
    if isinstance(why, str):
        return why
    after = "default" if why["after"] is None else why["after"]
    return f"{why['field']}: {after}" if why["before"] is None else f"{why['field']}: {why['before']} → {after}"


def document(spec: Spec, runs: Sequence[PastRun]) -> dict[str, Any]:
    """Return the document of the runs; what a row has beside the known keys is left out."""
    return {
        **head("history", spec),
        "runs": [{"began": f"{each.began.replace(' ', 'T')}Z", **_run(each.details)} for each in runs],
    }


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_some(run, "verb who commit version seconds error restarts"),
        "steps": [
            {**_some(step, "address action seconds error"), "why": [_why(why) for why in step["why"]]}
            for step in run["steps"]
        ],
        "revisions": [_some(each, "tree revision seconds") for each in run["revisions"]],
        "tenants": [_some(each, "tree done failed not_begun") for each in run.get("tenants", ())],
    }


def _why(why: Mapping[str, Any] | str) -> dict[str, Any]:
    known = {"field": None, "before": None, "after": None} if isinstance(why, str) else why
    return {**_some(known, "field before after"), "text": _reason(why)}


def _some(found: Mapping[str, Any], names: str) -> dict[str, Any]:
    return {name: found[name] for name in names.split()}
