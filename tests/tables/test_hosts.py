"""The hosts of a cluster, as each reader of an address wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provision.errors import UsageError
from provision.model import Endpoint, Secret
from provision.model.drivers import DRIVERS
from provision.spec.load import load
from provision.spec.sharing import shared
from provision.system.libpq import of_login

if TYPE_CHECKING:
    from pathlib import Path

AT = Endpoint("db1", 5432, "u", Secret("p@ s"), "d", hosts=(("db1", 5432), ("::1", 5433)))
PLAIN = "postgresql://u:p%40%20s@db1:5432,[::1]:5433/d?target_session_attrs=read-write"
OF_SQLALCHEMY = "://u:p%40%20s@/d?host=db1,::1&port=5432,5433&target_session_attrs=read-write"
URLS = {
    None: PLAIN,
    **dict.fromkeys(("libpq", "postgres.js", "pgx", "tokio-postgres"), PLAIN),
    **{
        each: f"postgresql+{each}{OF_SQLALCHEMY}"
        for each in ("psycopg", "psycopg2", "psycopg2cffi", "psycopg_async", "asyncpg")
    },
    "jdbc": "jdbc:postgresql://db1:5432,[::1]:5433/d?user=u&password=p%40%20s&targetServerType=primary",
}


@pytest.mark.parametrize("driver", URLS)
def test_a_url_names_all_hosts_and_asks_for_the_one_that_takes_writes(driver: str | None) -> None:
    assert AT.url(driver=driver) == URLS[driver]


@pytest.mark.parametrize("driver", sorted(set(DRIVERS) - set(URLS)))
def test_a_url_that_can_name_one_host_only_is_refused(driver: str) -> None:
    with pytest.raises(UsageError, match=f"the URL of {driver} names one host, and the spec has 2"):
        AT.url(driver=driver)


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg", "asyncpg"])
def test_sqlalchemy_reads_the_url_as_it_is_meant(driver: str) -> None:
    from sqlalchemy import create_engine

    _, given = create_engine(AT.url(driver=driver)).dialect.create_connect_args(
        create_engine(AT.url(driver=driver)).url
    )
    several = (["db1", "::1"], [5432, 5433]) if driver == "asyncpg" else ("db1,::1", "5432,5433")
    assert (given["host"], given["port"]) == several
    assert (given["password"], given["target_session_attrs"]) == ("p@ s", "read-write")


def test_the_variables_of_libpq_name_all_hosts() -> None:
    found = of_login(AT)
    assert (found["PGHOST"], found["PGPORT"], found["PGTARGETSESSIONATTRS"]) == ("db1,::1", "5432,5433", "read-write")
    assert "PGTARGETSESSIONATTRS" not in of_login(Endpoint("db1", 5432, "u", Secret("p"), "d"))


def test_an_address_in_words_has_all_of_them() -> None:
    assert AT.address == "db1:5432, [::1]:5433"


SPEC = """
name: {name}
server: {{runtime: external, image: postgres:17, {where}, credentials: {{user: u, password: p}}}}
"""


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("hosts: [a, b]", "hosts: [c, b]", "the server at b:5432"),
        ("hosts: [a, b]", "host: b", "the server at b:5432"),
        ("hosts: [a, b]", 'hosts: ["b:5433", c]', None),
    ],
)
def test_specs_that_have_a_host_in_common_share_it(tmp_path: Path, one: str, other: str, what: str | None) -> None:
    specs = []
    for name, where in (("one", one), ("two", other)):
        path = tmp_path / f"{name}.yml"
        path.write_text(SPEC.format(name=name, where=where), encoding="utf-8")
        specs.append(load(path, {}))
    found = shared(*specs)
    assert (found.what if found else None) == what


def test_the_hosts_of_an_upper_text_count_in_place_of_the_host_below(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(SPEC.format(name="shop", where="host: one, port: 6000"), encoding="utf-8")
    (tmp_path / "prod.yml").write_text('extends: base.yml\nserver: {hosts: [a, "b:7000"]}\n', encoding="utf-8")
    assert load(tmp_path / "prod.yml", {}).server.hosts == (("a", 6000), ("b", 7000))
    assert load(tmp_path / "prod.yml", {}, overrides=("server.host=127.0.0.1",)).server.hosts == ()
