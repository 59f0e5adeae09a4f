"""From the series of processes to the series of the application.

Counters and histograms add up, so percentiles are those of all values together, however many processes recorded them.
Gauges follow their merge mode (``per_process`` ones get the label ``process.pid``); one that no process has set is
None. What a dead process counted stays in :class:`~roadworthy.arena.totals.Totals`; its gauges go, because nobody
measures them any more. A histogram's sum and maximum stay in stored units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from roadworthy.arena.totals import Key, Total, Totals, added
from roadworthy.types import Histogram, Kind, Labels, Series

if TYPE_CHECKING:
    from roadworthy.arena.records import RawSeries

ProcessKey = str
"""What tells a process from others: the name of its base file without ``.arena``, ``<boot>-<pid>-<ticks>-<n>``."""

PID_LABEL = "process.pid"
NOTHING = Totals()
NO_BUCKETS: Mapping[int, int] = {}


class Part(NamedTuple):
    """One process: all of its series, and those that are new or not as they were at the last merge."""

    process: ProcessKey
    series: Sequence[RawSeries]
    changed: Iterable[RawSeries]
    dead: bool = False


class _Entry:
    """One series of the application and what it is made of."""

    __slots__ = ("alone", "key", "members", "place", "retired", "shown")

    def __init__(self, key: Key, retired: Total | None = None, shown: Series | None = None) -> None:
        self.key = key
        self.retired = retired
        self.members: list[RawSeries] = []
        self.shown = shown
        self.place = -1
        self.alone: RawSeries | None = None
        """The only member of a series that is no histogram and that no dead process has counted."""


class Merger:
    """Keeps the application's series from one reading to the next and works out anew only what changed.

    A series that did not change stays the same object. When a process goes, or ends, all is put together anew.
    """

    def __init__(self) -> None:
        self._retired = NOTHING
        self._processes: dict[ProcessKey, bool] = {}
        self._entries: dict[Key, _Entry] = {}
        self._entry_of: dict[RawSeries, _Entry] = {}
        self._series: list[Series] = []
        self.anew = False
        """Whether the last update put everything together anew, so that series may have gone."""
        self.places: list[int] = []
        """Where those that the last update returned stand in :meth:`series`; until all is put together anew."""
        self.layout = 0
        """Changes when a series came, went or stands elsewhere."""

    def series(self) -> tuple[Series, ...]:
        """Return all series as of the last update."""
        return tuple(self._series)

    def update(self, parts: Sequence[Part], retired: Totals = NOTHING) -> list[Series]:
        """Take what the living and the dead say now and return the series that are new or not as they were.

        A process whose file was opened anew must have been left out of one update.
        """
        present = {part.process: part.dead for part in parts}
        self.anew = retired is not self._retired or any(
            present.get(key) is not dead for key, dead in self._processes.items()
        )
        touched = self._put_together(parts, retired) if self.anew else self._dirty(parts)
        self._processes = present
        changed: list[Series] = []
        places = self.places = []
        shown = self._series
        known = 0 if self.anew else len(shown)
        for entry in touched:
            before = entry.shown
            one = entry.alone
            if one is not None and before is not None and entry.place >= 0:
                # Nearly all, a thousand times a second: a counter or gauge of one process.
                value = one.value if one.value is not None or one.kind == "gauge" else 0.0
                if before.value != value:
                    now = _made(before.name, before.kind, before.labels, one.unit, one.help, value)
                    entry.shown = shown[entry.place] = now
                    changed.append(now)
                    places.append(entry.place)
                continue
            now = _work_out(entry)
            if entry.place < 0:
                entry.place = len(shown)
                shown.append(now)
            else:
                shown[entry.place] = now
            if now is not before:
                entry.shown = now
                changed.append(now)
                places.append(entry.place)
        if self.anew or len(shown) > known:
            self.layout += 1
        return changed

    def _dirty(self, parts: Iterable[Part]) -> Iterable[_Entry]:
        """Return what must be worked out anew, each once."""
        found: dict[_Entry, None] = {}
        of = self._entry_of.get
        for part in parts:
            for one in part.changed if part.process in self._processes else part.series:
                entry = of(one)
                if entry is None:
                    if part.dead and one.kind == "gauge":
                        continue
                    entry = self._add(part.process, one, {})
                found[entry] = None
        return found

    def _put_together(self, parts: Iterable[Part], retired: Totals) -> Iterable[_Entry]:
        before = self._entries
        self._retired = retired
        self._entries = {}
        self._entry_of = {}
        self._series = []
        for key, total in retired.entries.items():
            known = before.get(key)
            self._entries[key] = _Entry(key, total, None if known is None else known.shown)
        for part in parts:
            for one in part.series:
                if not part.dead or one.kind != "gauge":
                    self._add(part.process, one, before)
        return self._entries.values()

    def _add(self, process: ProcessKey, one: RawSeries, before: Mapping[Key, _Entry]) -> _Entry:
        labels = one.labels
        if one.merge == "per_process" and one.kind == "gauge":
            labels = tuple(sorted((*labels, (PID_LABEL, _pid(process)))))
        key: Key = (one.kind, one.name, labels)
        entry = self._entries.get(key)
        if entry is None:
            known = before.get(key)
            entry = self._entries[key] = _Entry(key, None, None if known is None else known.shown)
        entry.members.append(one)
        scalar = one.kind != "histogram" and entry.retired is None
        entry.alone = one if scalar and len(entry.members) == 1 else None
        self._entry_of[one] = entry
        return entry


def merge(processes: Iterable[tuple[ProcessKey, Sequence[RawSeries]]], retired: Totals = NOTHING) -> list[Series]:
    """Return the application's series at one look: those of the living processes and of the dead."""
    merger = Merger()
    merger.update([Part(process, list(series), ()) for process, series in processes], retired)
    return list(merger.series())


def _pid(process: ProcessKey) -> str:
    parts = process.split("-")
    return parts[1] if len(parts) > 1 else process


_GAUGE, _COUNTER, _HISTOGRAM = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM
_slots: Any = Series.__dict__
_name, _kind, _labels = _slots["name"].__set__, _slots["kind"].__set__, _slots["labels"].__set__
_unit, _help, _value = _slots["unit"].__set__, _slots["help"].__set__, _slots["value"].__set__
_histogram_slot = _slots["histogram"].__set__
_new = Series.__new__


def _made(
    name: str, kind: Kind, labels: Labels, unit: str, text: str, value: float | None, histogram: Histogram | None = None
) -> Series:
    """Return ``Series(...)``; a frozen dataclass's constructor takes twice as long, a thousand times a second."""
    made = _new(Series)
    _name(made, name)
    _kind(made, kind)
    _labels(made, labels)
    _unit(made, unit)
    _help(made, text)
    _value(made, value)
    _histogram_slot(made, histogram)
    return made


def _work_out(entry: _Entry) -> Series:
    """Return what the entry shows now, the same object as before when nothing changed."""
    kind, name, labels = entry.key
    before, members = entry.shown, entry.members
    if kind == "histogram":
        return _histogram(entry)
    if kind == "gauge":
        value = members[0].value if len(members) == 1 else _gauge(members)
    else:
        value = entry.retired.value if entry.retired is not None else 0.0
        for one in members:
            value += one.value or 0.0
    if before is not None and before.value == value:
        return before
    told: RawSeries | Total | None = members[-1] if members else entry.retired
    unit, text = (told.unit, told.help) if told is not None else ("", "")
    return _made(name, _GAUGE if kind == "gauge" else _COUNTER, labels, unit, text, value)


def _together(entry: _Entry) -> RawSeries | Total:
    if entry.retired is None and len(entry.members) == 1:
        return entry.members[0]
    total = entry.retired
    for one in entry.members:
        total = added(total, one)
    assert total is not None  # noqa: S101 - an entry is made of a total or of members
    return total


def _histogram(entry: _Entry) -> Series:
    total = _together(entry)
    buckets = total.buckets or NO_BUCKETS
    before = entry.shown
    known = before.histogram if before is not None else None
    if (
        before is not None
        and known is not None
        and (known.sum, known.max) == (total.sum, total.max)
        and (known.buckets is buckets or known.buckets == buckets)
    ):
        return before
    _, name, labels = entry.key
    made = Histogram(buckets, total.sum, total.max, total.scale)
    return _made(name, _HISTOGRAM, labels, total.unit, total.help, None, made)


def _gauge(group: Sequence[RawSeries]) -> float | None:
    measured = [one for one in group if one.value is not None]
    if not measured:
        return None
    mode = measured[0].merge
    values = [one.value for one in measured if one.value is not None]
    if mode == "sum":
        return sum(values)
    if mode == "max":
        return max(values)
    if mode == "min":
        return min(values)
    return max(measured, key=lambda one: one.updated_ns).value
