"""How often a law is tried: a few examples every day, many under ``--hypothesis-profile long`` (``make test-long``).

A tenth of them, under ``few``, is for Pythons between the oldest and the newest (``make test-pythons``).
"""

from __future__ import annotations

import hypothesis

LONG = "long"
_TIMES = {LONG: 20.0, "few": 0.1}

for name, times in _TIMES.items():
    hypothesis.settings.register_profile(name, max_examples=round(100 * times), deadline=None)


def law(examples: int) -> hypothesis.settings:
    """Try so many examples every day; one may take as long as it does."""
    times = _TIMES.get(hypothesis.settings.get_current_profile_name(), 1.0)
    return hypothesis.settings(max_examples=max(1, round(examples * times)), deadline=None)
