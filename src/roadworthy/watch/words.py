"""How a process ended, in words that a person on call understands at 3 am. Pure."""

from __future__ import annotations

import signal as _signal
from typing import Final

from roadworthy.types import ExitStatus

_SIGNALS: Final = {
    _signal.SIGKILL: "sent by somebody, or by the kernel's out-of-memory killer",
    _signal.SIGSEGV: "it touched memory that is not its own, usually in a C extension",
    _signal.SIGBUS: "it touched memory whose file is gone or whose disk is full",
    _signal.SIGABRT: "it gave up itself (abort, a failed assertion in C, or a fatal Python error)",
    _signal.SIGILL: "it met an instruction that this CPU does not have",
    _signal.SIGFPE: "it divided by zero in C",
    _signal.SIGTERM: "it was asked to end",
    _signal.SIGINT: "it was interrupted (Ctrl-C)",
    _signal.SIGHUP: "its terminal was closed",
    _signal.SIGQUIT: "it was asked to end with a core dump",
    _signal.SIGPIPE: "it wrote to a pipe that nobody reads",
    _signal.SIGXCPU: "it used more CPU time than its limit allows",
    _signal.SIGXFSZ: "it wrote a file larger than its limit allows",
    _signal.SIGSYS: "it made a system call that is forbidden to it",
}

_CODES: Final = {
    1: "an error, often an uncaught exception",
    2: "wrong use of the command line",
    126: "the command cannot be executed",
    127: "the command was not found",
    130: "interrupted (Ctrl-C)",
    137: "its shell says that SIGKILL ended it",
    143: "its shell says that SIGTERM ended it",
}


def signal_name(number: int) -> str:
    """Return a signal's name, for example ``SIGKILL``; real-time signals by their offset."""
    try:
        return _signal.Signals(number).name
    except ValueError:
        first = int(_signal.SIGRTMIN)
        return f"SIGRTMIN+{number - first}" if first <= number <= int(_signal.SIGRTMAX) else f"signal {number}"


def exit_words(code: int | None, signal: int | None, *, core: bool = False, oom: bool = False) -> str:
    """Return how a process ended, in words."""
    if signal is not None:
        name = f"killed by {signal_name(signal)} ({signal})"
        if oom:
            return f"{name} by the kernel: out of memory"
        why = _SIGNALS.get(_signal.Signals(signal)) if signal in _signal.valid_signals() and signal < 32 else None  # noqa: PLR2004 - real-time ones have no fixed meaning
        return name + (f", {why}" if why else "") + (", with a core dump" if core else "")
    if code is None:
        return "ended; nobody could collect its exit status"
    if code == 0:
        return "ended by itself with exit code 0"
    why = _CODES.get(code)
    return f"ended by itself with exit code {code}" + (f": {why}" if why else "")


def exit_status(code: int | None, signal: int | None, *, core: bool = False, oom: bool = False) -> ExitStatus:
    """Return the exit status with its words."""
    return ExitStatus(code, signal, core, exit_words(code, signal, core=core, oom=oom), oom)


def span(seconds: float) -> str:
    """Return a duration as people write it: ``0.3 s``, ``45 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``."""
    if seconds < 10:  # noqa: PLR2004 - a tenth matters below that
        return f"{seconds:.1f} s"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:  # noqa: PLR2004 - a day
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
