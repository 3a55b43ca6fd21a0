"""What variables put into the values that migrations are given is masked, unless the spec shows it anyway."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.spec.load import read

SPEC = """
name: shop-dev
server:
  image: ${IMAGE:-postgres:17}
  host: ${HOST:-127.0.0.1}
  credentials: {user: "${OWNER:-owner}", password: "${PW:-pw}"}
  settings: {log_line_prefix: "everywhere %m "}
migrations:
  script_location: trees/migrations
"""
ENVIRON = {
    "TOKEN": "t0k3n-of-a-service",
    "SHORT": "four",
    "SWITCH": "False",
    "HOST": "db.example.org",
    "OWNER": "clerk",
    "PW": "of-the-password",
    "TWICE": "everywhere",
    "TREE": "/srv/elsewhere",
    "HOME": "/srv",
    "KEY": "-----BEGIN-----\nMIIEvQ\nabc\n",
}
MASKED = {
    "env: {A: '${TOKEN}'}": {ENVIRON["TOKEN"]},
    "env: {A: 'https://x.invalid/?t=${TOKEN}&n=1'}": {ENVIRON["TOKEN"]},
    "options: {a: '${TOKEN}'}": {ENVIRON["TOKEN"]},
    "x: {a: '${TOKEN}', b: '${PW}'}": {ENVIRON["TOKEN"], ENVIRON["PW"]},
    "command: [app, '--token=${TOKEN}']": {ENVIRON["TOKEN"]},
    "env: {A: '${KEY}'}": {ENVIRON["KEY"].strip(), "-----BEGIN-----", "MIIEvQ"},
    "env: {A: '${SHORT}', B: '${SWITCH}'}": set(),
    "env: {A: '${HOST}', B: '${OWNER}'}": set(),
    "env: {A: '${TWICE}', B: '${HOME}'}": set(),
    "env: {A: '${TOKEN}', B: 't0k3n-of-a-service'}": set(),
    "env: {A: '${UNSET:-a-default}'}": set(),
    "options: {version_locations: '${TREE}/versions'}": set(),
    "env: {A: '$$TOKEN', B: 'plain text', C: '{url}'}": set(),
}


@pytest.mark.parametrize("given", MASKED)
def test_what_is_masked(given: str) -> None:
    path = Path(__file__).parent / "spec" / "given.yml"
    (tree,) = read(path, f"{SPEC}  {given}\n".encode(), {**ENVIRON, "HOME": str(path.parents[2])}).migrations
    assert {each.reveal() for each in tree.masked} == MASKED[given]
