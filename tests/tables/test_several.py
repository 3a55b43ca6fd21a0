"""Whether an env.py runs migrations in a loop, and what follows for a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.planning import migration

from provision.alembic.state import partial, unread_directories
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.location import adds_directories, runs_in_a_loop
from provision.kinds import migrations as kind
from provision.spec.model import Migrations

ONCE = (
    "with engine.connect() as connection:\n    context.configure(connection=connection)\n    context.run_migrations()\n"
)
NESTED = """
def run(connection):
    context.run_migrations()

async def one(schema):
    await connection.run_sync(run)

async def main():
    async for each in schemas:
        await one(each)
"""
ENVS = {
    "once": (ONCE, False),
    "a loop": ("for schema in ('a', 'b'):\n    context.run_migrations()\n", True),
    "a function in a loop": (
        "def run(schema):\n    context.run_migrations()\nfor each in schemas:\n    run(each)\n",
        True,
    ),
    "functions of functions": (NESTED, True),
    "a comprehension": ("def run(schema):\n    context.run_migrations()\n[run(each) for each in schemas]\n", True),
    "while": ("while names:\n    context.run_migrations(name=names.pop())\n", True),
    "a loop about something else": ("for each in names:\n    print(each)\n" + ONCE, False),
    "a loop inside what runs once": (
        "def run():\n    for x in y:\n        z(x)\n    context.run_migrations()\nrun()\n",
        False,
    ),
    "no Python": ("for each in :\n    context.run_migrations()\n", False),
}


@pytest.mark.parametrize("name", ENVS)
def test_whether_an_env_py_loops(name: str) -> None:
    env, told = ENVS[name]
    assert runs_in_a_loop(env.encode()) is told


def tree(loops: bool = False) -> tuple[Migrations, Graph]:  # noqa: FBT001, FBT002
    lines = {"a": None, "b": "a"}
    sources = {Path(f"/v/{n}.py"): f"revision = {n!r}\ndown_revision = {d!r}\n".encode() for n, d in lines.items()}
    graph = Graph.of(sources)
    graph.runs_in_a_loop = loops
    return Migrations("app", Path("/v"), None, "head", False, None, "alembic_version", None, 60.0), graph


def test_another_version_table_that_is_behind_is_a_step() -> None:
    declared, graph = tree()
    before = kind.Revisions(("b",), others=(("x.alembic_version", ("b",)), ("y.alembic_version", ("a",))))
    (step,) = migration(declared, graph, before)
    assert step.why == ("b  (y.alembic_version)",)
    (effect,) = step.effects
    assert effect.everywhere
    assert [name for name, _ in effect.revisions] == ["b"]


@pytest.mark.parametrize("rows", [("b",), ("of another tree",)])
def test_another_version_table_that_is_not_behind_is_none(rows: tuple[str, ...]) -> None:
    declared, graph = tree()
    before = kind.Revisions(("b",), others=(("x.alembic_version", rows),))
    assert migration(declared, graph, before) == ()


@pytest.mark.parametrize(
    ("loops", "others", "told"),
    [
        (False, (), None),
        (True, (), "only alembic_version is known"),
        (False, (("x.alembic_version", ("b",)),), "as declared (alembic_version, x.alembic_version)"),
    ],
)
def test_what_only_a_run_shows_is_said(loops: bool, others: tuple, told: str | None) -> None:  # type: ignore[type-arg]  # noqa: FBT001
    found = partial(*tree(loops), kind.Revisions(("b",), others=others))
    assert (told is None and found == ()) or (told is not None and told in found[0])


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ('config.set_main_option("version_locations", "a/versions b/versions")', (1, ("a/versions b/versions",))),
        ('import x\nscript.version_locations.append("more/versions")', (2, ("more/versions",))),
        ("script._version_locations += places()", (1, ())),
        ("context.script.version_locations = [here + '/x']", (1, ("/x",))),
        ('config.get_main_option("version_locations")', None),
        ("x = 1", None),
        ("version_locations = (", None),
    ],
)
def test_directories_that_env_py_adds(env: str, found: tuple[int, tuple[str, ...]] | None) -> None:
    assert adds_directories(env.encode()) == found


def test_directories_that_env_py_adds_are_named_in_the_plan() -> None:
    declared, graph = tree(False)
    graph.added = (3, ("more/versions",))
    (said,) = unread_directories(declared, graph)
    assert "migrations/" in said
    assert "in line 3 (more/versions)" in said
    assert unread_directories(replace(declared, command=("x",)), graph) == ()
