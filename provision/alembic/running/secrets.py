"""What a tree is given in secret, and texts without it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.alembic.child.fill import PLACE
from provision.spec.masking import is_secret_key

if TYPE_CHECKING:
    from provision.spec.model import Migrations


def secrets_of(tree: Migrations) -> list[str]:
    """Return what a tree is given by variables or under names of secrets; all that its programs say is masked."""
    given = [each for values in (tree.options, tree.env, tree.x) for each in values.items()]
    values = [value.reveal() for name, value in given if is_secret_key(name)]
    return [*(each for each in values if not re.search(PLACE, each)), *(each.reveal() for each in tree.masked)]
