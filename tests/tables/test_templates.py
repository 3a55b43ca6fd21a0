"""Templates of one's own: what they may reach, and how one ends that is wrong, endless or too large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2  # noqa: F401  # each rendering is a copy of this process, and finds it there
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.cli import run
from provision.errors import ProvisionError
from provision.runtimes.docker import compose
from provision.runtimes.docker.states import desired_container
from provision.system.limits import limited

SHIPPED = Path(__file__).parents[2] / "templates" / "docker-compose.yml.j2"
SERVICE = "services: {x: {image: a, container_name: b, %s}}\n"
_ALIASES = "[*{{ 'x' * n }}, *{{ 'x' * n }}]"
_BOMB = "x: &x {b: 1}\n{% for n in range(1, 20) %}{{ 'x' * (n + 1) }}: &{{ 'x' * (n + 1) }} @\n{% endfor %}"
WRONG = {
    "{{ 1 / 0 }}": "division by zero",
    "\n\n{{ server.nothing }}": "docker-compose.yml.j2:3",
    "{{ server.nothing }}": "has no attribute 'nothing'",
    "{% for x in range(10) %}": "Unexpected end of template",
    "{{ ().__class__.__base__.__subclasses__() }}": "__class__",
    "{{ server.data.path.read_text() }}": "read_text",
    "{{ server.data.path.joinpath('made').write_text('x') }}": "write_text",
    "{{ '{0.__class__}'.format(1) }}": "__class__",
    "{{ range(10 ** 9) }}": "Range too big",
    "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}": "recursion",
    "{% include 'docker-compose.yml.j2' %}": "recursion",
    "{% for a in range(3000) %}{{ 'x' * 2000 }}{% endfor %}": "more than 4 MiB of text",
    "{{ 'x' * 10 ** 10 }}": "memory",
    '{{ "\\ud800" }}': "surrogates not allowed",
    "services: {x: {image: a, container_name: 'b/../../events?x'}}": "'b/../../events?x' is not a name",
    "services: {x: {image: 'a/../../events', container_name: b}}": "'a/../../events' is not a name",
    f"{SERVICE % 'user: a'}volumes: {{d: {{name: 'a/b'}}}}": "'a/b' is not a name",
    "[a, b]": "the file is not a mapping",
    "services: [a]": "`services` is not a mapping",
    "services: {x: 5}": "service 'x' is not a mapping",
    "services: &a {x: *a}": "an alias refers to what it is in",
    "a: &a {<<: *a}": "an alias refers to what it is in",
    "{{ '[' * 60 }}": "nested more than 50 levels deep",
    "{{ '- ' * 20000 }}x": "nested more than 50 levels deep",
    _BOMB.replace("@", _ALIASES): "more than 100000 values",
    _BOMB.replace("@", f"{{<<: {_ALIASES}}}"): "more than 100000 values",
    "a: 2026-99-99": "a value cannot be read: month must be in 1..12",
    "a: !!timestamp x": "a value cannot be read",
    SERVICE % "cpus: .inf": "cpus: ",
    SERVICE % "cpus: .nan": "cpus: ",
    SERVICE % "volumes: {a: b}": "`volumes` of the service is not a list",
    SERVICE % "volumes: [5]": "the volume 5",
    SERVICE % "secrets: {a: b}": "`secrets` of the service is not a list",
    SERVICE % "ports: 5432": "ports: ",
    SERVICE % "healthcheck: [a]": "healthcheck: ",
}


def spec_with(directory: Path, template: str) -> Path:
    (directory / "templates").mkdir(exist_ok=True)
    (directory / "templates" / "docker-compose.yml.j2").write_text(template)
    spec = directory / "spec.yml"
    spec.write_text(
        "name: tpl\ntemplates: templates\n"
        "server: {image: 'postgres:17', runtime: docker, port: 5999, data: {path: db}, credentials: {password: pw}}\n"
    )
    return spec


@pytest.mark.parametrize("template", WRONG)
def test_a_template_that_is_wrong_ends_in_a_sentence(
    template: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_with(tmp_path, template)
    assert run(["render", "--stdout", str(spec)]) == 1
    told = capsys.readouterr().err
    assert WRONG[template] in told
    assert "next: " in told
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["docker-compose.yml.j2", "spec.yml", "templates"]


def test_a_template_without_an_end_is_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    assert run(["render", "--stdout", str(spec_with(tmp_path, endless))]) == 1
    assert "the templates take too long: they may compute for 3 s" in capsys.readouterr().err


def test_a_template_reads_data_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = SHIPPED.read_text().replace(
        "    labels:\n",
        "    labels:\n      own: {{ (server.data.path.parent / server.data.path.name / server.resources.shm_size"
        " | string) | quote }}\n      settings: {{ settings.items() | list | length | string | quote }}\n",
    )
    assert run(["render", "--stdout", str(spec_with(tmp_path, own))]) == 0
    assert f'own: "{tmp_path}/db/268435456"' in capsys.readouterr().out


def test_work_within_limits_returns_what_it_made_and_raises_what_it_raised() -> None:
    assert limited(lambda: ["ü", None], what="the work", next_step="none") == ["ü", None]

    def refused() -> None:
        raise ProvisionError("a sentence", evidence=["a line"])

    with pytest.raises(ProvisionError, match="a sentence") as caught:
        limited(refused, what="the work", next_step="a command")
    assert (caught.value.evidence, caught.value.next_step) == (("a line",), "a command")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        limited(lambda: 1 / 0, what="the work", next_step="none")


JUNK: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
_KEYS = sorted({*compose.TRANSLATIONS, *compose._HANDLED})
_NESTED = {"healthcheck": "test", "ulimits": "nofile"}


@st.composite
def compose_files(draw: st.DrawFn) -> str:
    service = {"image": "a", "container_name": "b"}
    for key in draw(st.lists(st.sampled_from(_KEYS), max_size=4, unique=True)):
        service[key] = draw(JUNK)
    bind = {"type": draw(st.sampled_from(["bind", "tmpfs", "volume"])), "source": draw(JUNK), "target": draw(JUNK)}
    service["volumes"] = draw(st.sampled_from([service.get("volumes"), [bind]]))  # type: ignore[assignment]
    document: dict[str, Any] = {"services": {"x": service}}
    for key in draw(st.lists(st.sampled_from(["name", "volumes", "secrets", "networks"]), max_size=2, unique=True)):
        document[key] = draw(JUNK)
    return str(yaml.dump(document, allow_unicode=True))


@settings(max_examples=300, deadline=None)
@given(compose_files())
def test_a_compose_file_is_read_or_refused(text: str) -> None:
    try:
        creation = compose.read(compose.with_fingerprint(text, Path("/x/docker-compose.yml")), Path("/x/c.yml"))
    except ProvisionError:
        return
    assert desired_container(creation, {}).image == "a"
