"""The spec of an environment, read when it is first needed, and the variables that it is read with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from provision.model.value import replace

if TYPE_CHECKING:
    from provision.spec.effective import Value
    from provision.spec.model import Spec, Worktree


class Declared:
    """What a spec file, or a mapping, says of one environment."""

    def __init__(
        self,
        spec: str | os.PathLike[str],
        *,
        environ: Mapping[str, str] | None = None,
        commands: bool = True,
        set: Mapping[str, Any] | Sequence[str] = (),  # noqa: A002  # the option's name
    ) -> None:
        """Name the spec file, which is read when it is first needed.

        ``environ`` are the variables that the spec may use and that programs receive, in place of those of this
        process. Without ``commands``, nothing that the spec names is run and no login is tried (``--no-commands``).
        ``set`` is what the spec says in this environment: ``{"server.port": 5433}``, or as ``--set`` has it.
        """
        self.path = Path(os.path.abspath(spec))  # noqa: PTH100  # Path.resolve() would follow links
        self._environ = environ
        self._commands = commands
        self._overrides = _overrides(set)
        self._text: bytes | None = None

    @classmethod
    def of(
        cls, spec: Mapping[str, Any], *, directory: str | os.PathLike[str], environ: Mapping[str, str] | None = None
    ) -> Self:
        """Take the spec from a mapping with the keys of a spec file; its relative paths start at ``directory``."""
        import yaml

        made = cls(Path(directory) / "provision.yml", environ=environ)
        made._text = yaml.safe_dump(dict(spec), sort_keys=False, allow_unicode=True).encode()
        return made

    @property
    def spec(self) -> Spec:
        """The spec as values. The file is read once; what it refers to, such as a password, is fetched at each use.

        Raises:
            SpecError: it is wrong; all of its problems are in the error.
        """
        return replace(self._strict, fetched={})

    @property
    def made(self) -> Spec:
        """The spec as far as a server that was made before needs it: variables may be unset.

        Raises:
            SpecError: it is wrong.
        """
        return replace(self._lenient, fetched={})

    def validate(self) -> bool:
        """Check the spec, what it refers to, and the ids of its revisions; nothing is run or written.

        False: its settings cannot be checked before the image is there, because its PostgreSQL is newer than provision.

        Raises:
            SpecError: something is wrong.
        """
        from provision.alembic import check_trees
        from provision.spec.parameters import is_known

        with self.context():
            spec = self._read(needs_password_file=True)
            check_trees(spec)
            if is_known(spec.server.major):
                return True
            from provision.observe import checked

            return checked(spec)

    def effective(self) -> tuple[Value, ...]:
        """Return each value that the spec has in the end, and where it is written; secrets are masked.

        Raises:
            SpecError: something is wrong.
        """
        from provision.spec import effective, load

        self._read()
        return effective.values(load.reading(self.path, self._text, self._variables, self._overrides))

    @property
    def watched(self) -> tuple[Path, ...]:
        """The files after whose change the login may be another one; not all of them have to be there."""
        spec = self.spec
        rendered = ("docker-compose.yml", "config/postgresql.conf", "secrets/postgres_password")
        roles = [spec.role_password_file(each) for each in spec.roles]
        base = (spec.base,) if spec.base else ()
        return (self.path, *base, *(spec.home / each for each in rendered), *roles)

    @contextmanager
    def context(self) -> Iterator[None]:
        """Use the variables of this environment within the block, and run commands only where that is allowed."""
        from provision.system import no_commands, variables

        with variables.using(self._environ), nullcontext() if self._commands else no_commands.active():
            yield

    @cached_property
    def _strict(self) -> Spec:
        return self._as_made()

    @cached_property
    def _lenient(self) -> Spec:
        return self._as_made(may_lack=True)

    def _as_made(self, **options: bool) -> Spec:
        """Read the spec; in a worktree, with the name under which the engine has an environment of this directory."""
        found = self._read(**options)
        if not found.plain_name:
            return found
        from provision.observe.outside import is_made

        plain = self._read(plain=True, **options)
        with self.context():
            return plain if is_made(plain) and not is_made(found) else found

    def _read(self, **options: bool) -> Spec:
        """Read the spec; with ``plain``, as if it were in no worktree."""
        from provision.spec import load

        worktree = None if options.pop("plain", False) else _worktree(self.path)
        environ, overrides = self._variables, self._overrides
        if self._text is None:
            return load.load(self.path, environ, worktree=worktree, overrides=overrides, **options)
        found = load.read(self.path, self._text, environ, worktree=worktree, overrides=overrides, **options)
        return replace(found, text=self._text)

    @property
    def _variables(self) -> Mapping[str, str]:
        return os.environ if self._environ is None else self._environ


def _overrides(given: Mapping[str, Any] | Sequence[str]) -> tuple[str, ...]:
    """Return what is set as the command line has it; JSON is YAML too."""
    if not isinstance(given, Mapping):
        return tuple(given)
    import json

    return tuple([f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in given.items()])


def _worktree(path: Path) -> Worktree | None:
    """Return the linked Git worktree that a file is in."""
    from provision.system.files import git_file

    mark = git_file(path.parent)
    if mark is None:
        return None
    from provision.system import git

    return git.of(mark)
