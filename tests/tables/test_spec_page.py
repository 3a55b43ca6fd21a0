"""docs/spec.md says what the program reads: every key, every default, and only examples that are right."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provision.schema.sections import SECTIONS
from provision.spec.load import load
from provision.spec.settings import OWNED

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
GRANT: dict[str, Any] = {"to": "public", "on": {"tables": "shop.*"}, "privileges": ["select"]}
WITHIN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "The top of the file": lambda keys: keys,
    "migrations": lambda keys: {"migrations": {"script_location": ".", **keys}},
    "roles": lambda keys: {"roles": {"app": keys}},
    "roles.member_of": lambda keys: {"roles": {"app": {"member_of": [{"role": "all", **keys}]}, "all": {}}},
    "backup": lambda keys: {"backup": keys},
    "databases": lambda keys: {"databases": {"shop": keys}},
    "databases.schemas": lambda keys: {"databases": {"shop": {"schemas": {"shop": keys}}}},
    "databases.extensions": lambda keys: {"databases": {"shop": {"extensions": [{"name": "citext", **keys}]}}},
    "databases.grants": lambda keys: {"databases": {"shop": {"grants": [{**GRANT, **keys}]}}},
    "server.direct": lambda keys: {
        "server": {
            "image": "postgres:17",
            "runtime": "external",
            "credentials": {"password": "x"},
            "direct": {"host": "db", **keys},
        }
    },
    "migrations.tenants": lambda keys: {
        "migrations": {"script_location": ".", "tenants": {"databases": ["a"], **keys}}
    },
    "server.patroni": lambda keys: {
        "server": {
            "image": "postgres:17",
            "runtime": "external",
            "credentials": {"password": "x"},
            "patroni": {"api": "http://a", "user": "x", "password": "x", **keys},
        }
    },
    "seeds": lambda keys: {"seeds": [{"command": ["true"], **keys}]},
}
"""A spec with keys in a section, where that is not named after the place."""
ABSENT = {"drop_owned", "sessions"}
"""What belongs beside `state: absent`."""
MISSING = {"name": "name: shop-dev\n", "server": "server: {image: postgres:17}\n"}
"""What makes a whole spec of an example that shows one section."""
TREES = (ROOT / "docs" / "migrations.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml( defaults)?\n(.*?)```", PAGE + TREES, re.DOTALL)
BASE = re.findall(r"```yaml extends\n(.*?)```", PAGE, re.DOTALL)[0]
LINES = re.findall(r"`(\w+: [^`]+)`", "\n".join(re.findall(r"^\|.*?\|(.*)\|$", TREES, re.MULTILINE)))
"""What migrations.md tells to write under `migrations`."""


def section(title: str) -> str:
    """Return the text below a heading, up to the next one."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_section_that_has_keys_is_on_the_page() -> None:
    nested = {"server.settings", "templates", "Values"}
    assert set(re.findall(r"^## (.*)$", PAGE, re.MULTILINE)) == set(SECTIONS) | nested


@pytest.mark.parametrize("title", SECTIONS)
def test_the_keys_of_a_section_are_those_that_are_read(title: str) -> None:
    documented = re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE)
    supported = [name for name, key in SECTIONS[title].items() if key.read is not None]
    assert sorted(documented) == sorted(supported)
    required = re.findall(r"^\| `(\w+)` \| required \|", section(title), re.MULTILINE)
    assert required == [name for name, key in SECTIONS[title].items() if key.required]


def test_settings_that_cannot_be_set_are_named() -> None:
    named = section("server.settings").split("cannot be set:")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", named)) == set(OWNED)


def test_the_defaults_that_are_shown_are_the_defaults(tmp_path: Path) -> None:
    (defaults,) = [text for marked, text in EXAMPLES if marked]
    minimal, shown = tmp_path / "minimal.yml", tmp_path / "shown.yml"
    minimal.write_text("".join(MISSING.values()))
    shown.write_text(defaults)
    assert replace(load(shown, {}), path=minimal) == load(minimal, {})


@pytest.mark.parametrize("title", SECTIONS)
def test_the_defaults_in_the_tables_change_nothing_when_they_are_written(title: str, tmp_path: Path) -> None:
    (tmp_path / "env.py").touch()
    path = tmp_path / "spec.yml"
    for key, default, meaning in re.findall(r"^\| `(\w+)` \| `([^`]+)` \| (.*) \|$", section(title), re.MULTILINE):
        if default in ("name", "NAME-data"):
            continue  # made of the name, and in the file that shows all defaults
        keys: dict[str, Any] = {"state": "absent"} if key in ABSENT and title in ("roles", "databases") else {}
        specs = []
        for written in (keys, {**keys, key: yaml.safe_load(default)}):
            spec: dict[str, Any] = {"name": "shop-dev", "server": {"image": "postgres:17"}}
            if meaning.startswith("external only"):
                spec["server"] |= {"runtime": "external", "credentials": {"password": "x"}}
            place = spec
            for step in title.split(".") if written and title not in WITHIN else ():
                place = place.setdefault(step, {})
            place |= WITHIN.get(title, dict)(written)
            path.write_text(yaml.safe_dump(spec, sort_keys=False))
            specs.append(load(path, {}))
        assert specs[0] == specs[1], key


@pytest.mark.parametrize("text", [text for _, text in EXAMPLES])
def test_an_example_is_right(text: str, tmp_path: Path) -> None:
    for each in ("migrations", "templates"):
        (tmp_path / each).symlink_to(ROOT / each)
    (tmp_path / "specs").mkdir()
    path = tmp_path / "specs" / "spec.yml"
    for script in ("extensions.sql", "roles.sh"):
        path.with_name("initdb").mkdir(exist_ok=True)
        (path.with_name("initdb") / script).touch()
    path.with_name("base.yml").write_text(BASE)
    for seed in ("countries.sql", "demo/orders.csv"):
        (file := path.parent / "seeds" / seed).parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    path.write_text(text + "".join(line for key, line in MISSING.items() if key not in yaml.safe_load(text)))
    assert load(path, {"HOME": str(tmp_path), "SHOP_PASSWORD": "x"}).name == "shop-dev"


@pytest.mark.parametrize("line", LINES)
def test_a_line_for_a_kind_of_tree_is_right(line: str, tmp_path: Path) -> None:
    for file in ("env.py", "pyproject.toml", "prepare.py"):
        (tmp_path / file).touch()
    path = tmp_path / "specs" / "spec.yml"
    path.parent.mkdir()
    place = {} if line.startswith(("config", "script_location")) else {"script_location": ".."}
    tree = {**place, **yaml.safe_load(line)}
    path.write_text(yaml.safe_dump({"name": "shop-dev", "server": {"image": "postgres:17"}, "migrations": tree}))
    assert load(path, {}).migrations
