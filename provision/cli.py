"""The command line: the table of verbs, and the one boundary where an error becomes text and an exit code.

Nothing but click is loaded here, so that help, version and completion answer at once; the module of a verb is
imported when that verb is chosen. Click's own way to end a program is not used, because it exits with 2 for a
mistyped option, and 2 means "changes are pending" here.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import click

from provision.commands.options import help_without_verb, switches, teller
from provision.commands.specfile import refuse_passwords
from provision.commands.table import Verbs
from provision.report.console import Console
from provision.version import __version__

PROGRAM: Final = "provision"
_OBJECTS = 50_000
"""So many new objects let the garbage collector look for cycles. With Python's 700 it does that all the time while
modules are imported, which takes a twentieth of a run with nothing to do."""

COMMANDS: Final = {
    "init": "Write a spec, an Alembic environment and models where they are missing.",
    "validate": "Check a spec, and show every problem at its line.",
    "doctor": "Say what would fail, before anything does. Changes nothing.",
    "schema": "Print the JSON schema of a spec, for editors.",
    "render": "Write the rendered files of a spec, and nothing else.",
    "plan": "Show what apply would do, and why. Changes nothing.",
    "apply": "Make the server what the spec says.",
    "show": "Show a plan that was saved with --json.",
    "status": "Show what runs, where, and at which revision.",
    "list": "List every environment of this machine and engine.",
    "verify": "Compare everything that is declared with what is. Changes nothing.",
    "history": "Show what was done to the environment, by whom and when.",
    "import": "Print the roles and databases of the server as a spec has them.",
    "report": "Write one HTML page: what apply would do, pending SQL, differences, tables.",
    "erd": "Print the tables and their keys as text that draws: Mermaid or Graphviz.",
    "access": "Show who can use what in the server, and through what. Changes nothing.",
    "logs": "Print what the server has logged.",
    "psql": "Open a psql session, logged in.",
    "url": "Print the connection URL, with its password.",
    "env": "Print the login as variables: for a shell, direnv, a .env file, a pipeline.",
    "run": "Run a program that has the login in its environment.",
    "tunnel": "Keep a tunnel open to a server whose engine is reached by ssh.",
    "clone": "Make a fresh, migrated database for tests, and print its URL.",
    "start": "Start the server that was stopped.",
    "stop": "Stop the server. The data stays.",
    "restart": "Restart the server.",
    "snapshot": "Save, restore, list and remove snapshots of the data.",
    "reset": "Make the databases as a first apply does; the data so far is kept for an undo.",
    "backup": "Write dumps of the databases, list them, and bring one back.",
    "migrate": "Alembic's own verbs, on the trees of the spec.",
    "upgrade": "Bring the data to a newer major version.",
    "destroy": "Remove the server; its data only with --data.",
    "completion": "Print what completes words in bash, zsh or fish, or install it.",
    "golden": "Show, or remove, the copies that new data begins with.",
}
"""Every verb and its one-line help, in the order of the help page."""


def _by_name(groups: Mapping[str, str]) -> dict[str, str]:
    """Return the group of each name."""
    return {name: group for group, names in groups.items() for name in names.split()}


_MODULES: Final = _by_name(
    {
        "plan": "plan apply show",
        "server": "list start stop restart destroy",
        "contents": "access erd history import",
        "status": "status verify",
        "connect": "url psql logs clone tunnel",
        "env": "env run",
        "project": "init validate render",
        "editor": "schema completion",
        "snapshot": "snapshot reset",
    }
)
"""The module of each command that shares one."""
_WORDS: Final = _by_name(
    {
        "apply": "up create deploy",
        "stop | destroy": "down",
        "destroy": "rm remove delete drop",
        "status": "ps info",
        "list": "ls",
        "plan --diff": "diff",
        "render --stdout": "config",
        "psql": "exec shell connect",
    }
)
"""What other programs call it."""
_ANSWERS: Final = {
    "help": ("help is an option", "provision {} --help"),
    "version": ("version is an option", "provision --version"),
    "docs": ("each command describes itself", "provision {} --help"),
}
"""Words that are no command, with the line to type."""


@click.group(
    PROGRAM,
    cls=Verbs,
    table=COMMANDS,
    modules=_MODULES,
    package="provision.commands",
    usual="apply",
    words=_WORDS,
    answers=_ANSWERS,
    inner="migrate",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Help on one command: provision apply --help",
)
@click.version_option(__version__, "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
@switches
@click.pass_context
def verbs(ctx: click.Context) -> None:
    """Turn one YAML spec into a running, configured, migrated PostgreSQL."""
    help_without_verb(ctx)


def run(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run one command line and return its exit code. This is the one place that catches everything."""
    console = Console(environ=environ)
    try:
        refuse_passwords(_before_dashes(arguments))
        with verbs.make_context(PROGRAM, list(arguments), obj=console) as ctx:
            code = verbs.invoke(ctx)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the boundary
        import shlex

        from provision.report.errors import report

        console.command = shlex.join((PROGRAM, *arguments))
        console.json = console.json or "--json" in _before_dashes(arguments)
        code = report(error, console, teller(console))
    console.close()
    return int(code or 0)


def _before_dashes(arguments: Sequence[str]) -> Sequence[str]:
    return list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments


def main() -> NoReturn:
    """Run the program on the arguments of this process."""
    gc.set_threshold(_OBJECTS)
    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        from provision.commands.completing import complete

        os._exit(complete(verbs, PROGRAM))
    from provision.system.libpq import own_process

    code = run(sys.argv[1:], own_process())
    os._exit(code)  # both streams are flushed; Python would take 200 modules apart first, a tenth of the time
