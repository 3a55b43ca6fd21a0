"""``provision migrate check``, ``lint`` and ``test``: what is wrong with revisions, before they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provision import alembic
from provision.commands.migrate import again, none, one, server_unless_new, verb
from provision.commands.options import format_option
from provision.errors import EXIT_DONE, EXIT_FAILED, with_spec

if TYPE_CHECKING:
    from provision.alembic import Law, Linted, Trace, Tree
    from provision.environment import Environment
    from provision.report.console import Console

    Words = tuple[str, ...]


def _pending(words: Words, *, everything: bool, trace: bool, since: str | None) -> str:
    span = one(words, default="", what="target")
    if everything and span:
        raise click.UsageError(f"--all and {span} exclude each other")
    if since is not None and (everything or ":" in span):
        raise click.UsageError("--since says where to begin, so it goes without --all and FROM:TO")
    if trace and (everything or ":" in span or since is not None):
        raise click.UsageError("--trace runs what is pending in the database, so it goes without --all and FROM:TO")
    return span


def _nothing(words: Words, *, files: bool, since: str | None) -> None:
    none(words)
    if since is not None and not files:
        raise click.UsageError("--since goes with --files: it compares revision files with those of a branch")


@verb(
    "--files --since origin/main specs/dev.yml",
    click.option("--files", is_flag=True, help="Look at the revision files alone, of all trees. Needs no server."),
    click.option(
        "--since", metavar="REVISION", help="With --files: a branch of Git; none of its revisions may be edited."
    ),
    format_option(),
    takes=_nothing,
    is_judged=True,
)
def check(
    console: Console, environment: Environment, tree: Tree | None, _: None, *, since: str | None, **__: Any
) -> int:
    """Compare the models of env.py with the database. Nothing is changed: the session may only read.

    Exits with 1 where they differ, as `alembic check` fails. With --files nothing of the project is run: one head, no
    id that is there twice or too long, and with --since no revision of that branch that was edited or removed.
    """
    if tree is None:
        return _check_files(console, environment, since)
    from provision.report import migrations
    from provision.report.pipelines import results

    found = alembic.check(tree, lambda: environment.superuser)
    advice = str(alembic.advice(found.differences, again(console, "revision --autogenerate -m '…'")))
    lines = migrations.compared(tree.spec.name, found, advice, console.paint(console.out))
    console.show(lambda: migrations.compared_document(tree, found), lines, talk=True)
    results.compared(console, tree, found, advice)
    return EXIT_FAILED if found.differences else EXIT_DONE


def _check_files(console: Console, environment: Environment, since: str | None) -> int:
    from provision.report import revision_files as report
    from provision.report.pipelines import results

    found = environment.check_files(since=since, tree=console.tree or None)
    name, paint = environment.made.name, console.paint(console.out)
    console.show(
        lambda: report.document(environment.made, found, since, console.elapsed()),
        report.lines(found, paint),
        prose=True,
        recap=report.recap(name, found, since, console.elapsed(), paint),
    )
    results.files_checked(console, name, found, since)
    return EXIT_FAILED if any(each.faults for each in found) else EXIT_DONE


@verb(
    "--trace specs/dev.yml",
    click.option(
        "--all", "everything", is_flag=True, help="Every revision, also those that are applied. Needs no server."
    ),
    click.option("--since", metavar="REVISION", help="Those that a branch of Git does not have. Needs no server."),
    click.option("--trace", is_flag=True, help="Run them on a scratch copy too, and show what they lock and rewrite."),
    format_option("sarif", "gitlab"),
    takes=_pending,
    arguments="[TARGET|FROM:TO]",
    is_judged=True,
)
def lint(
    console: Console,
    environment: Environment,
    tree: Tree,
    span: str,
    *,
    everything: bool,
    trace: bool,
    since: str | None,
) -> int:
    """Look at the SQL of pending revisions with squawk. Nothing is run, unless --trace is given.

    FROM:TO, --since and --all need no server. Exits with 1 when something is found; `# provision: ignore RULE` in the
    revision file, on the line of the operation or at the top, says that it is meant.
    """
    from provision.report import lint as report
    from provision.report.pipelines import results

    _refuse_two_documents(console)
    paint = console.paint(console.out)
    known = None if since is None else alembic.applied_since(tree, since)
    target = "base:heads" if everything else span or ("heads" if since is not None else "")
    found = alembic.lint(tree, target, server_unless_new(environment), known)
    is_text = not console.json and not _print_document(console, found)
    if is_text:  # first: a revision that fails on the copy ends this
        console.put(*report.lines(found, paint, every=console.verbose), prose=True)
    results.linted(console, tree, found)
    seen = _traced(environment, tree, found, span) if trace else None
    if console.json:
        console.document(report.document(tree, found, seen, console.elapsed()))
    if is_text:
        _conclude(console, tree, found, seen)
    return EXIT_FAILED if found.findings else EXIT_DONE


def _conclude(console: Console, tree: Tree, found: Linted, seen: Trace | None) -> None:
    """Say what was traced, the sum, and what to do about it."""
    from provision.report import lint as report

    paint = console.paint(console.out)
    if seen is not None and found.revisions:
        console.lines(report.traced(tree, seen, paint, every=console.verbose))
    console.say(report.recap(tree, found, console.elapsed(), paint))
    if found.findings:
        console.say(f"{paint('cyan', 'next:')} {report.ADVICE}")


def _refuse_two_documents(console: Console) -> None:
    if console.json and console.format not in ("text", "github"):
        raise click.UsageError(f"--json and --format {console.format} are two documents for one standard output")


def _print_document(console: Console, found: Linted) -> bool:
    """Print the findings as the document that was asked for, if one was."""
    if console.format not in ("sarif", "gitlab"):
        return False
    from provision.report.pipelines import documents
    from provision.report.pipelines.notes import root_of

    make: Any = {"sarif": documents.sarif, "gitlab": documents.code_quality}[console.format]
    console.document(make(found, root_of(console.environ)))
    return True


def _traced(environment: Environment, tree: Tree, found: Linted, span: str) -> Trace:
    if not found.revisions:
        return alembic.Trace((), {}, is_clone=False, why="nothing is pending")
    target = alembic.resolve(tree.graph, span or tree.declared.target, found.rows)
    endpoint = alembic.scratch_server(tree, lambda: environment.superuser)
    return alembic.trace(tree, endpoint, found.rows, target)


@verb("--format junit specs/dev.yml > laws.xml", format_option("junit"))
def test(console: Console, environment: Environment, tree: Tree, _: None) -> int:
    """Try four laws on scratch databases: one head, empty to head, up-down-up, and models.

    The declared database is only read. The scratch databases are dropped at the end. Exits with 1 when a law is broken.
    """
    from provision.report import laws as report
    from provision.report.pipelines import results

    _refuse_two_documents(console)
    endpoint = alembic.scratch_server(tree, lambda: environment.superuser)
    paint = console.paint(console.talk)
    console.say(report.heading(tree, endpoint.address, paint))

    def show(law: Law) -> None:
        put = console.complain if console.quiet and law.outcome == "failed" else console.say
        step = with_spec(law.next_step or "", console.spec, console.tree)
        for line in report.lines(law, step, paint, every=console.verbose):
            put(line)

    found = alembic.try_laws(tree, endpoint, show)
    if console.json:
        console.document(report.document(tree, found, console.elapsed()))
    elif console.format == "junit":
        from provision.report.pipelines import documents
        from provision.report.pipelines.notes import root_of

        console.put(documents.junit(tree, found, console.elapsed(), root_of(console.environ)))
    console.say(report.recap(found, tree.spec.name, console.elapsed(), paint))
    results.tried(console, tree, found)
    return EXIT_FAILED if any(law.outcome == "failed" for law in found) else EXIT_DONE
