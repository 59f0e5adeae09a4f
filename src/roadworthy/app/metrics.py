"""Counters, gauges, histograms and timers under the caller's own names, with labels and units.

What a handle is asked for first (``add``, ``set``, ``record``) is bound to the arena's own instrument at the first
use, so that a later call runs nothing of this module. Handles may be made at import time, before
:func:`roadworthy.start`.
"""

# ruff: noqa: A002, ANN401 - help is the term; instruments of the replaceable hot module are bound by name

from __future__ import annotations

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import guard, start
from roadworthy.app.recorder import LONGEST_NS, Recorder

MERGES = ("sum", "max", "min", "last", "per_process")
MOST_CHILDREN = 1024
"""Bound label sets that a handle keeps at hand; the arena's own limits come on top."""

_SCALES = {
    "s": 1e9,
    "ms": 1e6,
    "us": 1e3,
    "µs": 1e3,
    "ns": 1.0,
    "By": 1.0,
    "bytes": 1.0,
    "B": 1.0,
    "KiBy": 1e3,
    "MiBy": 1e6,
}
_SCALE = 1e6
"""Stored units in one unit of anything else: from a millionth up to a thousand million."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Protocol, Self

    class _Add(Protocol):
        def __call__(self, n: float = 1.0, /) -> None: ...


Pairs = tuple[tuple[str, str], ...]


class _Instrument:
    """A metric's name with its labels, and the way to the arena's instrument."""

    __slots__ = ("_children", "_declared", "_help", "_pairs", "_unit", "name")

    def __init__(self, name: str, unit: str, help: str, labels: Iterable[str], pairs: Pairs) -> None:
        self.name = name
        self._unit = unit
        self._help = help
        self._declared = frozenset(labels)
        self._pairs = pairs
        self._children: dict[Any, Any] = {}

    def labels(self, **values: object) -> Self:
        """Return this metric for one set of label values, always the same object; keep it where it is used often.

        Values become text of at most 64 characters, secrets are replaced. Beyond the limits for one name, values go to
        that name's overflow series. Never raises.
        """
        try:
            key = tuple(values.items())
            try:
                return self._children[key]  # type: ignore[no-any-return]  # holds what _with returned
            except (KeyError, TypeError):
                pass
            merged = dict(self._pairs)
            merged.update(contexts.labels(values))
            made = self._with(tuple(sorted(merged.items())))
            if len(self._children) < MOST_CHILDREN:
                try:
                    self._children[key] = made
                except TypeError:
                    return made  # a value that cannot be a key is looked up each time
            return made
        except Exception as error:
            if guard.failed(f"{self.name}.labels", error):
                raise
            return self

    def _with(self, pairs: Pairs) -> Self:
        raise NotImplementedError


class Counter(_Instrument):
    """A number that only grows."""

    __slots__ = ("add",)

    add: _Add
    """Add ``n`` (default 1); what is negative or no number is dropped and counted as trouble. Never raises."""

    def __init__(self, name: str, unit: str, help: str, labels: Iterable[str] = (), pairs: Pairs = ()) -> None:
        super().__init__(name, unit, help, labels, pairs)
        self.add = self._bind
        if start.current() is not None and (pairs or not self._declared):
            self._ready()

    def _bind(self, n: float = 1.0) -> None:
        if self._ready():
            self.add(n)

    def _ready(self) -> bool:
        return _attach(
            self, "counter", lambda arena: arena.counter(self.name, self._pairs, self._unit, self._help), ("add",)
        )

    def _with(self, pairs: Pairs) -> Self:
        return type(self)(self.name, self._unit, self._help, self._declared, pairs)


class Gauge(_Instrument):
    """A number that goes up and down; not measured until it is set."""

    __slots__ = ("_merge", "add", "set")

    set: Callable[[float], None]
    """Set the value. Never raises."""
    add: _Add
    """Add ``v`` (default 1), which may be negative. Never raises."""

    def __init__(
        self,
        name: str,
        unit: str,
        help: str,
        merge: str,
        labels: Iterable[str] = (),
        pairs: Pairs = (),
    ) -> None:
        super().__init__(name, unit, help, labels, pairs)
        self._merge = merge
        self.set = self._set
        self.add = self._add
        if start.current() is not None and (pairs or not self._declared):
            self._ready()

    def _set(self, v: float) -> None:
        if self._ready():
            self.set(v)

    def _add(self, v: float = 1.0) -> None:
        if self._ready():
            self.add(v)

    def _ready(self) -> bool:
        def make(arena: Any) -> Any:
            return arena.gauge(self.name, self._pairs, self._unit, self._help, self._merge)

        return _attach(self, "gauge", make, ("set", "add"))

    def _with(self, pairs: Pairs) -> Self:
        return type(self)(self.name, self._unit, self._help, self._merge, self._declared, pairs)


class Histogram(_Instrument):
    """A distribution of values; percentiles stay true over processes, within 6.25 %."""

    __slots__ = ("_record", "_scale")

    def __init__(self, name: str, unit: str, help: str, labels: Iterable[str] = (), pairs: Pairs = ()) -> None:
        super().__init__(name, unit, help, labels, pairs)
        self._scale = _SCALES.get(unit, 1.0 if unit.startswith("{") else _SCALE)
        self._record: Callable[[int], None] = self._bind
        if start.current() is not None and (pairs or not self._declared):
            self._ready()

    def record(self, v: float) -> None:
        """Count one value, in the metric's unit; negative counts as 0, what is no number is dropped. Never raises."""
        try:
            self._record(int(v * self._scale))
        except Exception as error:
            if guard.failed(f"{self.name}.record", error):
                raise

    def _bind(self, n: int) -> None:
        if self._ready():
            self._record(n)

    def _ready(self) -> bool:
        arena = start.ensure()
        if arena is None:
            return False
        self._record = arena.histogram(self.name, self._pairs, self._unit, self._help, self._scale).record
        return True

    def _with(self, pairs: Pairs) -> Self:
        return type(self)(self.name, self._unit, self._help, self._declared, pairs)


class Timer(_Instrument):
    """A histogram of durations in seconds, with a block that measures itself."""

    __slots__ = ("_recorder",)

    def __init__(self, name: str, help: str, labels: Iterable[str] = (), pairs: Pairs = ()) -> None:
        super().__init__(name, "s", help, labels, pairs)
        self._recorder = Recorder(name, name, pairs)

    def record(self, seconds: float) -> None:
        """Count one duration in seconds; negative counts as 0, what is no number is dropped. Never raises."""
        try:
            n = int(seconds * 1e9)
            self._recorder.exact(min(max(n, 0), LONGEST_NS))
        except Exception as error:
            if guard.failed(f"{self.name}.record", error):
                raise

    def time(self) -> Timing:
        """Return a block whose duration is counted; one that raises gets the label ``error.type``."""
        return Timing(self._recorder)

    def _with(self, pairs: Pairs) -> Self:
        return type(self)(self.name, self._help, self._declared, pairs)


class Timing:
    """One measured block of a :class:`Timer`."""

    __slots__ = ("_begun", "_recorder")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._begun = 0

    def __enter__(self) -> Self:
        self._begun = monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            n = monotonic_ns() - self._begun
            if kind is None or kind is GeneratorExit:
                self._recorder.slow(n)
            else:
                self._recorder.failed(n, kind.__qualname__)
        except Exception as broken:
            if guard.failed("timer", broken):
                raise


def counter(name: str, *, unit: str = "", help: str = "", labels: Iterable[str] = ()) -> Counter:
    """Return a counter: ``rw.counter("requests", labels=["scene"]).labels(scene="cave").add()``."""
    return Counter(_name(name), unit, help, labels)


def gauge(
    name: str,
    *,
    unit: str = "",
    help: str = "",
    merge: str = "last",
    labels: Iterable[str] = (),
) -> Gauge:
    """Return a gauge: ``gauge("entities").set(42)``. ``merge`` says what several processes' values become together.

    It is one of sum, max, min, last and per_process; anything else is told once and taken as last.
    """
    if merge not in MERGES:
        guard.report(
            f"gauge.{name}",
            f"gauge {name!r} asks for merge={merge!r}, which is none of {', '.join(MERGES)}; it gets 'last'",
        )
        merge = "last"
    return Gauge(_name(name), unit, help, merge, labels)


def histogram(name: str, *, unit: str = "", help: str = "", labels: Iterable[str] = ()) -> Histogram:
    """Return a histogram: ``rw.histogram("rom.size", unit="By").record(n)``; units as in UCUM: s, ms, By, {tile}, 1."""
    return Histogram(_name(name), unit, help, labels)


def timer(name: str, *, help: str = "", labels: Iterable[str] = ()) -> Timer:
    """Return a timer, in seconds: ``with rw.timer("db.query").time(): …``, or its ``record(seconds)``."""
    return Timer(_name(name), help, labels)


def _name(name: object) -> str:
    return contexts.label_value(name)


def _attach(instrument: Any, kind: str, make: Callable[[Any], Any], methods: tuple[str, ...]) -> bool:
    """Bind the methods of the arena's instrument in place of ours; False when there is no arena."""
    try:
        arena = start.ensure()
        if arena is None:
            return False
        hot = make(arena)
        for method in methods:
            setattr(instrument, method, getattr(hot, method))
        return True
    except Exception as error:
        if guard.failed(f"{kind} {instrument.name}", error):
            raise
        return False
