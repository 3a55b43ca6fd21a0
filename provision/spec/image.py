"""``server.image``: what its name says about the major version of PostgreSQL, and the key that says it in its place.

The grammar of a reference is https://github.com/distribution/reference/blob/main/reference.go; tags that name
several versions follow the habits of the images that exist: ``17.2-bookworm``, ``16-3.4`` (postgis), ``0.8.0-pg17``
(pgvector), ``latest-pg17`` (timescaledb), ``19beta1``. A tag that says none leaves it to the image, which has
``PG_MAJOR`` in its environment.
"""

from __future__ import annotations

import re

from provision.spec.reading import Reading, Wrong, scalar
from provision.spec.yaml import Node

OLDEST = 14

_REFERENCE = (
    r"(?P<name>(?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
_MAJOR = (
    r"(?:^|[-_.])pg(?:sql)?-?(?P<major>[0-9]{1,2})(?![0-9])",
    r"^v?(?P<major>[0-9]{1,2})(?=[-_.]|alpha|beta|rc|$)",
)
_OFFICIAL = r"(?:.*/)?postgres"
"""The name of the official image, wherever it is: its tags begin with its major version, however old that is."""
_LONGEST_REFERENCE = 512


def image(node: Node, reading: Reading) -> tuple[str, int]:
    """Read an image, and the major version that its tag says; 0 where it says none.

    Raises:
        Wrong: it is not the name of an image, or it is an official one of a version that is too old.
    """
    found = scalar(node, "an image like `postgres:17`")
    if not found.quoted and re.fullmatch(r"[0-9][0-9_]*(\.[0-9]*)?", found.text):
        raise Wrong(f"{reading.show(found)} is a number, not an image", f"write `postgres:{found.text.rstrip('.')}`")
    value = reading.text(found)
    match = re.fullmatch(_REFERENCE, value) if len(value) <= _LONGEST_REFERENCE else None
    if match is None:
        raise Wrong(f"{reading.show(found)} is not the name of an image", _advice_on_name(found.text))
    number = _number(match["tag"] or "")
    if number is not None and number < OLDEST and re.fullmatch(_OFFICIAL, match["name"]):
        raise Wrong(f"{reading.show(found)} is PostgreSQL {number}, which is not supported", _SUPPORTED)
    return value, major_of(value)


_SUPPORTED = f"use a major version from {OLDEST} on"


def major(node: Node, reading: Reading) -> int:
    """Read the major version that the image is said to have.

    Raises:
        Wrong: it is not supported.
    """
    found, value = reading.scalar(node, "a major version like `17`")
    if not re.fullmatch(r"[1-9][0-9]?", value) or int(value) < OLDEST:
        raise Wrong(f"{reading.show(found)} is not a supported major version of PostgreSQL", _SUPPORTED)
    return int(value)


def major_of(reference: str) -> int:
    """Return the major version that the tag of a reference says, or 0.

    A number below the oldest supported version is the image's own (``paradedb:v0.13.1``), and a digest says nothing.
    """
    match = re.fullmatch(_REFERENCE, reference)
    number = _number(match["tag"] or "") if match is not None and match["name"] != "sha256" else None
    return number if number is not None and number >= OLDEST else 0


def _number(tag: str) -> int | None:
    for pattern in _MAJOR:
        if match := re.search(pattern, tag):
            return int(match["major"])
    return None


def _advice_on_name(text: str) -> str:
    if re.search(r"\s", text):
        return "leave out the white space"
    if text.lower() != text and "$" not in text:
        return "the name of an image is in lower-case letters"
    return "write it like `postgres:17`"
