"""Log levels that people set while a program runs, told to its processes on the control page.

They live as long as the program's arenas do: an agent that takes over from a dead one finds them on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from roadworthy.arena.control import ControlReader
from roadworthy.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

KEY: Final = "log_levels"
DEFAULT: Final = "default"
"""Takes a level back: the logger has what the program gave it."""

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
LONGEST_NAME: Final = 128
MOST: Final = 50


class LogLevels:
    """What was asked for, by logger; the empty name is the root logger's. ``publish`` puts it on the page."""

    def __init__(self, arena: Path, publish: Callable[[], object]) -> None:
        left = ControlReader(arena).value().get(KEY)
        self._levels: dict[str, str] = dict(left) if isinstance(left, dict) else {}
        self._publish = publish

    def told(self) -> dict[str, str]:
        """Return what stands on the page."""
        return dict(self._levels)

    def set(self, logger: str, level: str) -> str:
        """Set a logger's level, or with ``default`` take it back; return a sentence that says so.

        Raises :class:`UsageError` for what is no level or name, :class:`Exhausted` when the page is full; then nothing
        has changed.
        """
        word = level.lower()
        if word not in {*LEVELS, DEFAULT} or len(logger) > LONGEST_NAME:
            raise UsageError(
                f"{level[:40]!r} for {logger[:40]!r} cannot be set",
                why=f"A level is one of {', '.join(LEVELS)}, {DEFAULT}; a name has at most {LONGEST_NAME} characters.",
                hint="For example: roadworthy log-level debug --logger pkg.module",
            )
        before, after = self._levels, {name: one for name, one in self._levels.items() if name != logger}
        if word != DEFAULT:
            after[logger] = word.upper()
        if len(after) > MOST:
            raise UsageError(
                f"more than {MOST} log levels", why="The page that tells them is small.", hint="Take some back."
            )
        self._levels = after
        try:
            self._publish()
        except BaseException:
            self._levels = before
            raise
        which = f"logger {logger!r}" if logger else "the root logger"
        return f"{which} goes back to what the program gives it" if word == DEFAULT else f"{which} is set to {word}"

    def verb(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer ``log-level`` of the command line: ``{"logger": name, "level": word}``."""
        logger = str(message.get("logger") or "")
        before = self._levels.get(logger, DEFAULT).lower()
        what = self.set(logger, str(message.get("level")))
        return {"what": what, "old": before, "new": self._levels.get(logger, DEFAULT).lower()}
