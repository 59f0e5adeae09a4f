"""The one thread of ours in the program: it answers the agent, which asks for checks, collectors and reloads.

Started with the first registration, and again in a forked child when that records something. It is a bare daemon
thread: nobody joins it, so it never delays the program's end. When the agent goes it tries again, first after a
quarter of a second, later every five. It also beats a heartbeat of its own: a process whose event loop *and* this
thread are silent holds the GIL.

The agent's socket speaks JSON, a line a message. We believe only a socket of our own user.
"""

# ruff: noqa: ANN401 - modules that are imported late, and messages that may be anything

from __future__ import annotations

import os
from _thread import start_new_thread

from roadworthy import _clock
from roadworthy.app import context as contexts
from roadworthy.app import guard, operation, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET = "agent.sock"
POLL = 0.5
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
LONGEST_LINE = 65_536
SEND_TIMEOUT = 5.0

_owner = 0
_version = 0
_beat: Any = None


def declared() -> None:
    """Tell the thread that something was registered, and start it if it does not run in this process."""
    global _version  # noqa: PLW0603 - one thread per process
    _version += 1
    start.when_started(_begin)


def start_thread() -> None:
    """Start the thread without a registration, for the heartbeat that tells a held GIL from a blocked event loop."""
    start.when_started(_begin)


def _begin(arena: Any) -> None:
    global _owner, _beat  # noqa: PLW0603 - one thread per process
    if _owner == os.getpid():
        return
    first, _owner = _owner == 0, os.getpid()
    _beat = arena.beat("roadworthy", kind="thread", every=2 * POLL)
    if first:
        arena.after_fork_hooks.append(_again)
    try:
        start_new_thread(_run, (os.getpid(),))
    except RuntimeError as error:  # too many threads, or the interpreter is shutting down
        _owner = -1
        if guard.failed("socket.thread", error):
            raise


def _again() -> None:
    arena = start.current()
    if arena is not None:
        _begin(arena)


def _run(pid: int) -> None:
    """Serve until the process ends. Whatever goes wrong, the program does not notice."""
    pause = FIRST_PAUSE
    while True:
        try:
            if os.getpid() != pid:
                return
            connection = _connect()
            if connection is not None:
                pause = FIRST_PAUSE
                try:
                    _serve(connection)
                finally:
                    connection.close()
        except OSError:
            pass  # the agent went away; that is its affair, and it comes back
        except Exception as error:
            guard.failed("socket", error)
        try:
            _rest(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        except Exception:
            return


def _pulse() -> None:
    """Beat, and look at the control page for a program whose operations are all too short to do it."""
    _beat.beat()
    operation.look(_clock.monotonic_ns())


def _rest(seconds: float) -> None:
    while seconds > 0:
        _pulse()
        _clock.sleep(min(seconds, POLL))
        seconds -= POLL


def _connect() -> Any:
    """Return a connection to this application's agent, None when there is none or its socket is not our user's."""
    import socket

    path = os.path.join(_run_directory(), SOCKET)
    try:
        if os.lstat(path).st_uid != os.getuid():
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(SEND_TIMEOUT)
            connection.connect(path)
        except BaseException:
            connection.close()
            raise
    except OSError:
        return None
    return connection


def _run_directory() -> str:
    given = os.environ.get("ROADWORTHY_RUN_DIR")
    if given:
        return given
    from roadworthy.config import where

    return os.path.join(where.run_root(os.environ), start.name())


def _serve(connection: Any) -> None:
    import json
    import select

    sent = _version
    connection.sendall(_line(json, {"hello": "app", **_identity(), **_declaration()}))
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    pending = b""
    while True:
        _pulse()
        if sent != _version:
            sent = _version
            connection.sendall(_line(json, {"declare": _declaration()}))
        if not poll.poll(POLL * 1000):
            continue
        received = connection.recv(LONGEST_LINE)
        if not received:
            return
        asked_at = _clock.monotonic()
        *lines, pending = (pending + received).split(b"\n")
        if len(pending) > LONGEST_LINE:
            return
        for line in lines:
            answer = handle(json.loads(line), _clock.monotonic() - asked_at)
            if answer is not None:
                connection.sendall(_line(json, answer))


def handle(message: Any, waited: float = 0.0) -> dict[str, object] | None:
    """Do what one message of the agent's asks for, and return the answer; None for what needs none. Never raises.

    ``waited`` is how many seconds the message lay here while another check ran: a check that was due longer ago than
    its timeout is not run any more.
    """
    if not isinstance(message, dict):
        return None
    name = str(message.get("name"))
    if message.get("do") == "check":
        return {"id": message.get("id"), **_check(name, waited)}
    if message.get("do") == "collect":
        return {"id": message.get("id"), **_collect(name)}
    if message.get("do") == "reload":
        _reload()
    return None


def _check(name: str, waited: float) -> dict[str, object]:
    from roadworthy.app.checks import checks

    found = checks.get(name)
    if found is None:
        return {"ok": False, "detail": f"no check {name[:64]!r} is registered here", "took": 0.0}
    if waited > found.timeout:
        return {"ok": False, "detail": "another check of this process ran for too long", "took": 0.0}
    good, detail, took = found.run()
    return {"ok": good, "detail": detail, "took": round(took, 6)}


def _collect(name: str) -> dict[str, object]:
    from roadworthy.app.checks import collectors

    source = collectors.get(name)
    if source is None:
        return {"ok": False, "detail": f"no collector {name[:64]!r} is registered here", "values": {}}
    try:
        return {"ok": True, "values": source.run()}
    except Exception as error:
        what = f"{type(error).__name__}: {contexts.label_text(error, 200)}"
        guard.report(f"collector.{name}", f"collector {name!r} could not be asked ({what})")
        return {"ok": False, "detail": what, "values": {}}


def _reload() -> None:
    from roadworthy.app.checks import reloaders

    for function in list(reloaders):
        try:
            function()
        except Exception as error:
            guard.report("reload", f"a reload subscriber failed ({type(error).__name__})")


def _identity() -> dict[str, object]:
    from roadworthy.arena.identity import start_ticks

    slot = os.environ.get("ROADWORTHY_SLOT", "")
    return {"pid": os.getpid(), "start_ticks": start_ticks(), "slot": int(slot) if slot.isdecimal() else None}


def _declaration() -> dict[str, object]:
    from roadworthy.app.checks import checks, collectors, reloaders

    return {
        "checks": [found.declared() for found in list(checks.values())],
        "collectors": list(collectors),
        "reload": bool(reloaders),
    }


def _line(json: Any, message: dict[str, object]) -> bytes:
    text: str = json.dumps(message, separators=(",", ":"), default=str)
    return text.encode() + b"\n"
