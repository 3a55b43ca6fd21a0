"""The tables of a real database, and what ``provision erd`` and ``migrate history --graph`` print of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import trees
from support import program

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.server
ROOT = Path(__file__).parents[2]
MADE = """
CREATE SCHEMA shop; CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
COMMENT ON TABLE users IS 'who <buys>';
CREATE TABLE shop.orders (id int, at date NOT NULL, user_id int REFERENCES users, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE shop.orders_2026 PARTITION OF shop.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE shop.lines (id int, at date, line int, PRIMARY KEY (id, at, line),
    CONSTRAINT lines_order FOREIGN KEY (id, at) REFERENCES shop.orders (id, at));
CREATE TABLE profiles (user_id int UNIQUE NOT NULL REFERENCES users);
CREATE SCHEMA provision; CREATE TABLE provision.ours (); CREATE TABLE alembic_version (version_num text);
CREATE EXTENSION IF NOT EXISTS plpgsql; CREATE VIEW names AS SELECT name FROM users;
INSERT INTO users SELECT n, 'x' FROM generate_series(1, 500) AS n;
INSERT INTO shop.orders SELECT n, '2026-05-05', n FROM generate_series(1, 300) AS n; ANALYZE users, shop.orders
"""


def run(spec: Path, database: Server, *words: str, code: int = 0) -> Any:
    """Run the program on an external server."""
    at = database.endpoint
    spec.write_text(
        f"name: erd\nserver: {{runtime: external, image: 'postgres:18', host: {at.host}, port: {at.port}, "
        f"database: '{at.database}', credentials: {{user: postgres, password: '${{PW}}'}}}}\n"
        "migrations: {script_location: ./migrations}\n"
    )
    environ = {**os.environ, "PW": at.password.reveal()}
    done = program.run(*words, str(spec), cwd=spec.parent, environ=environ)
    assert done.code == code, done.all
    assert at.password.reveal() not in done.all
    return done


def test_tables_of_a_real_database(tmp_path: Path, database: Server) -> None:
    trees.write(tmp_path, {"a": trees.table("a")})
    database.execute(*MADE.split(";"))
    document = run(tmp_path / "spec.yml", database, "erd", "--json").json()
    jsonschema.validate(document, json.loads((ROOT / "docs/schema/tables.json").read_text()))
    found = {f"{each['schema']}.{each['name']}": each for each in document["tables"]}
    assert list(found) == ["public.profiles", "public.users", "shop.lines", "shop.orders"]
    users, orders, lines = found["public.users"], found["shop.orders"], found["shop.lines"]
    assert (users["rows"], users["comment"], users["partitions"]) == (500, "who <buys>", None)
    assert (orders["rows"], orders["partitions"], lines["rows"]) == (300, 1, None)
    assert orders["size"] > 0
    assert [(each["name"], each["columns"], each["to"]) for each in lines["references"]] == [
        ("lines_order", ["id", "at"], ["id", "at"])
    ]
    assert [each["unique"] for each in found["public.profiles"]["references"] + orders["references"]] == [True, False]
    assert users["columns"][1] == {"name": "name", "type": "text", "not_null": True, "primary_key": False}
    text = run(tmp_path / "spec.yml", database, "erd").out
    assert '  "users" ||--o| "profiles" : "user_id"\n' in text
    assert text.count("--o{") == 2
    assert run(tmp_path / "spec.yml", database, "erd", "--dot").out.startswith("digraph tables {\n")


def test_a_database_that_is_not_declared_is_an_error(tmp_path: Path, database: Server) -> None:
    trees.write(tmp_path, {"a": trees.table("a")})
    done = run(tmp_path / "spec.yml", database, "erd", "--database", "elsewhere", code=64)
    assert "the server has no declared database 'elsewhere'" in done.err
    assert "next: provision erd" in done.err


def test_a_graph_of_the_history(tmp_path: Path, database: Server) -> None:
    trees.write(tmp_path, {"a": trees.table("a"), "b": trees.table("b")})
    done = run(tmp_path / "spec.yml", database, "migrate", "history", "--graph")
    assert done.out == "●  b (head)  make b\n●  a  make a\n"
