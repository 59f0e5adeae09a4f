"""What no single value can tell: settings that contradict each other, or that a stage forbids. Looks at paths only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from roadworthy.config.origin import DEFAULT, Issue, Origin

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.config.keys import Keys

Values = Mapping[str, Any]
Origins = Mapping[str, Origin]

OPEN: Final = ("cors_origins", "allowed_hosts", "ops.allowed_hosts")
"""Settings in which ``*`` opens the application to everybody (CONFLICTS C-32)."""

_PAIRS: Final = (
    ("monitoring.thresholds.cpu_percent.warning", "monitoring.thresholds.cpu_percent.critical"),
    ("monitoring.thresholds.memory_mb.warning", "monitoring.thresholds.memory_mb.critical"),
    ("restart.backoff_first", "restart.backoff_most"),
)


def contradictions(values: Values, origins: Origins) -> Iterable[Issue]:
    """Return what is wrong with these values together."""
    stage = values["environment"]
    yield from _stage(values, origins, stage)
    if values["dev"] and stage != "development":
        yield Issue(
            "dev", f"is for development, and the environment is {stage}", _origin(origins, "dev"), "Leave out --dev."
        )
    for low, high in _PAIRS:
        if values[low] > values[high]:
            text = f"{values[low]:g} is more than {high} {values[high]:g}"
            yield Issue(low, text, _origin(origins, low, high))
    share = values["monitoring.sampling.error_sample_rate"]
    if share < 1:
        name = "monitoring.sampling.error_sample_rate"
        text = f"{share:g}: some errors will be counted and not kept; their texts cannot be had later"
        yield Issue(name, text, _origin(origins, name), error=False)


def _stage(values: Values, origins: Origins, stage: str) -> Iterable[Issue]:
    if values["debug"] and stage == "production":
        hint = "Set debug to false, or choose another environment."
        yield Issue("debug", "debug mode is not allowed in production", _origin(origins, "debug"), hint)
    for name in OPEN:
        if stage != "development" and "*" in values[name]:
            hint = "Name those that are meant."
            text = f"'*' is allowed in development only, and the environment is {stage}"
            yield Issue(name, text, _origin(origins, name), hint, error=stage == "production")


def _origin(origins: Origins, *names: str) -> Origin:
    return next((origins[name] for name in names if origins.get(name, DEFAULT) is not DEFAULT), DEFAULT)


def paths(keys: Keys, values: Values, origins: Origins, root: Path) -> Iterable[Issue]:
    """Return what is wrong with paths that must be there, seen from ``root`` (CFG-27)."""
    for key in keys.by_name.values():
        if key.must and values[key.name]:
            wrong = path_problem(root / values[key.name], key.must)
            if wrong:
                yield Issue(key.name, wrong, _origin(origins, key.name), "Make it, or correct the path.")


def path_problem(path: Path, must: str, access: Callable[[Path, int], bool] = os.access) -> str:
    """Return what is wrong with a directory that must be there and be readable (``read``) or writable (``write``)."""
    if not path.exists():
        return f"{path} does not exist"
    if not path.is_dir():
        return f"{path} is no directory"
    if not access(path, os.R_OK | os.X_OK):
        return f"{path} cannot be read by this user"
    if must == "write" and not access(path, os.W_OK):
        return f"{path} cannot be written to by this user"
    return ""
