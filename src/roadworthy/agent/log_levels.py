"""Log levels that people set while a program runs, told to its processes on the control page.

They live as long as the program's arenas do: an agent that takes over from a dead one finds them on the page. A level
that was set for a while has its end there, too, by the wall clock: the agent takes it back when that has come, and the
processes do it themselves where no agent lives any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _clock
from roadworthy.arena.control import ControlReader
from roadworthy.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

KEY: Final = "log_levels"
UNTIL: Final = "log_levels_until"
"""On the page: by logger, until when its level holds, and the level that it has afterwards; empty: the program's."""

DEFAULT: Final = "default"
"""Takes a level back: the logger has what the program gave it."""

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
LONGEST_NAME: Final = 128
MOST: Final = 50
LONGEST_FOR: Final = 7 * 86_400.0
"""Seconds for which a level may be set at most; what is to last longer is set without an end."""

Until = dict[str, tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Ended:
    """A level whose time is over: whose it was, what it was and is now, and a sentence that says so."""

    logger: str
    old: str
    new: str
    what: str


class LogLevels:
    """What was asked for, by logger; the empty name is the root logger's. ``publish`` puts it on the page."""

    def __init__(self, arena: Path, publish: Callable[[], object]) -> None:
        page = ControlReader(arena).value()
        left, until = page.get(KEY), page.get(UNTIL)
        self._levels: dict[str, str] = dict(left) if isinstance(left, dict) else {}
        self._until: Until = _ends(until) if isinstance(until, dict) else {}
        self._publish = publish

    def told(self) -> dict[str, str]:
        """Return what stands on the page."""
        return dict(self._levels)

    def until(self) -> dict[str, list[object]]:
        """Return what stands on the page of levels that end by themselves."""
        return {logger: [at, back] for logger, (at, back) in self._until.items()}

    def set(self, logger: str, level: str, seconds: float = 0.0, now: float = 0.0) -> str:
        """Set a logger's level, or with ``default`` take it back; return a sentence that says so.

        With ``seconds`` it holds for so long from ``now`` (wall) on; then the logger has the level that was asked for
        before. Raises :class:`UsageError` for what is no level, name or time, :class:`Exhausted` when the page is full;
        then nothing has changed.
        """
        word = level.lower()
        if word not in {*LEVELS, DEFAULT} or len(logger) > LONGEST_NAME:
            raise UsageError(
                f"{level[:40]!r} for {logger[:40]!r} cannot be set",
                why=f"A level is one of {', '.join(LEVELS)}, {DEFAULT}; a name has at most {LONGEST_NAME} characters.",
                hint="For example: roadworthy log-level debug --logger pkg.module",
            )
        if not 0 <= seconds <= LONGEST_FOR or (seconds and word == DEFAULT):
            raise UsageError(
                f"{level[:40]!r} cannot be set for {seconds:g} s",
                why="A level is set for a second to seven days; the default needs no end.",
                hint="For example: roadworthy debug --logger pkg.module --for 10m",
            )
        before, after = self._levels, {name: one for name, one in self._levels.items() if name != logger}
        ends = {name: one for name, one in self._until.items() if name != logger}
        if seconds:
            ends[logger] = now + seconds, self._until[logger][1] if logger in self._until else before.get(logger, "")
        if word != DEFAULT:
            after[logger] = word.upper()
        if len(after) > MOST:
            raise UsageError(
                f"more than {MOST} log levels", why="The page that tells them is small.", hint="Take some back."
            )
        self._change(after, ends)
        if word == DEFAULT:
            return f"{_which(logger)} goes back to what the program gives it"
        lasting = f" for {_told(seconds)}; then it goes back by itself" if seconds else ""
        return f"{_which(logger)} is set to {word}{lasting}"

    def expire(self, now: float) -> list[Ended]:
        """Take back the levels whose time is over, and return what was; raises as :meth:`set`."""
        over = {logger: back for logger, (at, back) in self._until.items() if at <= now}
        if not over:
            return []
        levels = {logger: level for logger, level in self._levels.items() if logger not in over}
        levels |= {logger: back for logger, back in over.items() if back}
        before = self._levels
        self._change(levels, {logger: one for logger, one in self._until.items() if logger not in over})
        return [
            Ended(
                logger,
                before.get(logger, DEFAULT).lower(),
                back.lower() or DEFAULT,
                f"{_which(logger)} goes back to {back.lower() or 'what the program gives it'}: its time is over",
            )
            for logger, back in over.items()
        ]

    def verb(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer ``log-level`` of the command line: ``logger``, ``level``, and ``seconds`` when it is to end."""
        seconds = message.get("seconds")
        lasting = float(seconds) if isinstance(seconds, (int, float)) else 0.0
        logger = str(message.get("logger") or "")
        before = self._levels.get(logger, DEFAULT).lower()
        what = self.set(logger, str(message.get("level")), lasting, _clock.wall())
        return {"what": what, "old": before, "new": self._levels.get(logger, DEFAULT).lower()}

    def _change(self, levels: dict[str, str], until: Until) -> None:
        before = self._levels, self._until
        self._levels, self._until = levels, until
        try:
            self._publish()
        except BaseException:
            self._levels, self._until = before
            raise


def _which(logger: str) -> str:
    return f"logger {logger!r}" if logger else "the root logger"


def _told(seconds: float) -> str:
    whole = round(seconds)
    for unit, name in ((3600, "h"), (60, "min")):
        if whole >= unit and whole % unit == 0:
            return f"{whole // unit} {name}"
    return f"{seconds:g} s"


def _ends(found: Mapping[Any, Any]) -> Until:
    """Return what an agent before us has left of ends; what is not understood ends at once."""
    made: Until = {}
    for logger, one in found.items():
        at, back = one if isinstance(one, list) and len(one) == 2 else (0.0, "")  # noqa: PLR2004 - as until() has it
        made[str(logger)] = float(at) if isinstance(at, (int, float)) else 0.0, str(back)
    return made
