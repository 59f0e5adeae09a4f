"""The agent beside the program: started, started again when it dies, talked to over a SEQPACKET socket.

The keeper never waits for it: messages queue up to a bound and the deaths that the agent has not acknowledged are told
again to the next one.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stub; `signal` itself would import enum
import _socket
import os

from roadworthy.keeper import reap, wire
from roadworthy.keeper.output import trim_log
from roadworthy.keeper.spawn import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from roadworthy.keeper.wire import Message

BACKOFF_FIRST = 0.1
BACKOFF_MOST = 5.0
HEALTHY_AFTER = 10.0
SILENT_MOST = 30.0
"""Seconds without a sign of life after which an agent counts as hung; it gives one every few."""

ABSENT = 2.0
"""Seconds between two looks after which we were the ones who were away."""

QUEUE_MOST = 1000
LOG_MOST = 2 << 20
_MESSAGE_MOST = 1 << 18


class Agent:
    """The agent's process and the keeper's end of the socket to it."""

    __slots__ = (
        "_argv",
        "_env",
        "_log",
        "_queue",
        "_wait",
        "end",
        "failures",
        "heard",
        "looked",
        "next_start",
        "pid",
        "spoke",
        "started",
        "ticks",
    )

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: str) -> None:
        self._argv = argv
        self._env = dict(env)
        self._log = log
        self._queue: list[bytes] = []
        self._wait = BACKOFF_FIRST
        self.end: _socket.socket | None = None
        self.pid = 0
        self.ticks = 0
        self.started = 0.0
        self.failures = 0
        """Deaths in a row that came soon after a start."""
        self.spoke = False
        """Whether this one has said anything: one that only dies again does not decide anything."""
        self.heard: float | None = None
        """When this one gave a sign of life last; None: never, so that its silence says nothing."""
        self.looked = 0.0
        self.next_start: float | None = 0.0 if argv else None

    @property
    def wanted(self) -> bool:
        """Return whether there is an agent to run at all."""
        return bool(self._argv)

    def start(self, now: float) -> str:
        """Start it and return an empty text, or why that failed; then it is tried again later."""
        self.next_start = None
        trim_log(self._log, LOG_MOST)
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        try:
            self.pid = spawn(
                self._argv,
                {**self._env, "ROADWORTHY_KEEPER_FD": str(theirs.fileno())},
                stdin=None,
                stdout=self._log,
                stderr=self._log,
                keep=(theirs.fileno(),),
                session=True,
            )
        except OSError as error:
            ours.close()
            self._later(now)
            return f"the agent cannot be started: {error.strerror}"
        finally:
            theirs.close()
        ours.setblocking(False)  # noqa: FBT003 - the function has no keyword
        self.end = ours
        self.ticks = reap.start_ticks(self.pid) or 0
        self.started = now
        self.spoke = False
        self.heard = None
        self._queue.clear()
        return ""

    def died(self, now: float) -> None:
        """Note that its process was collected; it is due again after a growing pause."""
        if now - self.started >= HEALTHY_AFTER:
            self._wait = BACKOFF_FIRST
            self.failures = 0
        self.failures += 1
        self.pid = self.ticks = 0
        self.hang_up()
        self._later(now)

    def tell(self, message: Message) -> None:
        """Send a message, or queue it when the agent is slow; the oldest go first when the queue is full."""
        if self.end is None:
            return
        self._queue.append(wire.dumps(message).encode())
        del self._queue[:-QUEUE_MOST]
        self.flush()

    def flush(self) -> None:
        """Send what is queued as far as it is taken."""
        while self._queue and self.end is not None:
            try:
                self.end.send(self._queue[0])
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.hang_up()
                return
            del self._queue[0]

    @property
    def waiting(self) -> bool:
        """Return whether messages are queued."""
        return bool(self._queue)

    def receive(self) -> list[Message]:
        """Return the messages that have arrived; one that cannot be understood is passed over."""
        found: list[Message] = []
        while self.end is not None:
            try:
                data = self.end.recv(_MESSAGE_MOST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data:
                self.hang_up()
                break
            try:
                message = wire.loads(data.decode())
            except ValueError:
                continue
            if isinstance(message, dict):
                self.spoke = True
                found.append(message)
        return found

    def hung(self, now: float) -> bool:
        """Return whether it has been silent for too long while we listened all the time."""
        if now - self.looked > ABSENT and self.heard is not None:
            self.heard = now  # stopped or frozen we were, and it may have been with us
        self.looked = now
        return self.heard is not None and now - self.heard > SILENT_MOST

    def hang_up(self) -> None:
        """Close the socket."""
        if self.end is not None:
            self.end.close()
            self.end = None
        self._queue.clear()

    def signal(self, signum: int) -> None:
        """Send a signal to its process, if it has one."""
        if self.pid:
            reap.send(self.pid, self.ticks, signum)

    def kill(self) -> None:
        """End it at once."""
        self.signal(int(_signal.SIGKILL))

    def trim(self) -> None:
        """Keep its log bounded."""
        trim_log(self._log, LOG_MOST)

    def _later(self, now: float) -> None:
        self.next_start = now + self._wait
        self._wait = min(BACKOFF_MOST, self._wait * 2)


def base_environment() -> dict[str, str]:
    """Return the environment as it was handed to us: without the ``LC_CTYPE`` that Python's locale coercion adds."""
    env = dict(os.environ)
    if "LC_CTYPE" in env:
        with open("/proc/self/environ", "rb") as file:
            if not any(item.startswith(b"LC_CTYPE=") for item in file.read().split(b"\0")):
                del env["LC_CTYPE"]
    return env
