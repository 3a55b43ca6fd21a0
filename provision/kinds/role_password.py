"""The password of a role: what there is compared with what is declared, and how it is set.

Only a verifier is sent, and it is compared by computing it once more with the salt that the server has stored. Where a
login is no superuser's, the server shows no verifiers, and a password is proved by logging in with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from provision.errors import RefusedError, command
from provision.kinds import Look, Scene, catalog, scram
from provision.model import UNREAD, Proof
from provision.model.effects import WriteFile
from provision.model.sql import identifier
from provision.spec.access import NoPassword, Role
from provision.spec.model import Spec
from provision.spec.passwords import PasswordGenerated

Password = Literal["as declared", "another", "set", "not known here", "md5", "none"]
"""``set`` is any, where none is declared. ``not known here`` was generated and is kept nowhere here, as after a
start from a golden."""

MARK = "provision.password"
"""The setting of a role whose password was generated: where its file is gone, it gets another one."""
_EXTERNAL = "external"


def wanted(role: Role) -> Password | None:
    """Return what is declared; None: the role does not log in, and its password is not managed."""
    if isinstance(role.password, NoPassword):
        return "none"
    return "as declared" if role.login or role.password is not None else None


def is_generated(role: Role) -> bool:
    """Whether the password is ours to make."""
    return role.password is None or isinstance(role.password, PasswordGenerated)


def seen(look: Look, role: Role, now: str, *, is_marked: bool) -> tuple[Password | None, str]:
    """Return what there is, and why that could not be compared.

    A role that exists keeps its own password, unless a source is written, or we have generated it. One that is to be
    renamed is compared under its new name; ``now`` is its present one.
    """
    want, cluster = wanted(role), look.once(catalog.cluster)
    is_ours = is_marked and look.inputs.runtime != _EXTERNAL
    if want is None or now != role.name or (role.password is None and not is_ours):
        return want, ""
    if not cluster.is_superuser:
        return _proved(look, role, want)
    return _compared(look, role, cluster.roles[now].verifier, want), ""


def _compared(look: Look, role: Role, verifier: str | None, want: Password) -> Password:
    if verifier is None:
        return "none"
    if want == "none":
        return "set"
    if verifier.startswith("md5"):
        return "md5"
    if (password := look.inputs.passwords[role.name]) is UNREAD:
        return want
    other = unlike(look.spec, role, look.text)
    return "as declared" if other == "another" and scram.is_of(verifier, password) else other


def unlike(spec: Spec, role: Role, text: Callable[[Path], str | None]) -> Password:
    """Return what there is in the place of a declared password; ``text`` reads a file."""
    is_gone = is_generated(role) and text(spec.role_password_file(role.name)) is None
    return "not known here" if is_gone else "another"


def _proved(look: Look, role: Role, want: Password) -> tuple[Password, str]:
    if want == "none":
        return want, "only a superuser sees whether there is one"
    until = look.once(catalog.cluster).roles[role.name].valid_until
    if until is not None and instant(until) <= instant(datetime.now(UTC).isoformat()):
        return want, f"it has expired ({instant(until)}), and only a superuser could compare it"
    if (password := look.inputs.passwords[role.name]) is UNREAD:
        return want, ""
    proof = look.proves(role.name, password)
    if proof is Proof.UNKNOWN:
        return want, "only a superuser could compare it: this server does not ask for it by SCRAM from here"
    words: dict[Proof, Password] = {Proof.RIGHT: "as declared", Proof.WRONG: "another", Proof.MD5: "md5"}
    return words[proof], ""


def instant(text: str) -> str:
    """Return an instant in one spelling, in UTC; what Python has no date for (``-infinity``) as it is.

    >>> instant("2027-01-01T00:00:00.500000Z"), instant("2027-01-01T02:00:00+02:00"), instant("-infinity")
    ('2027-01-01T00:00:00.500000Z', '2027-01-01T00:00:00Z', '-infinity')
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    except (ValueError, OverflowError):
        return text


def keeping(role: Role, scene: Scene) -> tuple[WriteFile, ...]:
    """Return what keeps a password that is generated; it is written before the server knows it.

    Raises:
        RefusedError: the server is not ours, where a generated one has no meaning.
    """
    if not is_generated(role):
        return ()
    if scene.inputs.runtime == _EXTERNAL:
        raise RefusedError(
            f"nothing says what the password of the role {role.name!r} is",
            evidence=["with `runtime: external` none is generated: others could not know it", f"role at {role.place}"],
            next_step="write `password` there: `${NAME}`, `{file: …}`, `{command: […]}` or `none`; then: "
            + command("apply"),
        )
    return (WriteFile(scene.spec.role_password_file(role.name), scene.inputs.passwords[role.name], 0o600),)


def marking(role: Role, scene: Scene, *, is_marked: bool) -> tuple[str, ...]:
    """Return the statement that notes in the server whether the password was generated, where that changes."""
    is_ours = is_generated(role) and scene.inputs.runtime != _EXTERNAL
    if is_ours == is_marked:
        return ()
    return (f"ALTER ROLE {identifier(role.name)} " + (f"SET {MARK} TO 'generated'" if is_ours else f"RESET {MARK}"),)
