"""Templates of one's own: what they may reach, and how one ends that is wrong, endless or too large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2  # noqa: F401  # each rendering is a copy of this process, and finds it there
import pytest
import yaml
from hypothesis import given, strategies as st
from support.law import law

from provision.cli import run
from provision.errors import ProvisionError
from provision.runtimes.docker import compose
from provision.runtimes.docker.containers import desired_container
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
    SERVICE % "cpus: .inf": "cpus: inf is larger than the engine can read",
    SERVICE % "cpus: .nan": "cpus: nan is not a number of processors",
    SERVICE % "cpus: 0.001": "cpus: 0.001 is not a number of processors",
    SERVICE % "shm_size: 99999999999999999999g": "shm_size: '99999999999999999999g' is larger than the engine can read",
    SERVICE % "mem_limit: 9223372036854775808": "mem_limit: 9223372036854775808 is larger than the engine can read",
    SERVICE % "stop_grace_period: 99999999999999h": "stop_grace_period: '99999999999999h' is larger than",
    SERVICE % "healthcheck: {test: a, interval: 99999999999999h}": "healthcheck: '99999999999999h' is larger than",
    SERVICE % "healthcheck: {test: a, timeout: 1us}": "timeout: '1us' is shorter than a millisecond",
    SERVICE % "healthcheck: {test: a, retries: 99999999999999999999999}": "is not a whole number from 0 to",
    SERVICE % "healthcheck: {test: a, retries: -1}": "healthcheck: -1 is not a whole number from 0 to",
    SERVICE % "healthcheck: {test: [a]}": "test: ['a'] is neither a text nor a list that begins with CMD",
    SERVICE % "healthcheck: {retries: 1}": "test: None is neither a text nor a list",
    SERVICE % "ulimits: .inf": "ulimits: inf is not written as the Compose specification says",
    SERVICE % "ulimits: {nofile: .inf}": "ulimits: inf is not a whole number from -1 to",
    SERVICE % "ulimits: {nofile: {soft: 2, hard: 1}}": "nofile: the soft limit 2 is higher than the hard limit 1",
    SERVICE % "extra_hosts: [1, null]": "extra_hosts: a value is missing",
    SERVICE % "extra_hosts: ['a:b']": "extra_hosts: 'a:b' is not written as 'name:address'",
    SERVICE % "sysctls: [[a]]": "sysctls: ['a'] is neither a text nor a number",
    SERVICE % "sysctls: [a]": "sysctls: 'a=' is not a kernel parameter",
    SERVICE % "cap_add: [null]": "cap_add: a value is missing",
    SERVICE % "cap_drop: {a: b}": "cap_drop: {'a': 'b'} is not a list",
    SERVICE % "tmpfs: /": "tmpfs: '/' is not a directory in the container",
    SERVICE % "tmpfs: [run]": "tmpfs: 'run' is not a directory in the container",
    SERVICE % "restart: 'on-failure:x'": "restart: 'x' is not a whole number from 0 to",
    SERVICE % "restart: 'always:3'": "only `on-failure` takes a number",
    SERVICE % "stop_signal: STOPPED": "stop_signal: 'STOPPED' is not a signal",
    SERVICE % "volumes: {a: b}": "`volumes` of the service is not a list",
    SERVICE % "volumes: [5]": "the volume 5",
    SERVICE % "secrets: {a: b}": "`secrets` of the service is not a list",
    SERVICE % "ports: 5432": "ports: ",
    SERVICE % "ports: ['localhost:5432:5432']": "'address:port:container port', the address in numbers",
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


def test_what_the_engine_takes_is_read() -> None:
    service = (
        "stop_signal: SIGRTMIN+3, extra_hosts: ['a:host-gateway', 'b:::1', 'c:10.0.0.1'], restart: 'on-failure:3', "
        "sysctls: {net.ipv4.ip_local_port_range: '1024 65535'}, ulimits: {nofile: -1, core: {soft: 0, hard: -1}}, "
        "tmpfs: ['/run:size=1m', /mnt], cpus: 0.5, shm_size: 1.5gb"
    )
    body = compose.read(SERVICE % service, Path("/x/c.yml")).body
    assert body["StopSignal"] == "SIGRTMIN+3"
    assert body["HostConfig"]["ExtraHosts"] == ["a:host-gateway", "b:::1", "c:10.0.0.1"]
    assert body["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert body["HostConfig"]["Ulimits"][0] == {"Name": "core", "Soft": 0, "Hard": -1}
    assert body["HostConfig"]["Tmpfs"] == {"/run": "size=1m", "/mnt": ""}
    assert (body["HostConfig"]["NanoCpus"], body["HostConfig"]["ShmSize"]) == (500000000, 1610612736)


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


@law(75)
@given(compose_files())
def test_a_compose_file_is_read_or_refused(text: str) -> None:
    try:
        creation = compose.read(compose.with_fingerprint(text, Path("/x/docker-compose.yml")), Path("/x/c.yml"))
    except ProvisionError:
        return
    assert desired_container(creation, {}).image == "a"
