"""The example tree: its models are what its revisions make, and every revision can be taken back and repeated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, create_engine

from provision.alembic.running.migrate import migrate
from provision.alembic.trees import load
from provision.model.effects import Migrate
from provision.spec.model import Migrations

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
TREE = Migrations("shop", ROOT / "migrations", None, "head", True, None, "alembic_version", None, 120.0)
EVERY = ("0001", "0002", "0003", "0004", "0005", "0006")


def go(database: Server, *target: str, down: bool = False) -> list[str]:
    effect = Migrate("shop", target, "downgrade" if down else "upgrade")
    done = migrate(TREE, load(TREE), database.endpoint, effect, lambda _event: None)
    return [name for name, _seconds in done.revisions]


def test_the_models_are_what_the_revisions_make(database: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from migrations.models import Base

    assert go(database, "0006") == [*EVERY]
    here = database.endpoint
    url = URL.create("postgresql+psycopg2", here.user, here.password.reveal(), here.host, here.port, here.database)
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_each_revision_goes_up_and_down_and_up_again(database: Server) -> None:
    before: tuple[str, ...] = ()
    for name in EVERY:
        assert go(database, name) == [name]
        assert go(database, *before, down=True) == [name]
        assert go(database, name) == [name]
        before = (name,)
    assert go(database, down=True) == [*reversed(EVERY)]


def test_data_that_was_there_is_migrated(database: Server) -> None:
    go(database, "0003")
    database.execute("INSERT INTO userdata (name, age) VALUES ('ada lovelace', 36)")
    go(database, "0006")
    assert database.execute("SELECT name, age, display_name FROM userdata") == [("ada lovelace", 36, "Ada Lovelace")]
