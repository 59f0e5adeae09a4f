"""The one guard around everything of ours that runs in the user's program.

A failure of ours is counted in the arena, told once per place on standard error, and swallowed. What is not ours
passes: ``KeyboardInterrupt``, ``SystemExit``, ``GeneratorExit``, cancellation, and whatever a signal handler of the
program raised while our code happened to be running.

No lock is taken here and nothing waits: this is reached from signal handlers and garbage collector callbacks.
"""

# ruff: noqa: ANN401 - what is guarded keeps its own signature

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

OWN_LOOP = "_roadworthy_own"
"""Attribute of an event loop that runs a check of the program's for us; it is not watched."""

MOST_REPORTS = 32
"""Places told on standard error before we fall silent; all are counted."""

_LONGEST = 480
_reported: set[str] = set()
_counters: list[Callable[[], object]] = []
_stderr: tuple[int, int] | None = None
_count = 0


def failed(place: str, error: BaseException) -> bool:
    """Count and, once per ``place``, tell a failure of ours; return True when the exception is not ours and must pass.

    Used as ``except Exception as error: if failed("place", error): raise``.
    """
    try:
        if not isinstance(error, Exception) or from_signal_handler(error):
            return True
        count()
        if sys.is_finalizing():
            return False  # the interpreter is being taken down around us, and nobody would understand what we say
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        report(place, f"{place} failed ({what})")
    except Exception:
        return False  # telling is the last resort: when it fails too, the program matters more
    return False


def guarded(place: str, default: object = None) -> Callable[[F], F]:
    """Make a function of ours return ``default`` instead of raising; :func:`failed` decides what passes.

    For functions that are not called in a hot path: those have their own ``try``.
    """

    def decorate(function: F) -> F:
        def safe(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if failed(place, error):
                    raise
                return default

        safe.__name__ = getattr(function, "__name__", place)
        safe.__qualname__ = getattr(function, "__qualname__", place)
        safe.__doc__ = function.__doc__
        safe.__module__ = function.__module__
        safe.__wrapped__ = function  # type: ignore[attr-defined]  # what inspect.signature follows
        return safe  # type: ignore[return-value]  # the same parameters as function

    return decorate


def count() -> None:
    """Count one internal error: in the arena when there is one, always in :func:`counted`."""
    global _count  # noqa: PLW0603 - one number per process
    _count += 1
    for counter in _counters:
        counter()


def counted() -> int:
    """Return how many failures of ours this process has swallowed."""
    return _count


def count_with(counter: Callable[[], object]) -> None:
    """Have every later failure call ``counter`` as well (the arena's own count); replaces the one before."""
    _counters[:] = [counter]


def report(place: str, what: str) -> None:
    """Tell ``what`` on standard error, once per ``place``; never waits, and is silent where that is not possible."""
    if place in _reported or len(_reported) >= MOST_REPORTS:
        return
    _reported.add(place)
    try:
        from roadworthy.log.redact import one_line

        line = one_line(f"roadworthy: {what[:_LONGEST]}. Your program is fine.")
        _write((line + "\n").encode("utf-8", "backslashreplace"))
    except Exception:
        return


def remember_stderr() -> None:
    """Note which file standard error is now: a program that closes it may later open a file of its own there."""
    global _stderr  # noqa: PLW0603 - one standard error per process
    _stderr = _identity(2)


def forget() -> None:
    """Forget what was told and counted; for tests."""
    global _count  # noqa: PLW0603 - one number per process
    _reported.clear()
    _counters.clear()
    _count = 0


def _write(line: bytes) -> None:
    stream = sys.stderr
    if stream is None:
        return
    try:
        descriptor = stream.fileno()
    except Exception:
        stream.write(line.decode())  # replaced by something without a descriptor, such as a StringIO
        return
    if descriptor == 2 and _stderr is not None and _identity(2) != _stderr:  # noqa: PLR2004 - standard error
        return
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if any(events & select.POLLOUT for _, events in poll.poll(0)):
        os.write(descriptor, line)


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def from_signal_handler(error: BaseException) -> bool:
    """Return True when it came out of a signal handler of the program's that ran in the midst of our code."""
    trace = error.__traceback__
    if trace is None or trace.tb_next is None:
        return False
    codes = set()
    while trace is not None:
        codes.add(trace.tb_frame.f_code)
        trace = trace.tb_next
    return not codes.isdisjoint(_handler_codes())


def _handler_codes() -> set[object]:
    import _signal as signal  # type: ignore[import-not-found]  # `signal` without the enumerations that it makes

    codes: set[object] = set()
    for number in range(1, signal.NSIG):
        try:
            handler = signal.getsignal(number)
        except (OSError, ValueError):
            continue
        if not callable(handler):
            continue
        function = getattr(handler, "__func__", handler)
        code = getattr(function, "__code__", None)
        if code is None:
            code = getattr(vars(type(handler)).get("__call__"), "__code__", None)
        if code is not None:
            codes.add(code)
    return codes
