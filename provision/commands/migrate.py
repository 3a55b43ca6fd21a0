"""``provision migrate``: Alembic's own verbs on the trees of a spec."""

from __future__ import annotations

import re
import shlex
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from provision import alembic
from provision.commands.options import about_spec, confirm, help_without_verb, load_environment, subcommand, switches
from provision.commands.specfile import split
from provision.commands.table import Verbs
from provision.errors import EXIT_DONE, EXIT_FAILED, RefusedError, command as written, with_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provision.alembic import Decided, Entry, Tree, Written
    from provision.environment import Environment
    from provision.model import Endpoint, TenantGroup
    from provision.report.console import Console, Paint

    Words = tuple[str, ...]

COMMANDS: Final = {
    "current": "Show the revision of the database.",
    "history": "List the revisions, newest first. Needs no server.",
    "heads": "List the revisions that nothing follows. Needs no server.",
    "upgrade": "Run the revisions up to a target.",
    "downgrade": "Undo the revisions down to a target; their data goes away.",
    "stamp": "Write a revision into the version table, and run nothing.",
    "sql": "Print the SQL of the revisions, and run nothing.",
    "check": "Compare the models with the database; --files looks at the revision files alone.",
    "revision": "Write a new revision file.",
    "merge": "Write a revision that joins several heads. Needs no server.",
    "lint": "Look for what is dangerous in pending revisions; --trace runs them on a copy.",
    "test": "Try four laws on scratch databases: one head, empty to head, up-down-up, models.",
}
"""Every verb and its one-line help, in the order of the help page."""
_WORDS: Final = {
    "up": "upgrade",
    "apply": "upgrade",
    "down": "downgrade",
    "status": "current",
    "show": "history",
    "log": "history",
    "diff": "check",
    "new": "revision",
    "create": "revision",
    "generate": "revision",
}
"""What other programs call it."""
_RELATIVE: Final = r"-\d+(:.*)?"
_MARK: Final = "\0"


@click.group(
    "migrate",
    cls=Verbs,
    table=COMMANDS,
    package="provision.commands",
    modules=dict.fromkeys(("check", "lint", "test"), "checking"),
    usual="current",
    words=_WORDS,
    answers={"help": ("help is an option", "provision migrate {} --help")},
    invoke_without_command=True,
    subcommand_metavar="VERB [OPTIONS] [SPEC] [ARGUMENTS]...",
    options_metavar="",
    epilog="Example: provision migrate history specs/dev.yml",
)
@switches
@click.pass_context
def command(ctx: click.Context) -> None:
    """Alembic's verbs, with the connection, the interpreter and the options that apply uses.

    They start no server. An argument that ends in .yml or .yaml is the spec, in any position; without one it is
    provision.yml of the current directory. Everything else is Alembic's: a revision, head, +1, -1, FROM:TO.
    """
    help_without_verb(ctx)


class MigrateCommand(click.Command):
    """A command whose arguments may be so many steps down: ``-1`` is a target and no option.

    ``arguments`` says on the usage line what it takes beside the spec.
    """

    def __init__(self, *words: Any, arguments: str = "", **more: Any) -> None:
        super().__init__(*words, **more)
        self._arguments = arguments

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let ``-1`` be an argument; the word after an option that takes a value belongs to it."""
        valued = {
            name
            for each in self.params
            if isinstance(each, click.Option) and not each.is_flag
            for name in (*each.opts, *each.secondary_opts)
        }
        before = ["", *args]
        marked = [
            _MARK + word if re.fullmatch(_RELATIVE, word) and last not in valued else word
            for last, word in zip(before, args, strict=False)
        ]
        return super().parse_args(ctx, marked)

    def collect_usage_pieces(self, _ctx: click.Context) -> list[str]:
        """Return the pieces of the usage line."""
        return ["[OPTIONS]", "[SPEC]", *([self._arguments] if self._arguments else [])]


def _unmarked(_ctx: click.Context, _parameter: click.Parameter, value: Words) -> Words:
    return tuple([word.removeprefix(_MARK) for word in value])


def on_a_tree(function: Any) -> Any:
    """Add what every verb takes: its words, and which tree they are about."""
    words = click.argument("words", nargs=-1, callback=_unmarked, metavar="[SPEC] [ARGUMENTS]...")
    tree = click.option("--tree", metavar="NAME", help="Which of several trees is meant: its name in the spec.")
    tenant = click.option("--tenant", metavar="NAME", help="Of a tree with tenants, which one is meant.")
    return about_spec(words(tree(tenant(function))))


def none(words: Words, **_: Any) -> None:
    """Refuse a word beside the spec."""
    if words:
        raise click.UsageError(f"unexpected argument {words[0]!r}; the spec ends in .yml or .yaml")


def one(words: Words, *, what: str, default: str | None = None, **_: Any) -> str:
    """Return the only word beside the spec, or the default; ``what`` says what it is."""
    if len(words) > 1:
        raise click.UsageError(f"one {what} at a time: {' and '.join(words)} were given")
    if not words and default is None:
        raise click.UsageError(f"which {what}?")
    return words[0] if words else default or ""


def _some(words: Words, **_: Any) -> Words:
    if not words:
        raise click.UsageError("which revision? Write the one that the database is really at, heads, or base")
    return words


def verb(
    example: str, *options: Any, takes: Callable[..., Any] = none, arguments: str = "", is_judged: bool = False
) -> Callable[[Callable[..., int | None]], click.Command]:
    """Make a verb of a function of the console, the tree and what ``takes`` makes of the words.

    ``is_judged``: it gets the options too. With the option ``files`` no tree is read, and the function gets None.
    """

    def make(function: Callable[..., int | None]) -> click.Command:
        name = function.__name__

        def run(console: Console, /, words: Words, tree: str | None, tenant: str | None, **given: Any) -> int | None:
            spec, rest = split(words)
            what = takes(rest, **given) if is_judged else takes(rest)
            environment = load_environment(console, spec, runs_nothing=bool(given.get("files")))
            found = None if given.get("files") else environment.tree(tree, tenant=tenant)
            console.tree = found.name if found and len(environment.spec.migrations) > 1 else tree or ""
            if tenant is not None and found is not None:
                console.tree = f"{found.name} --tenant {shlex.quote(tenant)}"
            return function(console, environment, found, what, **given)

        run.__doc__ = function.__doc__
        own: dict[str, Any] = {"group": command, "cls": MigrateCommand, "arguments": arguments}
        return subcommand(name, f"provision migrate {name} {example}", *options, argument=on_a_tree, **own)(run)

    return make


def again(console: Console, verb: str, *rest: str) -> str:
    """Return a command of ``migrate`` about the same tree."""
    return console.line(f"migrate {verb}{f' --tree {console.tree}' if console.tree else ''}", *rest)


def server_unless_new(environment: Environment) -> Callable[[], Endpoint | None]:
    """Return what asks where the server is reached; None: there is no data yet."""
    why = "only its database knows where it is; FROM:TO says where to begin without it, like base:head"
    return lambda: environment.endpoint_unless_new(why)


@verb("specs/dev.yml")
def current(console: Console, environment: Environment, tree: Tree, _: None) -> None:
    """Show the rows of the version table, as `alembic current` does. Changes nothing."""
    from provision.report import migrations

    if tree.declared.tenants is not None:
        from provision.report import tenants

        environment.login(superuser=True)  # an error where no server runs
        found = _tenants(environment, tree)
        lines = tenants.current(tree, found, verbose=console.verbose)
        console.show(lambda: tenants.document(tree, found), lines, prose=True)
        return
    rows = alembic.applied_rows(tree, environment.superuser)
    _list(console, tree, alembic.entries(tree.graph, rows, rows), migrations.current)


def _tenants(environment: Environment, tree: Tree) -> tuple[TenantGroup, ...]:
    """Return the tenants of a tree in groups; an error where they are not known."""
    seen = environment.overview()
    if tree.name in seen.status.tenants:
        return seen.status.tenants[tree.name]
    if seen.refusal is not None:
        raise seen.refusal
    with alembic.asking(environment.superuser) as query:
        query.rows("SELECT")  # an error that says why it does not answer
        raise RefusedError("which tenants there are is not known yet", next_step=written("plan") + "   (says why)")


@verb(
    "specs/dev.yml -3:",
    click.option(
        "-i",
        "--indicate-current",
        is_flag=True,
        help="Mark where the database is, and say when what was applied; this asks the server.",
    ),
    click.option("--graph", is_flag=True, help="Draw which revision follows which, as `git log --graph` does."),
    takes=partial(one, default=":", what="range"),
    arguments="[FROM:TO]",
)
def history(
    console: Console, environment: Environment, tree: Tree, between: str, *, indicate_current: bool, graph: bool
) -> None:
    """List the revisions, newest first, as `alembic history` does. The files are read, and nothing is run.

    FROM:TO lists a part of them, both ends included: base:0004, 0002:, :head. An end that counts from where the
    database is (current, -2, +1) asks the server.
    """
    from provision.report import migrations

    rows, times = None, dict[str, str]()
    if indicate_current:
        rows, times = alembic.applied_with_times(tree, environment.superuser)
    elif any(alembic.needs_rows(each) for each in between.split(":")):
        rows = alembic.applied_rows(tree, environment.superuser)
    names = alembic.history(tree.graph, between, rows or ())
    listed = alembic.entries(tree.graph, names, rows if indicate_current else None, times)
    if graph and not console.json:
        console.put(*migrations.graph(tree, listed, console.paint(console.out)))
        return
    _list(console, tree, listed, migrations.history)


@verb("specs/dev.yml")
def heads(console: Console, _environment: Environment, tree: Tree, _: None) -> None:
    """List the revisions that nothing follows, as `alembic heads` does. The files are read, and nothing is run."""
    from provision.report import migrations

    _list(console, tree, alembic.entries(tree.graph, tree.graph.heads), migrations.head)


def _list(console: Console, tree: Tree, found: Sequence[Entry], line: Callable[[Entry, Paint], str]) -> None:
    from provision.report.migrations import revisions

    paint = console.paint(console.out)
    console.show(lambda: revisions(tree, found), [line(each, paint) for each in found], prose=True)


@verb("specs/dev.yml +1", takes=partial(one, default="", what="target"), arguments="[TARGET]")
def upgrade(console: Console, environment: Environment, tree: Tree, target: str) -> int:
    """Run the revisions up to TARGET, as an apply does: under the lock, with retries, and proved afterwards.

    TARGET is a revision or the beginning of one, head, heads, branch@head, or steps like +1; without it, the target of
    the spec. What is beyond it stays.
    """
    return _carry_out(
        console,
        environment,
        environment.backed_up(alembic.upgrade(tree, lambda: environment.superuser, target or tree.declared.target)),
        "upgrade",
    )


@verb(
    "specs/dev.yml -1",
    click.option("--yes", is_flag=True, help="Do not ask. Needed without a terminal."),
    takes=partial(one, what="target"),
    arguments="TARGET",
)
def downgrade(console: Console, environment: Environment, tree: Tree, target: str, *, yes: bool) -> int:
    """Undo the revisions that follow TARGET, and what depends on them. What they added goes away, with its data.

    TARGET is a revision that is applied, steps like -1 or branch@-1, or base. Shows the revisions first, and asks for
    the environment's name.
    """
    decided = environment.backed_up(alembic.downgrade(tree, lambda: environment.superuser, target))
    if not yes and not decided.plan.is_empty:
        line = again(console, "downgrade --yes", target)
        confirm(console, tree.spec.name, decided.plan, what="data would go away", again=line)
    return _carry_out(console, environment, decided, "downgrade")


@verb(
    "specs/dev.yml 0004",
    click.option("--purge", is_flag=True, help="Forget every row that is there, also of revisions that no file has."),
    takes=_some,
    arguments="TARGET...",
)
def stamp(console: Console, environment: Environment, tree: Tree, targets: Words, *, purge: bool) -> int:
    """Write into the version table that TARGET is applied. No revision is run, and no other table is touched.

    Several targets are several heads. Rows on other branches stay, unless --purge takes them away.
    """
    return _carry_out(
        console, environment, alembic.stamp(tree, lambda: environment.superuser, targets, purge=purge), "stamp"
    )


def _carry_out(console: Console, environment: Environment, decided: Decided, verb: str) -> int:
    """Make a move that was decided, and say what became of it, and where the next apply goes."""
    from provision.report import migrations
    from provision.report.progress import followed

    tree = decided.tree
    if decided.plan.is_empty:
        done = environment.move(decided)
    else:
        with followed(console) as progress:
            done = environment.move(decided, progress)
    if console.json:
        console.document(migrations.moved_document(tree, verb, done, console.elapsed()))
        return EXIT_DONE
    console.say(migrations.moved(tree.spec.name, done, console.elapsed(), console.paint(console.out)))
    if tree.spec.backs_up:
        from provision.report.backups import going_back
        from provision.report.survey import suggestions

        console.lines(suggestions(going_back(decided.plan.steps, console), console.paint(console.out)))
    if remark := alembic.next_apply(tree, done.after):
        console.say(f"  {with_spec(remark, console.spec, console.tree)}")
    return EXIT_DONE


@verb("specs/dev.yml > next.sql", takes=partial(one, default="", what="target"), arguments="[TARGET|FROM:TO]")
def sql(console: Console, environment: Environment, tree: Tree, span: str) -> int:
    """Print the SQL from where the database is to TARGET, or to the target of the spec. Nothing is run.

    FROM:TO needs no server. A revision that reads from the database cannot be rendered: it is named, with the reason,
    and the exit code is 1 then.
    """
    from provision.report import migrations, sql as report

    script = alembic.between(tree, span, server_unless_new(environment))
    console.show(lambda: {**migrations.of(tree, "migration-sql"), **report.document(script)}, report.lines(script))
    return EXIT_FAILED if script.missing else EXIT_DONE


def _telling(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not re.search(r"\w", value):
        raise click.UsageError(
            f"-m {value!r} says nothing: it becomes the file's name, which needs a letter or a digit"
        )
    return value


_MESSAGE = click.option(
    "-m", "--message", required=True, metavar="TEXT", callback=_telling, help="What it does, in a few words."
)
_BRANCH_LABEL = click.option("--branch-label", metavar="LABEL", help="A label for the branch that begins with it.")
_REV_ID = click.option("--rev-id", metavar="ID", help="Its id, in place of one that is made up.")


@verb(
    "--autogenerate -m 'add email' specs/dev.yml",
    _MESSAGE,
    click.option("--autogenerate", is_flag=True, help="Fill it with what differs between models and database."),
    click.option("--allow-empty", is_flag=True, help="With --autogenerate: write it even when nothing differs."),
    click.option("--head", metavar="REVISION", help="What it is to follow, where the tree has several heads."),
    click.option("--splice", is_flag=True, help="With --head: it may follow a revision that is no head."),
    _BRANCH_LABEL,
    click.option("--version-path", metavar="PATH", help="Its directory, where the tree has several."),
    _REV_ID,
    click.option(
        "--depends-on", multiple=True, metavar="REVISION", help="What must be applied before it, beside that."
    ),
)
def revision(
    console: Console, environment: Environment, tree: Tree, _: None, *, allow_empty: bool, **given: Any
) -> None:
    """Write a new revision file from the template of the tree.

    With --autogenerate it holds what differs between the models of env.py and the database, which has to be at head;
    that needs the server. When nothing differs, no file is written.
    """
    given |= {"head": given["head"] or "head", "depends_on": list(given["depends_on"]) or None}
    _show_written(console, tree, alembic.revision(tree, given, lambda: environment.superuser, allow_empty=allow_empty))


@verb("-m 'join the branches' specs/dev.yml", _MESSAGE, _BRANCH_LABEL, _REV_ID, takes=tuple, arguments="[REVISION...]")
def merge(console: Console, environment: Environment, tree: Tree, names: Words, **given: Any) -> None:
    """Write a revision that follows several heads: those that are named, or all of them."""
    _show_written(console, tree, alembic.merge(tree, given, names, lambda: environment.superuser))


def _show_written(console: Console, tree: Tree, done: Written) -> None:
    from provision.report import migrations

    is_next = tree.declared.target in ("head", "heads")
    step = console.line("apply") if is_next else again(console, "upgrade", *(each for each, _ in done.files))
    lines = migrations.written(tree.spec.name, done, alembic.after_writing(done.operations, step))
    console.show(lambda: migrations.written_document(tree, done), lines, talk=True)
