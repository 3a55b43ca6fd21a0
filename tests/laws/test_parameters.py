"""Settings mean to us what they mean to PostgreSQL."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

from provision.spec.parameters import MAJORS, canonical_name, catalogue, check, learn, normalise, shows

TABLE = Path(__file__).parent.parent / "tables" / "spec_parameters" / "shown.yml"
ROWS = [
    (setting, value, shown, rest[0] if rest else MAJORS)
    for setting, value, shown, *rest in yaml.safe_load(TABLE.read_text())
]
# Starts the server once for each configuration on its standard input; prints pg_settings as one JSON object a line.
SERVER = r"""
set -eu
data=$(mktemp -d)
initdb -D "$data" -U postgres -A trust --no-sync --locale C --encoding UTF8 >/dev/null
while IFS= read -r configuration; do
    printf '%b\n' "$configuration" >"$data/postgresql.conf"
    printf "listen_addresses = ''\nunix_socket_directories = '%s'\n" "$data" >>"$data/postgresql.conf"
    pg_ctl -D "$data" -s -w -l "$data/log" start >&2 || { cat "$data/log" >&2; exit 1; }
    psql -XAtq -h "$data" -U postgres -d postgres -c 'SELECT json_object_agg(name, setting)::text FROM pg_settings'
    pg_ctl -D "$data" -s -w -m immediate stop
done
"""


def lines_of(major: int) -> list[tuple[dict[str, tuple[str, str]], str]]:
    """Return the rows as configurations that hold each setting once."""
    batches: list[dict[str, tuple[str, str]]] = []
    for setting, value, shown, majors in ROWS:
        if major not in majors:
            continue
        batch = next((each for each in batches if setting not in each), None)
        if batch is None:
            batch = {}
            batches.append(batch)
        batch[setting] = (value, shown)
    texts = []
    for batch in batches:
        pairs = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, (value, _) in batch.items())
        texts.append("\\n".join(pairs))
    return list(zip(batches, texts, strict=True))


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("major", [14, 18])
def test_a_value_is_shown_as_the_server_shows_it(major: int) -> None:
    batches = lines_of(major)
    done = subprocess.run(
        [
            "docker",
            "run",
            "--rm",
            "-i",
            "--network=none",
            "--user=postgres",
            "--entrypoint=bash",
            f"postgres:{major}",
            "-c",
            SERVER,
        ],
        input="".join(f"{text}\n" for _, text in batches),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    wrong = []
    for (batch, _), line in zip(batches, done.stdout.splitlines(), strict=True):
        effective = json.loads(line)
        for setting, (value, shown) in batch.items():
            assert shows(catalogue(major)[setting], value, effective[setting])
            if effective[setting] != shown:
                wrong.append((setting, value, shown, effective[setting]))
    assert not wrong


@pytest.mark.parametrize(("setting", "value", "shown", "majors"), ROWS)
def test_normalise_gives_what_is_shown(setting: str, value: str, shown: str, majors: list[int]) -> None:
    for major in majors:
        assert normalise(catalogue(major)[setting], value) == shown
        assert check(major, setting, value) is None


def test_normalise_is_idempotent_on_everything_in_the_table() -> None:
    for setting, value, _, majors in ROWS:
        parameter = catalogue(majors[0])[setting]
        once = normalise(parameter, value)
        assert normalise(parameter, once) == once


@pytest.mark.parametrize("major", MAJORS)
def test_a_built_in_value_is_its_own_normal_form_and_is_accepted(major: int) -> None:
    for parameter in catalogue(major).values():
        if parameter.context == "internal" or parameter.boot is None:
            continue
        once = normalise(parameter, parameter.boot)
        assert normalise(parameter, once) == once
        if parameter.vartype in ("bool", "enum"):
            assert once == parameter.boot


@given(st.integers(min_value=1, max_value=4096))
def test_a_size_is_the_same_in_every_unit(megabytes: int) -> None:
    for major in MAJORS:
        parameter = catalogue(major)["shared_buffers"]
        spellings = [f"{megabytes}MB", f"{megabytes * 1024} kB", f"{megabytes * 128}", f"{megabytes << 20}B"]
        spellings += [f"{megabytes / 1024}GB", hex(megabytes * 128), f"0{megabytes * 128:o}", f"{megabytes * 128}.0"]
        assert len({normalise(parameter, each) for each in spellings}) == 1


@given(st.integers(min_value=0, max_value=20_000))
def test_a_time_is_the_same_in_every_unit(seconds: int) -> None:
    parameter = catalogue(17)["statement_timeout"]
    spellings = [f"{seconds}s", f"{seconds * 1000}", f"{seconds * 1000}ms", f"{seconds * 1_000_000}us"]
    assert {normalise(parameter, each) for each in spellings} == {str(seconds * 1000)}


@given(st.sampled_from(sorted(catalogue(17))), st.text(max_size=30) | st.from_regex(r"\A[-+0-9.exkMGTBsmhd ]{1,12}\Z"))
def test_normalise_is_idempotent_or_says_what_is_wrong(name: str, value: str) -> None:
    parameter = catalogue(17)[name]
    try:
        once = normalise(parameter, value)
    except ValueError:
        assert check(17, name, value) is not None
    else:
        assert normalise(parameter, once) == once


@given(st.lists(st.text(alphabet='abcXYZ_$" ,', min_size=1, max_size=6), min_size=1, max_size=4))
def test_lists_do_not_depend_on_white_space(items: list[str]) -> None:
    parameter = catalogue(17)["search_path"]
    quoted = ['"{}"'.format(each.replace('"', '""')) for each in items]
    assert shows(parameter, ",".join(quoted), "  , ".join(quoted))
    assert not shows(parameter, ",".join(quoted), ",".join([*quoted, "more"]))


def test_quotes_that_a_list_does_not_need_mean_nothing() -> None:
    parameter = catalogue(17)["shared_preload_libraries"]
    assert shows(parameter, '"pg_stat_statements",auto_explain', "pg_stat_statements, auto_explain")
    assert not shows(parameter, '"a, b"', "a, b")


def test_an_archive_command_that_is_not_in_use_is_shown_as_disabled() -> None:
    parameter = catalogue(17)["archive_command"]
    assert shows(parameter, "cp %p /archive/%f", "(disabled)")
    assert shows(parameter, "cp %p /archive/%f", "cp %p /archive/%f")
    assert not shows(parameter, "cp %p /archive/%f", "true")


def test_the_settings_that_people_set_are_in_every_major() -> None:
    for name in ("max_connections", "shared_buffers", "work_mem", "wal_level", "DateStyle"):
        assert all(name in catalogue(major) for major in MAJORS)


def test_what_is_learned_of_a_new_major_version_counts_at_once() -> None:
    """Names are looked up before its settings are known, and in any case of letters afterwards."""
    major = MAJORS[-1] + 50
    assert canonical_name(major, "DATESTYLE") == "DATESTYLE"
    assert check(major, "nowhere", "x") is None, "it is not checked yet"
    learn(major, {"DateStyle": ["string", None, "user"], "work_mem": ["integer", "kB", "user", "64", "2147483647"]})
    assert canonical_name(major, "DATESTYLE") == "DateStyle"
    assert check(major, "nowhere", "x") is not None
    assert check(major, "work_mem", "8 bananas") is not None
