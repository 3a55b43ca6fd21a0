"""``server.engine``: the Docker engine of an environment, where the spec names it.

https://docs.docker.com/reference/cli/dockerd/#daemon-socket-option
"""

from __future__ import annotations

import re
from typing import Final

from provision.model import ssh
from provision.model.words import SSH
from provision.spec.reading import Reading, Wrong
from provision.spec.yaml import Node

FORMS: Final = "`ssh://host`, `tcp://host:2376`, `unix:///path/of/docker.sock` or `context:NAME`"
_PORT: Final = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_USER: Final = "[A-Za-z0-9_.%][A-Za-z0-9_.@%+-]*@"
_HOST: Final = rf"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::{_PORT})?"
# A context: https://github.com/docker/cli/blob/master/cli/context/store/store.go
PATTERN: Final = (
    rf"ssh://(?:{_USER})?{_HOST}(?:/[A-Za-z0-9_.@:+-]*)*|tcp://{_HOST}"
    r"|unix:///[^\s?#]+|context:[A-Za-z0-9][A-Za-z0-9_.+-]+"
)


def read_engine(node: Node, reading: Reading) -> str:
    """Read the address of an engine, or the name of a context of ``docker``.

    Raises:
        Wrong: it is neither.
    """
    found, value = reading.scalar(node, f"one of {FORMS}")
    if not re.fullmatch(PATTERN, value):
        raise Wrong(f"{reading.show(found)} is not the address of an engine", f"write one of {FORMS}")
    if value.startswith(SSH):
        try:
            ssh.parse(value)
        except ValueError as error:
            raise Wrong(
                f"{reading.show(found)} is not an address for ssh: {error}",
                "write it as ssh://[user@]host[:port], where host may be an alias of ~/.ssh/config",
            ) from None
    return value
