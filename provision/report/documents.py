"""The JSON documents: stable in shape and order, versioned by ``schema``, and described in ``docs/json.md``.

Every field is named here one by one. Nothing is dumped as a whole, so no secret can slip in with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.errors import Problem, ProvisionError, SpecError, TenantsFailedError
from provision.model import NOT_KNOWN, Begun, Change, Endpoint, Outcome, Plan, Result, Step
from provision.report.plan import file_lines, written
from provision.report.words import fields, head, is_foretold
from provision.reviewed import SCHEMA, made_from, marks, options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from provision.alembic import Script
    from provision.export.tunnels import Open
    from provision.model.cluster import Cluster
    from provision.observe import Survey
    from provision.spec.model import Spec
    from provision.verification import Verification

Document = dict[str, Any]


def plan(
    survey: Survey, *, read: Callable[[Path], str | None] | None = None, scripts: Sequence[Script] | None = None
) -> Document:
    """Return the document of a plan; where ``read`` returns files as they are now, also how they change."""
    document: Document = {
        "schema": SCHEMA,
        **_environment(survey),
        "changes_pending": survey.plan.differs,
        "destroys_data": any(step.destroys for step in survey.plan.steps),
        "steps": [{**_step(step), **marks(step, survey)} for step in survey.plan.steps],
        **_notes(survey.plan),
        "clients": survey.status.clients,
        "golden": _golden(survey.begun),
        "options": options(survey),
        "made_from": made_from(survey),
    }
    if read is not None:
        document["files"] = [{"path": str(each.path), "diff": file_lines(each, read)} for each in written(survey.plan)]
    if scripts is not None:
        from provision.report.sql import document as sql

        document["sql"] = [sql(script) for script in scripts]
    return document


def result(survey: Survey, done: Result) -> Document:
    """Return the document of an apply that was carried out, or had nothing to do."""
    return {
        "schema": "provision/result/1",
        **_environment(survey),
        "endpoint": address_of(done.endpoint),
        "changed": bool(done.outcomes),
        **ended(done),
        "remarks": list(done.remarks),
        "golden": _golden(done.begun),
    }


def acted(verb: str, name: str, spec: Path | None, done: Result, *, error: str | None = None) -> Document:
    """Return the document of what ``start``, ``stop``, ``restart`` or ``destroy`` did; None: its spec is not known."""
    return {
        "schema": "provision/server/1",
        "environment": name,
        "spec": str(spec) if spec is not None else None,
        "verb": verb,
        "changed": bool(done.outcomes),
        **ended(done),
        "error": error,
    }


def status(survey: Survey) -> Document:
    """Return the document of what runs."""
    state = survey.status
    return {
        "schema": "provision/status/1",
        **_environment(survey),
        **fields(state, "server detail version image container process started data"),
        "revisions": {tree: list(rows) for tree, rows in sorted(state.revisions.items())},
        "tenants": {
            tree: [
                {"revisions": None if rows is None else list(rows), "tenants": list(names)} for rows, names in groups
            ]
            for tree, groups in sorted(state.tenants.items())
        },
        "changes_pending": survey.plan.differs,
        "refusal": _refusal(survey),
        "pending": [{"address": step.address.key, "action": str(step.action)} for step in survey.plan.steps],
        **_notes(survey.plan),
        "clients": state.clients,
        "cluster": state.cluster and _cluster(state.cluster),
    }


def _cluster(found: Cluster) -> Document:
    leader = found.leader
    return {
        "scope": found.scope or None,
        "leader": leader and leader.name,
        "timeline": leader and leader.timeline,
        "paused": found.is_paused,
        "members": [
            {
                **fields(each, "name role state host port timeline lag"),
                "pending_restart": each.is_pending,
                "pending_settings": list(each.pending),
            }
            for each in found.members
        ],
    }


def verification(seen: Verification) -> Document:
    """Return the document of what is not as declared."""
    survey = seen.survey
    return {
        "schema": "provision/verification/1",
        **_environment(survey),
        "server": survey.status.server,
        "clean": seen.is_clean,
        "compared": seen.compared,
        "differences": [
            {"address": each.address.key, **fields(each, "field declared real text")} for each in seen.differences
        ],
        "unseen": [address.key for address in seen.unseen],
        "refusal": _refusal(survey),
        **fields(seen, "notes remarks"),
        "unknown": _unknown((*survey.plan.unknown, *survey.plan.partial)),
    }


def _refusal(survey: Survey) -> Document | None:
    refusal = survey.refusal
    return None if refusal is None else {"error": refusal.sentence, "evidence": list(refusal.evidence)}


def upgrade_plan(spec: Spec, plan: Plan) -> Document:
    """Return the document of an upgrade that was not carried out."""
    return {**_upgrade(spec, plan.steps, changed=False), "seconds": 0, "steps": [_step(step) for step in plan.steps]}


def upgrade_result(spec: Spec, done: Result) -> Document:
    """Return the document of an upgrade, of its end or of its way back, as it was carried out."""
    steps = [each.step for each in done.outcomes]
    return {
        **_upgrade(spec, steps, changed=bool(steps)),
        "seconds": round(done.seconds, 3),
        "steps": [outcome(each) for each in done.outcomes],
    }


def _upgrade(spec: Spec, steps: Sequence[Step], *, changed: bool) -> Document:
    return {**head("upgrade", spec), "changed": changed, "destroys_data": any(step.destroys for step in steps)}


def validation(specs: Sequence[Document]) -> Document:
    """Return the document of a validation; each spec is made by :func:`validated`."""
    return {"schema": "provision/validation/1", "valid": all(spec["valid"] for spec in specs), "specs": list(specs)}


def validated(
    path: str,
    environment: str | None,
    problems: Sequence[Problem] = (),
    *,
    remarks: Sequence[Problem] = (),
    checked: bool = True,
) -> Document:
    """Return what was found in one spec file; ``checked`` is whether its settings could be checked."""
    return {
        "spec": path,
        "valid": not problems,
        "environment": environment,
        "settings_checked": checked,
        "problems": [_problem(problem) for problem in problems],
        "remarks": [_problem(remark) for remark in remarks],
    }


def tunnel(name: str, found: Open | None) -> Document:
    """Return the document of a tunnel that is open; ``leads_to`` None: the server is reached without one."""
    return {
        "schema": "provision/tunnel/1",
        "environment": name,
        "open": found is not None and bool(found.process),
        "endpoint": None if found is None else address_of(found.endpoint),
        "leads_to": found.leads_to or None if found is not None else None,
        "process": found.process or None if found is not None else None,
    }


def failure(error: ProvisionError, exit_code: int, outcomes: Sequence[Outcome] = ()) -> Document:
    """Return the document of a command that failed; it prints no other."""
    return {
        "schema": "provision/error/1",
        "exit_code": exit_code,
        **_error(error),
        "problems": [_problem(each) for each in error.problems] if isinstance(error, SpecError) else [],
        "steps": [outcome(each) for each in outcomes],
        "tenants": [{"tenant": name, **_error(each)} for name, each in error.failures.items()]
        if isinstance(error, TenantsFailedError)
        else [],
    }


def _error(error: ProvisionError) -> Document:
    lines = [line for text in error.evidence for line in text.splitlines()]
    return {"error": error.sentence, "evidence": lines, "next": error.next_step}


def _golden(begun: Begun | None) -> Document | None:
    """Return the golden that new data begins with; None: it is made without one."""
    if begun is None or not begun.key:
        return None
    return {"key": begun.key, "revisions": {tree: list(rows) for tree, rows in begun.revisions.items()}}


def _notes(plan: Plan) -> Document:
    return {**fields(plan, "notes overrides remarks"), "unknown": _unknown((*plan.unknown, *plan.partial))}


def _environment(survey: Survey) -> Document:
    return {
        "environment": survey.spec.name,
        "spec": str(survey.spec.path),
        "runtime": {"name": survey.runtime, "reason": survey.reason},
        "endpoint": address_of(survey.login),
    }


def _unknown(sentences: Sequence[str]) -> list[str]:
    return [f"{NOT_KNOWN} {each}" for each in sentences]


def address_of(endpoint: Endpoint | None) -> Document | None:
    """Return where a server is reached by programs that outlive this one."""
    found = endpoint and endpoint.lasting
    return None if found is None else fields(found, "host port user database")


def _step(step: Step) -> Document:
    return {
        "address": step.address.key,
        "action": str(step.action),
        "certain": not is_foretold(step),
        "title": step.title,
        "why": [_reason(reason) for reason in step.why],
        "consequence": step.consequence,
        "destroys_data": step.destroys,
        "clients": step.clients,
        "effects": [line for each in step.effects for line in each.lines],
    }


def _reason(reason: Change | str) -> Document:
    if isinstance(reason, str):
        return {"field": None, "before": None, "after": None, "text": reason}
    return {**fields(reason, "field before after"), "text": str(reason)}


def ended(done: Result) -> Document:
    """Return what every document of something that was done has: its steps, and what they leave to be said."""
    return {
        "seconds": round(done.seconds, 3),
        "steps": [outcome(each) for each in done.outcomes],
        "notes": list(done.notes),
    }


def outcome(ended: Outcome) -> Document:
    """Return what became of one step."""
    return {
        "address": ended.step.address.key,
        "action": str(ended.step.action),
        "why": [_reason(reason) for reason in ended.step.why],
        "seconds": round(ended.seconds, 3),
        "error": ended.error,
    }


def _problem(problem: Problem) -> Document:
    return fields(problem, "path line column text message suggestion")
