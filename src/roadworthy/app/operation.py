"""``with operation("name"):`` — count, duration, outcome, an entry among the operations under way, and the parent.

The hot path is written out by hand: a short duration is recorded here with the views that :mod:`roadworthy.arena.hot` uses, anything
else (long, first, failed, sampled, after a fork) goes through :class:`Recorder`. A start stamp carries the weight that
sampling gives the operation in bits above 2^56, so that weighing costs nothing while everything is recorded.

Nothing takes a lock. State lives in the object that one ``with`` has made, and in a context variable that only names
the parent: generators, tasks and threads may interleave, be abandoned or end in another context than they began in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from types import TracebackType
from typing import Any

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import errors, guard, start
from roadworthy.arena import files, hot
from roadworthy.arena.layout import BLOCK_MAX, BLOCK_SUM, BLOCK_WORDS, FLAG_SAMPLED, HEADER_BYTES, bucket_of

NAME = "operation.duration"
MOST_NAMES = 4096
"""Different names that keep a recorder of their own in memory; more go to the series that the arena gives them each time."""

SLOW_NS = 1_000_000_000
POLL_NS = 250_000_000
SKIP = 0xFFFF
_SHIFT = 56
_MASK = (1 << _SHIFT) - 1
_SHORT = 16384
_BUCKET = tuple(bucket_of(n << 3) for n in range(_SHORT >> 3))

_now = monotonic_ns
_due = 0
_slow_ns = SLOW_NS
_every = 1
_turn = count().__next__
_next_poll = 0
_forked_ns = 0
_control: Any = None
_control_seen = -1

_memory = files.private_memory(HEADER_BYTES + BLOCK_WORDS * 8)
_sink_cell = hot.Cell(_memory.q, _memory.d, _memory.b)
_sink = hot.Histogram(_sink_cell, HEADER_BYTES // 8, 0)
_sink_inflight = hot.InFlight(_sink_cell, [])
_enter: Callable[[int, int, bytes, int], int] = _sink_inflight.enter
_leave: Callable[[int], None] = _sink_inflight.leave


class Recorder:
    """Where durations of one name go: a histogram for each outcome, bound to the arena at the first use."""

    __slots__ = ("base", "cell", "d", "failures", "labels", "metric", "name", "number", "q", "record", "top")

    def __init__(self, name: str, metric: str, labels: tuple[tuple[str, str], ...]) -> None:
        self.name = name
        self.metric = metric
        self.labels = labels
        self.cell: Any = _sink_cell
        self.record: Callable[[int], None] = _sink.record
        self.q: Any = None
        self.d: Any = None
        self.base = 0
        self.top = 0
        self.number = 0
        self.failures: dict[str, hot.Histogram] = {}

    def slow(self, n: int) -> None:
        """Record a success that the fast path does not: bind first if need be; ``n`` may carry a weight above 2^56."""
        weight = n >> _SHIFT
        n &= _MASK
        if self.q is None:
            self.bind()
        if weight == SKIP or _now() - n < _forked_ns:
            return
        self.record(n)
        if weight > 1:
            self._repeat(n, weight - 1)
        q = self.cell.q
        if q is not self.q:  # a forked child has files of its own since the line before
            self.q, self.d, self.top = q, self.cell.d, 0

    def _repeat(self, n: int, times: int) -> None:
        """Record the runs that this one stands for."""
        if self.q is None:
            for _ in range(times):
                self.record(n)
        else:
            q, d = self.cell.q, self.cell.d
            q[self.base + bucket_of(n)] += times
            d[self.base + BLOCK_SUM] += n * times

    def bind(self) -> None:
        """Find the series in the arena, which is made if need be; without one everything goes to memory nobody reads."""
        arena = start.ensure()
        histogram = _sink if arena is None else arena.histogram(self.metric, self.labels, unit="s", scale=1e9)
        self.record = histogram.record
        self.number = histogram.number
        cell = getattr(histogram, "_cell", None)  # a compiled hot module shows none: everything is slow(), which is fast then
        if cell is not None and arena is not None:
            self.base = histogram._base  # noqa: SLF001 - the written-out copy of hot.Histogram.record
            self.cell = cell
            self.d = cell.d
            self.q = cell.q

    def failed(self, n: int, kind: str) -> None:
        """Record a duration that ended in the outcome or error ``kind``; failures are never sampled."""
        n &= _MASK
        if _now() - n < _forked_ns:
            return
        found = self.failures.get(kind)
        if found is None:
            arena = start.ensure()
            if arena is None:
                return
            found = arena.histogram(self.metric, self.failure_labels(kind), unit="s", scale=1e9)
            if len(self.failures) < MOST_NAMES:
                self.failures[kind] = found
        found.record(n)

    def failure_labels(self, kind: str) -> tuple[tuple[str, str], ...]:
        """Return the labels of the series for one kind of failure."""
        return (*self.labels, ("error.type", kind))


class OperationRecorder(Recorder):
    """The recorder of an operation: outcomes are success, failure and cancelled."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, NAME, (("operation", name), ("outcome", "success")))

    def failure_labels(self, kind: str) -> tuple[tuple[str, str], ...]:
        """Return the labels of the series for the outcome ``kind``."""
        return (("operation", self.name), ("outcome", kind))


class Operation:
    """One run of an operation, made by :func:`operation`; a context manager, also for ``async with``."""

    __slots__ = ("_context", "_extra", "_handle", "_outer", "_recorder", "_start", "_token")

    _recorder: OperationRecorder
    _context: dict[str, object]
    _extra: tuple[bool, str] | None
    _outer: list[tuple[int, Any, int]] | None
    _start: int
    _handle: int
    _token: Any

    @property
    def name(self) -> str:
        """The operation's name."""
        return self._recorder.name

    def __enter__(self) -> Operation:
        try:
            if self._handle:
                self._again()
            begun = _now()
            if begun > _due:
                begun = tick(begun)
            self._start = begun
            recorder = self._recorder
            if recorder.q is None:
                recorder.bind()
            if self._context or self._extra is not None or begun < 0:
                self._handle = self._enter_slowly(begun)
            else:
                self._handle = _enter(recorder.number, _current.get()._handle, b"", begun)  # noqa: SLF001 - our own
            self._token = _current.set(self)
        except Exception as error:
            if guard.failed("operation", error):
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            n = _now() - self._start
            try:
                _current.reset(self._token)
            except (ValueError, RuntimeError):
                pass  # ended in another context than it began in, as generators may
            recorder = self._recorder
            if kind is None and self._extra is None and n < _slow_ns:
                q = recorder.cell.q
                if q is recorder.q and 63 < n < _SHORT:  # noqa: PLR2004 - below 64 the table is too coarse
                    base = recorder.base
                    q[base + _BUCKET[n >> 3]] += 1
                    d = recorder.d
                    d[base + BLOCK_SUM] += n
                    if n > recorder.top:
                        recorder.top = n
                        if n > d[base + BLOCK_MAX]:
                            d[base + BLOCK_MAX] = n
                else:
                    recorder.slow(n)
            else:
                self._exit_slowly(n, error)
            _leave(self._handle)
            self._handle = 0
            if self._outer:
                self._start, self._token, self._handle = self._outer.pop()
        except Exception as broken:
            if guard.failed("operation", broken):
                raise

    async def __aenter__(self) -> Operation:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _again(self) -> None:
        """Keep the run under way aside: the same object has been entered a second time."""
        if self._outer is None:
            self._outer = []
        self._outer.append((self._start, self._token, self._handle))

    def _enter_slowly(self, begun: int) -> int:
        if self._extra is not None and self._extra[0]:
            self._context["memory"] = resident_bytes()
        if begun < 0 and -begun >> _SHIFT == SKIP - 1:
            return -1
        shown = {key: value for key, value in self._context.items() if key != "memory" or self._extra is None}
        text = contexts.encode(shown)
        real = begun if begun > 0 else _now()
        return _enter(self._recorder.number, _current.get()._handle, text, real)  # noqa: SLF001 - our own

    def _exit_slowly(self, n: int, error: BaseException | None) -> None:
        recorder = self._recorder
        if error is None:
            outcome = "success"
        elif isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
            outcome, error = "success", None  # the consumer of a generator had enough, the program ends in order
        elif isinstance(error, Exception):
            outcome = "failure"
        else:
            outcome = "cancelled"
        if outcome == "success":
            recorder.slow(n)
        else:
            recorder.failed(n, outcome)
        n &= _MASK
        if _now() - n < _forked_ns:
            return
        memory, kind = self._extra or (False, "internal")
        context = dict(self._context)
        if memory:
            before = context.pop("memory", None)
            _memory_change(recorder.name, before)
        if outcome == "failure" and error is not None:
            errors.record(error, operation=recorder.name, context=context)
        if n >= _slow_ns:
            arena = start.current()
            if arena is not None:
                fields = contexts.plain(context)
                fields.update(outcome=outcome, duration=f"{n / 1e9:.6f}")
                if kind != "internal":
                    fields["kind"] = kind
                arena.event("operation", 30, recorder.name, f"{recorder.name} took {n / 1e9:.3f} s", fields)


_new: Callable[[], Operation] = Operation
_root = Operation()
_root._handle = 0  # noqa: SLF001 - our own
_current: ContextVar[Operation] = ContextVar("roadworthy_operation", default=_root)
_recorders: dict[str, OperationRecorder] = {}


def operation(name: str, *, memory: bool = False, kind: str = "internal", **context: object) -> Operation:
    """Measure a block: ``with operation("sprite_extraction", rom="game.sfc"):``, also with ``async with``.

    Records how often, how long and with which outcome; shows it among the operations under way, below the one around it. An
    exception is counted with its fingerprint and passed on unchanged; a cancellation is an outcome of its own. ``context`` is
    redacted and bounded (216 bytes), and shown while it runs, when it fails and when it was slow. ``memory=True`` also
    measures how the process's resident memory changed (costs about 20 µs). Never raises.
    """
    made = _new()
    try:
        made._recorder = _recorders[name]  # noqa: SLF001 - our own
    except Exception:
        made._recorder = recorder_of(name)  # noqa: SLF001 - our own
    made._context = context  # noqa: SLF001 - our own
    made._handle = 0  # noqa: SLF001 - our own
    made._outer = None  # noqa: SLF001 - our own
    made._extra = (memory, kind) if memory or kind != "internal" else None  # noqa: SLF001 - our own
    return made


class NoOperation:
    """What :func:`operation` gives when roadworthy is switched off: one object that does nothing."""

    __slots__ = ()
    name = ""

    def __enter__(self) -> NoOperation:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None

    async def __aenter__(self) -> NoOperation:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        return None


_nothing = NoOperation()


def no_operation(name: str, *, memory: bool = False, kind: str = "internal", **context: object) -> NoOperation:  # noqa: ARG001
    """Stand in for :func:`operation` when roadworthy is switched off."""
    return _nothing


def recorder_of(name: object) -> OperationRecorder:
    """Return the recorder of an operation's name, made at its first use; names are text of at most 96 characters."""
    try:
        text = contexts.label_value(name)[:96] if type(name) is not str or len(name) > contexts.LONGEST else name
        found = _recorders.get(text)
        if found is None:
            found = OperationRecorder(contexts.label_value(text))
            if len(_recorders) < MOST_NAMES:
                found = _recorders.setdefault(text, found)
        return found
    except Exception as error:
        if guard.failed("operation.name", error):
            raise
        return OperationRecorder("unnamed")


def current_name() -> str:
    """Return the name of the operation around this code, empty when there is none."""
    found = _current.get()
    return "" if found is _root else found._recorder.name  # noqa: SLF001 - our own


def tick(begun: int) -> int:
    """Look at the control page now and then, and weigh this operation; returns the start stamp, with its weight when sampled."""
    global _due, _next_poll  # noqa: PLW0603 - one clockwork per process
    try:
        if begun > _next_poll:
            _next_poll = begun + POLL_NS
            _look_at_control()
            _due = 0 if _every != 1 else _next_poll
        if _every == 1:
            return begun
        weight = _every if _every > 0 and _turn() % _every == 0 else SKIP
        return begun - (weight << _SHIFT)
    except Exception as error:
        if guard.failed("operation.tick", error):
            raise
        return begun


def tune(value: dict[str, Any]) -> None:
    """Take over what the control page says: the sample rate of operations and when one counts as slow."""
    global _every, _slow_ns, _due, _next_poll  # noqa: PLW0603 - one clockwork per process
    rate = (value.get("sampling") or {}).get("performance", 1.0)
    _every = 1 if rate >= 1 else min(round(1 / rate), SKIP - 1) if rate > 0 else 0
    slow = (value.get("settings") or {}).get("slow_operation", SLOW_NS / 1e9)
    _slow_ns = min(int(slow * 1e9), _MASK)
    _due = 0
    arena = start.current()
    if arena is not None:
        flags = arena.flags & ~FLAG_SAMPLED
        arena.set_flags(flags | FLAG_SAMPLED if _every != 1 else flags)


def resident_bytes() -> int | None:
    """Return this process's resident memory, None where the kernel does not tell."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(descriptor, 128).split()[1]) * _PAGE
        finally:
            os.close(descriptor)
    except (OSError, IndexError, ValueError):
        return None


_PAGE = os.sysconf("SC_PAGE_SIZE")


def _memory_change(name: str, before: object) -> None:
    after = resident_bytes()
    arena = start.current()
    if arena is None or after is None or not isinstance(before, int):
        return
    labels = (("operation", name),)
    arena.gauge("operation.memory.change", labels, unit="By", help="resident memory, after less before, at the last run").set(
        float(after - before)
    )
    arena.histogram("operation.memory.growth", labels, unit="By", help="resident memory gained by a run").record(
        max(0, after - before)
    )


def _look_at_control() -> None:
    global _control_seen  # noqa: PLW0603 - one clockwork per process
    if _control is None:
        return
    generation = _control.generation()
    if generation != _control_seen and generation % 2 == 0:
        value = _control.value()
        _control_seen = generation
        if isinstance(value, dict):
            tune(value)


def _started(arena: Any) -> None:
    global _enter, _leave, _control  # noqa: PLW0603 - one arena per process
    _enter, _leave = arena.inflight.enter, arena.inflight.leave
    from roadworthy.arena.control import ControlReader

    _control = ControlReader(arena.directory)


def _after_fork() -> None:
    global _forked_ns  # noqa: PLW0603 - one clockwork per process
    _forked_ns = _now()


os.register_at_fork(after_in_child=_after_fork)
start.when_started(_started)
