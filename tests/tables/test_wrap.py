"""What becomes of a line that is wider than the terminal."""

from __future__ import annotations

import io
import os
import pty
import termios
from contextlib import suppress

import pytest

from provision.report.console import CODES, Console, Paint, wrap

WIDTH = 40


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("short", ["short"]),
        ("", [""]),
        (
            "    the server refuses the password of 'postgres' on this machine",
            ["    the server refuses the password of", "    'postgres' on this machine"],
        ),
        (
            "error: the database is at revision 0008, which is unknown here",
            ["error: the database is at revision 0008,", "       which is unknown here"],
        ),
        (
            "next: write `target: heads` to apply all of them, or join them: provision migrate merge -m 'merge' s.yml",
            [
                "next: write `target: heads` to apply all",
                "      of them, or join them:",
                "      provision migrate merge -m 'merge' s.yml",
            ],
        ),
        (
            "next: install it there: /opt/python -m pip install alembic psycopg2-binary",
            ["next: install it there:", "      /opt/python -m pip install alembic psycopg2-binary"],
        ),
        (
            "next: remove it from it: `docker volume rm the-data` and no more",
            ["next: remove it from it:", "      `docker volume rm the-data` and no", "      more"],
        ),
        (
            "      next: write `server: {direct: {host: 10.0.0.7}}`",
            ["      next: write `server: {direct:", "            {host: 10.0.0.7}}`"],
        ),
        ("next: provision migrate downgrade --yes specs/dev.yml -2", None),
        ("next: read -rs DB_PASSWORD && export DB_PASSWORD", None),
        (
            "next: provision apply --golden specs/a-long-name.yml   # it continues from what was done so far",
            [
                "next: provision apply --golden specs/a-long-name.yml",
                "      # it continues from what was done",
                "      so far",
            ],
        ),
        ("  postgresql://postgres:secret@127.0.0.1:5432/a-database-with-a-name", None),
        (
            "~ column    t.n       integer              → bigint",
            ["~ column    t.n       integer", "            → bigint"],
        ),
        (
            "  runtime     docker, the engine at unix:///var/run/docker.sock",
            ["  runtime     docker, the engine at", "              unix:///var/run/docker.sock"],
        ),
        (
            "  ✓ one head        0007 is the only head of the tree",
            ["  ✓ one head        0007 is the only", "                    head of the tree"],
        ),
        (
            "  line 14: require-it: readers wait until the index is there",
            ["  line 14: require-it: readers wait", "           until the index is there"],
        ),
        (
            "    a long first column that is text and no table  and more of the same kind",
            ["    a long first column that is text and", "    no table  and more of the same kind"],
        ),
    ],
)
def test_a_line_is_wrapped_at_words(line: str, lines: list[str] | None) -> None:
    found = wrap(line, WIDTH)
    assert found == ([line] if lines is None else lines)
    assert "".join("".join(found).split()) == "".join(line.split())


@pytest.mark.parametrize("style", CODES)
def test_colours_take_no_columns(style: str) -> None:
    paint = Paint(on=True)
    line = f"{paint(style, 'next:')} {paint(style, 'correct')} the revision, and run it again"
    plain = wrap("next: correct the revision, and run it again", WIDTH)
    assert [each.replace("\x1b[0m", "").replace(f"\x1b[{CODES[style]}m", "") for each in wrap(line, WIDTH)] == plain
    assert len(plain) == len(["next: correct the revision, and run it", "      again"])
    command = paint(style, "provision apply a/spec/with/a/long/name.yml")
    assert wrap(f"{paint(style, 'next:')} {command}", WIDTH) == [f"{paint(style, 'next:')} {command}"]


def test_only_a_terminal_gets_wrapped_lines_and_data_is_never_wrapped() -> None:
    line = "this is a line that has more than the forty columns of it"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, WIDTH))
    with open(theirs, "w", encoding="utf-8") as screen:  # noqa: PTH123  # a descriptor
        console, piped = Console(screen, screen, {}), io.StringIO()
        console.say(line)
        console.complain(line)
        console.put(line)
        console.say(line, whole=True)
        Console(piped, piped, {}).say(line)
    seen = b""
    with suppress(OSError):  # the other end is closed
        while chunk := os.read(ours, 65536):
            seen += chunk
    os.close(ours)
    wrapped = "this is a line that has more than the\nforty columns of it\n"
    assert seen.decode().replace("\r\n", "\n") == f"{wrapped}{wrapped}{line}\n{line}\n"
    assert piped.getvalue() == f"{line}\n"
