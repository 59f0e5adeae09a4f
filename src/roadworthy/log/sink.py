"""Where lines go: a file that takes them at once, or something that may be slow, through a bounded queue.

A file takes each line with one ``write`` on an ``O_APPEND`` descriptor, so a line whose call has returned is the
kernel's and survives whatever happens to the process. Pipes, terminals and sockets may make their writer wait: their
lines go through a queue of bounded length and a thread of ours. What cannot be written is counted and told once, and
once more, in the log itself, when it works again. Nothing here raises, waits, or takes a lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from _thread import allocate_lock, start_new_thread

from roadworthy._clock import NS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Told = Callable[[str], bytes]

QUEUE = 10_000
"""Lines that wait for a slow reader at most."""

LOOK_NS = NS // 4
LAST_WAIT = 2.0
"""Seconds that a program's end waits for a slow reader."""

HIGH = 200
"""Descriptors of ours lie from here on, where a program that closes and opens its own does not come by."""


class Sink:
    """What has taken lines and lost some; ``told`` makes a line of our own that says so."""

    def __init__(self, name: str, told: Told) -> None:
        self.name = name
        self.written = 0
        self.lost = 0
        self._told = told
        self._lost_now = 0
        self._why = ""

    def write(self, line: bytes, now: int) -> None:
        """Take a line; ``now`` is the wall clock in nanoseconds."""
        raise NotImplementedError

    def lose(self, why: str, lines: int = 1) -> None:
        """Count lines that could not be written, and tell it when it begins."""
        self.lost += lines
        began = not self._lost_now
        self._lost_now += lines
        self._why = why
        if began:
            complain(f"{self.name} cannot be written ({why}): log lines are dropped and counted")

    def regained(self) -> bytes:
        """Return the line that tells of what was lost."""
        lost = self._lost_now
        return self._told(f"{lost} log line{'s' * (lost > 1)} could not be written to {self.name}: {self._why}")

    def after_fork(self) -> None:
        """Begin anew in a forked child what belongs to a process."""

    def close(self) -> None:
        """Give up what is held."""


class Direct(Sink):
    """A descriptor that never makes its writer wait: a regular file, or ``/dev/null``."""

    def __init__(self, name: str, told: Told, descriptor: int) -> None:
        super().__init__(name, told)
        self.descriptor = descriptor
        self._identity = identity(descriptor)
        self._torn = False
        self._looked = self._due = 0
        self._left = 1 << 62
        """Bytes that are written before the file is looked at again, however soon that is."""

    def write(self, line: bytes, now: int) -> None:
        """Write a line."""
        if not self._looked <= now < self._due:  # also when the clock was set
            self._looked, self._due = now, now + LOOK_NS
            self.look(now)
        if self._lost_now or self._torn:
            self._again(line)
            return
        try:
            size = os.write(self.descriptor, line)
        except OSError as error:
            if error.errno == errno.EBADF and self._closed(line):
                self.written += 1
            else:
                self._failed(error)
            return
        self.written += 1
        self._left = left = self._left - size
        if left < 0:
            self._due = 0
        if size != len(line):
            self._rest(line[size:])

    def look(self, now: int) -> None:  # noqa: ARG002 - a file that is rotated needs it
        """See whether the descriptor still leads to a log; four times a second, and after many bytes.

        A program that closes its standard output may open a database next, and get that number for it.
        """
        found = identity(self.descriptor)
        if found != self._identity:
            self._identity = found
            self.descriptor = self.descriptor if found is not None and _for_lines(self.descriptor) else -1

    def _again(self, line: bytes) -> None:
        """Write a line after one was lost: with what tells of it before, and on a line of its own."""
        before = self._lost_now
        told = b"\n" * self._torn + (self.regained() if before else b"")
        try:
            size = os.write(self.descriptor, told + line)
        except OSError as error:
            if error.errno != errno.EBADF or not self._closed(told + line):
                self._failed(error)
                return
            size = len(told) + len(line)
        self._lost_now -= before
        self._torn = False
        self.written += 1
        if size != len(told) + len(line):
            self._lost_now = before  # told in part at most: it is told again
            self._rest((told + line)[size:])

    def _rest(self, rest: bytes) -> None:
        """Write what a full disk has left of a line; without success the next line begins on its own."""
        try:
            if os.write(self.descriptor, rest) == len(rest):
                return
            why = "the disk is full"
        except OSError as error:
            why = error.strerror or str(error)
        self._torn = True
        self.written -= 1
        self.lose(why)

    def _closed(self, line: bytes) -> bool:  # noqa: ARG002 - a file can be opened once more for it
        """Return whether a line could be written although the descriptor was closed."""
        return False

    def _failed(self, error: OSError) -> None:
        self.lose(error.strerror or str(error))
        if error.errno == errno.EBADF:
            self._due = 0  # somebody has closed it: it is opened anew with the next line


class Queued(Sink):
    """A descriptor that may make its writer wait: a pipe, a terminal, a socket. A thread of ours waits for it."""

    def __init__(self, name: str, told: Told, descriptor: int, most: int = QUEUE) -> None:
        super().__init__(name, told)
        from _queue import SimpleQueue

        self.descriptor = descriptor
        self._most = most
        self._new: Callable[[], SimpleQueue[Any]] = SimpleQueue
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._thread = False
        self._identity = identity(descriptor)

    def write(self, line: bytes, now: int) -> None:  # noqa: ARG002 - every sink is given the time
        """Put a line into the queue; when that is full it is lost, and counted."""
        queue = self._queue
        if queue.qsize() >= self._most:
            self.lose("its reader is too slow")
            return
        queue.put(line)
        if not self._thread:
            self._thread = True
            try:
                start_new_thread(self._run, (queue,))
            except Exception:  # noqa: BLE001 - too many threads, or the interpreter goes down: tried with the next line
                self._thread = False

    def close(self) -> None:
        """Wait for what is in the queue, for two seconds at most."""
        if not self._thread:
            return
        reached = allocate_lock()
        reached.acquire()
        self._queue.put(reached)  # behind all lines; the thread that comes to it has written them
        reached.acquire(timeout=LAST_WAIT)

    def after_fork(self) -> None:
        """Begin anew in a forked child: the thread, and whoever writes what had not been written, is in the parent."""
        self._queue = self._new()
        self._thread = False

    def _run(self, queue: object) -> None:
        get = queue.get  # type: ignore[attr-defined]  # of the module that C has, without stubs
        while queue is self._queue:
            line = get()
            if type(line) is not bytes:
                line.release()
                continue
            if self._lost_now and self._queue.qsize() < self._most // 2:
                line = self.regained() + line
                self._lost_now = 0
            try:
                write_all(self.descriptor, line, self._identity)
                self.written += 1
            except OSError as error:
                self.lose(error.strerror or str(error))
            except Exception:  # noqa: BLE001 - the interpreter goes down around this thread
                return


class Given(Sink):
    """Some object of the program's with a ``write`` for text, and no descriptor behind it."""

    def __init__(self, name: str, told: Told, stream: object) -> None:
        super().__init__(name, told)
        self._stream = stream

    def write(self, line: bytes, now: int) -> None:  # noqa: ARG002 - every sink is given the time
        """Hand a line on."""
        try:
            self._stream.write(line.decode("utf-8", "replace"))  # type: ignore[attr-defined]  # by its contract
            self.written += 1
        except Exception as error:  # noqa: BLE001 - what the program's object raises is no reason to fail
            self.lose(f"{type(error).__name__}: {error}")


def for_stream(stream: object, told: Told, most: int = QUEUE) -> Sink:
    """Return the sink for a stream: "stdout", "stderr", a descriptor, or an object like a file."""
    name = stream if isinstance(stream, str) else str(getattr(stream, "name", "stream"))
    if stream in {"stdout", "stderr"}:
        stream = getattr(sys, str(stream))
    try:
        descriptor = stream if isinstance(stream, int) else stream.fileno()  # type: ignore[attr-defined]  # or it has none
        found = os.fstat(descriptor)
    except Exception:  # noqa: BLE001 - replaced by something without a descriptor, such as a StringIO; or closed
        return Given(name, told, stream)
    quick = stat.S_ISREG(found.st_mode) or (stat.S_ISCHR(found.st_mode) and not os.isatty(descriptor))
    return Direct(name, told, descriptor) if quick else Queued(name, told, descriptor, most)


def write_all(descriptor: int, line: bytes, expected: tuple[int, int] | None = None) -> None:
    """Write all of ``line``, waiting where that must be; raises :class:`OSError`.

    ``expected`` is what the descriptor was: a program that has closed it may have opened a file of its own there.
    """
    if expected is not None and identity(descriptor) != expected:
        raise OSError(errno.EBADF, "it was closed or replaced")
    left = memoryview(line)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            import select

            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll(1000)


def identity(descriptor: int) -> tuple[int, int] | None:
    """Return what a descriptor leads to, None when it is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _for_lines(descriptor: int) -> bool:
    """Return whether a descriptor that was replaced may be written to: what it leads to now is only ever added to."""
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND) or not stat.S_ISREG(os.fstat(descriptor).st_mode)


def complain(what: str) -> None:
    """Tell ``what`` on standard error, if that takes it at once."""
    try:
        import select

        from roadworthy.log.redact import one_line

        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if any(events & select.POLLOUT for _, events in poll.poll(0)):
            os.write(2, (one_line(f"roadworthy: {what}. Your program is fine.") + "\n").encode("utf-8", "replace"))
    except Exception:  # noqa: BLE001 - telling is the last resort
        return
