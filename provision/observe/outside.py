"""What can be known of an environment without a connection to its server."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provision import desired as desires, runtimes
from provision.alembic import Trees
from provision.errors import ProvisionError, RefusedError, UnavailableError, UnknownRevisionError, as_word, command
from provision.kinds import Inputs
from provision.model.value import dataclass, replace
from provision.runtimes import RuntimeModule, Site, choice, docker
from provision.runtimes.names import COMPOSE, COPYING, ENGINE, LISTED
from provision.spec import parameters
from provision.spec.load import again
from provision.spec.passwords import PasswordGenerated
from provision.system import files, no_commands, owned, secrets
from provision.system.engine import load_soon
from provision.system.limits import limited
from provision.system.look import Look
from provision.system.variables import environ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provision.model import Endpoint, File
    from provision.spec.model import Spec
    from provision.system.patroni import Api

_STARTABLE = ("stopped", "paused")


@dataclass(frozen=True)
class World:
    """One environment as it is: the spec, what it refers to, and its server's home, seen once."""

    spec: Spec
    runtime: str
    reason: str
    look: Look
    inputs: Inputs
    trees: Trees
    files: Mapping[str, File]
    site: Site

    @cached_property
    def cluster(self) -> Api | None:
        """What answers for the cluster that the server belongs to; None: the spec names none."""
        if self.spec.server.patroni is None:
            return None
        from provision.system.patroni import Api

        return Api(self.spec.server.patroni, self.spec.password_file)

    @property
    def needs_upkeep(self) -> bool:
        """Whether others may write to our files, a run was killed, or the next one is quicker with what was read."""
        if owned.is_wide(self.spec.home) or self._is_unlisted or self._was_killed:
            return True
        if self.spec.server.major not in parameters.MAJORS:
            from provision.system import catalogue

            if not catalogue.kept_major(self.spec):
                return True
        memo = desires.memo(self.spec, self.inputs, self.inputs.rendered)
        return memo != self.inputs.memo or not self.trees.are_remembered

    @property
    def _was_killed(self) -> bool:
        """Whether the last run did not come to its end, at which its lock is empty; or another one is under way."""
        with suppress(OSError):
            return (self.spec.home / "lock").stat().st_size > 0
        return False

    @property
    def _is_unlisted(self) -> bool:
        """Whether `provision list` does not know of the environment."""
        note = owned.text(self.spec.home / LISTED) if self.site.is_ours else None
        return self.site.is_ours and (note is None or (note != "" and not files.exists(Path(note))))

    def require_running(self) -> Endpoint:
        """Return where the server listens; whether the password is known is not asked.

        Raises:
            UnavailableError: no server runs; the next step starts it.
        """
        found = self.site.endpoint(self.inputs.password)
        if found is None:
            raise self.not_running()
        return found

    def endpoint(self) -> Endpoint:
        """Return where the server is reached.

        Raises:
            UnavailableError: no server runs.
            ProvisionError: its generated password was lost; a new one would not log in.
        """
        found, kept = self.require_running(), self.spec.password_file
        if isinstance(self.spec.server.password, PasswordGenerated) and not files.read_text(kept):
            raise ProvisionError(
                f"the generated password of {self.spec.name!r} was lost with .provision/",
                evidence=[f"there is no {os.path.relpath(kept)}"],
                next_step=command("apply") + "   (it sets a new one; the data stays)",
            )
        return found

    def not_running(self, *evidence: str) -> UnavailableError:
        """Return the error for a server that does not run: what was made before is started, anything else applied."""
        state = self.site.status.server
        verb = "start" if state in _STARTABLE and not self.site.needs_apply else "apply"
        name = repr(self.spec.name)
        sentence = f"the environment {name} has no server" if state == "absent" else f"the server of {name} is {state}"
        return UnavailableError(sentence, evidence=evidence, next_step=command(verb))

    def explain(self, error: UnknownRevisionError) -> None:
        """Complete an error with what Git says about a revision that this checkout does not have."""
        from provision.alembic import explain

        explain(error, self.trees[error.tree], self.trees.location(error.tree))


def require_whole(spec: Spec) -> None:
    """Check that a copy of the main checkout's data came to its end.

    Raises:
        RefusedError: only a part of it is there.
    """
    if files.exists(spec.home / COPYING):
        raise RefusedError(
            f"the data of {spec.name!r} is not whole: a copy of the main checkout's was interrupted",
            next_step=command("apply --from main") + ", or without that data: " + command("destroy --data"),
        )


def is_made(spec: Spec) -> bool:
    """Whether the engine, where one answers, has a container that was made for this environment."""
    if spec.server.runtime not in (choice.AUTO, "docker"):
        return False
    return runtimes.load("docker").made(spec, Look(environ(), spec.home, spec.server.engine)) is not None


def world(
    spec: Spec, *, runtime: str | None = None, moving: bool = False, load: Callable[[str], object] | None = None
) -> World:
    """Read everything that can be known without a connection to the server.

    ``runtime`` takes the place of what the spec says; with ``moving``, what the spec says has to be where the
    environment was made. Given where an apply follows, ``load`` loads what that needs, while templates are rendered.

    Raises:
        UnavailableError: no engine answers.
        RefusedError: the environment lives in another runtime.
        ProvisionError: something that the spec refers to is missing or wrong.
    """
    look = Look(environ(), spec.home, spec.server.engine)
    name, reason = choice.choose(spec, look, wanted=runtime, moving=moving)
    if moving and name == "docker" and look.address.is_ssh and not no_commands.is_on():
        docker.approach(spec, look)
    try:
        return _seen(spec, look, name, reason, load)
    except UnavailableError as error:
        if name != (runtime or spec.server.runtime):
            kept = (owned.text(spec.home / ENGINE) or "").strip() if name == "docker" else ""
            place = f"with the engine at {kept}" if kept else "there"
            error.evidence = (*error.evidence, f"the environment {spec.name!r} was made {place}, and stays there")
        raise


def _seen(spec: Spec, look: Look, name: str, reason: str, load: Callable[[str], object] | None) -> World:
    module = runtimes.load(name)
    located = module.located(spec, look)
    _check_settings(spec, located, module, look)
    spec = _with_ledgers(located, is_ours=name in choice.HOMES)
    # What an untrusted checkout brings in .provision/ is not taken for what an earlier run of ours has kept there.
    is_trusted = not no_commands.is_on()
    trees = Trees(spec, cached=is_trusted)
    password, roles = secrets.of(spec), secrets.of_roles(spec)
    texts = _templates(spec, module.TEMPLATES)
    inputs = Inputs(name, texts, module.port(spec, look), password, trees, passwords=roles)
    if spec.seeds:
        from provision.seeds.files import Sources

        inputs = replace(inputs, seeds=Sources(spec))
    if is_trusted:
        rendered = {each: files.read_text(spec.home / path) or "" for each, (path, _) in module.FILES.items()}
        inputs = replace(inputs, rendered=rendered, memo=owned.text(spec.home / desires.MEMO))
    written = desires.files(
        spec, inputs, partial(limited, meanwhile=partial(_load, trees, name, look, load)) if load else limited
    )
    if load and name == "docker" and look.address.socket_path is None and not files.exists(spec.home / COMPOSE):
        load_soon()  # not earlier: rendering forks, and a copy of this process would wait for the thread for ever
    site = module.examine(spec, written, look)
    return World(spec, name, reason, look, inputs, trees, written, site)


def _load(trees: Trees, name: str, look: Look, load: Callable[[str], object]) -> None:
    """Load what an apply needs; whatever is wrong with a tree is said where it is needed, and nothing of it runs."""
    load(name)
    with suppress(Exception):
        if name == "docker":
            docker.prepare(look)
        trees.read()


def _check_settings(before: Spec, spec: Spec, module: RuntimeModule, look: Look) -> None:
    """Check settings that could not be checked before the major version, or its settings, were known.

    Raises:
        SpecError: a setting is wrong.
    """
    major = spec.server.major
    if major not in parameters.MAJORS and not parameters.is_known(major) and not no_commands.is_on():
        from provision.system import catalogue

        catalogue.recall(spec, module.identity(spec, look))
    if parameters.is_known(major) and (major != before.server.major or major not in parameters.MAJORS):
        again(spec, environ(), major=major)


def _with_ledgers(spec: Spec, *, is_ours: bool) -> Spec:
    """Decide what the spec leaves open: only in a server of ours is there something that nobody asked for."""
    trees = tuple([replace(each, ledger=is_ours) if each.ledger is None else each for each in spec.migrations])
    return replace(spec, migrations=trees)


def _templates(spec: Spec, names: tuple[str, ...]) -> dict[str, str]:
    """Return the texts of the templates: the user's own where there are any, else the shipped ones."""
    places = [place for place in (spec.templates, shipped()) if place is not None]
    texts = {}
    for name in names:
        found = next((text for place in places if (text := files.read_text(place / name)) is not None), None)
        if found is None:
            raise ProvisionError(
                f"the template {name} is missing",
                evidence=[str(place) for place in places],
                next_step=f"ls {as_word(shipped())}   (reinstall provision)",
            )
        texts[name] = found
    return texts


def shipped() -> Path:
    """Return the directory of the templates that belong to the program: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def rendered(spec: Spec) -> tuple[File, ...]:
    """Return what ``provision render`` shows: every file of the environment's directory but the caches.

    Raises:
        UnavailableError: the port is ``auto`` and no engine answers.
    """
    look = Look(environ(), spec.home, spec.server.engine)
    try:
        name, _ = choice.choose(spec, look)
    except UnavailableError:
        name = choice.HOMES[0]
    module = runtimes.load(name)
    with suppress(UnavailableError):  # without an engine, the data is where the spec says
        spec = module.located(spec, look)
    port = spec.server.port if spec.server.port is not None else module.port(spec, look)
    inputs = Inputs(name, _templates(spec, module.TEMPLATES), port, secrets.of(spec))
    return desires.known(desires.files(spec, inputs, limited))


def endpoint_unless_new(spec: Spec, *evidence: str) -> Endpoint | None:
    """Return where the environment's server is reached; None where there is no data yet.

    Raises:
        UnavailableError: there is data, and no server runs; ``evidence`` says why one is needed.
        ProvisionError: its generated password was lost.
    """
    seen = world(spec)
    if seen.site.endpoint(seen.inputs.password) is not None:
        return seen.endpoint()
    if seen.site.is_fresh:
        return None
    raise seen.not_running(*evidence)


class Log(NamedTuple):
    """The lines that a server prints, and the command that shows what it writes into files of its own, if it does."""

    lines: Iterator[str]
    elsewhere: str


def logs(spec: Spec, *, follow: bool, tail: int | None) -> Log:
    """Return the server's log, oldest line first; with ``follow``, lines as they come.

    Raises:
        UnavailableError: there is no server yet.
    """
    site = world(spec).site
    found = site.logs(follow=follow, tail=tail)
    if found is None:
        raise UnavailableError(f"the environment {spec.name!r} has no server", next_step=command("apply"))
    return Log(found, site.collected_log())
