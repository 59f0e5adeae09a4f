"""``with operation("name"):`` — count, duration, outcome, an entry among the operations under way, and the parent.

The hot path is written out by hand: a short duration is recorded here with the views that :mod:`roadworthy.arena.hot`
uses, anything else (long, first, failed, sampled, after a fork) goes through :mod:`roadworthy.app.recorder`.

Nothing takes a lock. State lives in the object that one ``with`` has made, and in a context variable that only names
the parent: generators, tasks and threads may interleave, be abandoned or end in another context than they began in.

What a signal handler of the program raises in here passes, and no entry of the in-flight table is lost by it: entries
change hands in steps without a call between them, because CPython runs handlers at calls, at the start of functions and
at backward jumps only. What is lost is the run itself, which is not counted when the handler raises before its end was
recorded. Two windows of a few nanoseconds cannot be closed without a price for every run: a handler that raises at the
very beginning of ``__exit__``, before its first statement, and a second one that raises while an entry is given back
after the first (``_undo``). Each leaves one entry under way until the process ends.
"""

# ruff: noqa: SLF001 - the hot path shares views and slots with its own objects and with arena.hot

from __future__ import annotations

import os
import sys
from _thread import get_ident
from contextvars import ContextVar

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import entries, guard, sampling, start
from roadworthy.app.entries import OperationRecorder
from roadworthy.app.entries import recorders as _recorders
from roadworthy.app.recorder import BUCKET as _BUCKET
from roadworthy.app.recorder import SHORT as _SHORT
from roadworthy.app.recorder import sink_cell
from roadworthy.app.sampling import SHIFT, SKIP, SKIPPED
from roadworthy.arena.layout import BLOCK_SUM, H_UNTRACKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

_now = monotonic_ns
_epoch = 0
_sampled = False
_cell: Any = sink_cell
_seen: Any = None
"""The integers of the table that kept entries belong to: others after a fork, as soon as the child has files."""


class Details:
    """What only some operations have: context, memory, a kind, and the runs around this one of the same object."""

    __slots__ = ("before", "context", "entered", "epoch", "kind", "memory", "outer")

    def __init__(self, context: dict[str, object], kind: str, *, memory: bool) -> None:
        self.context = context
        self.kind = kind
        self.memory = memory
        self.before: int | None = None
        self.entered = False
        self.epoch = _epoch
        self.outer: tuple[int, Any, int, Details | None] | None = None


def _busy() -> Details:
    made = Details({}, "internal", memory=False)
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
    _details: Details | None
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
        details = self._details
        try:
            recorder = self._recorder
            q = _cell.q
            if details is None and q is _seen and not _sampled:
                # hot.InFlight.enter written out, with an entry that still carries this operation's number and no parent
                try:
                    # Not pop(): after a call a signal handler may raise, and the entry would be lost.
                    free = recorder.free
                    self._handle = i = free[-1]
                    del free[-1]
                except IndexError:
                    i = recorder.take(q)
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
                # A signal handler of the program's has raised in here: the block will not be entered. What this object
                # holds may still be the run around it, though.
                if details is None or self._details is not details or not details.entered:
                    self._undo()
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
                    recorder.told(n, error, None)
            elif details is _SKIPPED and kind is None and n < sampling.slow_ns:
                self._details = None
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
        """Give back what an interrupted beginning or end still holds, and take up the run around it again."""
        handle, details = self._handle, self._details
        token: Any = getattr(self, "_token", None)
        self._details = None
        if handle > 0:
            q = _cell.q
            q[handle] = 0
            if details is None or details is _BUSY or details is _NESTED:  # an entry that this operation keeps
                q[handle + 2] = 0
                free = self._recorder.free
            else:
                free = entries.inflight._free
            self._handle = 0
            free.append(handle)
        if details is not None and details.outer is not None:
            self._start, self._token, self._handle, self._details = details.outer
        try:
            _current.reset(token)
        except (TypeError, ValueError, RuntimeError):
            pass  # it was not set, or is reset already

    def _enter_slowly(self) -> None:
        """Enter with context, sampled, for the first time in a process, while the table is full, or once more."""
        if _sampled and self._details is None:
            now = _now()
            begun = sampling.tick(now, self._recorder.turn)
            if now - begun == SKIPPED:
                self._details = _SKIPPED
                self._handle = 0
                self._token = _current.set(self)
                self._start = now
                return
            self._enter_weighed(begun)
            return
        self._enter_weighed(0)

    def _enter_weighed(self, weighed: int) -> None:
        """Enter; ``weighed`` is a start stamp as :func:`sampling.tick` returns it, 0 when it was not asked."""
        recorder = self._recorder
        if recorder.q is None:
            recorder.bind()
        if _cell.q is not _seen:
            _adopt()
        details = self._details
        if details is not None and details.entered:  # entered again: keep the run under way aside
            fresh = Details({}, "internal", memory=False)
            fresh.outer = (self._start, self._token, self._handle, details)
            self._handle = 0
            self._token = None
            self._details = details = fresh
        elif details is None:
            self._details = details = Details({}, "internal", memory=False)
        if details.memory:
            from roadworthy.app.memory import resident_bytes

            details.before = resident_bytes()
        begun = now = _now()
        if weighed:
            begun = weighed
        elif _sampled:
            begun = sampling.tick(now, recorder.turn)
        if begun < 0 and (now - begun) >> SHIFT == SKIP:
            self._handle = -1
        else:
            text = contexts.encode(details.context)
            self._handle = entries.inflight.enter(recorder.number, _current.get()._handle, text, now)
        self._token = _current.set(self)
        self._start = begun
        details.entered = True

    def _exit_slowly(self, n: int, error: BaseException | None) -> None:
        handle, details = self._handle, self._details
        if handle > 0:
            _cell.q[handle] = 0  # hot.InFlight.leave written out: at its call the entry would belong to nobody
            free = entries.inflight._free
            self._handle = 0
            free.append(handle)
        self._handle = 0
        if details is None or details.outer is None:
            self._details = None  # else _undo takes up the run around this one, should telling be interrupted
        if details is _SKIPPED:
            if error is not None or n >= sampling.slow_ns:
                self._recorder.told(n + (SKIP << SHIFT), error, None)
            return
        if details is None or not details.entered:
            return  # never entered
        if details is _BUSY or details is _NESTED or details.epoch != _BUSY.epoch:
            self._details = None
            return  # entered before a fork: the parent process counts it
        details.entered = False
        self._recorder.told(n, error, details)
        if details.outer is not None:
            self._start, self._token, self._handle, self._details = details.outer
        elif details.context or details.memory or details.kind != "internal":
            self._details = details


_new: Callable[[], Operation] = Operation
_root = Operation()
_root._handle = 0
_current: ContextVar[Operation] = ContextVar("roadworthy_operation", default=_root)


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
            made._recorder = entries.recorder_of(name)
        made._handle = 0
        made._details = _detailed(context) if context else None
        return made


def _detailed(context: dict[str, object]) -> Details:
    memory = bool(context.pop("memory")) if "memory" in context else False
    kind = contexts.label_value(context.pop("kind")) if "kind" in context else "internal"
    return Details(context, kind, memory=memory)


def current_name() -> str:
    """Return the name of the operation around this code, empty when there is none."""
    found = _current.get()  # an operation, or a request of an injected server
    if found is _root or found.ended:
        return ""  # generators that end out of order may leave one behind that has ended
    return found._recorder.name


def _switch(on: bool) -> None:  # noqa: FBT001 - what sampling.follow calls
    global _sampled  # noqa: PLW0603 - one clockwork per process
    _sampled = on


def _started(arena: Any) -> None:  # noqa: ANN401 - an Arena, as start.when_started has it
    global _cell, _seen  # noqa: PLW0603 - one arena per process
    entries.inflight = arena.inflight
    _cell = arena.cell
    _seen = _cell.q


def _adopt() -> None:
    """Take up the files of a forked child."""
    global _seen  # noqa: PLW0603 - one arena per process
    q = _cell.q
    q[H_UNTRACKED] = q[H_UNTRACKED]  # the first touch makes the child's files
    entries.adopt()
    _seen = _cell.q


def _after_fork() -> None:
    global _epoch, _BUSY, _NESTED  # noqa: PLW0603 - one clockwork per process
    _epoch += 1
    _BUSY = _busy()
    _NESTED = _busy()


os.register_at_fork(after_in_child=_after_fork)
sampling.follow(_switch)
start.when_started(_started)
if (_requests := sys.modules.get("roadworthy.app.integrations.http")) is not None:
    _requests.enclose(_current)
