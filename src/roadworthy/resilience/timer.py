"""Interrupting coroutines whose time is up, for less than the loop's own timers cost.

Imported when a policy first meets a coroutine: then the program has loaded asyncio itself.
"""

from __future__ import annotations

from _thread import _local
from asyncio import CancelledError, Task, current_task, get_running_loop
from itertools import count

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience.arguments import duration
from roadworthy.resilience.timeout import AdjustingTimeout, spent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from typing import Any


class Timer:
    """Interrupts coroutines of one policy when their time is up; one object serves all its calls, in all loops.

    The calls of one policy have equally long, so the oldest is always the first to be due: a single timer of the event
    loop, set for that one, watches all of them, and a call costs two dictionary operations instead of a place in the
    loop's heap. What it does to a task is what :func:`asyncio.timeout` does. ::

        watch = timer.begin(now_ns, deadline_ns)
        try:
            result = await call()
        except BaseException as error:
            ended = timer.end(watch, error)
            if ended is None:
                raise
            try:
                raise ended from error
            finally:
                ended = None  # kept in a frame of its own traceback it would be a garbage cycle
        timer.end(watch)

    ``seconds`` None: only the deadline counts. ``is_deadline``: its own seconds are a deadline, and what it raises is
    DeadlineExceeded instead of TimeoutError. It works in a task only; ``begin`` raises RuntimeError elsewhere.
    """

    __slots__ = ("_here", "_is_deadline", "_ns", "_rule", "policy")

    def __init__(
        self, seconds: float | AdjustingTimeout | None, policy: str = "", *, is_deadline: bool = False
    ) -> None:
        self.policy = policy
        self._rule = seconds if isinstance(seconds, AdjustingTimeout) else None
        self._ns = None
        if not (seconds is None or isinstance(seconds, AdjustingTimeout)):
            self._ns = int(duration("deadline" if is_deadline else "attempt_timeout", seconds) * NS)
        self._is_deadline = is_deadline
        self._here = _local()

    @property
    def seconds(self) -> float | None:
        """How long a call that begins now may take; None: no limit of its own."""
        if self._rule is not None:
            return self._rule.seconds
        return None if self._ns is None else self._ns / NS

    def begin(self, now_ns: int, deadline_ns: int | None = None) -> list[Any] | None:
        """Watch the task under way from now on, up to the sooner of both limits; None when there is none."""
        ns = self._ns
        if ns is None:
            return self._begin_alone(now_ns, deadline_ns)
        due_ns = now_ns + ns
        if deadline_ns is not None and deadline_ns <= due_ns:
            return _alone(now_ns, deadline_ns, is_deadline=True)
        loop = get_running_loop()
        try:
            line: _Line = self._here.line
        except AttributeError:
            line = self._here.line = _Line(loop)
        if line.loop is not loop:
            line = self._here.line = _Line(loop)
        task = _task(loop)
        number = next(line.numbers)
        watch = [False, task, task.cancelling(), due_ns, self._is_deadline, line.forget, number]
        line.watched[number] = watch
        if not line.armed:
            line.arm(ns)
        return watch

    def end(self, watch: list[Any] | None, error: BaseException | None = None) -> TimeoutError | None:
        """Watch it no longer; return what to raise instead of ``error``, if that is the cancellation by this timer."""
        if watch is None:
            return None
        if not watch[_FIRED]:
            watch[_FORGET](watch[_NUMBER], None)
            if error is not None:
                watch[_TASK] = None  # it keeps the exception, whose traceback keeps the frame that keeps the watch
            return None
        # As asyncio.timeout: our cancellation is taken back; it was the only one if the count is what it was before.
        others = watch[_TASK].uncancel() > watch[_CANCELLING]
        watch[_TASK] = watch[_FORGET] = None  # as above
        if others or not isinstance(error, CancelledError):
            return None
        if watch[_IS_DEADLINE]:
            return spent(self.policy)
        seconds = self.seconds
        return TimeoutError("no answer in time" if seconds is None else f"no answer within {seconds:g} s")

    def _begin_alone(self, now_ns: int, deadline_ns: int | None) -> list[Any] | None:
        if self._rule is None:
            return None if deadline_ns is None else _alone(now_ns, deadline_ns, is_deadline=True)
        due_ns = now_ns + int(self._rule.seconds * NS)
        if deadline_ns is not None and deadline_ns <= due_ns:
            return _alone(now_ns, deadline_ns, is_deadline=True)
        return _alone(now_ns, due_ns, is_deadline=self._is_deadline)


# A watch is a list: an object with names would cost five times as much, on every call.
_FIRED, _TASK, _CANCELLING, _DUE, _IS_DEADLINE, _FORGET, _NUMBER = range(7)


class _Line:
    """The calls of one policy in one event loop, oldest first, and the timer that is set for the oldest."""

    __slots__ = ("armed", "forget", "loop", "numbers", "watched")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.numbers = count()
        self.watched: dict[int, list[Any]] = {}
        self.forget = self.watched.pop
        self.armed = False

    def arm(self, ns: int) -> None:
        """Have the oldest looked at in ``ns``."""
        self.loop.call_later(ns / NS, self._look)
        self.armed = True

    def _look(self) -> None:
        """Interrupt what is due, and set the timer for what will be due next."""
        now_ns = _clock.monotonic_ns()
        while self.watched:
            number = next(iter(self.watched))
            watch = self.watched[number]
            if watch[_DUE] > now_ns:
                self.arm(watch[_DUE] - now_ns)
                return
            del self.watched[number]
            _fire(watch)
        self.armed = False


def _task(loop: AbstractEventLoop) -> Task[Any]:
    task = current_task(loop)
    if task is None:
        raise RuntimeError("an attempt timeout works in a task only")
    return task


def _alone(now_ns: int, due_ns: int, *, is_deadline: bool) -> list[Any]:
    """Watch a call that has not as long as the others of its policy, by a timer of its own."""
    loop = get_running_loop()
    task = _task(loop)
    watch = [False, task, task.cancelling(), due_ns, is_deadline, None, 0]
    handle = loop.call_later(max(0, due_ns - now_ns) / NS, _fire, watch)
    watch[_FORGET] = lambda *_: handle.cancel()
    return watch


def _fire(watch: list[Any]) -> None:
    watch[_FIRED] = True
    watch[_TASK].cancel()
