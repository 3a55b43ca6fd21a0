"""Which settings are blamed for a configuration that did not work, and where the spec has them."""

from __future__ import annotations

import pytest

from provision.kinds import blame

OLD = "work_mem = 4MB\nmax_connections = 100\n"
NEW = "work_mem = 5MB\nmax_connections = 100\nshared_buffers = 4TB\nshared_preload_libraries = 'no_such_library'\n"


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ((), ("shared_buffers", "shared_preload_libraries", "work_mem")),
        (("FATAL:  it ended",), ("shared_buffers", "shared_preload_libraries", "work_mem")),
        (('HINT:  reduce "shared_buffers" or "max_connections".',), ("shared_buffers",)),
        (('FATAL:  could not access file "no_such_library"',), ("shared_preload_libraries",)),
        (("line 1: work_mem: out of range",), ("work_mem",)),
        (("FATAL:  max_connections",), ("shared_buffers", "shared_preload_libraries", "work_mem")),
    ],
)
def test_the_servers_words_choose(said: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert blame.suspects(OLD, NEW, said) == names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server:\n  settings:\n    work_mem: 5MB\n", "`work_mem` (spec.yml:3)"),
        ("server: {settings: {work_mem: 5MB}}\n", "`work_mem` (spec.yml:1)"),
        ("# work_mem: 4MB\nserver:\n  'Work_Mem': 5MB\n", "`work_mem` (spec.yml:3)"),
        ("server:\n  settings: {logical_decoding_work_mem: 5MB}\n", "`work_mem`"),
        ("", "`work_mem`"),
    ],
)
def test_where_a_setting_is(text: str, told: str) -> None:
    assert blame.places(("work_mem",), {"spec.yml": text}) == (told,)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"dev.yml": "work_mem: 5MB", "base.yml": "work_mem: 4MB"}, "`work_mem` (dev.yml:1)"),
        ({"dev.yml": "name: x", "base.yml": "\nwork_mem: 4MB"}, "`work_mem` (base.yml:2)"),
    ],
)
def test_where_a_setting_is_that_another_file_may_have(texts: dict[str, str], told: str) -> None:
    assert blame.places(("work_mem",), texts) == (told,)
