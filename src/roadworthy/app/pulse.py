"""The one thread of ours in the program: it beats four times a second, and serves the agent's socket in between.

With each beat it looks at the control page and runs a few short duties. It never waits for anything but time and the
agent: what the program registered (checks, collectors) runs in threads of its own, see :mod:`roadworthy.app.runs`. So
its beat tells a blocked event loop (the thread's beat fresh, the loop's stale) from a held GIL (both stale).

It starts with the first duty (an event loop that runs, a server that may be told to stop accepting) or the first
registration, not before: a program that forks is told by Python when it has threads. A forked child has it again once
it has a duty of its own or, where something was registered, once it has recorded something. It is started below the
``threading`` module: it is in no list of the program's threads, and nobody waits for it at the end.
"""

# ruff: noqa: ANN401 - arenas and beats are imported late

from __future__ import annotations

import os
from _thread import start_new_thread

from roadworthy import _clock
from roadworthy.app import guard, page, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

EVERY = 0.25
EVERY_NS = int(EVERY * _clock.NS)

_duties: dict[str, Callable[[int], object]] = {}
_rest: Callable[[float], object] = _clock.sleep
_lasting = False
_running = False
_beat: Any = None


def every(name: str, duty: Callable[[int], object]) -> None:
    """Have ``duty`` called with the time (monotonic ns) four times a second; the same name replaces it.

    Starts the thread. A duty must be short and wait for nothing. It belongs to this process: a forked child forgets it.
    """
    _duties[name] = duty
    _ensure()


def lasting() -> None:
    """Have the thread run as soon as the runtime does, also in forked children that record something; never raises.

    For what is registered for good and must hear of the control page, or of the agent, without the program's help.
    """
    global _lasting  # noqa: PLW0603 - one thread per process
    if not _lasting:
        _lasting = True
        start.when_started(_begin)


def rest_with(rest: Callable[[float], object]) -> None:
    """Have the thread call ``rest`` with the seconds until its next beat, instead of sleeping; it may return early."""
    global _rest  # noqa: PLW0603 - one thread per process
    _rest = rest


def expect(beat: Any, every_ns: int) -> None:
    """Change how often ``beat`` is expected; 0 when it is not expected any more."""
    beat._cell.q[beat._index + 3] = every_ns  # noqa: SLF001 - FORMAT.md, beats, word 3


def _begin(arena: Any) -> None:
    arena.after_fork_hooks.append(_ensure)
    _ensure()


def _ensure() -> None:
    """Start the thread if there is work for it and it does not run in this process; tried again when it could not."""
    global _running, _beat  # noqa: PLW0603 - one thread per process
    arena = start.current()
    if _running or arena is None or not (_duties or _lasting):
        return
    _running = True
    try:
        if _beat is None:
            _beat = arena.beat("roadworthy", kind="thread", every=EVERY)
        start_new_thread(_run, ())
    except Exception as error:  # too many threads, or the interpreter is shutting down
        _running = False
        if guard.failed("thread", error):
            raise
    except BaseException:
        _running = False
        raise


def _run() -> None:
    """Beat until the process ends. Whatever goes wrong, the program does not notice."""
    now = _clock.monotonic_ns
    due = 0
    while True:
        try:
            left = due - now()
            if left <= 0:
                due = now() + EVERY_NS
                beat()
            else:
                _rest(left / _clock.NS)
        except Exception as error:
            guard.failed("thread", error)
            _clock.sleep(EVERY)
        except BaseException:  # the interpreter is going down
            return


def beat() -> None:
    """Do what is done four times a second."""
    now = _clock.monotonic_ns()
    if _beat is not None:
        _beat.beat(now)
    page.look()
    for name, duty in tuple(_duties.items()):
        try:
            duty(now)
        except Exception as error:
            guard.failed(f"thread.{name}", error)


def _after_fork() -> None:
    """Note that the thread, and what it had to do for loops and servers, exists only in the parent."""
    global _running  # noqa: PLW0603 - one thread per process
    _running = False
    _duties.clear()


os.register_at_fork(after_in_child=_after_fork)
