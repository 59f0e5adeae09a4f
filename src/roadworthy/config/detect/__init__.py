"""Where a program runs: platform, kind of environment and stage, by what evidence, and within which limits.

``detect(reader)`` is pure: variables and files are read through one small :class:`Reader`, so that a case is a table.
Names are resolved when they are used; importing this package loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.config.detect.decide import Detection, EnvironmentDetector, detect, force
    from roadworthy.config.detect.limits import Bounds, bounds, suggested_workers
    from roadworthy.config.detect.profiles import profile, profile_of_environment
    from roadworthy.config.detect.reader import Reader, Recorded
    from roadworthy.config.detect.words import EnvironmentType, Platform, Stage

__all__ = [
    "Bounds",
    "Detection",
    "EnvironmentDetector",
    "EnvironmentType",
    "Platform",
    "Reader",
    "Recorded",
    "Stage",
    "bounds",
    "detect",
    "force",
    "profile",
    "profile_of_environment",
    "suggested_workers",
]

_WHERE = {
    "Bounds": "limits",
    "Detection": "decide",
    "EnvironmentDetector": "decide",
    "EnvironmentType": "words",
    "Platform": "words",
    "Reader": "reader",
    "Recorded": "reader",
    "Stage": "words",
    "bounds": "limits",
    "detect": "decide",
    "force": "decide",
    "profile": "profiles",
    "profile_of_environment": "profiles",
    "suggested_workers": "limits",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type
    """Return a name of one of this package's modules."""
    where = _WHERE.get(name)
    if where is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found = getattr(importlib.import_module(f"{__name__}.{where}"), name)
    globals()[name] = found  # also where a module of the same name was put here by its import
    return found
