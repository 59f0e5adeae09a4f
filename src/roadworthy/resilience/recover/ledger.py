"""What went wrong and what came of it: errors by kind, component and fingerprint, recoveries by their outcome.

A recovery is a success when the next real call of the same component and operation succeeded, a failure when it failed
again. One that nobody called again within :data:`PROVEN_WITHIN` seconds is ``unproven``: never counted as a success.
Everything is bounded; times are monotonic ns except those named wall. Callers hold the manager's lock.
"""

from __future__ import annotations

from collections import deque

from roadworthy._clock import NS, wall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    K = TypeVar("K")
    V = TypeVar("V")

MOST = 256
RECENT = 50
MINUTES = 60
QUIET_NS = 300 * NS
"""After so long without an error of an operation, its next one is a first one again."""

PROVEN_WITHIN = 300
CASCADE_NS = 10 * NS
CASCADE_COMPONENTS = 3
"""Components that fail within :data:`CASCADE_NS` make a cascade."""

SUCCESS, FAILURE, UNPROVEN = "success", "failure", "unproven"


class Known:
    """Errors of one fingerprint."""

    __slots__ = (
        "component",
        "count",
        "first",
        "kind",
        "last",
        "last_ns",
        "operation",
        "repeats",
        "severity",
        "turn",
        "type",
    )

    def __init__(self, kind: str, severity: str, component: str, operation: str, name: str) -> None:
        self.kind = kind
        self.severity = severity
        self.component = component
        self.operation = operation
        self.type = name
        self.count = 0
        self.repeats = 0
        self.turn = 0
        self.first = self.last = wall()
        self.last_ns = 0

    def as_dict(self) -> dict[str, object]:
        """Return it as plain values; ``first`` and ``last`` in wall seconds."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "type": self.type,
            "component": self.component,
            "operation": self.operation,
            "count": self.count,
            "in_a_row": self.repeats,
            "first": self.first,
            "last": self.last,
        }


class Pending:
    """A recovery that the next real call will judge."""

    __slots__ = ("action", "at_ns", "kind", "strategies")

    def __init__(self, kind: str, action: str, strategies: tuple[str, ...], at_ns: int) -> None:
        self.kind = kind
        self.action = action
        self.strategies = strategies
        self.at_ns = at_ns


class Ledger:
    """The books of one manager."""

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}
        self.total = 0
        self.by_kind: dict[str, int] = {}
        self.by_severity: dict[str, int] = {}
        self.by_component: dict[str, int] = {}
        self.recoveries: dict[tuple[str, str, str, str], int] = {}
        self.strategies: dict[str, dict[str, int]] = {}
        self.recent: deque[dict[str, object]] = deque(maxlen=RECENT)
        self._tries: dict[tuple[str, str], tuple[int, int]] = {}
        self._pending: dict[tuple[str, str], Pending] = {}
        self._minutes: dict[int, int] = {}
        self._last_of: dict[str, int] = {}

    def note(self, fingerprint: str, known: Known, turn: int, now_ns: int) -> tuple[Known, int]:
        """Book an error; returns what is known of its fingerprint and which failure in a row this is of its operation.

        A turn further than the last time is progress: the count of repeats begins anew.
        """
        found = _put(self.known, fingerprint, self.known.get(fingerprint) or known)
        if turn > found.turn or now_ns - found.last_ns > QUIET_NS:
            found.repeats = 0
        found.turn, found.last_ns, found.last = turn, now_ns, wall()
        found.count += 1
        found.repeats += 1
        self.total += 1
        for table, key in (
            (self.by_kind, found.kind), (self.by_severity, found.severity), (self.by_component, found.component),
        ):  # fmt: skip
            _put(table, key, table.get(key, 0) + 1)
        minute = now_ns // (60 * NS)
        self._minutes[minute] = self._minutes.get(minute, 0) + 1
        for old in [one for one in self._minutes if one <= minute - MINUTES]:
            del self._minutes[old]
        _put(self._last_of, found.component, now_ns)
        place = (found.component, found.operation)
        tries, last_ns = self._tries.get(place, (0, 0))
        tries = 1 if now_ns - last_ns > QUIET_NS else tries + 1
        _put(self._tries, place, (tries, now_ns))
        return found, tries

    def cascade(self, now_ns: int) -> list[str]:
        """Return the components that failed in the last seconds when they are so many that one pulls down the next."""
        names = [name for name, at in self._last_of.items() if now_ns - at <= CASCADE_NS]
        return sorted(names) if len(names) >= CASCADE_COMPONENTS else []

    def began(self, component: str, operation: str, pending: Pending) -> None:
        """Book a recovery that the next call of this operation will judge."""
        _put(self._pending, (component, operation), pending)

    def settle(self, component: str, operation: str, outcome: str) -> Pending | None:
        """Judge what was pending for this operation; returns it, None when nothing was."""
        place = (component, operation)
        if outcome == SUCCESS:
            self._tries.pop(place, None)
            for found in self.known.values():
                if (found.component, found.operation) == place:
                    found.repeats = 0
        pending = self._pending.pop(place, None)
        if pending is not None:
            self._book(component, pending, outcome)
        return pending

    def expire(self, now_ns: int) -> None:
        """Close what nobody has proven in time."""
        for (component, operation), pending in list(self._pending.items()):
            if now_ns - pending.at_ns > PROVEN_WITHIN * NS:
                del self._pending[component, operation]
                self._book(component, pending, UNPROVEN)

    def book(self, component: str, kind: str, action: str, outcome: str) -> None:
        """Count the outcome of a recovery that was judged elsewhere (a service's)."""
        self._book(component, Pending(kind, action, (), 0), outcome)

    def open_for(self, component: str, operation: str) -> bool:
        """Tell whether a success of this operation would say anything; two look-ups, without the lock."""
        place = (component, operation)
        return place in self._tries or place in self._pending

    def rate(self, now_ns: int) -> float:
        """Return errors a minute over the last five minutes that have ended or run."""
        minute = now_ns // (60 * NS)
        return sum(count for at, count in self._minutes.items() if at > minute - 5) / 5

    def outcomes(self) -> dict[str, int]:
        """Return how many recoveries succeeded, failed, are unproven, and are pending."""
        found = {SUCCESS: 0, FAILURE: 0, UNPROVEN: 0, "pending": len(self._pending)}
        for (_, _, _, outcome), count in self.recoveries.items():
            found[outcome] += count
        return found

    def summary(self, now_ns: int) -> dict[str, object]:
        """Return all of it as plain values; ``success_rate`` is of recoveries that were judged, None when none was."""
        outcomes = self.outcomes()
        judged = outcomes[SUCCESS] + outcomes[FAILURE]
        groups = sorted(self.known.items(), key=lambda pair: -pair[1].last)[:RECENT]
        return {
            "errors": self.total,
            "errors_per_minute": self.rate(now_ns),
            "by_kind": dict(self.by_kind),
            "by_severity": dict(self.by_severity),
            "by_component": dict(self.by_component),
            "recoveries": outcomes,
            "success_rate": outcomes[SUCCESS] / judged if judged else None,
            "strategies": {name: dict(counts) for name, counts in self.strategies.items()},
            "groups": [{"fingerprint": mark, **one.as_dict()} for mark, one in groups],
            "recent": list(self.recent)[::-1],
        }

    def _book(self, component: str, pending: Pending, outcome: str) -> None:
        key = (component, pending.kind, pending.action, outcome)
        _put(self.recoveries, key, self.recoveries.get(key, 0) + 1)
        for name in pending.strategies:
            counts = self.strategies.setdefault(name, {SUCCESS: 0, FAILURE: 0, UNPROVEN: 0})
            counts[outcome] += 1


def _put(table: dict[K, V], key: K, value: V) -> V:
    """Set a key of a bounded table; beyond :data:`MOST` the one that was set first goes."""
    if key not in table and len(table) >= MOST:
        del table[next(iter(table))]
    table[key] = value
    return value
