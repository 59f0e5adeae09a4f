"""Threads that exist only while they run something of the program's: a check, a collector, a reload subscriber.

Such code may take as long as it likes, or for ever; the thread that beats and talks to the agent goes on meanwhile. Of
each thing one run at a time: what hangs costs one thread, not one more every time the agent asks.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident, start_new_thread

from roadworthy.app import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

MOST = 256
"""Runs at once; there are fewer checks and collectors than that."""

NO_THREAD = "no thread could be started for it"

_under_way: set[Hashable] = set()


def start(key: Hashable, work: Callable[[], Callable[[], object] | None], what: str = "check") -> str:
    """Run ``work`` in a thread of its own, and then what it returns; give back why not, empty when it runs.

    ``key`` is what may run once at a time: it is free again before that second part, the answer, goes out. No lock is
    taken for that: two threads that start the same in the same instant may both come through. Never raises.
    """
    if key in _under_way:
        return f"another run of this {what} has not ended"
    if len(_under_way) >= MOST:
        return NO_THREAD
    _under_way.add(key)
    try:
        start_new_thread(_run, (key, work))
    except Exception:  # too many threads, or the interpreter is shutting down: the caller tells
        _under_way.discard(key)
        return NO_THREAD
    return ""


def _run(key: Hashable, work: Callable[[], Callable[[], object] | None]) -> None:
    try:
        try:
            then = work()
        finally:
            _under_way.discard(key)
            _forget_dummy()
        if then is not None:
            then()
    except Exception as error:
        guard.failed("run", error)
    except BaseException:  # the interpreter is going down, or the program's function wants its thread to end
        return


def _forget_dummy() -> None:
    """Take this thread out of ``threading``'s list, into which the program's code put it by asking for its name."""
    threading = sys.modules.get("threading")
    if threading is not None:
        ident = get_ident()
        if isinstance(threading._active.get(ident), threading._DummyThread):  # noqa: SLF001 - there is no other way
            threading._active.pop(ident, None)  # noqa: SLF001 - one step of a dictionary needs no lock


def _after_fork() -> None:
    _under_way.clear()


os.register_at_fork(after_in_child=_after_fork)
