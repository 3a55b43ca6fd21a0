"""Seeds without a server: where statements end, what a file is called, and which of them run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.law import law

from provision.kinds import Scene, seed
from provision.model import UNKNOWN, Action, Address, Change, Plan, Step, Wishes
from provision.model.effects import RunSeed
from provision.seeds.files import Source, Sources
from provision.seeds.script import ScriptError, Statement, statements
from provision.seeds.table import merge, table_of
from provision.spec.load import read
from provision.spec.model import Seed

ATOMIC = "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END"
WHOLE = (
    "SELECT 1",
    "SELECT ';', E'\\';', \"a;b\"",
    "SELECT $$;$$, $a$ $$; $a$, a$b$c FROM t",
    "SELECT (1; 2)",
    "DO $$ BEGIN PERFORM 1; END $$",
    "SELECT 'it''s; fine', e'\\\\'",
    "INSERT INTO t VALUES (1) -- not; here\n, (2)",
    "INSERT /* a; /* nested; */ b; */ INTO t VALUES (1)",
    "ROLLBACK TO SAVEPOINT a",
    "SELECT begin, end FROM t",
    "COPY t FROM '/tmp/x'",
    ATOMIC,
)


@pytest.mark.parametrize("text", WHOLE)
def test_a_statement_is_read_whole(text: str) -> None:
    assert [each.text for each in statements(f"  {text} ;\n;;{text}")] == [text, text]


@law(50)
@given(st.lists(st.tuples(st.sampled_from(WHOLE), st.sampled_from(["", "\n", "-- why; not\n", "/* ; */", "\r\n"]))))
def test_statements_are_those_that_were_joined(parts: list[tuple[str, str]]) -> None:
    text = "".join(f"{before}{each};" for each, before in parts)
    assert [each.text for each in statements(text)] == [each for each, _ in parts]


def test_a_statement_knows_its_line() -> None:
    text = "-- first\nSELECT 1;\n\nSELECT\n 2; SELECT 3;\n"
    assert [(each.line, each.text) for each in statements(text)] == [
        (2, "SELECT 1"),
        (4, "SELECT\n 2"),
        (5, "SELECT 3"),
    ]


def test_the_lines_of_a_copy_are_data() -> None:
    text = "\\restrict x\nSET a = 1;\nCOPY t (a) FROM stdin;\n1;\tx'\n\\N\n\\.\n\nSELECT 2;\n\\unrestrict x\n"
    assert list(statements(text)) == [
        Statement(2, "SET a = 1"),
        Statement(3, "COPY t (a) FROM stdin", "1;\tx'\n\\N\n", 4),
        Statement(8, "SELECT 2"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("SELECT 1;\n\\i other.sql\n", 2, r"`\i` is a command of psql"),
        ("SELECT 1 \\gset\n", 1, r"`\gset` is a command of psql"),
        ("\nBEGIN;\nSELECT 1;\nCOMMIT;", 2, "BEGIN would end it"),
        ("SELECT 1; END", 1, "END would end it"),
        ("start transaction;", 1, "START would end it"),
        ("PREPARE TRANSACTION 'x'", 1, "PREPARE would end it"),
        ("ROLLBACK", 1, "ROLLBACK would end it"),
        ("SELECT 1;\nSELECT 'a\n;", 2, "a quote ' begins here and has no end"),
        ("SELECT $a$ ; $b$", 1, "a quote $a$ begins here and has no end"),
        ("/* a /* b */\n", 1, "a comment begins here and has no end"),
    ],
)
def test_what_a_seed_cannot_have_is_refused_at_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        list(statements(text))
    assert caught.value.line == line
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("name", "declared", "table"),
    [
        ("countries.csv", None, '"countries"'),
        ("010-shop.countries.csv", None, '"shop"."countries"'),
        ("2024_orders.csv", '"shop"."orders"', '"shop"."orders"'),
    ],
)
def test_the_table_is_that_of_the_name(name: str, declared: str | None, table: str) -> None:
    assert table_of(Seed("csv", name, table=declared), Path("seeds") / name) == table


def test_a_row_that_is_there_is_updated_but_for_its_key_and_what_only_the_server_gives() -> None:
    assert merge('"t"', ("id", "code", "na me"), ("code",), ("id",)) == (
        'INSERT INTO "t" ("id", "code", "na me") OVERRIDING SYSTEM VALUE SELECT "id", "code", "na me" '
        'FROM pg_temp.provision_seed ON CONFLICT ("code") DO UPDATE SET "na me" = excluded."na me"'
    )
    assert merge('"t"', ("id",), ("id",), ()).endswith('ON CONFLICT ("id") DO NOTHING')


# --- which run


def sources(tmp_path: Path, *seeds: dict[str, Any]) -> tuple[Any, Sources]:
    import yaml

    document = {"name": "shop-dev", "server": {"image": "postgres:17"}, "seeds": list(seeds)}
    spec = read(tmp_path / "spec.yml", yaml.safe_dump(document).encode(), {})
    return spec, Sources(spec)


def test_files_run_in_the_order_of_the_list_and_of_their_names_each_once(tmp_path: Path) -> None:
    for name in ("b.sql", "a.sql", "10.sql", "c/d.sql"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("SELECT 1")
    _, found = sources(tmp_path, {"sql": "b.sql"}, {"sql": "*.sql"}, {"command": ["sh", "a.sql"]}, {"sql": "**/d.sql"})
    assert [each.name for each in found] == ["b.sql", "10.sql", "a.sql", "sh a.sql", "c/d.sql"]
    before = {each.name: each.sha256 for each in found}
    (tmp_path / "a.sql").write_text("SELECT 2")
    _, again = sources(tmp_path, {"sql": "b.sql"}, {"sql": "*.sql"}, {"command": ["sh", "a.sql"]})
    assert [each.name for each in again if each.sha256 != before[each.name]] == ["a.sql", "sh a.sql"]


DIGEST = "0123456789abcdef"
AS_IS = seed.Seeded(DIGEST[:12])
OTHER = seed.Seeded("ffff")
ANOTHER = Step(Address("role", "app"), Action.CREATE, None, None, ())


def planned(
    run: str, before: Any, *others: Step, runtime: str = "docker", wishes: Wishes | None = None
) -> tuple[list[str], tuple[str, ...]]:
    """Return the reasons of the steps that run a seed, and what is said of it."""
    wishes = wishes or Wishes()
    one: Any = Seed("sql", "a.sql", run=run)  # type: ignore[arg-type]
    source = Source(one, "a.sql", Path("a.sql"), DIGEST, "a.sql")

    class Spec:
        @staticmethod
        def database_of(_: Seed) -> str:
            return "shop"

    class Inputs:
        seeds = {"a.sql": source}  # noqa: RUF012

    scene: Any = Scene(Spec(), Inputs(), None, wishes)  # type: ignore[arg-type]
    plan = seed.steps(Address("seed", "a.sql"), before, AS_IS, scene)
    settled = seed.settled(Plan.joined((plan, Plan(others))), runtime, wishes)
    assert list(settled.steps[: len(others)]) == list(others)
    steps = settled.steps[len(others) :]
    assert all(each.effects == (RunSeed("a.sql", "shop", DIGEST),) for each in steps if each.before is not UNKNOWN)
    return [str(each.why[0]) for each in steps], settled.remarks


@pytest.mark.parametrize("run", ["once", "changed", "always"])
def test_one_that_did_not_run_yet_runs(run: str) -> None:
    assert planned(run, None) == (["first run in shop"], ())
    assert planned(run, UNKNOWN, ANOTHER) == (["only the server knows whether it has run"], ())


@pytest.mark.parametrize("run", ["once", "changed"])
def test_one_that_ran_does_not_run_again(run: str) -> None:
    assert planned(run, AS_IS) == planned(run, AS_IS, ANOTHER) == ([], ())


def test_one_that_was_edited_runs_again_or_is_reported() -> None:
    assert planned("changed", OTHER) == ([str(Change("content", "ffff", DIGEST[:12]))], ())
    steps, (remark,) = planned("once", seed.Seeded(DIGEST[:12], "2026-11-30 01:00:00"))
    assert steps == []
    assert "a.sql was edited after it ran (2026-11-30 01:00:00 UTC)" in remark


def test_one_that_always_runs_waits_for_something_else() -> None:
    assert planned("always", AS_IS, ANOTHER) == (["run: always"], ())
    assert planned("always", AS_IS, wishes=Wishes(seed=True)) == (["run: always"], ())
    assert planned("always", AS_IS, wishes=Wishes(seed=True, seeded=frozenset({"a.sql"}))) == ([], ())
    steps, (remark,) = planned("always", AS_IS)
    assert steps == []
    assert remark.endswith("provision apply --seed runs it now")


def test_where_others_run_the_server_they_have_to_be_asked_for() -> None:
    steps, (remark,) = planned("once", None, ANOTHER, runtime="external")
    assert (steps, remark) == ([], "a seed does not run on a server that others run: provision apply --seed runs them")
    assert planned("once", None, runtime="external", wishes=Wishes(seed=True)) == (["first run in shop"], ())
    assert planned("always", AS_IS, ANOTHER, runtime="external") == ([], ())
