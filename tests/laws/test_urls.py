"""How an env.py gets its URL, read from it and the modules that it imports."""

from __future__ import annotations

import pytest

from provision.alembic.tree.env import Ways, part, ways

PARTS = {"H": "host", "U": "user", "PW": "password", "N": "database"}
SETTINGS = """
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
class {name}({parent}):
    model_config = SettingsConfigDict({options})
    {fields}
"""


def settings(fields: str, options: str = "", name: str = "Settings", parent: str = "BaseSettings") -> str:
    return SETTINGS.format(name=name, parent=parent, options=options, fields=fields.replace("; ", "\n    "))


def read(env: str, samples: dict[str, str] | None = None, **modules: str) -> Ways:
    texts = {name.replace("__", "."): text for name, text in modules.items()}
    return ways(env, lambda name: (name.rpartition(".")[0], texts[name]) if name in texts else None, samples)


def test_parts_and_urls_are_told_apart_by_their_names() -> None:
    of = {
        "url": "DATABASE_URL SQLALCHEMY_DATABASE_URI PG_DSN DATABASE_URL_ASYNC ALEMBIC_URL DB_CONNECTION_STRING",
        "user": "POSTGRES_USER DB_USERNAME PGUSER APP__DB__USER dbUser",
        "password": "POSTGRES_PASSWORD DB_PASS PGPASSWORD DATABASE__PASSWORD",
        "host": "POSTGRES_SERVER DB_HOST PGHOST DATABASE_HOSTNAME",
        "port": "POSTGRES_PORT PGPORT",
        "database": "POSTGRES_DB DB_NAME PGDATABASE DATABASE_NAME",
        "credentials": "DATABASE_CREDENTIALS DB_CREDS",
        None: "REDIS_URL PORT HOST DB TEST_DATABASE_URL MYSQL_DB_HOST SMTP_HOST DB_POOL_SIZE SERVER_PORT SENTRY_DSN",
    }
    assert {what: [name for name in names.split() if part(name) != what] for what, names in of.items()} == {
        what: [] for what in of
    }


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ('import os\nurl = os.environ["DATABASE_URL"]', Ways(env={"DATABASE_URL": "{url}"})),
        ('from os import getenv\nurl = getenv("DB_URL") or "sqlite://"', Ways(env={"DB_URL": "{url}"})),
        ('url = config("DATABASE_URL", cast=str)', Ways(env={"DATABASE_URL": "{url}"})),
        ('url = env.str("DATABASE_URL")', Ways(env={"DATABASE_URL": "{url}"})),
        ('url = app.config["SQLALCHEMY_DATABASE_URI"]', Ways()),
        ('who = config("DB_CREDENTIALS", cast=Secret)', Ways(env={"DB_CREDENTIALS": "{user}:{password}"})),
        ('url = os.environ["REDIS_URL"]', Ways()),
        ('url = context.get_x_argument(as_dictionary=True).get("dburl")', Ways(x={"dburl": "{url}"})),
        ('args = context.get_x_argument(as_dictionary=True)\nurl = args["db_url"]', Ways(x={"db_url": "{url}"})),
        ('tenant = context.get_x_argument(as_dictionary=True)["tenant"]', Ways()),
        ('url = config.get_main_option("sqlalchemy.url")', Ways()),
        ('url = config.get_section_option("alembic", "app.url")', Ways(options={"app.url": "{url}"})),
        ('engine_from_config(config.get_section("alembic"), prefix="db.")', Ways(options={"db.url": "{url}"})),
        ('url = config.get_section(config.config_ini_section)["url"]', Ways(options={"url": "{url}"})),
        ('connectable = config.attributes["connection"]', Ways(attributes=("connection",))),
        ('connectable = config.attributes.get("connection", None)', Ways()),
        ('configure_logger = config.attributes["configure_logger"]', Ways()),
        ("not (python", Ways()),
    ],
)
def test_what_env_py_reads_itself(env: str, found: Ways) -> None:
    assert read(env) == found


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (settings("DB_H: str; DATABASE_URL: str"), {"DATABASE_URL": "{url}"}),
        (settings("host: str; user: str; password: str; name: str", 'env_prefix="DB_"'), None),
        (settings("url: str = Field(alias='PG_DSN')", 'env_prefix="X_"'), {"PG_DSN": "{url}"}),
        (settings("db_url: str", "case_sensitive=True"), {"db_url": "{url}"}),
        (settings("db_url: str"), {"DB_URL": "{url}"}),
        (
            settings("u: str", name="Base_") + settings("db_url: str", name="Settings", parent="Base_"),
            {"DB_URL": "{url}"},
        ),
        (
            settings("host: str; user: str; password: str; name: str", name="Db", parent="BaseModel")
            + settings("db: Db | None = None; redis: Redis", 'env_prefix="APP_", env_nested_delimiter="__"'),
            {
                "APP_DB__HOST": "{host}",
                "APP_DB__USER": "{user}",
                "APP_DB__PASSWORD": "{password}",
                "APP_DB__NAME": "{database}",
            },
        ),
        (
            "class Settings(BaseSettings):\n    pg_url: str\n    class Config:\n        env_prefix = 'SHOP_'\n",
            {"SHOP_PG_URL": "{url}"},
        ),
        ("class NoSettings(BaseModel):\n    db_url: str\n", {}),
    ],
)
def test_settings_of_pydantic(module: str, names: dict[str, str] | None) -> None:
    """Their variables have prefixes, delimiters and aliases; a model alone has none."""
    wanted = (
        names
        if names is not None
        else {
            f"DB_{key.upper()}": f"{{{what}}}"
            for key, what in {"host": "host", "user": "user", "password": "password", "name": "database"}.items()
        }
    )
    found = read("from app.core import config", app__core__config=module)
    assert dict(found.env) == wanted


def test_a_url_that_is_made_of_parts_is_not_given_as_well() -> None:
    parts = "DB_HOST: str; DB_USER: str; DB_PASSWORD: str; DB_NAME: str; DATABASE_URL: str"
    assert "DATABASE_URL" in read("import app", app=settings(parts)).env
    assert "DATABASE_URL" not in read("import app", app=settings(f"{parts} | None = None")).env


def test_relative_imports_and_cycles_are_followed() -> None:
    found = read(
        "from app.db import engine",
        app__db="from .core import settings\nfrom . import db",
        app__core="import app.db\nfrom ..app.core import x\nimport os\nurl = os.environ['DB_URL']",
    )
    assert found.env == {"DB_URL": "{url}"}
    assert found.module == "app.core"


@pytest.mark.parametrize(
    ("env", "sample", "driver"),
    [
        ('url = os.environ["DB_URL"]', "", None),
        ('url = os.environ["DB_URL"]', "postgresql+asyncpg://", "postgresql+asyncpg"),
        ('url = os.environ["DB_URL"]', "postgresql://", None),
        ('url = os.environ["DB_URL"].replace("postgresql://", "postgresql+asyncpg://")', "postgresql://", "postgresql"),
        ('url = os.environ["DB_URL"].replace("postgres://", "postgresql+psycopg://", 1)', "", "postgres"),
        ('url = os.environ["DB_URL"].replace("postgres://", "postgresql://", 1)', "", None),
        ('url = os.environ["DB_URL"].replace("postgres://", "postgresql://", 1)', "postgres://", None),
        ('url = os.getenv("DB_URL", "postgresql+psycopg://localhost/x")', "", "postgresql+psycopg"),
        ('url = os.getenv("DB_URL", "sqlite:///x.db")', "", None),
    ],
)
def test_a_url_begins_as_the_project_writes_it(env: str, sample: str, driver: str | None) -> None:
    assert read(env, {"DB_URL": sample}).driver == driver
