"""The face of Alembic offers what is there, and loads it when it is used; the child needs nothing of the program."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from provision import alembic

PACKAGE = Path(alembic.__file__).parent


def typed() -> dict[str, str]:
    """Return the names that the face has for the type checker, and the modules that they are from."""
    module = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [node for node in module.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {name.name: str(node.module).removeprefix("provision.alembic.") for node in imports for name in node.names}


def test_the_type_checker_sees_the_names_that_are_there() -> None:
    assert typed() == alembic._HOME


@pytest.mark.parametrize("name", sorted(typed()))
def test_every_name_is_there(name: str) -> None:
    assert getattr(alembic, name) is not None


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = alembic.nothing


def test_a_name_loads_its_module_and_no_driver() -> None:
    program = (
        "import sys; from provision.alembic import Trees, Revisions\n"
        "ours = ('provision.alembic.running.ask', 'provision.alembic.verbs.sql')\n"
        "heavy = ('psycopg2', 'sqlalchemy', 'alembic', *ours)\n"
        "assert not [each for each in heavy if each in sys.modules]\n"
        "assert 'provision.alembic.trees' in sys.modules"
    )
    subprocess.run((sys.executable, "-c", program), check=True)


def test_the_protocol_is_loaded_alone() -> None:
    program = (
        "import runpy, sys\n"
        f"found = runpy.run_path({str(PACKAGE / 'child' / 'protocol.py')!r})\n"
        "assert 'Request' in found\n"
        "assert not [each for each in sys.modules if each.startswith(('provision', 'alembic', 'sqlalchemy'))]"
    )
    subprocess.run((sys.executable, "-I", "-S", "-c", program), check=True)


@pytest.mark.parametrize("path", sorted((PACKAGE / "child").glob("*.py")), ids=lambda path: path.stem)
def test_the_child_imports_nothing_of_ours_and_runs_on_python_3_8(path: Path) -> None:
    module = ast.parse(path.read_text(), feature_version=(3, 8))
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert not str(node.module).startswith("provision")
            assert node.module != "functools" or "cache" not in [each.name for each in node.names]  # of Python 3.9
        assert not isinstance(node, ast.Import) or not any(each.name.startswith("provision") for each in node.names)
