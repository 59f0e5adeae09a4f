"""Bring the runtime up in this process: find the place, make the arena, prepare stack dumps. Nothing here raises.

Everything is found in the environment that ``roadworthy run`` sets; without it the application is named after the
script and its arena lies where :mod:`roadworthy.config.places` says. Anything that cannot be done is told once on
standard error and leaves the program with objects that do nothing.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

from roadworthy.app import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from roadworthy.arena.writer import Arena

OFF_WORDS = frozenset({"0", "false", "no", "off"})
STACK_DESCRIPTOR = 200
"""Programs that close "all" descriptors mostly stop well below this."""

_UNSTARTED, _STARTING, _RUNNING, _OFF = range(4)
_WAIT = 0.25
_state = _UNSTARTED
_starter = 0
_owner = 0
_arena: Arena | None = None
_app = ""
_reason = ""
_flags = 0
_instrumented: list[str] = []
_dump: tuple[int, int, tuple[int, int]] | None = None
_when_started: list[Callable[[Arena], None]] = []


def enabled() -> bool:
    """Return False when ``ROADWORTHY_ENABLED`` switches everything of ours in this process off."""
    return os.environ.get("ROADWORTHY_ENABLED", "1").strip().lower() not in OFF_WORDS


def start(app: str | None = None) -> None:
    """Bring the runtime up; calling it again does nothing, and every other call of ours does it when needed.

    ``app`` names the application where ``roadworthy run`` has not; default is the script's name. Never raises: when
    the arena cannot be made, that is told once on standard error and everything of ours does nothing.
    """
    arena = _ensure(app)
    if arena is not None and app and _app and app != _app and "ROADWORTHY_APP" not in os.environ:
        guard.report(
            "start.twice", f"start({app!r}) came after this process had started as {_app!r}, whose name it keeps"
        )


def current() -> Arena | None:
    """Return this process's arena if it runs, without starting anything; None otherwise."""
    return _arena


def ensure() -> Arena | None:
    """Return this process's arena, made now if need be; None when switched off or impossible."""
    return _arena if _arena is not None else _ensure(None)


def is_off() -> bool:
    """Return True when nothing is recorded in this process and never will be: switched off, or it could not start."""
    return _state == _OFF or (_state == _UNSTARTED and not enabled())


def name() -> str:
    """Return the application's name, empty before the start."""
    return _app


def reason() -> str:
    """Return why nothing is recorded in this process; empty when something is."""
    return _reason


def when_started(hook: Callable[[Arena], None]) -> None:
    """Call ``hook`` with the arena when there is one: now if it runs already. What it raises is swallowed."""
    if _arena is not None:
        _call(hook, _arena)
    else:
        _when_started.append(hook)


def instrumented(what: str) -> None:
    """Note that ``what`` (a library or a part of the interpreter) is watched; shown with the process."""
    if what not in _instrumented:
        _instrumented.append(what)
        if _arena is not None:
            try:
                _arena.set_info(_info())
            except Exception as error:
                if guard.failed("start.info", error):
                    raise


def set_flags(flags: int) -> None:
    """Set bits of the arena's flag word before the start (injected, for instance)."""
    global _flags  # noqa: PLW0603 - one runtime per process
    _flags |= flags


def _ensure(app: str | None) -> Arena | None:
    global _state, _starter  # noqa: PLW0603 - one runtime per process
    if _state == _RUNNING:
        return _arena
    if _state == _OFF:
        return None
    if _state == _STARTING:
        return _wait_for_starter()
    _state, _starter = _STARTING, get_ident()  # no call between test and set: one thread alone comes through
    try:
        _bring_up(app)
    except Exception as error:
        if guard.from_signal_handler(error):
            _state = _UNSTARTED if _arena is None else _RUNNING  # the program's own, in the middle: tried again
            raise
        _switch_off(f"{type(error).__name__}: {error}".replace("\n", " "))
        guard.failed("start", error)
    except BaseException:
        _state = _UNSTARTED  # Ctrl-C in the middle: the next call tries again
        raise
    return _arena


def _wait_for_starter() -> Arena | None:
    """Wait for the thread that is starting, a matter of milliseconds; not when it is this one, interrupted."""
    if _starter == get_ident():
        return None
    from roadworthy import _clock

    deadline = _clock.monotonic() + _WAIT
    while _state == _STARTING and _clock.monotonic() < deadline:
        _clock.sleep(0.001)
    return _arena


def _bring_up(app: str | None) -> None:
    global _arena, _state, _app, _owner  # noqa: PLW0603 - one runtime per process
    guard.remember_stderr()
    if not enabled():
        _switch_off("ROADWORTHY_ENABLED switches it off")
        return
    import atexit

    from roadworthy.arena import hot
    from roadworthy.arena.writer import Arena

    hot.let_pass(guard.from_signal_handler)
    env = os.environ
    _app = env.get("ROADWORTHY_APP") or _fit(app or _script())
    directory = _directory(_app)
    keeper = _number(env.get("ROADWORTHY_KEEPER_PID"))
    slot = _number(env.get("ROADWORTHY_SLOT"))
    descendant = 2 if slot is not None and keeper is not None and os.getppid() != keeper else 0
    arena = Arena.create(
        directory,
        _app,
        slot=slot,
        generation=_number(env.get("ROADWORTHY_GENERATION")) or 0,
        info=_info(),
        flags=_flags | descendant,
    )
    guard.count_with(arena.internal_error)
    _arena, _state, _owner = arena, _RUNNING, os.getpid()
    _prepare_stacks(arena)
    atexit.register(_close)
    os.register_at_fork(after_in_child=_after_fork)
    arena.after_fork_hooks.append(_in_child)
    from roadworthy.log import security

    security.belongs_to(_app)
    security.on_security_event(_show_security)
    hooks, _when_started[:] = _when_started[:], []
    for hook in hooks:
        _call(hook, arena)
    from roadworthy.config import reloads
    from roadworthy.log import hook as log_hook
    from roadworthy.resilience import outward
    from roadworthy.resilience.hook import when_used

    log_hook.failed, log_hook.recorder = guard.failed, _first_entry
    if "ROADWORTHY_RUN_DIR" in env:
        from roadworthy import _known

        _known.listeners.append(_tell_secret)
        if _known.made:
            _tell_secret()
    when_used(_show_policies)
    reloads.when_used(_show_reloads)
    outward.when_used(_show_services)


def _show_security(record: Mapping[str, object]) -> None:
    """Put a security event into the flight recorder."""
    if _arena is None:
        return
    from roadworthy.app import context
    from roadworthy.log.security import LEVELS

    kind, data = str(record["event_type"]), record["data"]
    told = {"event": kind, **(data if isinstance(data, dict) else {})}
    text = context.line(f"security: {kind}: {record['description']}")
    _arena.event("log", LEVELS[str(record["severity"])], "security", text, context.plain(told))


def _tell_secret() -> None:
    """Have the agent told of a Secret that this process has made: it reads what the program prints. Never raises."""
    try:
        from roadworthy.app import socket

        socket.declared()
    except Exception as error:
        if guard.failed("start.secret", error):
            raise


def _show_policies() -> None:
    """Listen to the policies of this program, once it has one."""
    from roadworthy.app import policies

    policies.install()


def _first_entry(level: int, name: str, text: str, fields: str, now: int, error: BaseException | None) -> None:
    """Keep entries of our own loggers from the first one on."""
    from roadworthy.app import logbook
    from roadworthy.log import hook

    hook.recorder = logbook.entry
    logbook.entry(level, name, text, fields, now, error)


def _show_services() -> None:
    """Listen to features, services and recoveries of this program, once it has one."""
    from roadworthy.app import services

    services.install()


def _show_reloads() -> None:
    """Have the agent told that something here wants to be told of reloads."""
    from roadworthy.app import checks

    checks.declared()


def _directory(app: str) -> str:
    """Return the arena directory, made private; the arena itself verifies whose it is."""
    given = os.environ.get("ROADWORTHY_ARENA_DIR")
    if given:
        os.makedirs(given, mode=0o700, exist_ok=True)
        return given
    from roadworthy.config import where

    where.check_name(app, "ROADWORTHY_APP")
    return where.private(os.path.join(where.private(where.arena_root(os.environ)), app))


def _switch_off(why: str) -> None:
    global _state, _reason
    _state, _reason = _OFF, why


def _call(hook: Callable[[Arena], None], arena: Arena) -> None:
    try:
        hook(arena)
    except Exception as error:
        if guard.failed(f"start.{getattr(hook, '__name__', 'hook')}", error):
            raise


# -- stack dumps: the agent sends the signal, faulthandler writes the file, neither needs the GIL


def _prepare_stacks(arena: Arena) -> None:
    """Have a real-time signal write all threads' stacks to ``stacks-<pid>``; the arena's header names both."""
    global _dump  # noqa: PLW0603 - one dump file per process
    try:
        import faulthandler
        import fcntl

        number = _dump[0] if _dump is not None else _free_signal()
        if number is None:
            return
        path = os.path.join(os.fspath(arena.directory), f"stacks-{os.getpid()}")
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        low = os.open(path, flags, 0o600)
        try:
            descriptor = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, STACK_DESCRIPTOR)
        except OSError:
            descriptor = low  # the program may open fewer descriptors than that
        else:
            os.close(low)
        faulthandler.register(number, file=descriptor, all_threads=True, chain=False)
        arena.set_stack(number, descriptor)
        found = os.fstat(descriptor)
        if _dump is not None and _dump[1] != descriptor:
            _close_inherited(_dump[1], _dump[2])
        _dump = number, descriptor, (found.st_dev, found.st_ino)
    except Exception as error:
        if guard.failed("start.stacks", error):
            raise


def _close_inherited(descriptor: int, identity: tuple[int, int]) -> None:
    """Close the parent's dump file, unless the program has put something of its own under that number."""
    try:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) == identity:
            os.close(descriptor)
    except OSError:
        return


def _free_signal() -> int | None:
    import _signal as signal  # type: ignore[import-not-found]  # `signal` without the enumerations that it makes

    for number in range(signal.SIGRTMAX - 1, signal.SIGRTMIN, -1):
        if signal.getsignal(number) == signal.SIG_DFL:
            return int(number)
    return None


# -- the end, and forks


def _close() -> None:
    try:
        if _arena is not None and _owner == os.getpid():  # not a forked child that never recorded anything
            _arena.close()
            if _dump is not None:
                os.unlink(os.path.join(os.fspath(_arena.directory), f"stacks-{os.getpid()}"))
    except FileNotFoundError:
        return
    except Exception as error:
        if guard.failed("start.close", error):
            raise


def _after_fork() -> None:
    global _state  # noqa: PLW0603 - one runtime per process
    if _state == _STARTING:
        _state = _UNSTARTED  # the thread that was starting exists only in the parent


def _in_child() -> None:
    """Renew in a forked child, once it has recorded something, what belongs to a process."""
    global _owner  # noqa: PLW0603 - one runtime per process
    _owner = os.getpid()
    if _arena is not None:
        _arena.set_info(_info())
        _prepare_stacks(_arena)


# -- names


def _script() -> str:
    """Return the name of the program: its script's stem, or its package's for ``python -m``."""
    path = sys.argv[0] if getattr(sys, "argv", None) else ""
    if path in {"", "-c", "-m"}:
        return "python"
    folder, file = os.path.split(path)
    stem = os.path.splitext(file)[0]
    return os.path.basename(folder) if stem == "__main__" and folder else stem


def _fit(app: str) -> str:
    """Return ``app`` as a name that a directory may have; a name of ours is never a reason not to start."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in app)
    return kept.lstrip("._-")[:64] or "python"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _info() -> dict[str, object]:
    from roadworthy.log.redact import redact_argv

    arguments = getattr(sys, "orig_argv", None) or getattr(sys, "argv", [])
    return {
        "app": _app,
        "command": redact_argv(arguments)[:512],
        "python": sys.version.split()[0],
        "stacks": f"stacks-{os.getpid()}",
        "instrumented": list(_instrumented),
        "reason": _reason,
    }
