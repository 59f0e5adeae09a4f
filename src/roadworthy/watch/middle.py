"""The median. The ``statistics`` module would bring ``decimal`` and ``fractions`` into the agent's memory."""

from __future__ import annotations

from collections.abc import Iterable


def median(values: Iterable[float]) -> float:
    """Return the middle value, the mean of the two middle ones of an even number; raises ``ValueError`` for none."""
    ordered = sorted(values)
    count = len(ordered)
    if not count:
        message = "there is no median of nothing"
        raise ValueError(message)
    half = count // 2
    return ordered[half] if count % 2 else (ordered[half - 1] + ordered[half]) / 2
