"""Groups of errors by fingerprint: how many, since when, how often, in which operation.

Bounded; texts come redacted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from roadworthy.types import ErrorGroup, Event, EventKind

MOST_GROUPS: Final = 200
MINUTES: Final = 60
_TRACEBACK: Final = 4_000
_MESSAGE: Final = 500


class _Group:
    """One fingerprint's count, its minutes and what it looked like the last time."""

    __slots__ = (
        "count",
        "first",
        "handled",
        "last",
        "message",
        "minutes",
        "operation",
        "operations",
        "traceback",
        "type",
    )

    def __init__(self, at: float) -> None:
        self.count = 0
        self.first = at
        self.last = at
        self.type = ""
        self.message = ""
        self.operation = ""
        self.operations: Counter[str] = Counter()
        self.handled = True
        self.traceback = ""
        self.minutes: deque[tuple[int, int]] = deque(maxlen=MINUTES)


class ErrorLog:
    """Counts error events; when 200 groups are known the one that was seen longest ago makes room."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self.dropped_groups = 0

    def take(self, events: Iterable[Event]) -> int:
        """Count the error events among ``events``; returns how many there were."""
        taken = 0
        for event in events:
            if event.kind is EventKind.ERROR and not event.torn:
                self._count(event)
                taken += 1
        return taken

    def _count(self, event: Event) -> None:
        fields = event.fields
        fingerprint = fields.get("fingerprint") or f"{fields.get('type', '?')}:{event.source}"
        group = self._groups.get(fingerprint)
        if group is None:
            if len(self._groups) >= MOST_GROUPS:
                oldest = min(self._groups, key=lambda key: self._groups[key].last)
                del self._groups[oldest]
                self.dropped_groups += 1
            group = self._groups[fingerprint] = _Group(event.at)
        weight = _weight(fields)
        group.count += weight
        group.last = max(group.last, event.at)
        group.first = min(group.first, event.at)
        group.type = fields.get("type", group.type)
        group.message = event.text[:_MESSAGE]
        group.operation = fields.get("operation") or event.source or group.operation
        if len(group.operations) < 20 or group.operation in group.operations:  # noqa: PLR2004 - a relation, not a log
            group.operations[group.operation] += weight
        group.handled = fields.get("handled", "true").lower() not in {"false", "0", "no"}
        group.traceback = fields.get("traceback", group.traceback)[:_TRACEBACK]
        minute = int(event.at // 60)
        if group.minutes and group.minutes[-1][0] == minute:
            group.minutes[-1] = (minute, group.minutes[-1][1] + weight)
        elif weight:
            group.minutes.append((minute, weight))

    def groups(self, most: int = MOST_GROUPS) -> tuple[ErrorGroup, ...]:
        """Return the groups, the one seen last first."""
        found = sorted(self._groups.items(), key=lambda item: -item[1].last)[:most]
        return tuple(
            ErrorGroup(
                fingerprint, group.type, group.message, group.operation, group.count, group.first, group.last,
                group.handled, group.traceback,
            )
            for fingerprint, group in found
        )  # fmt: skip

    def frequency(self, fingerprint: str) -> tuple[tuple[float, int], ...]:
        """Return (start of the minute, errors in it) for the minutes with errors, at most the last 60 of them."""
        group = self._groups.get(fingerprint)
        return tuple((minute * 60.0, count) for minute, count in group.minutes) if group else ()

    def operations(self, fingerprint: str) -> Mapping[str, int]:
        """Return in which operations errors with this fingerprint happened, and how often."""
        group = self._groups.get(fingerprint)
        return dict(group.operations) if group else {}

    def to_json(self) -> list[dict[str, Any]]:
        """Return what :meth:`load` takes back after a restart of the agent."""
        return [
            {
                "fingerprint": fingerprint,
                "count": group.count,
                "first": group.first,
                "last": group.last,
                "type": group.type,
                "message": group.message,
                "operation": group.operation,
                "operations": dict(group.operations),
                "handled": group.handled,
                "traceback": group.traceback,
                "minutes": list(group.minutes),
            }
            for fingerprint, group in self._groups.items()
        ]

    def load(self, saved: Iterable[Mapping[str, Any]]) -> None:
        """Take back what was saved; raises ``KeyError``, ``TypeError`` or ``ValueError`` for something else."""
        for raw in saved:
            group = _Group(float(raw["first"]))
            group.count = int(raw["count"])
            group.last = float(raw["last"])
            group.type = str(raw["type"])
            group.message = str(raw["message"])
            group.operation = str(raw["operation"])
            group.operations = Counter({str(name): int(count) for name, count in raw["operations"].items()})
            group.handled = bool(raw["handled"])
            group.traceback = str(raw["traceback"])
            group.minutes.extend((int(minute), int(count)) for minute, count in raw["minutes"])
            self._groups[str(raw["fingerprint"])] = group


def _weight(fields: Mapping[str, str]) -> int:
    """Return for how many errors a record stands: more than one where errors are sampled, none when told before."""
    if fields.get("again") == "true":
        return 0
    told = fields.get("weight", "1")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 19 else 1  # noqa: PLR2004 - as an int64
