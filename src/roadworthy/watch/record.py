"""What of a tick is recorded in the history, and under which names. Pure.

A figure that was not measured is left out, so that it becomes a gap. Beside the chart figures these are: resources of
the program (``app.…``), of each worker (``worker.0.…``) and of the host (``system.…``), of every operation
``operation.<name>.rate``, ``.p50``, ``.p95``, ``.p99``, ``.failures``, ``.count``, of other histograms
``<name>.p95`` and ``<name>.count``, and all counters and gauges under their own names.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Final

from roadworthy.watch.operations import Distribution, series_name

if TYPE_CHECKING:
    from roadworthy.types import Operation, Resources, Series, System

_RESOURCES: Final = (
    "cpu_percent", "rss", "memory_percent", "threads", "fds", "processes", "read_bytes", "write_bytes",
)  # fmt: skip
_SYSTEM: Final = (
    "cpu_percent", "load1", "memory_used", "memory_percent", "disk_used", "disk_percent", "disk_read", "disk_write",
    "net_received", "net_sent", "processes",
)  # fmt: skip
_OPERATION: Final = ("rate", "p50", "p95", "p99", "failures", "count")


class Record:
    """Keeps the figures from tick to tick and touches only those that changed."""

    def __init__(self) -> None:
        self._names: dict[Hashable, str] = {}
        self._metrics: dict[str, float] = {}
        self._operations: dict[str, tuple[Operation, dict[str, float]]] = {}

    def figures(
        self,
        gauges: Mapping[str, float | None],
        resources: Resources,
        workers: Mapping[int, Resources],
        operations: Sequence[Operation],
        system: System,
        distributions: Iterable[Distribution] = (),
    ) -> dict[str, float]:
        """Return what is recorded of a tick, by name."""
        found = {name: value for name, value in gauges.items() if value is not None}
        _add(found, "app", resources, _RESOURCES)
        for slot, used in workers.items():
            _add(found, f"worker.{slot}", used, _RESOURCES)
        _add(found, "system", system, _SYSTEM)
        for figures in self._of(operations):
            found.update(figures)
        for one in distributions:
            found[f"{one.name}.count"] = one.count
            if one.p95 is not None:
                found[f"{one.name}.p95"] = one.p95
        found.update(self._metrics)
        return found

    def _of(self, operations: Sequence[Operation]) -> list[dict[str, float]]:
        """Return the figures of operations, always in the order in which they came, so that the history's row is."""
        kept = self._operations
        for operation in operations:
            known = kept.get(operation.name)
            if known is None or known[0] is not operation:
                figures: dict[str, float] = {}
                _add(figures, f"operation.{operation.name}", operation, _OPERATION)
                kept[operation.name] = (operation, figures)
        if len(operations) < len(kept):
            names = {operation.name for operation in operations}
            for name in kept.keys() - names:
                del kept[name]
        return [figures for _, figures in kept.values()]

    def metrics(
        self,
        changed: Iterable[Series],
        everything: Iterable[Series] | None = None,
        places: Iterable[int] | None = None,
    ) -> None:
        """Take the counters and gauges that changed; ``everything`` when some may be gone.

        ``places`` are where the changed stand in everything: the same for the same series until that is given again.
        """
        keys: Iterable[Hashable] | None = places
        if everything is not None:
            self._metrics.clear()
            self._names.clear()
            changed, keys = everything, None if places is None else count()
        if keys is None:
            changed = list(changed)
            keys = [(one.name, one.labels) for one in changed]
        names, metrics = self._names, self._metrics
        for key, one in zip(keys, changed, strict=False):
            if one.histogram is not None:
                continue
            name = names.get(key)
            if name is None:
                name = names[key] = series_name(one.name, one.labels)
            if one.value is not None:
                metrics[name] = one.value
            else:
                metrics.pop(name, None)


def _add(found: dict[str, float], prefix: str, one: object, names: Iterable[str]) -> None:
    for name in names:
        value = getattr(one, name)
        if value is not None:
            found[f"{prefix}.{name}"] = value
