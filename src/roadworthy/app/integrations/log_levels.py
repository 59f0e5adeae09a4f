"""Levels of the program's loggers that the operator sets while it runs: the control page's ``log_levels``.

``{"": "INFO", "pkg.mod": "DEBUG"}``, the empty name being the root logger's. Such a level holds, whatever the program
sets meanwhile, until the operator takes it back; then the logger has again what the program gave it last. A logger that
does not exist yet gets its level when it does: making it ourselves could have a later ``dictConfig`` disable it.

Looking costs a few comparisons and takes no lock. The change itself takes logging's own, so it is made in a thread that
exists for that.
"""

from __future__ import annotations

from roadworthy._clock import wall
from roadworthy.app import page, runs
from roadworthy.app.integrations import series

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from types import ModuleType
    from typing import Any

PATIENCE = 3.0
"""Seconds after a level's end at which a process takes it back without the agent."""

_modules: list[Any] = []
_held: dict[str, tuple[int, int]] = {}
"""By logger: the operator's level, and the program's."""


def install(module: ModuleType) -> None:
    """Follow the control page with the loggers of ``module``, which is :mod:`logging`."""
    _modules[:] = [module]
    page.follow("log levels", told)


def told(value: dict[str, Any]) -> bool:
    """See whether the loggers are as the page asks, and have them made so; true while anything is asked for."""
    wanted = levels(in_force(value.get("log_levels"), value.get("log_levels_until"), wall()))
    if differs(wanted):
        runs.start("log levels", lambda: apply(wanted))
    return bool(wanted or _held)


def in_force(asked: object, until: object, now: float) -> object:
    """Return the levels that are asked for and whose time is not over; an agent that lives has taken those back itself.

    A moment is left to the agent, so that one clock decides where both live.
    """
    if not isinstance(until, dict) or not isinstance(asked, dict):
        return asked
    kept = dict(asked)
    for name, end in until.items():
        if isinstance(end, list) and len(end) == 2 and isinstance(end[0], (int, float)) and now > end[0] + PATIENCE:  # noqa: PLR2004 - when, and what then
            kept.pop(name, None)
            if end[1]:
                kept[name] = end[1]
    return kept


def levels(asked: object) -> dict[str, int]:
    """Return the levels that are asked for as numbers; what logging does not know is passed over."""
    if not isinstance(asked, dict) or not asked:
        return {}
    known = _modules[0].getLevelNamesMapping()
    return {str(name): known[level] for name, level in asked.items() if level in known}


def differs(wanted: dict[str, int]) -> bool:
    """Return whether a logger that exists has another level than it should."""
    if not _held.keys() <= wanted.keys():
        return True
    for name, level in wanted.items():
        logger = _find(name)
        if logger is not None and (
            name not in _held or _held[name][0] != level or getattr(logger, "level", -1) != level
        ):
            return True
    return False


def apply(wanted: dict[str, int]) -> None:
    """Give the loggers their levels, and back to those that are not asked for any more what the program gave them."""
    for name in [name for name in _held if name not in wanted]:
        ours, theirs = _held.pop(name)
        logger = _modules[0].getLogger(name)
        if logger.level == ours:
            logger.setLevel(theirs)
        _note(name, logger.level, "as the program has it")
    for name, level in wanted.items():
        if _find(name) is None:
            continue
        logger = _modules[0].getLogger(name)  # also where so far only a logger below it is known
        ours, theirs = _held.get(name, (logger.level, logger.level))
        _held[name] = level, theirs if logger.level == ours else logger.level
        if logger.level != level:
            logger.setLevel(level)
            _note(name, level, "asked for by the operator")


def _find(name: str) -> logging.Logger | logging.PlaceHolder | None:
    root: logging.RootLogger = _modules[0].root
    return root.manager.loggerDict.get(name) if name else root


def _note(name: str, level: int, why: str) -> None:
    which = f"logger {name!r}" if name else "the root logger"
    series.event("state", 20, "roadworthy", f"{which} is at {_modules[0].getLevelName(level)}, {why}")
