"""Each spec below ``tables/spec`` is read as the file beside it says.

``case.expected`` holds the problems as people see them, or the values of a spec that is right. To accept what the
program says now, run pytest with ``--accept`` in the environment variable ``PROVISION_TABLES``, and read the diff.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from provision.errors import Problem, SpecError
from provision.model import Secret
from provision.spec.load import load

DIRECTORY = Path(__file__).parent.parent / "tables" / "spec"
SECRET = "s3cret-of-the-environment"
ENVIRON = {
    "HOME": "/home/me",
    "SHOP_PASSWORD": SECRET,
    "PORT": "not-a-port",
    "TIMEOUT": "1 fortnight",
    "DEADLOCK": "some day",
    "EMPTY": "",
}


def render(problem: Problem) -> str:
    advice = f"; {problem.suggestion}" if problem.suggestion else ""
    text = problem.text if len(problem.text) <= 200 else problem.text[:200] + "…"
    caret = " " * (problem.column - 1) + "^"
    return f"{problem.line}:{problem.column}: {problem.message}{advice}\n    {text}\n    {caret}\n"


def brief(value: Any) -> str:
    """Return the text of a value, without the fields that have their defaults."""
    if isinstance(value, tuple) and type(value) is tuple:
        return f"({', '.join(map(brief, value))})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {brief(each)}" for key, each in value.items()) + "}"
    if not dataclasses.is_dataclass(value):
        return repr(value)
    shown = []
    for field in dataclasses.fields(value):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if (found := getattr(value, field.name)) != default:
            shown.append(f"{field.name}={brief(found)}")
    return f"{type(value).__name__}({', '.join(shown)})"


def values(value: Any, name: str = "") -> list[str]:
    if dataclasses.is_dataclass(value):
        kind = type(value).__name__
        lines = [f"{name}: {kind}"] if name else []
        for field in (each for each in dataclasses.fields(value) if each.repr):
            lines += values(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
        return lines
    if isinstance(value, Problem):
        return [
            f"{name}: Problem",
            *[line for key, each in value._asdict().items() for line in values(each, f"{name}.{key}")],
        ]
    if isinstance(value, dict):
        return [f"{name}.{key} = {brief(each)}" for key, each in value.items()]
    if isinstance(value, tuple) and value and (dataclasses.is_dataclass(value[0]) or isinstance(value[0], Problem)):
        return [line for index, each in enumerate(value) for line in values(each, f"{name}[{index}]")]
    shown = value.reveal() if isinstance(value, Secret) else value
    return [f"{name} = {str(shown) if isinstance(shown, Path) else shown!r}"]


def outcome(path: Path) -> str:
    try:
        spec = load(path, ENVIRON)
    except SpecError as error:
        found = "".join(render(each) for each in error.problems)
    else:
        found = "\n".join(values(spec)) + "\n"
    return found.replace(str(DIRECTORY), "<directory>")


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.yml")), ids=lambda path: path.stem)
def test_a_spec_is_read_as_expected(path: Path) -> None:
    expected = path.with_suffix(".expected")
    found = outcome(path)
    if os.environ.get("PROVISION_TABLES") == "--accept":
        expected.write_bytes(found.encode())
    assert found == expected.read_bytes().decode()


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.yml")), ids=lambda path: path.stem)
def test_no_secret_is_shown(path: Path) -> None:
    try:
        load(path, ENVIRON)
    except SpecError as error:
        for problem in error.problems:
            for secret in ("hunter2", "hunter3", SECRET, "not-a-port", "fortnight", "some day"):
                assert secret not in str(problem)
