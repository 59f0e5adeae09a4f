"""Plain functions in threads of ours, for callers that wait only as long as they said: bounded, and only on request.

A function in a thread cannot be interrupted. One that takes too long is left behind: its caller goes on with a
TimeoutError, the function runs to its end, and keeps its place until then. When all places are taken, a call is refused
instead of waiting behind calls that hang. The threads are daemons: they do not keep the program from ending.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections import deque
from contextvars import copy_context

from roadworthy.resilience.arguments import duration, whole
from roadworthy.resilience.rejected import BulkheadFull
from roadworthy.resilience.timeout import deadline_remaining, spent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

MOST_THREADS = 32
"""Threads of the pool that :func:`run_in_thread` uses."""


class Job:
    """A function on its way through a thread."""

    __slots__ = ("_call", "_context", "_done", "_forgotten", "_then", "error", "result")

    def __init__(self, call: Callable[[], Any], then: Callable[[Job], object] | None) -> None:
        self._call = call
        self._context = copy_context()
        self._then = then
        self._done = allocate_lock()
        self._done.acquire()
        self._forgotten = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Call the function, in a copy of the caller's context, and keep what came of it."""
        try:
            self.result = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001 - raised again, in the thread that asked
            self.error = error
        self._done.release()
        if self._then is not None:
            self._then(self)
        if self._forgotten:
            self.error = None

    def wait(self, seconds: float | None) -> bool:
        """Wait until it has ended; False when the time was up first."""
        if not self._done.acquire(timeout=-1 if seconds is None else seconds):
            return False
        self._done.release()
        return True

    def outcome(self) -> Any:  # noqa: ANN401 - the function's own
        """Return the function's result or raise its exception."""
        if self.error is None:
            return self.result
        try:
            raise self.error
        finally:
            self.forget()

    def forget(self) -> None:
        """Keep no exception, now or later: its traceback leads back to this job, which makes it a garbage cycle."""
        self._forgotten = True
        self.error = None


class Threads:
    """At most ``limit`` daemon threads, started when first needed; after a fork the child begins with none.

    Raises :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = ("_idle", "_pid", "_places", "_started", "limit")

    def __init__(self, limit: int = MOST_THREADS) -> None:
        self.limit = whole("limit", limit, most=10_000)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._places: deque[None] = deque([None] * self.limit)
        self._idle: deque[_Worker] = deque()

    @property
    def busy(self) -> int:
        """How many functions run, those included that were left behind."""
        return self.limit - len(self._places)

    def start(self, fn: Callable[[], Any], then: Callable[[Job], object] | None = None) -> Job:
        """Run ``fn`` in a thread; ``then`` is called there with the job once it has ended.

        Raises :class:`~roadworthy.resilience.rejected.BulkheadFull` when all places are taken, and what the system says
        when it has no thread left.
        """
        if self._pid != os.getpid():
            self._begin()
        try:
            self._places.pop()
        except IndexError:
            raise BulkheadFull(
                f"{self.limit} functions run in threads already", hint="they hang, or the limit is too small"
            ) from None
        job = Job(fn, then)
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = _Worker(self._idle, self._places)
        try:
            worker.take(job)
        except BaseException:
            self._places.append(None)
            raise
        return job

    def run(self, fn: Callable[[], T], seconds: float | None = None) -> T:
        """Return or raise what ``fn`` does, in a thread; TimeoutError after ``seconds``, and it is left behind.

        The deadline of the work under way counts, too: DeadlineExceeded when it is the sooner.
        """
        wait = None if seconds is None else duration("seconds", seconds)
        left = deadline_remaining()
        if left is not None and left <= 0:
            raise spent()
        by_deadline = left is not None and (wait is None or left < wait)
        job = self.start(fn)
        if not job.wait(left if by_deadline else wait):
            job.forget()
            raise spent() if by_deadline else TimeoutError(f"no answer within {wait:g} s; the function still runs")
        result: T = job.outcome()
        return result


class _Worker:
    """One thread: waits for a job, runs it, makes itself and its place free, and waits for the next."""

    __slots__ = ("_called", "_idle", "_job", "_places", "_started")

    def __init__(self, idle: deque[_Worker], places: deque[None]) -> None:
        self._idle = idle
        self._places = places
        self._job: Job | None = None
        self._called = allocate_lock()
        self._called.acquire()
        self._started = False

    def take(self, job: Job) -> None:
        self._job = job
        if self._started:
            self._called.release()
            return
        from threading import Thread

        Thread(target=self._work, name="roadworthy-call", daemon=True).start()
        self._started = True

    def _work(self) -> None:
        while True:
            job, self._job = self._job, None
            if job is not None:
                job.run()
            del job  # its result and its context are the caller's
            self._idle.append(self)
            self._places.append(None)
            self._called.acquire()


_shared: Threads | None = None


def threads() -> Threads:
    """Return the pool of this process."""
    global _shared  # noqa: PLW0603 - made when first needed
    if _shared is None:
        _shared = Threads()
    return _shared


def run_in_thread(fn: Callable[[], T], seconds: float | None = None) -> T:
    """Return or raise what ``fn`` does, in a thread of the process's pool; see :meth:`Threads.run`."""
    return threads().run(fn, seconds)
