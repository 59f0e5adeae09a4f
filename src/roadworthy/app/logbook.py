"""Entries of :func:`roadworthy.log.logger`, counted and kept in the flight recorder as records of ``logging`` are.

They come rendered and redacted; here they are put into the ring as they are, their fields as one JSON object
(``arena/FORMAT.md``). This is a hot path of the program's: what entries of one logger and level share is remembered.
"""

from __future__ import annotations

from roadworthy._clock import NS
from roadworthy.app import errors, guard, page, start
from roadworthy.app.integrations import logs, series
from roadworthy.arena.layout import EVENT_KINDS, US

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 1800
"""Characters of an entry's text that are kept, as of every event's."""

WHOLE = 3500
"""Characters of text and fields that fit as they are."""

CRITICAL = 5
LOOK_NS = int(logs.LOOK * NS)
_LOG = EVENT_KINDS["log"]
_shared: dict[tuple[int, str], tuple[Callable[[], None], Callable[[int, int, bytes], None], int, str]] = {}
_due = [0]


def entry(level: int, name: str, text: str, fields: str, now: int, error: BaseException | None) -> None:
    """Count an entry and keep it; ``fields`` are a JSON object's, after commas, ``now`` its wall time. Never raises."""
    try:
        shared = _shared.get((level, name)) or _share(level, name)
        if shared is None:
            return
        add, put, severity, begin = shared
        add()
        made = f"{begin}{text}{US}{{{fields[1:]}}}"
        if len(made) > WHOLE:
            made = _cut(begin, text, fields)
        put(_LOG, severity, made.encode("utf-8", "replace"))
        if error is not None and level >= logs.ERROR:
            errors.record(error, operation=name, handled=True)
        if level >= logs.CRITICAL and not name.startswith("roadworthy"):
            _security(name, text)
        if not 0 <= _due[0] - now < LOOK_NS:  # also when the clock was set
            _due[0] = now + LOOK_NS - 1
            page.look()
    except Exception as broken:
        if guard.failed("log entry", broken):
            raise


def _share(level: int, name: str) -> tuple[Callable[[], None], Callable[[int, int, bytes], None], int, str] | None:
    arena, source = start.current(), logs.source_of(level, name)
    if arena is None or source is None:
        return None
    made = source.add, arena.ring.put, min(level // 10, CRITICAL), f"{name}{US}"
    if len(_shared) < series.MOST:
        _shared[level, name] = made
    return made


def _security(name: str, text: str) -> None:
    """Make a security event of a critical entry, as of a critical record: one a minute for each that says the same."""
    from roadworthy.log import security

    security.limited(f"log:{name}:{text[:100]}", "critical_error", text, "CRITICAL", {"logger": name})


def _cut(begin: str, text: str, fields: str) -> str:
    """Return an entry that is too long as it is kept: its text cut, and its fields as far as there is room."""
    text = text[:LONGEST]
    room = WHOLE - len(text)
    return f"{begin}{text}{US}{{{fields[1:]}}}" if len(fields) < room else f"{begin}{text}{US}fields={fields[1:room]}"


def forget() -> None:
    """Forget what is shared; for tests."""
    _shared.clear()
