"""A golden in an engine: an image from the environment's own with data in a layer of its own.

The data is below :data:`PLACE`, as it is below the mount of a volume, and outside what the image declares as
``VOLUME``: the engine would leave that out of the image. ``PGDATA`` of the image names the directory in it, so a
container of an ephemeral environment runs from it as it is. What the image is and was made from is in its labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision.model.value import replace
from provision.spec.model import Ephemeral, Spec
from provision.system.look import Look

PLACE = "/provision-golden"
"""Where the data is in the image: what would be the root of a volume."""
REPOSITORY = "provision-golden"
KEY = "provision.golden"
"""The key: the label of the image, and of a volume that was filled from it."""
ABOUT = "provision.golden.about"
"""What the golden was made from, as :class:`~provision.golden.key.Golden` reads it: JSON, deflated, in base64."""
BASE, BASE_NAME = "provision.golden.image", "provision.golden.image-name"
"""The id and the name of the image that the golden is an image FROM."""
USER, ENVIRONMENT = "provision.golden.user", "provision.golden.environment"
"""Whose golden it is: the name of the user who saved it, and that of the environment whose data it was."""


def reference(key: str) -> str:
    """Return the name of the image of a golden."""
    return f"{REPOSITORY}:{key}"


def helper(container: str) -> str:
    """Return the name of the container that fills new data of an environment, or in which a golden of it is made."""
    return f"{container}.golden"


def labels_of(image: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the labels of an image that is a golden; none of another."""
    labels: Mapping[str, str] = ((image or {}).get("Config") or {}).get("Labels") or {}
    return labels if KEY in labels and BASE in labels else {}


def in_words(reference: str, image: Mapping[str, Any] | None) -> str:
    """Return the name of the image that a golden is made from, with the golden; any other as it is called.

    >>> in_words("postgres:18", None)
    'postgres:18'
    """
    labels = labels_of(image)
    return f"{labels[BASE_NAME]} (golden {labels[KEY][:4]}…)" if labels else reference


def base(image: Mapping[str, Any] | None, look: Look) -> Mapping[str, Any] | None:
    """Return the image that a golden is made from, and any other as it is."""
    labels = labels_of(image)
    return look.image(labels[BASE]) if labels else image


def running(spec: Spec, image: Mapping[str, Any] | None, container: Mapping[str, Any] | None, look: Look) -> Spec:
    """Return the spec of an ephemeral environment with the golden that its container runs from.

    It does as long as the golden is made from the declared ``image``, whatever that is called now.
    """
    if not isinstance(spec.server.data, Ephemeral):
        return spec
    spec = replace(spec, server=replace(spec.server, data=Ephemeral()))
    if container is None or image is None:
        return spec
    reference = str(container["Config"]["Image"])
    if not reference.partition(":")[0].endswith(REPOSITORY):
        return spec
    labels = labels_of(look.image(container["Image"]))
    if labels.get(BASE) != image["Id"]:
        return spec
    return replace(spec, server=replace(spec.server, data=Ephemeral(labels[KEY])))
