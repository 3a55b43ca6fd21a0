#!/usr/bin/env python3
"""Write ``provision/spec/catalogue/``: every setting of PostgreSQL 14 to 18, read out of real servers.

    python scripts/settings_catalogue.py [MAJOR …]

needs a Docker engine with the images ``postgres:14`` to ``postgres:18`` (``tests/images/build`` makes them). Each
server is asked for ``pg_settings``; the words that an enumeration takes but does not list (``on`` for
``wal_compression`` means ``pglz``) are tried one by one with ``postgres -C``. The output depends on the major versions
only: a second run changes nothing, and a new minor release only what it really changed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MAJORS = (14, 15, 16, 17, 18)
CATALOGUE = Path(__file__).parent.parent / "provision" / "spec" / "catalogue"

# What an enumeration takes without listing it: guc_tables.c marks those entries as hidden.
HIDDEN_WORDS = "true false yes no on off 1 0 default none debug info fatal panic log archive hot_standby regress"
# Values that a server has only when it was built with a library; the official images are, others may not be.
BUILT_IN = {
    "default_toast_compression": ("pglz", "lz4"),
    "io_method": ("sync", "worker", "io_uring"),
    "wal_compression": ("pglz", "lz4", "zstd", "on", "off"),
}

SETTINGS = """
SELECT json_object_agg(name, json_build_array(vartype, unit, context, min_val, max_val,
  CASE WHEN context <> 'internal' THEN boot_val END, enumvals) ORDER BY name COLLATE "C")
FROM pg_settings WHERE position('.' IN name) = 0
"""
TIME_ZONES = """
SELECT json_agg(name ORDER BY name COLLATE "C")
FROM pg_timezone_names WHERE name !~ '^(posix|right)/' AND name NOT IN ('localtime', 'posixrules', 'Factory')
"""
DESCRIPTIONS = """
SELECT json_object_agg(name, short_desc ORDER BY name COLLATE "C")
FROM pg_settings WHERE position('.' IN name) = 0
"""
SERVER = """
set -eu
data=$(mktemp -d)
initdb -D "$data" -U postgres -A trust --no-sync >/dev/null
{
    echo "listen_addresses = ''"
    echo "unix_socket_directories = '$data'"
} >"$data/postgresql.conf"
pg_ctl -D "$data" -s -w -l "$data/log" start
ask() { psql -XAtq -h "$data" -U postgres -d postgres -c "$1"; }
ask "$settings" | tr -d '\\n'; echo
ask "$time_zones" | tr -d '\\n'; echo
ask "$descriptions" | tr -d '\\n'; echo
ask "SELECT name FROM pg_settings WHERE vartype = 'enum' AND context <> 'internal' ORDER BY 1" >"$data/enums"
pg_ctl -D "$data" -s -w stop
while read -r name; do
    for word in $words; do
        if value=$(postgres -D "$data" -c "$name=$word" -C "$name" 2>/dev/null); then echo "$name $word $value"; fi
    done
done <"$data/enums"
"""


def read_server(major: int) -> list[str]:
    """Return the lines that a server of this major version gives: settings, time zones, texts, hidden words."""
    variables = {"settings": SETTINGS, "time_zones": TIME_ZONES, "descriptions": DESCRIPTIONS, "words": HIDDEN_WORDS}
    argv = ["docker", "run", "--rm", "--interactive", "--network", "none", "--user", "postgres", "--entrypoint", "bash"]
    for name, value in variables.items():
        argv += ["--env", f"{name}={value}"]
    done = subprocess.run(
        [*argv, f"postgres:{major}", "-s"], input=SERVER, text=True, stdout=subprocess.PIPE, check=True
    )
    return done.stdout.splitlines()


def catalogue(lines: list[str]) -> dict[str, list[object]]:
    """Return name → vartype, unit, context, minimum, maximum, boot value, enumeration, hidden words."""
    settings: dict[str, list[object]] = json.loads(lines[0])
    for name, row in settings.items():
        listed = row[6]
        if isinstance(listed, list) and name in BUILT_IN:
            row[6] = [*BUILT_IN[name], *(each for each in listed if each not in BUILT_IN[name])]
        row.append(None)
    hidden: dict[str, dict[str, str]] = {}
    for line in lines[3:]:
        name, word, value = line.split(" ")
        if word != value:
            hidden.setdefault(name, {})[word] = value
    for name, words in hidden.items():
        settings[name][7] = words
    for row in settings.values():
        while row and row[-1] is None:
            row.pop()
    return settings


def write(path: Path, opening: str, rows: list[str], closing: str) -> None:
    """Write JSON with one thing a line, so that a new release can be reviewed as a difference."""
    path.write_text(f"{opening}\n" + ",\n".join(rows) + f"\n{closing}\n", encoding="utf-8")


def main() -> None:
    """Write the files of the major versions that the command line names, or of all."""
    CATALOGUE.mkdir(exist_ok=True)
    descriptions: dict[str, str] = {}
    for major in [int(each) for each in sys.argv[1:]] or MAJORS:
        lines = read_server(major)
        settings = catalogue(lines)
        rows = [f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}" for name, row in settings.items()]
        write(CATALOGUE / f"postgresql-{major}.json", "{", rows, "}")
        if major == MAJORS[-1]:
            write(CATALOGUE / "timezones.json", "[", [json.dumps(each) for each in json.loads(lines[1])], "]")
        descriptions |= json.loads(lines[2])
        sys.stdout.write(f"postgresql-{major}.json: {len(settings)} settings\n")
    if len(sys.argv) == 1:  # what a setting is about, in the words of the newest version that has it
        texts = [f"{json.dumps(name)}:{json.dumps(text)}" for name, text in sorted(descriptions.items())]
        write(CATALOGUE / "descriptions.json", "{", texts, "}")


if __name__ == "__main__":
    main()
