"""The image: which major version of PostgreSQL its name promises.

The major decides about the mount point, the settings and the runtime before anything is pulled, so it has to be in the
tag. The grammar of a reference is https://github.com/distribution/reference/blob/main/reference.go; tags that name
several versions follow the habits of the images that exist: ``17.2-bookworm``, ``16-3.4`` (postgis),
``0.8.0-pg17`` (pgvector), ``latest-pg17`` (timescaledb).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.spec.reading import Wrong, scalar

if TYPE_CHECKING:
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

MAJORS = (14, 15, 16, 17, 18)

_REFERENCE = (
    r"(?P<name>(?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
_MAJOR = (
    r"(?:^|[-_.])pg(?:sql)?-?(?P<major>[0-9]{1,2})(?![0-9])",
    r"^v?(?P<major>[0-9]{1,2})(?![0-9])",
)
_LONGEST = 512


def image(node: Node, reading: Reading) -> tuple[str, int]:
    """Read an image, and the major version that its tag begins with.

    Raises:
        Wrong: it is not the name of an image, or the name does not tell a supported major version.
    """
    found = scalar(node, "an image like `postgres:17`")
    if not found.quoted and re.fullmatch(r"[0-9][0-9_]*(\.[0-9]*)?", found.text):
        raise Wrong(f"{reading.show(found)} is a number, not an image", f"write `postgres:{found.text.rstrip('.')}`")
    value = reading.text(found)
    shown = reading.show(found)
    match = re.fullmatch(_REFERENCE, value) if len(value) <= _LONGEST else None
    if match is None:
        raise Wrong(f"{shown} is not the name of an image", _advice_on_name(found.text))
    tag = match["tag"]
    if tag is None:
        where = (
            "the tag goes before the digest: `postgres:17@sha256:…`"
            if match["digest"]
            else "write one, like `postgres:17`"
        )
        raise Wrong(f"the image {shown} does not say which major version it is", where)
    major = major_of(tag)
    if major is None:
        raise Wrong(
            f"the tag of {shown} does not say which major version it is",
            "write a tag that begins with it, like `postgres:17`",
        )
    if major not in MAJORS:
        raise Wrong(
            f"{shown} is PostgreSQL {major}, which is not supported",
            f"use a major version from {MAJORS[0]} to {MAJORS[-1]}",
        )
    return value, major


def major_of(tag: str) -> int | None:
    """Return the major version that a tag names, or None."""
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
