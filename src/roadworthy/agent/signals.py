"""Which kinds of signals were really received, when last, and which declared ones never came.

In three of five hand-written production layers nobody called the layer; the way out is to show what arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from roadworthy.arena.block import Buckets
from roadworthy.types import Beat, CheckResult, Event, EventKind, Kind, Labels, Series, Signal
from roadworthy.watch.operations import CLIENT, DATABASE, OPERATIONS, REQUESTS, attempt

STALE_INTERVALS: Final = 3.0
STALE_AT_LEAST: Final = 10.0
MOST: Final = 50
"""Names of each kind that are told apart; the rest is counted as others."""

KINDS: Final = (
    "operations", "requests", "client calls", "timers", "metrics", "logs", "errors", "usage", "checks", "collectors",
    "heartbeats", "progress", "loop", "event loop", "runtime thread", "gc", "warnings", "output",
)  # fmt: skip
"""Every kind of signal there is; one that nothing declared and that never came is listed with count 0."""

_BEATS: Final = {
    "heartbeat": "heartbeats",
    "loop": "loop",
    "event_loop": "event loop",
    "thread": "runtime thread",
    "progress": "progress",
    "collector": "collectors",
    "check": "checks",
}
_EVENTS: Final = {
    EventKind.LOG: "logs",
    EventKind.ERROR: "errors",
    EventKind.WARNING: "warnings",
    EventKind.USAGE: "usage",
    EventKind.GC: "gc",
    EventKind.CHECK: "checks",
    EventKind.OUTPUT: "output",
}


ACTIVE: Final = "http.server.active_requests"
"""Names requests in flight and is never set: it is no metric that somebody waits for."""


_COLLECTIONS: Final = frozenset({"cpython.gc.collections", "cpython.gc.duration"})


@dataclass(slots=True)
class _Seen:
    declared: bool = False
    count: int = 0
    last: float | None = None
    every: float | None = None


@dataclass(slots=True)
class _Counted:
    """A series, what it counted when it was looked at last, and the signal that it belongs to."""

    entry: _Seen
    count: int = 0


class SignalBook:
    """Remembers by kind and name what was received; :meth:`signals` lists it. Bounded to 50 names of each kind."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._kinds: dict[str, int] = {}
        self._counted: dict[tuple[str, Labels], _Counted | None] = {}
        self._at: dict[int, _Counted | None] = {}

    def _entry(self, kind: str, name: str) -> _Seen:
        key = (kind, name)
        found = self._seen.get(key)
        if found is None:
            if self._kinds.get(kind, 0) >= MOST:
                key = (kind, "(others)")
            if key not in self._seen:
                self._kinds[kind] = self._kinds.get(kind, 0) + 1
            found = self._seen.setdefault(key, _Seen())
        return found

    def events(self, events: Iterable[Event]) -> None:
        """Take the events of a tick."""
        for event in events:
            kind = _EVENTS.get(event.kind)
            if kind is not None:
                name = event.source.split(".", 1)[0] if kind in {"logs", "warnings"} else event.source
                entry = self._entry(kind, name)
                entry.count += 1
                entry.last = max(entry.last or 0.0, event.at)

    def series(
        self, at: float, changed: Sequence[Series], places: Sequence[int] | None = None, *, anew: bool = False
    ) -> None:
        """Take the merged series that changed since the tick before; a count that moved is a signal received.

        ``places`` tell one series from another at less cost than their names, until a call with ``anew``.
        """
        first = not self._counted
        if anew:
            self._at.clear()
        if places is None:
            found = [self._find(one) for one in changed]
        else:
            known = self._at
            for place, one in zip(places, changed, strict=True):
                if place not in known:
                    known[place] = self._find(one)
            found = [known[place] for place in places]
        for counted, one in zip(found, changed, strict=True):
            if counted is None:
                continue
            before = counted.count
            if before and one.kind is Kind.GAUGE:
                continue  # it is there; when it was set is taken by gauges()
            gained = int(_count(one)) - before
            if gained:
                entry = counted.entry
                counted.count = before + gained
                entry.count += gained
                if gained > 0 and not first:
                    entry.last = at

    def _find(self, one: Series) -> _Counted | None:
        """Return what is remembered of a series; None of one that is no signal."""
        key = (one.name, one.labels)
        counted = self._counted.get(key)
        if counted is None and key not in self._counted:
            where = _where(one)
            counted = self._counted[key] = None if where is None else _Counted(self._entry(*where))
            if counted is not None:
                counted.entry.declared = True
        return counted

    def gauges(self, touched: Mapping[str, float]) -> None:
        """Take when each gauge was last set (name to wall seconds); setting it to the same value again counts."""
        for name, at in touched.items():
            entry = self._seen.get(("metrics", name))
            if entry is not None:
                entry.last = max(entry.last or 0.0, at)

    def beats(self, at: float, beats: Iterable[Beat]) -> None:
        """Take the declared beats of a tick; several processes with one name are one signal."""
        totals: dict[tuple[str, str], tuple[int, float | None, float | None]] = {}
        for beat in beats:
            key = (_BEATS.get(beat.kind, beat.kind), beat.name)
            count, last, every = totals.get(key, (0, None, beat.every))
            came = at - beat.age if beat.age is not None else None
            totals[key] = (
                count + beat.count,
                max(last or 0.0, came) if came is not None else last,
                beat.every if beat.every is not None else every,
            )
        for (kind, name), (count, last, every) in totals.items():
            entry = self._entry(kind, name)
            entry.declared, entry.count, entry.every = True, count, every
            entry.last = max(entry.last or 0.0, last) if last is not None else entry.last

    def checks(self, checks: Iterable[CheckResult]) -> None:
        """Take the results of all checks."""
        for check in checks:
            entry = self._entry("checks", check.name)
            entry.declared, entry.every = True, check.every
            if check.at is not None and check.at != entry.last:
                entry.count += 1
                entry.last = check.at

    def declare(self, kind: str, names: Iterable[str]) -> None:
        """Note what the program says it will send."""
        for name in names:
            self._entry(kind, name).declared = True

    def output(self, at: float, grown: int) -> None:
        """Note that the program wrote ``grown`` bytes to its standard output or error."""
        entry = self._entry("output", "stdout and stderr")
        if grown > 0:
            entry.count += grown
            entry.last = at

    def signals(self, now: float) -> tuple[Signal, ...]:
        """Return all signals in the order of their kinds.

        Kinds of which nothing is known are listed as never received.
        """
        by_kind: dict[str, list[Signal]] = {kind: [] for kind in KINDS}
        for (kind, name), seen in self._seen.items():
            allowed = max(STALE_AT_LEAST, STALE_INTERVALS * seen.every) if seen.every else None
            stale = allowed is not None and seen.last is not None and now - seen.last > allowed
            by_kind.setdefault(kind, []).append(
                Signal(kind, name, seen.declared, seen.count, seen.last, seen.every, stale=stale)
            )
        found: list[Signal] = []
        for kind, members in by_kind.items():
            found.extend(
                sorted(members, key=lambda one: one.name) or [Signal(kind, "", declared=False, count=0, last=None)]
            )
        return tuple(found)


def _where(one: Series) -> tuple[str, str] | None:  # noqa: PLR0911 - a table
    if one.name == REQUESTS:
        return "requests", dict(one.labels).get("http.route") or "(no route)"
    if one.name == OPERATIONS:
        return "operations", dict(one.labels).get("operation", "?")
    if one.name in {CLIENT, DATABASE}:
        which = attempt(one.name, one.labels, one.unit)
        return "client calls", which.name if which else one.name
    if one.name == "usage":
        return "usage", dict(one.labels).get("feature", "?")
    if one.name in {"errors", ACTIVE}:
        return None
    if one.name.startswith("cpython.gc."):
        return ("gc", one.name) if one.name in _COLLECTIONS else None  # of the others 0 is what is to be hoped for
    if one.name.startswith(("process.", "asyncio.", "loop.", "log.")):
        return None
    return ("timers", one.name) if one.kind is Kind.HISTOGRAM and one.unit == "s" else ("metrics", one.name)


def _count(one: Series) -> float:
    if one.histogram is not None:
        buckets = one.histogram.buckets
        return float(buckets.total if isinstance(buckets, Buckets) else sum(buckets.values()))
    if one.kind is Kind.GAUGE:
        return 0.0 if one.value is None else 1.0
    return one.value or 0.0


def by_kind(signals: Iterable[Signal]) -> Mapping[str, Signal]:
    """Return one line per kind: the counts added, the newest time."""
    found: dict[str, Signal] = {}
    for one in signals:
        known = found.get(one.kind)
        last = one.last if known is None or known.last is None else max(known.last, one.last or 0.0)
        found[one.kind] = Signal(
            one.kind,
            "",
            declared=one.declared or (known is not None and known.declared),
            count=one.count + (known.count if known else 0),
            last=last,
        )
    return found
