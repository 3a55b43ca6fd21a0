"""How often a law is tried: a few examples every day, many under ``--hypothesis-profile long`` (``make test-long``)."""

from __future__ import annotations

import hypothesis

LONG = "long"
_MORE = 20

hypothesis.settings.register_profile(LONG, max_examples=100 * _MORE, deadline=None)


def law(examples: int) -> hypothesis.settings:
    """Try so many examples every day; one may take as long as it does."""
    long = hypothesis.settings.get_current_profile_name() == LONG
    return hypothesis.settings(max_examples=examples * _MORE if long else examples, deadline=None)
