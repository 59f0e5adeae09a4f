"""What dead processes counted, for ever. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from roadworthy.arena.layout import add_buckets, bucket_bounds, bucket_of
from roadworthy.types import Labels

if TYPE_CHECKING:
    from roadworthy.arena.records import RawSeries

Key = tuple[str, str, Labels]
"""Kind, name, labels."""

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
        entries[key] = added(entries.get(key), one)
    return Totals(entries)


def added(total: Total | None, one: RawSeries) -> Total:
    """Return ``total`` with what one series counted added; where units differ, the first one's scale stays."""
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
