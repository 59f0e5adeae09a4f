"""The interpreter's cycle collector, kept from stopping the agent, and a program on the same CPU, for long.

Each second a thousand objects come and as many go, by reference count alone. With the defaults that starts a collection
every second and once a minute one of all the agent's modules and classes: 11 to 16 ms measured, in which nothing is
found. What is there once the agent has settled is therefore never looked at again, and the young are looked at less
often; cycles (an exception and its frames) are still found.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (5_000, 10, 10)
SETTLED_AFTER: Final = 10.0
"""Seconds after which what the agent keeps is there."""


def settle() -> None:
    """Collect once, take what is left out of all later collections, and have those come less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
