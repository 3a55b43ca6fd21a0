"""Whatever a directory is called and a compose file says, the spec that is written means the same."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from provision.project import Compose
from provision.project.specfile import default_name, plain
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
    name = default_name(folder, compose)
    assert (
        read(Path("/x/provision.yml"), f"name: {plain(name)}\nserver: {{image: postgres:17}}".encode(), {}).name == name
    )
    assert compose is None or name not in {*compose.names, folder}
