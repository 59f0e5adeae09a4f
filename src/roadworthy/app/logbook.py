"""Entries of :func:`roadworthy.log.logger`, counted and kept in the flight recorder as records of ``logging`` are.

They come rendered and redacted; here they are put into the ring as they are. This is a hot path of the program's.
"""

from __future__ import annotations

from roadworthy._clock import wall
from roadworthy.app import errors, guard, page, start
from roadworthy.app.integrations import logs
from roadworthy.arena.layout import EVENT_KINDS, US

LONGEST = 1800
"""Characters of an entry's text that are kept, as of every event's."""

LONGEST_FIELDS = 1800
CRITICAL = 5
_LOG = EVENT_KINDS["log"]
_counters = logs._counters  # noqa: SLF001 - one count for both ways to log
_looked = logs._looked  # noqa: SLF001 - one look for both


def entry(level: int, name: str, text: str, fields: str, error: BaseException | None) -> None:
    """Count an entry and keep it; ``fields`` are ``key=value``, each after a unit separator. Never raises."""
    try:
        arena = start.current()
        if arena is None:
            return
        key = level, name
        source = _counters[key] if key in _counters else logs.source_of(level, name)
        if source is not None:
            source.add()
        if len(text) > LONGEST:
            text = text[:LONGEST]
        if len(fields) > LONGEST_FIELDS:
            fields = fields[:LONGEST_FIELDS].rpartition(US)[0]
        made = f"{name}{US}{text}{fields}"
        arena.ring.put(_LOG, min(level // 10, CRITICAL), made.encode("utf-8", "replace"))
        if error is not None and level >= logs.ERROR:
            errors.record(error, operation=name, handled=True)
        now = wall()
        if not 0.0 <= now - _looked[0] < logs.LOOK:
            _looked[0] = now
            page.look()
    except Exception as broken:
        if guard.failed("log entry", broken):
            raise
