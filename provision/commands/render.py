"""``provision render``: the files that a spec stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_spec, no_commands_option, pass_console, spec_argument, switches

if TYPE_CHECKING:
    from pathlib import Path

    from provision.model.effects import WriteFile
    from provision.report.console import Console


@click.command("render", epilog="Example: provision render --stdout specs/dev.yml")
@spec_argument
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the files (never a secret) and write nothing.")
@no_commands_option
@switches
@pass_console
def command(console: Console, spec: Path | None, *, to_stdout: bool) -> None:
    """Write docker-compose.yml and postgresql.conf, and touch nothing else.

    They go to .provision/NAME/ beside the spec, and only a file that differs is written. Their paths are printed.
    """
    from provision.observe import rendered

    read = load_spec(console, spec)
    files = rendered(read)
    if to_stdout:
        _print(console, files)
        for line in _unknown(console):
            console.put(f"# ? {line}")
        return
    from provision.apply import write
    from provision.model.words import shown

    changed = set(write(read.home, files))
    paint = console.paint(console.out)
    for file in files:
        word = paint("green", "written") if file.path in changed else "unchanged"
        console.say(f"{shown(file.path)}: {word}")
    for line in _unknown(console):
        console.say(f"? {line}")


def _unknown(console: Console) -> tuple[str, ...]:
    if not console.no_commands:
        return ()
    from provision.observe import unknown

    return unknown()


def _print(console: Console, files: tuple[WriteFile, ...]) -> None:
    from provision.model import Secret
    from provision.model.words import shown

    for number, file in enumerate(files):
        if number:
            console.put("")
        if isinstance(file.content, Secret):
            console.put(f"# {shown(file.path)} (a secret, mode {file.mode:04o}: not printed)")
        else:
            console.put(f"# {shown(file.path)}")
            console.put(file.content.removesuffix("\n"))
