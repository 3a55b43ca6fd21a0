"""A spec that a cat wrote ends in neither a traceback nor a container: through the whole program."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import jinja2  # noqa: F401  # each rendering is a copy of this process, and finds it there
import yaml
from hypothesis import given, strategies as st
from support.law import law

from provision.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WHOLE: dict[str, Any] = {
    "version": 1,
    "name": "fuzz",
    "server": {
        "runtime": "docker",
        "image": "postgres:17",
        "container_name": "fuzz",
        "host": "127.0.0.1",
        "port": 5999,
        "max_connections": 100,
        "settings": {"shared_buffers": "256MB", "log_min_duration_statement": "250ms", "jit": False},
        "credentials": {"user": "postgres", "password": "pw"},
        "database": "shop",
        "data": {"volume": "fuzz-data"},
        "resources": {"memory": "1g", "cpus": 2, "shm_size": "256m"},
        "ready_timeout": "60s",
        "stop_timeout": "120s",
    },
    "migrations": {"script_location": "./migrations", "target": "head", "timeout": "15m"},
}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.dates(),
    st.sampled_from(["${NOPE}", "$", "${", "/", ".", "..", "~", "-1", "1e999", "99999999999999999999", "12 bananas"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)
LINES = re.compile(r"spec\.yml:\d+:\d+")


def _places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [path, *(place for key, each in value.items() for place in _places(each, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Change the values, keys and characters of a spec that was right."""
    document = copy.deepcopy(WHOLE)
    for *above, last in draw(st.lists(st.sampled_from(_places(WHOLE)[1:]), min_size=1, max_size=3, unique=True)):
        parent: Any = document
        for key in above:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if isinstance(parent, dict):
            how = draw(st.sampled_from(["replace", "remove", "rename"]))
            value = parent.pop(last, None)
            if how != "remove":
                name = draw(st.text(max_size=10)) if how == "rename" else last
                parent[name] = value if how == "rename" else draw(JUNK)
    text: str = yaml.dump(document, allow_unicode=True)
    if draw(st.booleans()):
        at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 30))
        text = text[:at] + draw(st.text(max_size=10)) + text[at + length :]
    return text


def test_no_spec_ends_in_a_traceback_or_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    @law(75)
    @given(mutated(), st.sampled_from(["plan", "apply", "apply --check", "validate", "render --stdout"]))
    def never(text: str, words: str) -> None:
        (tmp_path / "spec.yml").write_text(text, encoding="utf-8", errors="surrogatepass")
        code = run([*words.split(), "spec.yml"])
        told = capsys.readouterr()
        assert code in {0, 1, 64, 65, 69}, (words, told.err)
        assert code != 0 or words in {"validate", "render --stdout"}
        assert "Traceback" not in told.err
        assert code != 65 or LINES.search(told.err), told.err
        assert not (tmp_path / ".provision").exists()

    never()
