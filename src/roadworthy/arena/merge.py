"""From the series of processes to the series of the application. Pure.

Counters and histograms add up, so percentiles are those of all values together, however many processes recorded them.
What a dead process counted stays in :class:`Totals`; its gauges go, because nobody measures them any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from roadworthy.arena.layout import add_buckets, bucket_bounds, bucket_of
from roadworthy.types import Histogram, Kind, Labels, Series

if TYPE_CHECKING:
    from roadworthy.arena.records import RawSeries

ProcessKey = str
"""What tells a process from others: the name of its base file without ``.arena``, ``<boot>-<pid>-<ticks>-<n>``."""

Key = tuple[str, str, Labels]
"""Kind, name, labels."""

PID_LABEL = "process.pid"
OVERFLOW: Labels = (("otel.metric.overflow", "true"),)
MOST_RETIRED = 20_000
"""Series of dead processes that are told apart; beyond it they share the overflow series of their name."""


@dataclass(frozen=True, slots=True)
class Total:
    """What the dead processes counted in one series; ``sum`` and ``max`` in stored units."""

    unit: str = ""
    help: str = ""
    value: float = 0.0
    buckets: Mapping[int, int] | None = None
    sum: float = 0.0
    max: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of all dead processes, by kind, name and labels."""

    entries: Mapping[Key, Total] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the totals as JSON that :meth:`from_json` reads back to an equal value."""
        rows = [
            [
                kind,
                name,
                labels,
                t.unit,
                t.help,
                t.value,
                None if t.buckets is None else sorted(t.buckets.items()),
                t.sum,
                t.max,
                t.scale,
            ]
            for (kind, name, labels), t in self.entries.items()
        ]
        return json.dumps({"schema": 1, "totals": rows}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Totals:
        """Read back what :meth:`to_json` wrote; raises ``ValueError`` when it is something else."""
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw["schema"] != 1:
                raise ValueError(f"schema {raw['schema']!r}")  # noqa: TRY301 - it gets its sentence below
            entries: dict[Key, Total] = {}
            for kind, name, labels, unit, shown, value, buckets, total, largest, scale in raw["totals"]:
                counts = None if buckets is None else {int(index): int(count) for index, count in buckets}
                key = (str(kind), str(name), tuple((str(k), str(v)) for k, v in labels))
                entries[key] = Total(
                    str(unit), str(shown), float(value), counts, float(total), float(largest), float(scale)
                )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"these are no totals of ended processes: {type(error).__name__}: {error}") from error
        return cls(entries)


def retire(totals: Totals, series: Iterable[RawSeries]) -> Totals:
    """Return ``totals`` with what one dead process counted added; its gauges are dropped."""
    entries = dict(totals.entries)
    for one in series:
        if one.kind == "gauge":
            continue
        key: Key = (one.kind, one.name, one.labels)
        if key not in entries and len(entries) >= MOST_RETIRED:
            key = (one.kind, one.name, OVERFLOW)
        entries[key] = _added(entries.get(key), one)
    return Totals(entries)


def merge(
    processes: Sequence[tuple[ProcessKey, Iterable[RawSeries]]],
    retired: Totals = Totals(),
    previous: Mapping[tuple[str, str, Labels], Series] | None = None,
) -> list[Series]:
    """Return the application's series: those of the living processes and of the dead.

    Gauges follow their merge mode (``per_process`` ones get the label ``process.pid``); one that no process has set
    is None. A histogram's sum and maximum stay in stored units. Unchanged series are taken from ``previous`` (see
    :func:`by_key`).
    """
    counted: dict[Key, Total] = dict(retired.entries)
    gauges: dict[Key, list[RawSeries]] = {}
    for process, series in processes:
        for one in series:
            if one.kind != "gauge":
                key: Key = (one.kind, one.name, one.labels)
                counted[key] = _added(counted.get(key), one)
                continue
            labels = one.labels
            if one.merge == "per_process":
                labels = tuple(sorted((*labels, (PID_LABEL, _pid(process)))))
            gauges.setdefault(("gauge", one.name, labels), []).append(one)
    known = previous or {}
    made = []
    for key, total in counted.items():
        before = known.get(key)
        if before is None or not _same(before, total):
            before = _series(key, total)
        made.append(before)
    for key, group in gauges.items():
        value = _gauge(group)
        before = known.get(key)
        if before is None or before.value != value:
            before = Series(key[1], Kind.GAUGE, key[2], group[0].unit, group[0].help, value)
        made.append(before)
    return made


def by_key(series: Iterable[Series]) -> dict[Key, Series]:
    """Return merged series by kind, name and labels, for the next call of :func:`merge`."""
    return {(one.kind.value, one.name, one.labels): one for one in series}


def _pid(process: ProcessKey) -> str:
    parts = process.split("-")
    return parts[1] if len(parts) > 1 else process


def _added(total: Total | None, one: RawSeries) -> Total:
    if one.kind == "counter":
        value = one.value or 0.0
        return Total(one.unit, one.help, value if total is None else total.value + value)
    buckets: Mapping[int, int] = one.buckets or {}
    if total is None:
        return Total(one.unit, one.help, 0.0, buckets, one.sum, one.max, one.scale)
    factor = total.scale / one.scale
    if factor != 1.0:
        # Two versions of the program disagree on the unit they store: what is merged keeps the first one's.
        buckets = _rescaled(buckets, factor)
    merged = add_buckets((total.buckets or {}, buckets))
    largest = max(total.max, one.max * factor)
    return Total(total.unit, total.help or one.help, 0.0, merged, total.sum + one.sum * factor, largest, total.scale)


def _rescaled(buckets: Mapping[int, int], factor: float) -> dict[int, int]:
    made: dict[int, int] = {}
    for index, count in buckets.items():
        low, high = bucket_bounds(index)
        target = bucket_of(round((low + high - 1) / 2 * factor))
        made[target] = made.get(target, 0) + count
    return made


def _same(before: Series, total: Total) -> bool:
    if total.buckets is None:
        return before.value == total.value
    shown = before.histogram
    return shown is not None and shown.sum == total.sum and shown.max == total.max and shown.buckets == total.buckets


def _series(key: Key, total: Total) -> Series:
    kind, name, labels = key
    if total.buckets is None:
        return Series(name, Kind.COUNTER, labels, total.unit, total.help, total.value)
    histogram = Histogram(total.buckets, total.sum, total.max, total.scale)
    return Series(name, Kind(kind), labels, total.unit, total.help, None, histogram)


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
