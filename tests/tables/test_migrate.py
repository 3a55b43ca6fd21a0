"""``provision migrate`` where no server is needed: the lists are Alembic's, and words and moves are distinguished."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import sqlalchemy as sa
from alembic import command as alembic
from alembic.config import Config
from alembic.operations import ops
from click.testing import CliRunner
from support import planning

from provision.alembic.child.autogenerate import operation_lines
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.listing import entries, history
from provision.alembic.tree.source import Revision
from provision.alembic.tree.targets import move_down, move_up, rows_after_stamp
from provision.alembic.trees import choose, load as load_tree
from provision.alembic.verbs.moves import next_apply
from provision.alembic.verbs.writing import advice, after_writing
from provision.cli import verbs
from provision.commands.migrate import MigrateCommand, on_a_tree, split
from provision.errors import MigrationsError, ProvisionError, UsageError, command, with_spec
from provision.report import migrations as report
from provision.report.console import PLAIN, Console
from provision.spec.load import load
from provision.spec.model import Migrations

if TYPE_CHECKING:
    from collections.abc import Callable

TREE = {  # id: what it follows, what it depends on, its label
    "a1": ((), (), None),
    "b1": (("a1",), (), None),
    "c1": (("a1",), (), "left"),
    "c2": (("c1",), (), None),
    "d1": (("b1", "c2"), (), None),
    "e1": (("d1",), (), None),
    "o1": ((), ("b1",), "other"),
    "o2": (("o1",), (), None),
}


def files(home: Path) -> Migrations:
    versions = home / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text("raise SystemExit('nothing is run')\n")
    (versions.parent / "script.py.mako").write_text('"""${message}"""\nrevision = ${repr(up_revision)}\n')
    for name, (down, needs, label) in TREE.items():
        text = f'"""make {name}\n\nand more"""\nrevision = {name!r}\ndown_revision = {down or None!r}\n'
        text += f"depends_on = {needs or None!r}\nbranch_labels = {label and (label,)!r}\n"
        (versions / f"{name}.py").write_text(text + "def upgrade(): pass\ndef downgrade(): pass\n")
    return Migrations("app", versions.parent, None, "heads", False, None, "alembic_version", None, 60.0)


def plain_alembic(home: Path, verb: Callable[..., Any], *words: Any) -> list[str]:
    printed = io.StringIO()
    config = Config(stdout=printed)
    config.set_main_option("script_location", str(home / "migrations"))
    verb(config, *words)
    return printed.getvalue().splitlines()


@pytest.mark.parametrize("span", [None, "base:d1", "b1:", ":c2", "c1:e1", "o1:o2", "left@head:heads"])
def test_history_is_alembics(tmp_path: Path, span: str | None) -> None:
    graph, _ = load_tree(files(tmp_path))
    ours = [report.history(each, PLAIN) for each in entries(graph, history(graph, span))]
    assert ours == plain_alembic(tmp_path, alembic.history, span)


def test_heads_are_alembics(tmp_path: Path) -> None:
    graph, _ = load_tree(files(tmp_path))
    ours = [report.head(each, PLAIN) for each in entries(graph, graph.heads)]
    assert sorted(ours) == sorted(plain_alembic(tmp_path, alembic.heads))


def test_what_is_no_range_is_an_error(tmp_path: Path) -> None:
    graph, _ = load_tree(files(tmp_path))
    with pytest.raises(MigrationsError, match="'b1' is no range of revisions"):
        history(graph, "b1")
    with pytest.raises(MigrationsError) as caught:
        history(graph, "zz:")
    assert caught.value.sentence == "`zz` is not a revision of this tree"


# --- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("dev.yml -1", "dev.yml | -1 | None False"),
        ("-1 dev.yml", "dev.yml | -1 | None False"),
        ("dev.yml -12:head --yes", "dev.yml | -12:head | None True"),
        ("--message -1 +2 ./spec", "spec | +2 | -1 False"),
        ("-m -1 -1", "None | -1 | -1 False"),
        ("branch@-1", "None | branch@-1 | None False"),
        ("-- -1 a.yaml", "a.yaml | -1 | None False"),
        ("dev.yml -x", "No such option"),
        ("a.yml b.yml", "one spec at a time: a.yml and b.yml"),
    ],
)
def test_a_spec_a_target_and_an_option_are_told_apart(words: str, told: str) -> None:
    @click.command(cls=MigrateCommand)
    @on_a_tree
    @click.option("-m", "--message")
    @click.option("--yes", is_flag=True)
    def command(
        words: tuple[str, ...], tree: str | None, tenant: str | None, message: str | None, *, yes: bool
    ) -> None:
        assert (tree, tenant) == (None, None)
        given, rest = split(words)
        click.echo(f"{given} | {' '.join(rest)} | {message} {yes}")

    assert told in CliRunner().invoke(command, words.split()).output


@pytest.mark.parametrize(
    ("advice", "shown"),
    [
        (command("migrate stamp", "0006"), "provision migrate stamp s.yml 0006"),
        (
            "say so: " + command("migrate stamp", "--purge a") + " (or b)",
            "say so: provision migrate stamp s.yml --purge a (or b)",
        ),
        (command("migrate upgrade", "head"), "provision migrate upgrade s.yml head"),
        ("provision migrate downgrade --yes s.yml -1", "provision migrate downgrade --yes s.yml -1"),
        ("provision migrate sql --help", "provision migrate sql --help"),
        ("provision migrate --help", "provision migrate --help"),
    ],
)
def test_advice_names_the_spec(advice: str, shown: str) -> None:
    assert with_spec(advice, "s.yml") == shown


def test_advice_names_the_tree_where_there_are_several() -> None:
    assert command("migrate upgrade", "head").line("s.yml", "users") == (
        "provision migrate upgrade --tree users s.yml head"
    )
    named = command("migrate stamp", "--tree users 0006")
    assert named.line("s.yml", "users") == "provision migrate stamp s.yml --tree users 0006"


# --- which tree --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "asked", "told"),
    [
        ([], None, "the spec declares no migrations"),
        (["one", "two"], None, "which tree? The spec declares 2"),
        (["one", "two"], "three", "the spec declares no migrations with the name 'three'"),
        (["one", "two"], "two", None),
        (["one"], None, None),
    ],
)
def test_the_tree_that_is_meant(tmp_path: Path, names: list[str], asked: str | None, told: str | None) -> None:
    files(tmp_path)
    text = "version: 1\nname: shop\nserver: {image: 'postgres:17', credentials: {password: x}}\n"
    trees = [f"  - {{name: {name}, script_location: ./migrations, version_table: {name}}}\n" for name in names]
    (tmp_path / "dev.yml").write_text(text + ("migrations:\n" + "".join(trees) if trees else ""))
    spec = load(tmp_path / "dev.yml", {})
    if told is None:
        assert choose(spec, asked).name == (asked or names[0])
        return
    with pytest.raises(UsageError, match=re.escape(told)) as caught:
        choose(spec, asked)
    assert list(caught.value.evidence) == names
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("target", "rows", "told"),
    [
        ("heads", "e1 o2", None),
        ("heads", "d1 o2", "the next apply goes to e1 + o2"),
        ("head", "e1 o2", "note: `target: head` is ambiguous: the tree has 2 heads; before the next apply, write"),
        ("head", "e1 o2", "write `target: heads` to apply all of them"),
        ("head", "e1 o2", "or join them: provision migrate merge -m 'merge' heads"),
        ("nowhere", "e1 o2", "note: `target: nowhere` is not a revision of this tree; before the next apply, write"),
    ],
)
def test_where_the_next_apply_goes(tmp_path: Path, target: str, rows: str, told: str | None) -> None:
    files(tmp_path)
    text = "version: 1\nname: shop\nserver: {image: 'postgres:17', credentials: {password: x}}\n"
    (tmp_path / "dev.yml").write_text(text + f"migrations: {{script_location: ./migrations, target: {target}}}\n")
    remark = next_apply(choose(load(tmp_path / "dev.yml", {})), tuple(rows.split()))
    assert remark is None if told is None else told in str(remark)


def test_a_target_that_is_none_is_told_at_its_line(tmp_path: Path) -> None:
    files(tmp_path)
    text = "version: 1\nname: shop\nserver: {image: 'postgres:17', credentials: {password: x}}\nmigrations:\n"
    (tmp_path / "dev.yml").write_text(text + "  script_location: ./migrations\n  target: haeds\n")
    tree = choose(load(tmp_path / "dev.yml", {}))
    with pytest.raises(MigrationsError) as caught:
        planning.target(tree.declared, tree.graph)
    assert caught.value.evidence == (f"{tmp_path}/dev.yml:6: target: haeds", "did you mean `heads`?")


# --- moves -------------------------------------------------------------------------------------------------------


def graph() -> Graph:
    return Graph(
        [
            Revision(name, down, needs, (label,) if label else (), "", (), 1, 1, Path(f"{name}.py"))
            for name, (down, needs, label) in TREE.items()
        ]
    )


@pytest.mark.parametrize(
    ("rows", "target", "names"),
    [
        ("e1", "-1", "e1"),
        ("e1 o2", "d1", "e1"),
        ("e1 o2", "b1", "e1 d1"),
        ("e1 o2", "other@-1", "o2"),
        ("e1 o2", "other@base", "o2 o1"),
        ("e1 o2", "c1", "e1 d1 c2"),
        ("e1", "base", "e1 d1 c2 c1 b1 a1"),
        ("e1", "e1", ""),
    ],
)
def test_a_downgrade(rows: str, target: str, names: str) -> None:
    tree = graph()
    undone = move_down(tree, tuple(rows.split()), target).names
    assert sorted(undone) == sorted(names.split())
    assert undone == tree.newest_first(set(undone), rows.split())


@pytest.mark.parametrize(
    ("rows", "target", "told"),
    [
        ("e1 o2", "-1", "ambiguous"),
        ("d1", "e1", "revision e1 is not applied"),
        ("o1", "b1", "nothing that follows revision b1 is applied"),
        ("d1", "zz", "`zz` is not a revision of this tree"),
        ("", "-1", "`-1` leads out of the tree"),
    ],
)
def test_a_downgrade_that_leads_nowhere(rows: str, target: str, told: str) -> None:
    with pytest.raises(MigrationsError) as caught:
        move_down(graph(), tuple(rows.split()), target)
    assert told in caught.value.sentence
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("rows", "target", "told"),
    [
        ("e1", "+1", "`+1`: nothing follows e1: it is the head"),
        ("d1", "+3", "`+3` leads out of the tree: after 1 of its steps, nothing follows e1"),
        ("o2", "other@+1", "`other@+1`: nothing follows o2 on the branch other: it is the head"),
    ],
)
def test_an_upgrade_that_leads_nowhere(rows: str, target: str, told: str) -> None:
    with pytest.raises(MigrationsError) as caught:
        move_up(graph(), tuple(rows.split()), target)
    assert caught.value.sentence == told
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("rows", "wanted", "after"),
    [
        ("", "a1", "a1"),
        ("e1", "b1", "b1"),
        ("a1", "e1", "e1"),
        ("e1 o2", "d1", "d1 o2"),
        ("c2", "o1", "c2 o1"),
        ("c2 o2", "base", ""),
        ("c2 o2", "heads", "e1 o2"),
        ("o2", "other@base", ""),
        ("a1", "b1 c2", "b1 c2"),
    ],
)
def test_a_stamp(rows: str, wanted: str, after: str) -> None:
    assert " ".join(rows_after_stamp(graph(), tuple(rows.split()), wanted.split(), purge=False)) == after


@pytest.mark.parametrize(("rows", "told"), [("c2 o2", "ambiguous"), ("gone", "which this checkout does not have")])
def test_a_stamp_that_is_refused(rows: str, told: str) -> None:
    with pytest.raises(MigrationsError, match=told):
        rows_after_stamp(graph(), tuple(rows.split()), ["-1"], purge=False)


def test_a_stamp_purges_what_nobody_knows() -> None:
    assert rows_after_stamp(graph(), ("gone", "o2"), ["b1"], purge=True) == ("b1",)


# --- trees of a program ------------------------------------------------------------------------------------------


def test_a_tree_of_a_program_says_what_it_cannot_do(tmp_path: Path) -> None:
    files(tmp_path)
    text = "version: 1\nname: shop\nserver: {image: 'postgres:17', credentials: {password: x}}\n"
    (tmp_path / "dev.yml").write_text(
        text + "migrations: {script_location: ./migrations, target: heads, command: [./manage, migrate]}\n"
    )
    for words, told in (
        ("sql", "only that knows its SQL"),
        ("downgrade --yes -1", "which cannot downgrade"),
        ("upgrade +1", "which cannot upgrade"),
        ("stamp a1", "which cannot stamp"),
        ("check", "only that can reach its models"),
        ("revision --autogenerate -m x --head o2", "only that can reach its models"),
    ):
        result = CliRunner().invoke(verbs, ["migrate", *words.split(), str(tmp_path / "dev.yml")], obj=Console())
        assert isinstance(result.exception, ProvisionError)
        assert told in result.exception.sentence


# --- what autogenerate has found ---------------------------------------------------------------------------------


class MakeView(ops.ExecuteSQLOp):
    """A subclass of an operation of Alembic."""


class DropEnumOp(ops.MigrateOperation):
    """As alembic-postgresql-enum has it."""

    def __init__(self, schema: str, name: str) -> None:
        self.schema, self.name = schema, name


class View:
    """As an entity of alembic_utils."""

    schema, signature = "public", "few"


class CreateOp(ops.MigrateOperation):
    """As alembic_utils has it."""

    def __init__(self, target: View) -> None:
        self.target = target


COLUMN = sa.Column("n", sa.Integer, nullable=False)
FOUND: dict[str, ops.MigrateOperation] = {
    "+ table s.t": ops.CreateTableOp("t", [COLUMN], schema="s"),
    "- table t": ops.DropTableOp("t"),
    "+ column t.n (INTEGER, NOT NULL)": ops.AddColumnOp("t", COLUMN),
    "- column s.t.n": ops.DropColumnOp("t", "n", schema="s"),
    "+ unique index ix on t (id)": ops.CreateIndexOp("ix", "t", ["id"], unique=True),
    "- index ix on t": ops.DropIndexOp("ix", "t"),
    "+ unique constraint uq on t": ops.CreateUniqueConstraintOp("uq", "t", ["id"]),
    "+ check constraint ck on t": ops.CreateCheckConstraintOp("ck", "t", sa.text("id > 0")),
    "+ primary key pk on t": ops.CreatePrimaryKeyOp("pk", "t", ["id"]),
    "+ foreign key fk on t (id) to u (n)": ops.CreateForeignKeyOp("fk", "t", "u", ["id"], ["n"]),
    "+ foreign key on s.t (id) to u (n)": ops.CreateForeignKeyOp(None, "t", "u", ["id"], ["n"], source_schema="s"),
    "- foreign key fk on t": ops.DropConstraintOp("fk", "t", "foreignkey"),
    "- constraint without a name on t": ops.DropConstraintOp(None, "t"),
    "~ table t: comment → 'x'": ops.CreateTableCommentOp("t", "x"),
    "~ table t: no comment any more": ops.DropTableCommentOp("t"),
    "~ SQL: SELECT 1": ops.ExecuteSQLOp("SELECT\n  1"),
    "~ column t.n: type INTEGER → BIGINT, NULL → NOT NULL, default none → 5, comment None → 'c'": ops.AlterColumnOp(
        "t", "n", existing_type=sa.Integer(), modify_type=sa.BigInteger(), modify_nullable=False,
        modify_server_default=sa.text("5"), modify_comment="c"),
    "~ RenameTableOp t": ops.RenameTableOp("t", "u"),
    "~ SQL: CREATE VIEW v": MakeView("CREATE VIEW v"),
    "- DropEnumOp s.mood": DropEnumOp("s", "mood"),
    "+ CreateOp public.few": CreateOp(View()),
}  # fmt: skip


@pytest.mark.parametrize("line", FOUND)
def test_each_operation_is_a_line(line: str) -> None:
    assert list(operation_lines(ops.UpgradeOps([ops.ModifyTableOps("t", [FOUND[line]])]))) == [line]
    assert list(operation_lines(ops.UpgradeOps([FOUND[line]]))) == [line]


@pytest.mark.parametrize(
    ("differences", "told"),
    [
        ("+ table a", "COMMAND; or correct the models"),
        ("~ column t.n: NULL → NOT NULL|- index ix on t", "COMMAND; or correct the models"),
        ("- table a", "correct the models to keep table a; what would DROP it, with the data: COMMAND"),
        (
            "+ column t.b (INTEGER)|- column t.a|- table u",
            "correct the models to keep column t.a and 1 more; what would DROP them, with the data: COMMAND",
        ),
    ],
)
def test_what_a_revision_would_drop_is_said_before_it_is_written(differences: str, told: str) -> None:
    assert advice(differences.split("|"), "COMMAND") == told


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        ("", "read it, then: COMMAND"),
        ("+ table a|- index ix on t", "read it, then: COMMAND"),
        ("- table a", "read it (it drops table a, with the data in it), then: COMMAND"),
        ("- table a|- table u", "read it (it drops table a and 1 more, with the data in them), then: COMMAND"),
    ],
)
def test_what_a_new_revision_drops_is_said_before_it_runs(operations: str, said: str) -> None:
    assert after_writing(operations.split("|"), "COMMAND") == said
