"""``migrate check --files``: the revision files alone, and what another branch has of them.

No server is asked and nothing of the project is run, so that it can be done at every commit. Git is asked only for
``--since``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from provision.alembic.tree.checking import Checked, Since, check
from provision.alembic.tree.location import Location
from provision.alembic.tree.source import stated_id
from provision.alembic.trees import Tree, find, stated_sources
from provision.errors import MigrationsError, UsageError
from provision.spec.model import Migrations, Spec
from provision.system.git import SECONDS, Git, GitError

_NO_BASE = "no commit that both have is in this clone"
_REMOTE = "origin/"


def check_files(spec: Spec, name: str | None = None, since: str | None = None) -> tuple[Checked, ...]:
    """Check the files of all trees, or of the one with this name; ``since`` is a branch, a tag or a commit.

    Raises:
        UsageError: there is no such tree, or Git does not have what is to be compared.
        MigrationsError: there is no tree there.
    """
    names = tuple([tree.name for tree in spec.migrations])
    if name not in (None, *names):
        raise UsageError(f"the spec declares no migrations with the name {name!r}", evidence=names)
    return tuple([_checked(tree, since) for tree in spec.migrations if name in (None, tree.name)])


def _checked(tree: Migrations, since: str | None) -> Checked:
    try:
        location = find(tree, directory=_unknown)
        sources, widens = stated_sources(tree)
    except _UnknownPlaceError as error:
        return Checked(tree.name, 0, (), (error.sentence,))
    other = None if since is None else _since(location, since)
    return check(tree.name, tree.target, sources, other, widens=widens)


class _UnknownPlaceError(MigrationsError):
    """Only the interpreter of the project knows where its revisions are."""


def _unknown(place: str) -> Path:
    raise _UnknownPlaceError(f"only the project's interpreter knows where {place} is")


def applied_since(tree: Tree, since: str) -> tuple[str, ...]:
    """Return the rows of a version table once the revisions are applied that another branch has.

    Raises:
        UsageError: Git does not have that branch.
    """
    git, top = _repository(tree.location, since)
    commit = _commit(git, since)
    try:
        stated = [stated_id(each) for each in _files(git, tree.location, top, commit).values()]
    except GitError as error:
        raise _missing(git, since, str(error)) from None
    names = [found[0] for found in stated if found is not None and found[0] in tree.graph]
    return tree.graph.version_rows(names)


def _since(location: Location, since: str) -> Since:
    git, top = _repository(location, since)
    tip = _commit(git, since)
    try:
        base = git("merge-base", tip, "HEAD", fine=(0, 1)).strip()
        if not base and git("rev-parse", "--is-shallow-repository").strip() == "true":
            raise _missing(git, since, _NO_BASE)
        theirs = _files(git, location, top, tip)
        before = theirs if base in ("", tip) else _files(git, location, top, base)
    except GitError as error:
        raise _missing(git, since, str(error)) from None
    return Since(since, before, theirs)


def _repository(location: Location, since: str) -> tuple[Git, Path]:
    if since.startswith("-") or not since.strip():
        raise UsageError(f"`--since {since}` names no branch, tag or commit", next_step="--since origin/main")
    place = next((each for each in (*location.versions, location.script) if each.is_dir()), Path.cwd())
    git = Git(place, SECONDS)
    try:
        return git, Path(git("rev-parse", "--show-toplevel").rstrip("\n"))
    except GitError as error:
        raise UsageError(
            f"`--since {since}` compares with what Git has, and Git cannot say: {error}",
            next_step="the same command without `--since` checks the files alone",
        ) from None


def _commit(git: Git, since: str) -> str:
    found = git("rev-parse", "--verify", "--quiet", f"{since}^{{commit}}", fine=(0, 1, 128)).strip()
    if not found:
        raise _missing(git, since, "this clone does not have it")
    return found


def _missing(git: Git, since: str, why: str) -> UsageError:
    """Return the error for what is not in this clone, with the command that fetches it.

    A pipeline's clone usually has the newest commit of one branch.
    """
    sentence = f"`--since {since}` cannot be compared: {why}"
    if since == "HEAD":
        return UsageError(sentence, next_step="commit first: only what is in a commit can be compared")
    branch = since.removeprefix(_REMOTE)
    options, known = "", []
    if git("rev-parse", "--is-shallow-repository", fine=(0, 128)).strip() == "true":
        options, known = " --unshallow", ["this clone is shallow: it has a part of the history only"]
    elif git("config", "--get-regexp", r"^remote\..*\.partialclonefilter$", fine=(0, 1)):
        options, known = " --refetch --no-filter", ["this clone is partial: it has a part of the files only"]
    then = "" if since == f"{_REMOTE}{branch}" else f"   # then: --since {_REMOTE}{branch}"
    return UsageError(
        sentence,
        evidence=(*known, "GitHub: actions/checkout with `fetch-depth: 0`; GitLab: the variable `GIT_DEPTH: 0`"),
        next_step=f"git fetch --no-tags{options} origin +refs/heads/{branch}:refs/remotes/origin/{branch}{then}",
    )


def _files(git: Git, location: Location, top: Path, commit: str) -> Mapping[Path, bytes]:
    """Return the revision files that a commit has in the directories of a tree, by their paths in this checkout."""
    places = {each.resolve(): each for each in location.versions}
    below = {real: real.relative_to(top.resolve()).as_posix() for real in places if real.is_relative_to(top.resolve())}
    found = git.files(commit, list(below.values()))
    files = {}
    for real, directory in below.items():
        for path, source in found.items():
            inner = path.removeprefix(f"{directory}/" if directory != "." else "")
            if (directory == "." or inner != path) and _is_revision(inner, recursive=location.recursive):
                files[places[real] / inner] = source
    return files


def _is_revision(path: str, *, recursive: bool) -> bool:
    """Tell whether Alembic takes a path below its directory for a revision file."""
    *folders, name = path.split("/")
    is_read = not folders or (recursive and "__pycache__" not in folders)
    return is_read and name.endswith(".py") and not name.startswith((".#", "__init__"))
