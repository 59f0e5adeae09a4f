"""Durations as people write them: ``10``, ``500ms``, ``10s``, ``2m``, ``24h``. Standard library only."""

from __future__ import annotations

import math
import re
from typing import Final

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?\Z")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}

WHAT: Final = "A duration is a number of seconds, or a number with ms, s, m or h."


def seconds_in(given: object) -> float:
    """Return a duration in seconds; a plain number is seconds. Raises ``ValueError`` for what is none."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        if math.isfinite(given) and given >= 0:
            return float(given)
    elif isinstance(given, str) and (found := _DURATION.match(given.strip())):
        return float(found[1]) * _SECONDS[found[2]]
    message = f"{given!r} is no duration"
    raise ValueError(message)
