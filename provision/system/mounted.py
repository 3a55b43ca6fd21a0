"""What is mounted in a container that never ran: listed through the engine, which reads it and changes nothing.

https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerArchive
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import IO, Any, cast

from provision.system.engine_calls import Engine

Listing = Mapping[str, tuple[object, ...]]
"""Path below a directory → what tells one file from another."""

_MOST_ENTRIES, _MOST_BYTES = 1000, 64 << 20
_OK = 200


class Mounted:
    """The beginning of what is mounted at ``target``: 1000 entries, or 64 MiB of an archive that has the files too."""

    def __init__(self, engine: Engine, container: str, target: str) -> None:
        self._engine, self._container, self._target = engine, container, target

    def entries(self, path: str) -> tuple[str, ...] | None:
        """Return the names in a directory below; none where it is no directory, None where nothing can be read."""
        return None if self._paths is None else names(self._paths, path)

    @cached_property
    def _paths(self) -> Sequence[str] | None:
        found = _listed(self._engine, self._container, self._target)
        return without(found, self._of_image) if found else found if found is None else ()

    @property
    def _of_image(self) -> Listing:
        """What the image has at the same place: the engine copies it into a volume that is empty."""
        import docker.errors

        client = self._engine.client
        body = {"Image": client.inspect_container(self._container)["Image"], "Cmd": ["true"]}
        made = client.create_container_from_config(body)  # type: ignore[no-untyped-call]
        try:
            return _listed(self._engine, made["Id"], self._target) or {}
        finally:
            with suppress(docker.errors.APIError):
                client.remove_container(made["Id"], v=True)


def names(paths: Sequence[str], directory: str) -> tuple[str, ...]:
    """Return the names in a directory, in order, once each.

    >>> names(["b", "a/x", "a/y/z"], ""), names(["a/x", "a/y/z"], "a"), names(["a/x"], "b")
    (('a', 'b'), ('x', 'y'), ())
    """
    prefix = f"{directory}/" if directory else ""
    below = (each[len(prefix) :] for each in paths if each.startswith(prefix))
    return tuple(sorted({each.partition("/")[0] for each in below}))


def without(found: Listing, brought: Listing) -> tuple[str, ...]:
    """Return the paths that the image has not brought.

    >>> without({"data": ("link",), "notes": ("file", 4)}, {"data": ("link",)})
    ('notes',)
    """
    return tuple(path for path, kind in found.items() if brought.get(path) != kind)


def _listed(engine: Engine, container: str, target: str) -> Listing | None:
    client = engine.client
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    plain, whole = {"Accept-Encoding": "identity"}, {"path": f"{target}/."}
    # Closed at once: the engine keeps the container locked for as long as it sends.
    with client.get(url, params=whole, headers=plain, stream=True, timeout=client.timeout) as answer:
        if answer.status_code != _OK:
            return None
        found: dict[str, tuple[object, ...]] = {}
        directory, beginning = None, cast("IO[bytes]", _Beginning(answer.raw))
        with suppress(tarfile.ReadError), tarfile.open(fileobj=beginning, mode="r|") as tar:
            for each in tar:
                directory, _, path = each.name.partition("/")
                if path:
                    found[path] = (each.type, each.size, each.linkname)
                if len(found) >= _MOST_ENTRIES:
                    break
        return None if directory is None else found  # an archive begins with the directory itself


class _Beginning:
    """The first bytes of a stream; where it is cut, the archive cannot be read further."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, _MOST_BYTES

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data
