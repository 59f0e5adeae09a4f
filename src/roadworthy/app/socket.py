"""The program's end of the agent's socket: it tells what is registered here, and answers what the agent asks for.

The thread of ours (:mod:`roadworthy.app.pulse`) serves it between two beats and never waits for it: messages are read
when they are there, what was asked for runs in a thread of its own, and an answer is sent as far as the socket takes
it. When the agent goes it is tried again, first after a quarter of a second, later every five.

The socket speaks JSON, a line a message. We believe only a socket of our own user. Parts that have more to tell or to
answer plug in: ``declares["services"] = describe`` and ``answers["recover"] = act``, then :func:`declared`.
"""

# ruff: noqa: ANN401 - modules that are imported late, and messages that may be anything

from __future__ import annotations

import os
from _thread import allocate_lock

from roadworthy import _clock, _known
from roadworthy.app import context as contexts
from roadworthy.app import guard, pulse, runs, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SOCKET = "agent.sock"
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
LONGEST_LINE = 65_536
MOST_KNOWN = 1 << 17
"""Characters of secret values that the agent is told, so that it finds them in what the program prints."""

MOST_WAITING = 1 << 20
"""Bytes of answers that may wait for an agent that does not read; beyond that we hang up and begin anew."""

answers: dict[str, Callable[[Any], dict[str, object] | None]] = {}
"""What the agent may ask for (``do``), and the function that gets the message and returns the answer, None for none.

Each runs in a thread of its own, one at a time for a pair of ``do`` and ``name``; it may take long, and may raise.
"""

declares: dict[str, Callable[[], object]] = {}
"""What is told of this process, and the function that returns it as JSON knows it; called by the thread: short."""

_RUNS = {"collect": "collector", "recover": "recovery"}
"""What a run of something that is asked for is called, where that is not the word itself."""

_version = 0
_talk: Talk | None = None
_next_try = 0
_pause = FIRST_PAUSE
_reload_due = False


def declared() -> None:
    """Tell the agent anew what is declared, soon and from the thread, which starts if it does not run; never raises."""
    global _version  # noqa: PLW0603 - one number per process
    _version += 1
    if "ROADWORTHY_RUN_DIR" in os.environ:
        # There is an agent. Imported by the program's thread: one that forks while ours imports has a broken child.
        import json  # noqa: F401 - as above
        import select  # noqa: F401 - as above
    pulse.rest_with(rest)
    pulse.lasting()


def rest(seconds: float) -> None:
    """Spend up to so many seconds with the agent; sleep where there is none. For the thread."""
    global _talk, _next_try, _pause  # noqa: PLW0603 - one conversation per process
    talk = _talk
    if talk is None:
        now = _clock.monotonic_ns()
        if now >= _next_try:
            talk = _talk = _connected()
            if talk is None:
                _next_try = now + int(_pause * _clock.NS)
                _pause = min(_pause * 2, LONGEST_PAUSE)
                return
            _pause = FIRST_PAUSE
    if talk is None:
        _clock.sleep(seconds)
        return
    try:
        talk.turn(seconds)
    except Exception as error:
        _talk = None
        _next_try = _clock.monotonic_ns() + int(_pause * _clock.NS)
        talk.end()
        if not isinstance(error, OSError):  # that is the agent's going: its affair, and it comes back
            raise


class Talk:
    """A connection to the agent. ``turn`` and ``end`` are the thread's; any thread may ``tell``."""

    __slots__ = ("_connection", "_identity", "_json", "_known", "_lock", "_out", "_pending", "_poll", "_version")

    def __init__(self, connection: Any) -> None:
        import json
        import select

        self._connection = connection
        self._identity = _identity_of(connection)
        self._json = json
        self._lock = allocate_lock()
        self._out: list[bytes] = []
        self._pending = b""
        self._version = _version
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self.tell({"hello": "app", **_process(), **declaration()})
        self._known = -1
        self._tell_known()

    def turn(self, seconds: float) -> None:
        """Send what waits and read what comes, for at most so long; raises :class:`OSError` when it is over."""
        if not self._is_ours():
            raise ConnectionError
        if self._version != _version:
            self._version = _version
            self.tell({"declare": declaration()})
        self._tell_known()
        self._send()
        if sum(map(len, self._out)) > MOST_WAITING:
            raise ConnectionError
        _reload_if_due()
        if not self._poll.poll(seconds * 1000):
            return
        if not self._is_ours():
            raise ConnectionError
        try:
            received = self._connection.recv(LONGEST_LINE)
        except BlockingIOError:
            return
        *lines, self._pending = (self._pending + received).split(b"\n")
        if not received or len(self._pending) > LONGEST_LINE:
            raise ConnectionError
        for line in lines:
            hear(self._json.loads(line), self.tell)

    def _tell_known(self) -> None:
        """Tell the secret values of this process that are new since the last time: they stay in the agent's memory."""
        if self._known == _known.version:
            return
        self._known = _known.version
        told: list[str] = []
        left = MOST_KNOWN
        for value in reversed(_known.values):  # the longest may be too long
            left -= len(value)
            if left < 0:
                break
            told.append(value)
        if told:
            self.tell({"known": told})

    def tell(self, message: dict[str, object]) -> None:
        """Send a message, now as far as the socket takes it, the rest with the next turn; never waits or raises."""
        try:
            text: str = self._json.dumps(message, separators=(",", ":"), default=str)
        except (TypeError, ValueError, RecursionError) as error:
            guard.report("socket.tell", f"an answer to the agent is no JSON ({type(error).__name__})")
            text = self._json.dumps({"id": message.get("id"), "ok": False, "detail": "the answer is no JSON"})
        self._out.append(text.encode() + b"\n")
        try:
            self._send()
        except OSError:
            return  # the agent has gone; the thread will see

    def _send(self) -> None:
        # Whoever has the lock sends for all; it looks once more after letting go, so nothing is left lying.
        while self._out and self._lock.acquire(blocking=False):
            try:
                if not self._is_ours():
                    return
                while self._out:
                    line = self._out[0]
                    sent = self._connection.send(line)
                    if sent < len(line):
                        self._out[0] = line[sent:]
                    else:
                        del self._out[0]
            except BlockingIOError:
                return
            finally:
                self._lock.release()

    def end(self) -> None:
        """Hang up. A descriptor that the program has closed, and perhaps uses for something of its own, is let be."""
        had = self._lock.acquire(timeout=1.0)  # nobody holds it for longer than a send that does not wait
        try:
            self.leave()
        finally:
            if had:
                self._lock.release()

    def leave(self) -> None:
        """Close our copy of the descriptor, without the lock: for a forked child, where nobody is left to share it."""
        if self._is_ours():
            self._connection.close()
        else:
            self._connection.detach()

    def _is_ours(self) -> bool:
        try:
            return _identity_of(self._connection) == self._identity
        except OSError:
            return False


def _connected() -> Talk | None:
    connection = connect()
    if connection is None:
        return None
    try:
        return Talk(connection)
    except BaseException:
        connection.close()
        raise


def connect() -> Any:
    """Return a connection to this application's agent, None when there is none or its socket is not our user's."""
    path = os.path.join(_run_directory(), SOCKET)
    try:
        if os.lstat(path).st_uid != os.getuid():
            return None
        import _socket  # `socket` without the enumerations that it makes; the program may never need that

        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
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


def _identity_of(connection: Any) -> tuple[int, int]:
    found = os.fstat(connection.fileno())
    return found.st_dev, found.st_ino


def _process() -> dict[str, object]:
    from roadworthy.arena.identity import start_ticks

    slot = os.environ.get("ROADWORTHY_SLOT", "")
    return {"pid": os.getpid(), "start_ticks": start_ticks(), "slot": int(slot) if slot.isdecimal() else None}


def declaration() -> dict[str, object]:
    """Return all that is told of this process; what cannot be described is left out, counted and told once."""
    told: dict[str, object] = {}
    for key, describe in tuple(declares.items()):
        try:
            told[key] = describe()
        except Exception as error:
            if guard.failed(f"socket.{key}", error):
                raise
    return told


def hear(message: Any, tell: Callable[[dict[str, object]], object]) -> None:
    """Have done what a message asks for, in a thread of its own; ``tell`` gets the answer. Never waits."""
    global _reload_due  # noqa: PLW0603 - one wish per process
    if not isinstance(message, dict):
        return
    if message.get("do") == "reload":
        _reload_due = True  # a run under way may have read the old settings: another one follows it
        _reload_if_due()
        return
    what = str(message.get("do"))
    key = what, str(message.get("name"))

    def work() -> Callable[[], object] | None:
        answer = handle(message)
        return None if answer is None else lambda: tell(answer)

    why_not = runs.start(key, work, _RUNS.get(what, what))
    if why_not and message.get("id") is not None:
        tell({"id": message["id"], "ok": False, "detail": why_not, "took": 0.0, "values": {}})


def handle(message: Any) -> dict[str, object] | None:
    """Do what one message of the agent's asks for, however long it takes, and return the answer; None for none.

    Never raises.
    """
    if not isinstance(message, dict):
        return None
    what = str(message.get("do"))
    act = answers.get(what)
    try:
        if act is None:
            answer: dict[str, object] | None = {"ok": False, "detail": f"{what[:64]!r} is nothing that we can do"}
        else:
            answer = act(message)
    except BaseException as error:
        said = f"{type(error).__name__}: {contexts.label_text(error, 200)}"
        guard.report(f"socket.{what[:64]}", f"{what[:64]} {str(message.get('name'))[:64]!r} failed ({said})")
        answer = {"ok": False, "detail": said}
    return None if answer is None else {"id": message.get("id"), **answer}


def _reload_if_due() -> None:
    global _reload_due  # noqa: PLW0603 - one wish per process
    if _reload_due:
        # The wish is taken back first: a run that starts with it has seen it.
        _reload_due = False
        _reload_due = runs.start("reload", _reload, "reload") != ""


def _reload() -> None:
    handle({"do": "reload"})


def _after_fork() -> None:
    """Leave the connection to the parent; without our copy of it the agent sees at once when the parent ends."""
    global _talk, _next_try, _pause, _reload_due
    talk, _talk = _talk, None
    _next_try, _pause, _reload_due = 0, FIRST_PAUSE, False
    if talk is not None:
        talk.leave()


os.register_at_fork(after_in_child=_after_fork)
