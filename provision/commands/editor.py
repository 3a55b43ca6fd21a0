"""``provision schema``: what an editor knows of a spec."""

from __future__ import annotations

from pathlib import Path

import click

from provision.commands.options import subcommand
from provision.report.console import Console
from provision.version import __version__


@subcommand(
    "schema",
    "provision schema -o .provision/spec.schema.json",
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write it into this file.",
    ),
    argument=None,
    json=False,
)
def schema(console: Console, *, output: Path | None) -> None:
    """Print the JSON schema of a spec: every key, every setting of PostgreSQL, and what each may be.

    An editor with yaml-language-server (VS Code: the extension YAML) reads it where the first line of a spec names it.
    Both `init` and `apply` keep it in .provision/ for that. docs/editors.md has the line.
    """
    from provision.api import schema

    found = schema(output)
    if output is None:
        console.document(found)
    else:
        console.say(f"{output}: the schema of provision {__version__}")


@subcommand(
    "completion",
    "provision completion bash --install",
    click.argument("shell", required=False, type=click.Choice(["bash", "zsh", "fish"]), metavar="[bash | zsh | fish]"),
    click.option("--install", is_flag=True, help="Write it to where the shell of this user looks for it."),
    argument=None,
    json=False,
)
@click.pass_context
def completion(ctx: click.Context, console: Console, *, shell: str | None, install: bool) -> None:
    """Print the script that completes words in bash, zsh or fish: verbs, options, specs, revisions and names.

    Without a name it is that of the shell in SHELL. With --install it goes into a file of this user, whose path is
    printed; a second time there is nothing to do. Specs and revisions are read from files: no server is asked, and
    nothing of the project is run.
    """
    from provision.commands.completing import SHELLS, source

    shell = shell or console.environ.get("SHELL", "").rpartition("/")[2]
    if shell not in SHELLS:
        raise click.UsageError("which shell? Name bash, zsh or fish")
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)  # noqa: S101  # for mypy
    script = source(root.command, root.info_name or "provision", shell)
    if not install:
        console.put(script.rstrip("\n"))
        return
    from provision.shell.install import install as write

    done = write(shell, script, console.environ)
    said = "written; new shells complete words with it" if done.is_new else "nothing to do, it is there already"
    console.say(f"{done.path}: {said}")
    for line in done.lines:
        console.say(f"next: {line}")
