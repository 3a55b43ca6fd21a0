"""What an engine shows of a container, in Docker's words."""

from __future__ import annotations

import ast
import doctest
import re
from typing import TYPE_CHECKING

import pytest
from support.checkout import ROOT

from provision.runtimes.docker import containers

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = "sha256:" + "0" * 64


def test_examples() -> None:
    assert doctest.testmod(containers).failed == 0


@pytest.mark.parametrize(
    ("shown", "asked", "same"),
    [
        ("docker.io/library/postgres:17", "postgres:17", True),
        ("docker.io/postgis/postgis:17-3.5", "postgis/postgis:17-3.5", True),
        ("localhost/mine:17", "mine:17", True),  # Podman 5 looks among the images of this machine first
        ("registry.example:5000/db/mine:17", "registry.example:5000/db/mine:17", True),
        ("docker.io/library/postgres:latest", "postgres", True),
        (f"docker.io/library/postgres@{DIGEST}", f"postgres:17@{DIGEST}", True),
        ("docker.io/library/postgres:16", "postgres:17", False),
        ("docker.io/library/notpostgres:17", "postgres:17", False),
        (f"postgres@{DIGEST}", "postgres:17", False),
        ("quay.io/team/postgres:17", "docker.io/team/postgres:17", False),
        ("postgres:17", "localhost/postgres:17", False),
    ],
)
def test_an_image_that_was_asked_for_by_another_name(shown: str, asked: str, *, same: bool) -> None:
    assert containers.is_same_image(shown, asked) is same


_COMMAND = re.compile(r"\bdocker (?!engine|compose|context|run time)[a-z]+ ?", re.ASCII)


def texts(tree: ast.Module) -> Iterator[str]:
    """Yield every string of a module that is no docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    left_out = {id(each.body[0].value) for each in ast.walk(tree)
                if isinstance(each, documented) and each.body and isinstance(each.body[0], ast.Expr)}  # fmt: skip
    for each in ast.walk(tree):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in left_out:
            yield each.value


def test_no_hint_names_the_program_of_one_engine() -> None:
    """What runs on Podman is not looked at with `docker`: hints take the program's name from the engine."""
    for folder in ("runtimes", "kinds", "system"):
        for path in sorted((ROOT / "provision" / folder).rglob("*.py")):
            found = [text for text in texts(ast.parse(path.read_text())) if _COMMAND.search(text)]
            assert found == [], path
