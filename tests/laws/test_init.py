"""Whatever a directory is called and a compose file says, the spec that is written means the same."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import given, strategies as st

from provision.init import compose
from provision.init.found import Compose, Directory
from provision.init.specfile import plain, valid_names
from provision.spec.load import read

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="$\ufffe\uffff")
)


@given(TEXTS.filter(bool))
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    spec = f"name: shop\nserver:\n  image: postgres:17\n  settings:\n    application_name: {plain(text)}\n"
    assert read(Path("/shop/provision.yml"), spec.encode(), {}).server.settings["application_name"] == text


@given(TEXTS, st.none() | st.frozensets(st.sampled_from(["shop-dev", "shop-db", "app-dev", "a-dev"])))
def test_every_directory_has_a_valid_name_that_nobody_has(folder: str, taken: frozenset[str] | None) -> None:
    compose = None if taken is None else Compose("compose.yml", names=taken)
    name = next(valid_names(folder, compose))
    assert (
        read(Path("/x/provision.yml"), f"name: {plain(name)}\nserver: {{image: postgres:17}}".encode(), {}).name == name
    )
    assert compose is None or name not in {*compose.names, folder}


WORDS = st.sampled_from(
    ["postgres:17", "5432:5432", "${A:-5432}:5432", "5432-5440:5432-5440", "./a:/docker-entrypoint-initdb.d", "", None,
     5432, 1.5, True, "db", "./b.yml", "$", "${", "./pg.conf:/etc/postgresql/postgresql.conf", "sh", "-c", "a:b:c:d",
     "POSTGRES_USER=a", "config_file=/etc/postgresql/postgresql.conf", "POSTGRES_PASSWORD_FILE=/run/secrets/x"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["image", "build", "ports", "environment", "env_file", "command", "volumes", "secrets", "extends", "file",
     "source", "target", "published", "path", "service", "context", "args", "POSTGRES_PASSWORD_FILE", "TZ"]
)  # fmt: skip
VALUES = st.recursive(
    WORDS, lambda each: st.lists(each, max_size=3) | st.dictionaries(KEYS, each, max_size=4), max_leaves=8
)
SERVICES = st.dictionaries(st.sampled_from(["db", "other"]), st.dictionaries(KEYS, VALUES, max_size=9), max_size=2)


@given(SERVICES, VALUES, VALUES)
def test_a_compose_file_of_any_shape_is_read(services: object, included: object, secrets: object) -> None:
    """What is not as Compose wants it is passed over, and never an error of ours."""
    text = yaml.safe_dump({"services": services, "include": included, "secrets": {"x": secrets}})
    texts = {"compose.yml": text, "b.yml": yaml.safe_dump({"services": services}), "pg.conf": "a = 1\nfoo\n"}
    directory = Directory(Path("/x/shop"), texts, frozenset({*texts, "a"}), {})
    for answer in ("no plugin", {"services": services, "secrets": {"x": secrets}, "include": included}):
        found, _ = compose.find(directory, lambda _paths, answer=answer: answer)  # type: ignore[misc]
        assert found is not None
