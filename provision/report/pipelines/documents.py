"""Findings in the formats of other programs: SARIF, GitLab's Code Quality, JUnit."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from provision.report.pipelines.notes import level_of, relative
from provision.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from provision.alembic import Finding, Law, Linted, Tree

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULES: Final = "https://squawkhq.com/docs/"
_OURS: Final = {"not-rendered", "syntax-error"}
_SEVERITIES: Final = {"error": "major", "warning": "minor"}
_NOT_XML: Final = "[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]"
"""What XML 1.0 does not allow even as a reference: https://www.w3.org/TR/xml/#charsets"""


def sarif(found: Linted, root: Path) -> dict[str, Any]:
    """Return the findings as SARIF 2.1.0: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html."""
    rules = list(dict.fromkeys(each.rule for each in found.findings))
    driver = {
        "name": "provision migrate lint",
        "version": __version__,
        "rules": [{"id": rule, **({} if rule in _OURS else {"helpUri": f"{_RULES}{rule}"})} for rule in rules],
    }
    results = [
        {
            "ruleId": each.rule,
            "ruleIndex": rules.index(each.rule),
            "level": level_of(each),
            "message": {"text": _words(each)},
            "locations": [_location(each, root)],
            "partialFingerprints": {"provision/v1": fingerprint},
        }
        for each, fingerprint in _fingerprints(found.findings)
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _location(finding: Finding, root: Path) -> dict[str, Any]:
    path = relative(finding.path, root)
    at = {"uri": quote(path), **({} if path.startswith("/") else {"uriBaseId": "%SRCROOT%"})}
    return {"physicalLocation": {"artifactLocation": at, "region": {"startLine": finding.line or 1}}}


def code_quality(found: Linted, root: Path) -> list[dict[str, Any]]:
    """Return the findings as https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format has them."""
    return [
        {
            "description": _words(each),
            "check_name": each.rule,
            "fingerprint": fingerprint,
            "severity": _SEVERITIES[level_of(each)],
            "location": {"path": relative(each.path, root), "lines": {"begin": each.line or 1}},
        }
        for each, fingerprint in _fingerprints(found.findings)
    ]


def _words(finding: Finding) -> str:
    return f"{finding.message}. {finding.advice}" if finding.advice else finding.message


def _fingerprints(findings: Sequence[Finding]) -> Iterator[tuple[Finding, str]]:
    """Yield each finding with what tells it from others, and stays when lines above it come or go."""
    seen: dict[tuple[str, ...], int] = {}
    for each in findings:
        key = (each.revision, each.rule, each.statement, each.message)
        seen[key] = seen.get(key, 0) + 1
        yield each, sha256("\0".join((*key, str(seen[key]))).encode()).hexdigest()


def junit(tree: Tree, laws: Sequence[Law], took: float, root: Path) -> str:
    """Return the laws as JUnit's XML, a test case each: one that was not checked is skipped."""
    from xml.etree import ElementTree as ET

    counted = {each: sum(law.outcome == each for law in laws) for each in ("failed", "not checked")}
    numbers = {
        "tests": str(len(laws)),
        "failures": str(counted["failed"]),
        "errors": "0",
        "skipped": str(counted["not checked"]),
        "time": f"{took:.3f}",
    }
    suites = ET.Element("testsuites", {"name": "provision migrate test", **numbers})
    suite = ET.SubElement(suites, "testsuite", {"name": f"{tree.spec.name}: {tree.name}", **numbers})
    for law in laws:
        names = {"classname": f"{tree.spec.name}.{tree.name}", "name": law.name, "time": f"{law.seconds:.3f}"}
        if law.path:
            names["file"] = relative(type(root)(law.path), root)
        case = ET.SubElement(suite, "testcase", {name: _xml(text) for name, text in names.items()})
        words = "\n".join((law.text, *law.evidence))
        if law.outcome == "failed":
            ET.SubElement(case, "failure", {"message": _xml(law.text), "type": "law"}).text = _xml(words)
        elif law.outcome == "not checked":
            ET.SubElement(case, "skipped", {"message": _xml(law.text)})
        elif law.evidence:
            ET.SubElement(case, "system-out").text = _xml(words)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}'


def _xml(text: str) -> str:
    return re.sub(_NOT_XML, "\N{REPLACEMENT CHARACTER}", text)
