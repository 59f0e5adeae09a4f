"""Calls under a policy, sync and async alike: one test asks both worlds.

A *step* is what the other side does on one call: it returns a value, raises, or returns a ``Future`` that the call then
waits for. So a test holds calls in mid-air and lets them end when it wants.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from roadworthy import _clock

PATIENCE = 60.0
"""Seconds that a test waits for what must come; nothing is decided by them on a slow machine."""


class Down(ConnectionError):
    """The other side does not answer."""


def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Return what ``condition`` says as soon as that is true; fails after :data:`PATIENCE` seconds."""
    deadline = _clock.monotonic() + PATIENCE
    while not (found := condition()):
        if _clock.monotonic() > deadline:
            message = f"never came: {what or condition}"
            raise AssertionError(message)
        _clock.sleep(0.001)
    return found


class Sync:
    """Plain functions; many at once in threads."""

    name = "sync"

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(64)

    def function(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a ``def`` that does ``step``."""

        def call(*args: Any, **kwargs: Any) -> Any:
            done = step(*args, **kwargs)
            return done.result(PATIENCE) if isinstance(done, Future) else done

        return call

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it here and now."""
        return function(*args)

    async def answer(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it, in a loop that is running."""
        return function(*args)

    def start(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Call it in a thread of its own."""
        return self._pool.submit(function, *args)

    def close(self) -> None:
        """Join the threads."""
        self._pool.shutdown()


class Async:
    """Coroutine functions; many at once as tasks of one loop."""

    name = "async"

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def function(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return an ``async def`` that does ``step``."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            done = step(*args, **kwargs)
            if isinstance(done, Future):
                return await asyncio.wrap_future(done)
            return done

        return call

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Await it in a loop of its own, in this thread."""
        return asyncio.run(function(*args))

    async def answer(self, function: Callable[..., Any], *args: Any) -> Any:
        """Await it, in a loop that is running."""
        return await function(*args)

    def start(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Make it a task; cancelling the future cancels the task."""
        return asyncio.run_coroutine_threadsafe(function(*args), self.loop)

    def close(self) -> None:
        """Stop the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class Backend:
    """The other side: counts who gets through to it, and does what the test says."""

    def __init__(self, step: Callable[..., Any] | None = None) -> None:
        self.entries = 0
        self.step = step or (lambda *_: "ok")
        self._lock = threading.Lock()

    def __call__(self, *args: Any) -> Any:
        """One call arrives."""
        with self._lock:
            self.entries += 1
        return self.step(*args)


def down(*_: object) -> Any:
    """A step: the other side refuses."""
    raise Down("refused")
