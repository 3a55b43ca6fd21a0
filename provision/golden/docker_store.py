"""The goldens of an engine: images, which all who may use the engine share."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from provision.errors import ProvisionError
from provision.golden.key import SHORT, Golden
from provision.golden.store import LARGEST, MOST
from provision.model.effects import EngineCall
from provision.model.value import replace
from provision.runtimes.docker import golden_image
from provision.runtimes.docker.golden_image import ABOUT, BASE_NAME, ENVIRONMENT, KEY, USER
from provision.system.engine_calls import Engine
from provision.system.look import Look

_NO_NAME = "<none>:<none>"
"""How Docker lists an image that has none: another run has given its name to a golden that was saved at once."""


class ImageStore:
    """The goldens in the engine of one look at the world."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def candidates(self) -> tuple[Golden, ...]:
        """Return those that are complete, the newest first: only the engine knows which was used last."""
        return tuple(sorted(filter(None, map(_read, self._listed())), key=lambda each: -each.made))

    def dated(self) -> tuple[Golden, ...]:
        """Return the goldens with the time of their last use, and by it.

        https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageInspect
        """
        return tuple(sorted(map(self._dated, self.candidates()), key=lambda each: -each.used))

    def _dated(self, golden: Golden) -> Golden:
        image = self._look.engine(f"/images/{golden_image.reference(golden.key)}/json") or {}
        named = (image.get("Metadata") or {}).get("LastTagTime") or ""
        return replace(golden, used=max(golden.used, _seconds(named)))

    def _listed(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] | None
        found = self._look.engine("/images/json", filters=json.dumps({"label": [KEY]}))
        return found or ()

    @property
    def user(self) -> str:
        """Whose goldens those are that this process makes."""
        return str(self._look.machine.ourselves().name)

    @property
    def engine(self) -> Engine:
        """What changes the engine."""
        from provision.system.engine_calls import Engine

        return Engine(self._look.address, self._look.reader.program)

    def remove(self, key: str) -> None:
        """Remove one that no container uses; one that is not there is fine.

        Raises:
            ProvisionError: a container runs from it, or the engine refuses.
        """
        from provision.system import golden_images

        reference = golden_image.reference(key)
        if why := golden_images.remove(self.engine, reference):
            raise ProvisionError(
                f"the golden {key[:SHORT]}… stays, because a container was made from it",
                evidence=[why],
                next_step=f"{self._look.reader.program} ps -a --filter ancestor={reference}",
            )

    def touch(self, key: str) -> None:
        """Note that one was used now."""
        reference = golden_image.reference(key)
        self.engine.perform(EngineCall("tag_image", reference, {"name": reference}), lambda _: None)

    def prune(self, *, but: str = "") -> tuple[Golden, ...]:
        """Remove goldens of this user that were used least recently, until few enough are left; return those.

        ``but`` is the key of one that stays. One that a container uses stays, too.
        """
        from provision.system import golden_images

        for image in self._listed():
            if set(image.get("RepoTags") or ()) <= {_NO_NAME} and image["Labels"].get(USER) == self.user:
                golden_images.remove(self.engine, image["Id"])
        size, gone = 0, []
        for number, each in enumerate([each for each in self.dated() if each.user == self.user]):
            size += each.size
            if each.key == but or (number < MOST and size <= LARGEST):
                continue
            try:
                self.remove(each.key)
                gone.append(each)
            except ProvisionError:
                continue
        return tuple(gone)


def packed(golden: Golden) -> str:
    """Return a golden as the text of a label."""
    return base64.b64encode(zlib.compress(json.dumps(golden.document(), separators=(",", ":")).encode())).decode()


def _read(image: Mapping[str, Any]) -> Golden | None:
    """Return the golden of a listed image; None where it says something else than its name."""
    labels = image.get("Labels") or {}
    try:
        golden = Golden.read(json.loads(zlib.decompress(base64.b64decode(labels.get(ABOUT, "")))))
    except (ValueError, zlib.error):
        return None
    names = [str(each).rpartition("/")[2] for each in image.get("RepoTags") or ()]  # Podman's begin with a registry
    if golden is None or golden.key != labels[KEY] or golden_image.reference(golden.key) not in names:
        return None
    made, names = float(image.get("Created") or 0), [labels.get(each, "") for each in (BASE_NAME, ENVIRONMENT, USER)]
    return replace(golden, made=made, used=made, image=names[0], environment=names[1], user=names[2])


def _seconds(text: str) -> float:
    """Return a time of the engine as seconds since 1970; 0 for the time of nothing."""
    from datetime import datetime

    try:
        found = datetime.fromisoformat(text[:19] + "+00:00")
    except ValueError:
        return 0.0
    return max(found.timestamp(), 0.0)
