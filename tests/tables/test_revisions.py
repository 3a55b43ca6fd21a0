"""Trees, targets and plans as a table (`revisions.yml`): one line a case."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import planning

from provision.alembic import state as tree_state
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.location import locate
from provision.alembic.tree.source import Revision, read_fields, restore
from provision.alembic.tree.targets import resolve
from provision.alembic.tree.version_table import Edit, LedgerEntry, edit_remarks
from provision.errors import MigrationsError, ProvisionError, RefusedError
from provision.model import UNKNOWN, Action, State, Unknown
from provision.model.effects import Migrate
from provision.spec.model import Migrations

Case = dict[str, Any]
CASES: dict[str, list[Case]] = yaml.safe_load(Path(__file__).with_name("revisions.yml").read_text(encoding="utf-8"))
NOTATION = re.compile(r"(?P<id>[^<+#]+)(#(?P<label>[^<+]+))?(<(?P<down>[^+]+))?(\+(?P<depends_on>.+))?")


def tree_of(case: Case) -> Migrations:
    script = None if "config" in case else Path("/p/migrations")
    config = Path("/p", case["config"]) if "config" in case else None
    target, down = str(case.get("target", "head")), case.get("down", False)
    return Migrations("app", script, config, target, down, None, "alembic_version", None, 60.0)


def revision(text: str) -> Revision:
    parts = NOTATION.fullmatch(text)
    assert parts is not None
    down, depends_on = (tuple((parts[name] or "").split(",")) if parts[name] else () for name in ("down", "depends_on"))
    labels = (parts["label"],) if parts["label"] else ()
    return Revision(parts["id"], down, depends_on, labels, "", (), 1, 2, Path(f"{parts['id']}.py"))


def graph(case: Case) -> Graph:
    return Graph(revision(text) for text in case["tree"].split())


def observed(rows: str) -> State | Unknown | None:
    if rows == "unknown":
        return UNKNOWN
    if rows.startswith("stranded "):
        return tree_state.Revisions((), tuple(rows.split()[1:]))
    return tree_state.Revisions(tuple(sorted(rows.split())))


def check(error: ProvisionError, case: Case) -> None:
    assert error.sentence.startswith(case["error"])
    assert str(case.get("evidence", "")) in " ".join(error.evidence)
    assert case.get("next", "") in (error.next_step or "")
    assert error.next_step


@pytest.mark.parametrize("case", CASES["plans"], ids=lambda case: case["name"])
def test_plan(case: Case) -> None:
    tree, revisions = tree_of(case), graph(case)
    address = tree_state.address(tree)
    after = planning.target(tree, revisions)
    before = observed(case["rows"])
    if "refused" in case:
        with pytest.raises(RefusedError) as caught:
            planning.migration(tree, revisions, before)
        assert caught.value.sentence.startswith(case["refused"])
        assert caught.value.evidence
        assert caught.value.next_step
        return
    steps = planning.migration(tree, revisions, before)
    assert [line for step in steps for line in step.why] == case.get("why", [])
    for step in steps:
        target, kept = tuple(case["after"].split()), tuple(case.get("kept", case["after"]).split())
        assert (step.address, step.action, step.before, step.after) == (address, Action.MIGRATE, before, after)
        assert step.destroys == any("undo" in line for line in case["why"])
        for effect in step.effects:
            assert isinstance(effect, Migrate)
            assert effect.target == (kept if effect.direction == "downgrade" else target)
        words = [f"undo {n}" if e.direction == "downgrade" else n for e in step.effects for n, _ in e.revisions]
        assert words == (case["why"] if step.effects else [])
        assert bool(step.effects) == (before is not UNKNOWN)


@pytest.mark.parametrize("case", CASES["targets"], ids=lambda case: f"{case['target']} in {case['tree']}")
def test_target(case: Case) -> None:
    if "error" in case:
        with pytest.raises(MigrationsError) as caught:
            resolve(graph(case), case["target"])
        check(caught.value, {"next": "write", **case})
    else:
        assert resolve(graph(case), case["target"]) == tuple(case["rows"].split())


@pytest.mark.parametrize("is_in_repository", [True, False])
def test_git_is_advised_only_in_a_repository(tmp_path: Path, *, is_in_repository: bool) -> None:
    if is_in_repository:
        (tmp_path / ".git").mkdir()
    path = tmp_path / "versions" / "b.py"
    edited = Revision("b", ("zz",), (), (), "", (), 1, 2, path)
    with pytest.raises(MigrationsError) as caught:
        Graph([edited])
    assert ("git log --all -Szz" in (caught.value.next_step or "")) == is_in_repository
    known = Edit(edited, LedgerEntry("0", "2026-01-01 00:00:00"))
    assert ("git -C" in " ".join(edit_remarks((known,)))) == is_in_repository


@pytest.mark.parametrize("case", CASES["trees"], ids=lambda case: case["tree"])
def test_tree_that_is_not_in_order(case: Case) -> None:
    with pytest.raises(MigrationsError) as caught:
        graph(case)
    check(caught.value, case)


@pytest.mark.parametrize("case", CASES["files"], ids=lambda case: case["source"])
def test_file(case: Case) -> None:
    path, source = Path("r.py"), case["source"].encode()
    if "error" in case:
        with pytest.raises(MigrationsError) as caught:
            restore(read_fields(source, path), path, "")
        check(caught.value, case)
        return
    found = restore(read_fields(source, path), path, "")
    creates = [list(each) for each in found.creates]
    fields = [found.id, list(found.down), list(found.depends_on), list(found.branch_labels), found.message, creates]
    assert fields == case["fields"]


@pytest.mark.parametrize("case", CASES["locations"], ids=lambda case: case["text"])
def test_location(case: Case) -> None:
    if "error" in case:
        with pytest.raises(MigrationsError) as caught:
            locate(tree_of(case), case["text"])
        check(caught.value, case)
        return
    found = locate(tree_of(case), case["text"])
    assert found.script == Path("/p", case["script"])
    assert found.versions == tuple(Path("/p", each) for each in case["versions"])
    assert found.cwd == Path("/p")


def test_a_branch_label_can_be_depended_on() -> None:
    first = Revision("a", (), (), ("users",), "", (), 1, 1, Path("a.py"))
    second = Revision("b", (), ("users",), (), "", (), 1, 1, Path("b.py"))
    assert resolve(Graph([first, second]), "heads") == ("b",)


@pytest.mark.parametrize(
    "line",
    [
        'revision, down_revision = "a", None',
        '(revision, down_revision) = ["a", None]',
        "revision = id = 'a'\ndown_revision = None",
    ],
)
def test_names_that_one_line_assigns(line: str) -> None:
    found = restore(read_fields(f"x, = 1,\n{line}\n".encode(), Path("a.py")), Path("a.py"), "")
    assert (found.id, found.down, found.line) == ("a", (), 2)


def test_a_docstring_is_shown_without_what_is_given_in_secret() -> None:
    source = {Path("a.py"): b'"""make secret-of-42 for it"""\nrevision = "a"\ndown_revision = None'}
    graph = Graph.of(source, mask=lambda text: text.replace("secret-of-42", "********"))
    assert str(graph["a"]) == "a  make ******** for it"


def test_a_changed_a_new_and_a_deleted_file_are_seen_through_the_cache() -> None:
    sources = {Path(f"{name}.py"): f"revision = {name!r}\ndown_revision = None".encode() for name in "ab"}
    cache = Graph.of(sources).cache
    sources = {
        Path("a.py"): b"revision = 'z'\ndown_revision = None",
        Path("c.py"): b"revision = 'c'\ndown_revision = None",
    }
    again = Graph.of(sources, cache)
    assert list(again.revisions) == ["z", "c"]
    assert len(again.cache) == 2
    assert Graph.of(sources, again.cache).cache == again.cache
    assert not {*again.cache} & {*cache}


def test_a_cache_that_is_no_cache_is_no_harm() -> None:
    source = {Path("a.py"): b"revision = 'a'\ndown_revision = None"}
    key = next(iter(Graph.of(source).cache))
    again = Graph.of(source, {key: ["wrong"]})
    assert (list(again.revisions), again.cache[key] != ["wrong"]) == (["a"], True)
