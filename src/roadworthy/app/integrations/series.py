"""Instruments and events for integrations: looked up once, kept in a bounded cache, silent when there is no arena."""

from __future__ import annotations

from roadworthy.app import guard, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from roadworthy.arena import hot

    Pairs = tuple[tuple[str, str], ...]

MOST = 2000
"""Instruments kept per kind; beyond that the arena is asked each time, which itself bounds the number of series."""

SECONDS = 1e9
"""Durations are stored in nanoseconds and shown in seconds."""

_histograms: dict[tuple[str, Pairs], hot.Histogram] = {}
_counters: dict[tuple[str, Pairs], hot.Counter] = {}
_gauges: dict[tuple[str, Pairs], hot.Gauge] = {}
_redact: list[Callable[..., str]] = []  # its patterns take milliseconds to compile: with the first event


def duration(name: str, labels: Pairs = (), description: str = "") -> hot.Histogram | None:
    """Return the histogram of durations with these labels (``record`` takes nanoseconds), None without an arena."""
    found = _histograms.get((name, labels))
    if found is None and (arena := start.current()) is not None:
        found = arena.histogram(name, labels, unit="s", help=description, scale=SECONDS)
        if len(_histograms) < MOST:
            _histograms[name, labels] = found
    return found


def counter(name: str, labels: Pairs = (), unit: str = "", description: str = "") -> hot.Counter | None:
    """Return the counter with these labels, None without an arena."""
    found = _counters.get((name, labels))
    if found is None and (arena := start.current()) is not None:
        found = arena.counter(name, labels, unit=unit, help=description)
        if len(_counters) < MOST:
            _counters[name, labels] = found
    return found


def gauge(name: str, labels: Pairs = (), unit: str = "", description: str = "", merge: str = "sum") -> hot.Gauge | None:
    """Return the gauge with these labels, None without an arena."""
    found = _gauges.get((name, labels))
    if found is None and (arena := start.current()) is not None:
        found = arena.gauge(name, labels, unit=unit, help=description, merge=merge)
        if len(_gauges) < MOST:
            _gauges[name, labels] = found
    return found


def event(kind: str, level: int, source: str, text: str, fields: Mapping[str, str] | None = None) -> None:
    """Put an event into the flight recorder, redacted; ``level`` is one of the standard library's (10 to 50)."""
    try:
        arena = start.current()
        if arena is None:
            return
        if not _redact:
            from roadworthy.log.redact import redact, redact_value

            _redact[:] = redact, redact_value
        clean, clean_value = _redact
        kept = {key: clean_value(key, value) for key, value in fields.items()} if fields else None
        arena.event(kind, level, source, clean(text), kept)
    except Exception as error:
        if guard.failed("event", error):
            raise


def forget() -> None:
    """Forget all instruments; for tests."""
    _histograms.clear()
    _counters.clear()
    _gauges.clear()
