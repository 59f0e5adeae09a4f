"""``with operation("name"):`` — count, duration, outcome, an entry among the operations under way, and the parent.

The hot path is written out by hand: a short duration is recorded here with the views that :mod:`roadworthy.arena.hot`
uses, anything else (long, first, failed, sampled, after a fork) goes through :class:`Recorder`. A start stamp carries
the weight that sampling gives the operation in bits above 2^56, so that weighing costs nothing while everything is
recorded.

Nothing takes a lock. State lives in the object that one ``with`` has made, and in a context variable that only names
the parent: generators, tasks and threads may interleave, be abandoned or end in another context than they began in.
"""

# ruff: noqa: ANN401, SLF001 - the hot path shares views and slots with its own objects and with arena.hot

from __future__ import annotations

import os
import sys
from _thread import get_ident
from contextvars import ContextVar
from itertools import count

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import errors, guard, start
from roadworthy.arena import files, hot
from roadworthy.arena.layout import (
    BLOCK_MAX,
    BLOCK_SUM,
    BLOCK_WORDS,
    FLAG_SAMPLED,
    H_UNTRACKED,
    HEADER_BYTES,
    bucket_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

NAME = "operation.duration"
HOARD = 192
"""Entries of the in-flight table that plain operations keep; the rest serves those with context, and requests."""

MOST_NAMES = 4096
"""Different names that keep a recorder in memory; more are looked up in the arena each time."""

SLOW_NS = 1_000_000_000
POLL_NS = 250_000_000
SKIP = 0xFFFF
_SHIFT = 56
_MASK = (1 << _SHIFT) - 1
LONGEST_NS = _MASK
_SHORT = 8192


def _buckets(most: int) -> tuple[int, ...]:
    """Return the bucket of each number below ``most``, a power of two."""
    table = list(range(8))
    while len(table) < most:
        index, width = bucket_of(len(table)), max(1, len(table) >> 3)
        for at in range(8):
            table += [index + at] * width
    return tuple(table)


_BUCKET = _buckets(_SHORT)

_now = monotonic_ns
_sampled = False
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
_inflight = hot.InFlight(_sink_cell, [])
_cell: Any = _sink_cell
_seen: Any = None
_epoch = 0
_hoarded = 0


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
        now = _now()
        if now > _next_poll:
            look(now)
        if weight == SKIP or now - n < _forked_ns:
            return
        self.record(n)
        if weight > 1:
            self._repeat(n, weight - 1)
        q = self.cell.q
        if q is not self.q:  # a forked child has files of its own since the line before
            self.q, self.d, self.top = q, self.cell.d, 0

    def higher(self, n: int) -> None:
        """Note a maximum of this recorder's, and of the series when it is one."""
        self.top = n
        self.d[self.base + BLOCK_MAX] = max(self.d[self.base + BLOCK_MAX], n)

    def exact(self, n: int) -> None:
        """Record a duration that the caller has measured."""
        if self.q is None:
            self.bind()
        self.record(n)

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
        """Find the series in the arena, made if need be; without one everything goes to memory nobody reads."""
        arena = start.ensure()
        histogram = _sink if arena is None else arena.histogram(self.metric, self.labels, unit="s", scale=1e9)
        self.record = histogram.record
        self.number = histogram.number
        cell = getattr(
            histogram, "_cell", None
        )  # a compiled hot module shows none: everything is slow(), which is fast then
        if cell is not None and arena is not None:
            self.base = histogram._base
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
    """The recorder of an operation: outcomes are success, failure and cancelled.

    ``free`` holds entries of the in-flight table that carry this operation's number already and no parent.
    """

    __slots__ = ("free",)

    def __init__(self, name: str) -> None:
        super().__init__(name, NAME, (("operation", name), ("outcome", "success")))
        self.free: list[int] = []

    def take(self) -> int:
        """Return an entry of the in-flight table for this operation, 0 when none may be had."""
        global _hoarded  # noqa: PLW0603 - one table per process
        if self.q is None:
            return 0
        try:
            if _hoarded >= HOARD:
                raise IndexError  # noqa: TRY301 - the same as an empty list
            i = _inflight._free.pop()
            _hoarded += 1
        except IndexError:
            for other in list(_recorders.values()):
                if other.free:
                    try:
                        i = other.free.pop()
                        break
                    except IndexError:
                        continue
            else:
                return 0
        q = _cell.q
        q[i + 1] = self.number
        q[i + 2] = 0
        return i

    def failure_labels(self, kind: str) -> tuple[tuple[str, str], ...]:
        """Return the labels of the series for the outcome ``kind``."""
        return (("operation", self.name), ("outcome", kind))


class _Details:
    """What only some operations have: context, memory, a kind, and the runs around this one of the same object."""

    __slots__ = ("before", "context", "entered", "epoch", "kind", "memory", "outer")

    def __init__(self, context: dict[str, object], kind: str, *, memory: bool) -> None:
        self.context = context
        self.kind = kind
        self.memory = memory
        self.before: int | None = None
        self.entered = False
        self.epoch = _epoch
        self.outer: tuple[int, Any, int, _Details | None] | None = None


def _busy() -> _Details:
    made = _Details({}, "internal", memory=False)
    made.entered = True
    return made


_BUSY = _busy()
"""Marks a plain operation that has been entered; another object after a fork: the child knows the parent's by it."""
_NESTED = _busy()
"""The same for one with an operation around it."""
_SKIPPED = _busy()
"""Marks a plain operation that sampling passes over: only a failure or slowness of it is told."""


class Operation:
    """One run of an operation, made by :func:`operation`; a context manager, also for ``async with``."""

    __slots__ = ("_details", "_handle", "_recorder", "_start", "_token")

    _recorder: OperationRecorder
    _details: _Details | None
    _start: int
    _handle: int
    _token: Any

    @property
    def name(self) -> str:
        """The operation's name."""
        return self._recorder.name

    @property
    def ended(self) -> bool:
        """Whether it is not under way."""
        details = self._details
        return details is None or not details.entered

    def __enter__(self) -> Self:
        try:
            recorder = self._recorder
            q = _cell.q
            if self._details is None and q is _seen and not _sampled:
                # hot.InFlight.enter written out, with an entry that still carries this operation's number and no parent
                try:
                    # Not pop(): after a call a signal handler may raise, and the entry would be lost.
                    free = recorder.free
                    self._handle = i = free[-1]
                    del free[-1]
                except IndexError:
                    i = recorder.take()
                    if not i:
                        self._enter_slowly()
                        return self
                    self._handle = i
                q[i + 3] = get_ident()
                if parent := _current.get()._handle:
                    q[i + 2] = parent
                    self._details = _NESTED
                else:
                    self._details = _BUSY
                self._token = _current.set(self)
                self._start = q[i] = _now()
            else:
                self._enter_slowly()
        except BaseException as error:
            if guard.failed("operation", error):
                self._undo()  # a signal handler of the program's has raised in here: the block will not be entered
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            n = _now() - self._start
            try:
                _current.reset(self._token)
            except (ValueError, RuntimeError):
                pass  # ended in another context than it began in, as generators may
            q = _cell.q
            details = self._details
            if (details is _BUSY or details is _NESTED) and q is _seen:
                i = self._handle
                q[i] = 0
                if details is _NESTED:
                    q[i + 2] = 0
                recorder = self._recorder
                self._handle = 0
                self._details = None
                recorder.free.append(i)
                if kind is None and n < _SHORT:
                    base = recorder.base
                    q = recorder.q
                    q[base + _BUCKET[n]] += 1
                    d = recorder.d
                    d[base + BLOCK_SUM] += n
                    if n > recorder.top:
                        recorder.higher(n)
                else:
                    self._told(n, error, None)
            else:
                self._exit_slowly(n, error)
        except BaseException as broken:
            if guard.failed("operation", broken):
                self._undo()
                raise

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _undo(self) -> None:
        """Give back what an interrupted beginning or end still holds."""
        handle, self._handle, self._details = self._handle, 0, None
        if handle > 0:
            _inflight.leave(handle)
        try:
            _current.reset(self._token)
        except (AttributeError, ValueError, RuntimeError):
            pass  # it was not set, or is reset already

    def _enter_slowly(self) -> None:
        """Enter with context, sampled, for the first time in a process, while the table is full, or once more."""
        if _sampled and self._details is None:
            now = _now()
            if now > _next_poll:
                look(now)
            if _every == 0 or (_every > 1 and _turn() % _every):
                self._details = _SKIPPED
                self._handle = 0
                self._token = _current.set(self)
                self._start = now
                return
            self._enter_weighed(now - (_every << _SHIFT) if _every > 1 else 0)
            return
        self._enter_weighed(0)

    def _enter_weighed(self, weighed: int) -> None:
        """Enter; ``weighed`` is a start stamp with the weight that sampling gave, 0 when it has not decided."""
        recorder = self._recorder
        if recorder.q is None:
            recorder.bind()
        if _cell.q is not _seen:
            _adopt()
        details = self._details
        if details is not None and details.entered:  # entered again: keep the run under way aside
            fresh = _Details({}, "internal", memory=False)
            fresh.outer = (self._start, self._token, self._handle, details)
            self._details = details = fresh
        elif details is None:
            self._details = details = _Details({}, "internal", memory=False)
        details.entered = True
        if details.memory:
            details.before = resident_bytes()
        begun = now = _now()
        if weighed:
            begun = weighed
        elif _sampled:
            begun = tick(now)
        if begun < 0 and (now - begun) >> _SHIFT == SKIP:
            self._handle = -1
        else:
            text = contexts.encode(details.context)
            self._handle = _inflight.enter(recorder.number, _current.get()._handle, text, now)
        self._token = _current.set(self)
        self._start = begun

    def _exit_slowly(self, n: int, error: BaseException | None) -> None:
        handle, details = self._handle, self._details
        self._handle = 0
        self._details = None
        if details is _SKIPPED:
            if error is not None or n >= _slow_ns:
                self._told(n + (SKIP << _SHIFT), error, None)
            return
        if handle > 0:
            _inflight.leave(handle)
        if details is None or not details.entered:
            return  # never entered
        if details is _BUSY or details is _NESTED or details.epoch != _BUSY.epoch:
            return  # entered before a fork: the parent process counts it
        self._told(n, error, details)
        details.entered = False
        if details.outer is not None:
            self._start, self._token, self._handle, self._details = details.outer
        elif details.context or details.memory or details.kind != "internal":
            self._details = details

    def _told(  # noqa: C901, PLR0912 - one pass on the hot path: each call saved counts
        self, n: int, error: BaseException | None, details: _Details | None
    ) -> None:
        """Record an end that is not short, not a success, or has details."""
        recorder = self._recorder
        if error is None:
            outcome = "success"
            q = recorder.q
            plain = details is None or not details.memory
            if plain and n < _SHORT and n < _slow_ns and q is not None and q is recorder.cell.q:
                q[recorder.base + _BUCKET[n]] += 1  # as in __exit__
                recorder.d[recorder.base + BLOCK_SUM] += n
                if n > recorder.top:
                    recorder.higher(n)
                return
        elif isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
            outcome = "success"  # the consumer of a generator had enough, the program ends in order
        elif isinstance(error, Exception):
            outcome = "failure"
        else:
            outcome = "cancelled"
        if outcome == "success":
            recorder.slow(n)
        else:
            recorder.failed(n, outcome)
        n &= _MASK
        context = details.context if details is not None else {}
        if details is not None and details.memory:
            _memory_change(recorder.name, details.before)
        if outcome == "failure" and error is not None:
            errors.record(error, operation=recorder.name, context=context)
        if n >= _slow_ns:
            arena = start.current()
            if arena is not None:
                fields = contexts.plain(context)
                fields.update(outcome=outcome, duration=f"{n / 1e9:.6f}")
                if details is not None and details.kind != "internal":
                    fields["kind"] = details.kind
                arena.event("operation", 30, recorder.name, f"{recorder.name} took {n / 1e9:.3f} s", fields)


_new: Callable[[], Operation] = Operation
_root = Operation()
_root._handle = 0
_current: ContextVar[Operation] = ContextVar("roadworthy_operation", default=_root)
_recorders: dict[str, OperationRecorder] = {}


if TYPE_CHECKING:

    def operation(name: str, *, memory: bool = False, kind: str = "internal", **context: object) -> Operation:
        """Stand for the function below, whose keywords are documented there."""

else:
    # Keywords with defaults would cost every call 40 ns: they are taken out of the context, where there is one.
    def operation(name, **context):  # noqa: ANN001, ANN003, ANN201 - as above
        """Give a block that is measured: ``with rw.operation("extraction", rom="game.sfc"):``, or ``async with``.

        Records how often, how long and with which outcome; shows it among the operations under way, below the one
        around it. An exception is counted with its fingerprint and passed on unchanged; a cancellation is an outcome of
        its own. ``context`` is redacted and bounded (224 bytes), and shown while it runs, when it fails and when it was
        slow. ``memory=True`` also measures how the process's resident memory changed (costs about 20 µs). Never raises.
        """
        made = _new()
        try:
            made._recorder = _recorders[name]
        except Exception:
            made._recorder = recorder_of(name)
        made._handle = 0
        made._details = _detailed(context) if context else None
        return made


def _detailed(context: dict[str, object]) -> _Details:
    memory = bool(context.pop("memory")) if "memory" in context else False
    kind = contexts.label_value(context.pop("kind")) if "kind" in context else "internal"
    return _Details(context, kind, memory=memory)


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
    found = _current.get()  # an operation, or a request of an injected server
    if found is _root or found.ended:
        return ""  # generators that end out of order may leave one behind that has ended
    return found._recorder.name


def tick(begun: int) -> int:
    """Weigh an operation while sampling is on: returns the start stamp less the weight in the bits above 2^56."""
    try:
        if _every == 1:
            return begun
        weight = _every if _every > 0 and _turn() % _every == 0 else SKIP
        return begun - (weight << _SHIFT)
    except Exception as error:
        if guard.failed("operation.tick", error):
            raise
        return begun


def look(now: int) -> None:
    """Take over what is new on the control page; called a few times a second from what is not short."""
    global _next_poll, _control_seen  # noqa: PLW0603 - one clockwork per process
    try:
        _next_poll = now + POLL_NS
        if _control is None:
            return
        generation = _control.generation()
        if generation != _control_seen and generation % 2 == 0:
            value = _control.value()
            _control_seen = generation
            if isinstance(value, dict):
                tune(value)
    except Exception as error:
        if guard.failed("operation.control", error):
            raise


_tick = tick


def tune(value: dict[str, Any]) -> None:
    """Take over what the control page says: the sample rate of operations and when one counts as slow."""
    global _every, _sampled, _slow_ns  # noqa: PLW0603 - one clockwork per process
    rate = (value.get("sampling") or {}).get("performance", 1.0)
    _every = 1 if rate >= 1 else min(round(1 / rate), SKIP - 1) if rate > 0 else 0
    _sampled = _every != 1
    errors.sample((value.get("sampling") or {}).get("errors", 1.0))
    slow = (value.get("settings") or {}).get("slow_operation", SLOW_NS / 1e9)
    _slow_ns = min(int(slow * 1e9), _MASK)
    arena = start.current()
    if arena is not None:
        flags = arena.flags & ~FLAG_SAMPLED
        arena.set_flags(flags | FLAG_SAMPLED if _sampled else flags)


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
    arena.gauge(
        "operation.memory.change", labels, unit="By", help="resident memory, after less before, at the last run"
    ).set(float(after - before))
    arena.histogram("operation.memory.growth", labels, unit="By", help="resident memory gained by a run").record(
        max(0, after - before)
    )


def _started(arena: Any) -> None:
    global _inflight, _cell, _seen, _control  # noqa: PLW0603 - one arena per process
    _inflight = arena.inflight
    _cell = arena.cell
    _seen = _cell.q
    from roadworthy.arena.control import ControlReader

    _control = ControlReader(arena.directory)


def _adopt() -> None:
    """Take up the files of a forked child: entries that are kept carry no number there yet, maxima begin anew."""
    global _seen, _hoarded  # noqa: PLW0603 - one arena per process
    q = _cell.q
    q[H_UNTRACKED] = q[H_UNTRACKED]  # the first touch makes the child's files
    for recorder in list(_recorders.values()):
        kept, recorder.free = recorder.free, []
        _inflight._free.extend(kept)
        recorder.q, recorder.d, recorder.top = recorder.cell.q, recorder.cell.d, 0
    _hoarded = 0
    _seen = _cell.q


def _after_fork() -> None:
    global _forked_ns, _epoch, _BUSY, _NESTED  # noqa: PLW0603 - one clockwork per process
    _forked_ns = _now()
    _epoch += 1
    _BUSY = _busy()
    _NESTED = _busy()


os.register_at_fork(after_in_child=_after_fork)
start.when_started(_started)
if (_requests := sys.modules.get("roadworthy.app.integrations.http")) is not None:
    _requests.enclose(_current)
