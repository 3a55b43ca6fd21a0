"""The shape of the code: short functions, no import cycles, few lines, and plain words in what people read."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grimp
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))  # a folder of scripts is no package
from lines import by_folder, lines_of_code  # noqa: E402

PACKAGE = ROOT / "provision"
MODULES = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}

LONGEST_FUNCTION = 40

MOST_LINES = 51_498
"""Of the whole package. It follows the code down; the aim is 17,500."""

AVOIDED = re.compile(r"\b(somebody|nobody|told|anew|shall|stands|goes on|is none)\b", re.IGNORECASE)
"""Words that a reader in a hurry stumbles over, and what is metaphor; see the section Words in CONTRIBUTING.md."""
USER = "nobody"
"""The name of a system user, which no other word can replace."""


def functions() -> Iterator[tuple[Path, str, int]]:
    for path, source in MODULES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node.name, (node.end_lineno or 0) - node.lineno + 1


def test_no_function_is_longer_than_a_screen() -> None:
    assert [each for each in functions() if each[2] > LONGEST_FUNCTION] == []


def test_the_package_gets_smaller() -> None:
    assert by_folder(PACKAGE).total() <= MOST_LINES


def test_a_pattern_is_compiled_when_it_is_used() -> None:
    """A run with nothing to do uses few of a hundred: ``re.search(_PATTERN, text)`` keeps what it compiled."""
    ours = {path: source for path, source in MODULES.items() if path.parts[1:3] != ("alembic", "child")}
    at_import = [
        (str(path), node.lineno)
        for path, source in ours.items()
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and "re.compile(" in ast.unparse(node)
    ]
    assert at_import == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("", 0),
        ('"""A module."""\n\nx = 1  # why\n# why not\n', 1),
        ('def f():\n    """Do.\n\n    More.\n    """\n    return (\n        1,\n    )\n', 4),
        ('X = """a\n\nb"""\n"""About X."""\n', 3),
    ],
)
def test_lines_of_code_are_those_with_a_statement(source: str, count: int) -> None:
    assert lines_of_code(source) == count


def groups(graph: grimp.ImportGraph) -> list[set[str]]:
    """Return the sets of modules of which each reaches each other by imports (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            if imported not in number:
                visit(imported)
            if imported in path:
                lowest[module] = min(lowest[module], lowest[imported])
        if lowest[module] == number[module]:
            at = path.index(module)
            found.append(set(path[at:]))
            del path[at:]

    for module in sorted(graph.modules):
        if module not in number:
            visit(module)
    return [each for each in found if len(each) > 1]


def test_no_modules_import_each_other_also_for_types() -> None:
    graph = grimp.build_graph("provision", exclude_type_checking_imports=False, cache_dir=None)
    assert groups(graph) == []


def test_a_group_of_modules_that_import_each_other_is_found() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in ("ab", "bc", "ca", "cd", "de", "ef", "fe"):
        graph.add_import(importer=importer, imported=imported)
    assert sorted(map(sorted, groups(graph))) == [["a", "b", "c"], ["e", "f"]]


def messages() -> Iterator[tuple[Path, int, str]]:
    """Every string of the package that is no docstring."""
    for path, source in MODULES.items():
        tree = ast.parse(source)
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                yield path, node.lineno, node.value


def test_messages_are_plain() -> None:
    said = [each for each in messages() if each[2] != USER]
    assert not [each for each in said if AVOIDED.search(each[2].replace(f"`{USER}`", ""))]


BARE = r"\b(?:ls|df|mv|rm|cat|chmod|tail|cd|--directory)(?: -[\w-]+| \d+)* \{(?!as_word|shlex\.quote)([\w.]+)"
"""A value after a program of the shell, in a line to type: with a space in it, it would be two words."""
IS_ONE_WORD = ("directory", "source", "sslkey", "name", "seen.container_name", "mode", "place")
"""Names of Docker's things, and paths that are quoted where they are made."""


def test_a_path_in_a_line_to_type_is_one_word() -> None:
    assert re.findall(BARE, 'f"ls -l {path}; mv {as_word(a.b)} {a.b}; df -h {a.b}"') == ["path", "a.b"]
    found = {str(path): re.findall(BARE, source) for path, source in MODULES.items()}
    assert {path: each for path, each in found.items() if {*each} - {*IS_ONE_WORD}} == {}


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "specs").glob("*.yml")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_plain(document: Path) -> None:
    lines = enumerate(document.read_text(encoding="utf-8").replace(f"`{USER}`", "").splitlines(), 1)
    assert not [each for each in lines if AVOIDED.search(each[1])]
