"""Which lines of a server's log an error quotes."""

import pytest

from provision.runtimes.docker.watch import telling

CASES = {
    "nothing fatal: the end": (["LOG: a", "LOG: b"], ["LOG: a", "LOG: b"]),
    "the complaint with its hint, not the shutdown before it": (
        ["LOG: shutting down", "LOG: database system is shut down", "FATAL: no memory", "HINT: less", "LOG: end"],
        ["FATAL: no memory", "HINT: less", "LOG: end"],
    ),
    "what led to it": (
        ["Skipping initialization", "LOG: invalid value for work_mem", "FATAL: the file contains errors"],
        ["LOG: invalid value for work_mem", "FATAL: the file contains errors"],
    ),
    "once, where it starts again and again": (
        ["FATAL: no", "Skipping initialization", "FATAL: no", "Skipping initialization", "FATAL: no"],
        ["FATAL: no"],
    ),
    "without the beginning of the next start": (
        ["FATAL: no", "HINT: less", "", "PostgreSQL Database directory has a database; Skipping initialization", "x"],
        ["FATAL: no", "HINT: less", ""],
    ),
}


@pytest.mark.parametrize(("lines", "expected"), CASES.values(), ids=CASES)
def test_an_error_quotes_the_last_fatal_complaint(lines: list[str], expected: list[str]) -> None:
    assert telling(lines) == expected
