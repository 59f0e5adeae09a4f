"""The one light thread of an injected program: it beats, and runs a few short duties four times a second.

It starts with the first duty (an event loop that runs, a server that may be told to stop accepting) and, after a
fork, again with the first duty of the child. Its beat beside the event loop's is what tells a blocked loop (its own
beat fresh) from a held GIL (both stale). It is started below the ``threading`` module: it is in no list of the
program's threads, and nobody waits for it at the end.
"""

from __future__ import annotations

import _thread

from roadworthy import _clock
from roadworthy.app import guard, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.arena import hot

EVERY = 0.25
_duties: dict[str, Callable[[int], None]] = {}
_running = False
_beat: hot.Beat | None = None


def every(name: str, duty: Callable[[int], None]) -> None:
    """Have ``duty`` called with the time four times a second; the same name replaces it."""
    _duties[name] = duty
    ensure()


def ensure() -> None:
    """Start the thread if there are duties and it does not run in this process; it is tried again when it could not."""
    global _running, _beat  # noqa: PLW0603 - one thread per process
    arena = start.current()
    if _running or not _duties or arena is None:
        return
    _running = True
    try:
        if _beat is None:
            _beat = arena.beat("roadworthy", kind="thread", every=EVERY)
        _thread.start_new_thread(_run, ())
    except Exception as error:
        _running = False
        if guard.failed("thread", error):
            raise


def expect(beat: hot.Beat, every_ns: int) -> None:
    """Change how often ``beat`` is expected; 0 when it is not expected any more."""
    cell: Any = beat._cell  # noqa: SLF001 - FORMAT.md, beats, word 3
    cell.q[beat._index + 3] = every_ns  # noqa: SLF001 - as above


def after_fork() -> None:
    """Note that the thread exists only in the parent."""
    global _running  # noqa: PLW0603 - one thread per process
    _running = False
    _duties.clear()


def _run() -> None:
    wait = _clock.sleep
    now = _clock.monotonic_ns
    while True:
        try:
            wait(EVERY)
            if _beat is not None:
                _beat.beat(now())
            for duty in tuple(_duties.values()):
                duty(now())
        except Exception as error:
            guard.failed("thread", error)
        except BaseException:  # the interpreter is going down
            return
