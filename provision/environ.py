"""The environment variables of our own that change what a run does; ``docs/cli.md`` describes them."""

from __future__ import annotations

from typing import Final

OWN_NAME: Final = "PROVISION_NAME"
"""It is used in place of the spec's ``name``."""
NO_COMMANDS: Final = "PROVISION_NO_COMMANDS"
INSECURE_TCP: Final = "PROVISION_INSECURE_TCP"
GOLDEN: Final = "PROVISION_GOLDEN"
