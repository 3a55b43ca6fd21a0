"""The recipes of docs/ci.md as a runner reads them: files, variables, the service, and the shell lines of a job."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = re.compile(r"^```yaml\n# (?P<path>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPRESSION = re.compile(r"\$\{\{ matrix\.(\w+) \}\}")


@dataclass(frozen=True)
class Job:
    """One job as it would be run: ``scripts`` are given to a shell each, ``finally`` run whatever happened."""

    name: str
    service: str | None
    service_variables: dict[str, str]
    variables: dict[str, str]
    scripts: list[str]
    finally_: list[str] = field(default_factory=list)


def files(document: str) -> dict[str, str]:
    """Return the files that a document shows, by the path in their first line."""
    return {match["path"]: match["text"] for match in _BLOCK.finditer(document)}


def jobs(path: str, text: str) -> Iterator[Job]:
    """Return the jobs of a pipeline's file, one for each value of a matrix."""
    content = yaml.safe_load(text)
    if path.startswith(".github/"):
        for name, job in content["jobs"].items():
            yield from _github(f"{path} {name}", job)
    else:
        for name, job in content.items():
            yield _gitlab(f"{path} {name}", job)


def _github(name: str, job: dict[str, Any]) -> Iterator[Job]:
    matrix = job.get("strategy", {}).get("matrix", {})
    ((key, values),) = matrix.items() or (("none", [""]),)
    for value in values:

        def filled(text: str, known: tuple[str, str] = (key, value)) -> str:
            return _EXPRESSION.sub(lambda match: dict([known])[match[1]], text)

        services = list(job.get("services", {}).values())
        steps = [step for step in job["steps"] if "run" in step]
        yield Job(
            f"{name} {value}".strip(),
            filled(services[0]["image"]) if services else None,
            services[0]["env"] if services else {},
            {each: filled(text) for each, text in job.get("env", {}).items()},
            [step["run"] for step in steps if "if" not in step],
            [step["run"] for step in steps if step.get("if") == "always()"],
        )


def _gitlab(name: str, job: dict[str, Any]) -> Job:
    variables = job.get("variables", {})
    services = job.get("services", [])
    return Job(
        name,
        services[0]["name"] if services else None,
        variables,  # a runner hands the variables of a job to its services, too
        variables,
        ["\n".join(job["script"])],
        ["\n".join(job.get("after_script", []))] if "after_script" in job else [],
    )
