"""Each verb, however deep, has help with an example that names it; the program says where its documentation lies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import click
import pytest
from click.testing import CliRunner

from provision.cli import verbs

if TYPE_CHECKING:
    from collections.abc import Iterator


def every(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each verb."""
    context = click.Context(group)
    for name in group.list_commands(context):
        yield (*path, name)
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from every(command, *path, name)


@pytest.mark.parametrize("words", [*every(verbs)], ids=" ".join)
def test_a_verb_has_an_example(words: tuple[str, ...]) -> None:
    page = CliRunner().invoke(verbs, [*words, "--help"]).output
    example = " ".join(page.partition("Example:")[2].split())
    assert f"provision {' '.join(words)}" in example
    assert len(page.partition("\n\n")[2].strip().splitlines()[0].strip()) > 20


def test_the_documentation_that_help_names_is_there() -> None:
    page = CliRunner().invoke(verbs, ["--help"]).output
    (link,) = re.findall(r"^  Documentation: (\S+)$", page, re.MULTILINE)
    assert Path(unquote(urlsplit(link).path)).read_text(encoding="utf-8").startswith("# The command line")
