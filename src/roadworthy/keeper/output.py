"""The program's output: append-only files that it writes, passed on unchanged and given back to the file system.

A pipe would break the program when its reader dies and block it at 64 KiB when its reader is slow; a file does neither.
What was passed on is punched out except for the newest ``KEEP`` bytes, which the agent reads at its own offset, so
offsets never shift. When our output is not taken, the program goes on and the oldest is left out, and said so.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import select
import stat

from roadworthy.keeper.system import punch_hole, reserve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Taker(Protocol):
        """Who takes output: one of our own descriptors, or who reads the file itself."""

        closed: bool
        blocked: bool
        progress: float
        fd: int

        def write(self, data: bytes, now: float) -> int:
            """Take what is said between the output; returns how much was taken."""

        def copy(self, source: int, offset: int, count: int, now: float) -> int:
            """Take at most ``count`` bytes of a file from ``offset`` on; returns how much was taken."""


KEEP = 1 << 20
"""Newest bytes of each file that stay readable."""

PUNCH_EVERY = 1 << 18
"""Bytes passed on between two reclaims."""

AHEAD = 1 << 17
"""Bytes of room that each file has beyond its end, so that the program can print while the file system is full."""

KEEP_LEAST = 1 << 16
"""Newest bytes that stay readable while the file system is full: the rest makes room for what is printed next."""

LAG_STUCK = 3 << 20
"""Bytes that may wait when the reader of our output has taken nothing for ``STUCK_AFTER`` seconds."""

LAG_SLOW = 256 << 20
"""Bytes that may wait when the reader is only slow; no more than half of what is free where the file lives."""

STUCK_AFTER = 5.0

_CHUNK = 1 << 18
_TAIL = 32
"""Bytes before what is new that are compared to see whether the file was written anew."""

_PIPE_SIZE = 1 << 20
_PASS_MOST = 1 << 22


class Sink:
    """One of our own output descriptors, written to without ever waiting.

    The descriptor's own flags stay as they are: they belong to all who share it (the shell, for one). A pipe or a
    terminal is opened once more with ``O_NONBLOCK``, a socket is sent to with ``MSG_DONTWAIT``, a file never blocks.
    """

    __slots__ = ("_pipe", "_poll", "_reopened", "_socket", "blocked", "closed", "fd", "progress")

    def __init__(self, fd: int) -> None:
        self.closed = False
        """Whether nobody takes anything any more: the reader is gone, or it is ``/dev/null``."""
        self.blocked = False
        """Whether the last write did not fit: poll ``fd`` for room."""
        self.progress = 0.0
        self.fd = fd
        self._pipe = self._reopened = False
        self._socket: _socket.socket | None = None
        self._poll: select.poll | None = None
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return
        if stat.S_ISCHR(mode) and os.fstat(fd).st_rdev == os.stat(os.devnull).st_rdev:
            self.closed = True
            return
        if stat.S_ISSOCK(mode):
            self._socket = _socket.socket(fileno=os.dup(fd))
            return
        try:
            self.fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            self._reopened = True
            if stat.S_ISFIFO(mode):
                self._pipe = True
                fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:
            if self._reopened:
                return  # only the larger pipe was refused
            # Somebody else's terminal: ask before each write, and write what a pipe takes whole.
            self._poll = select.poll()
            self._poll.register(fd, select.POLLOUT)

    def write(self, data: bytes, now: float) -> int:
        """Write what fits and return how much; 0 when nothing does now. After an error it is closed and takes all."""
        return self._take(len(data), now, lambda: self._write(data))

    def copy(self, source: int, offset: int, count: int, now: float) -> int:
        """Write at most ``count`` bytes of a file from ``offset`` on, without copying where we write into a pipe."""
        if not self._pipe:
            return self.write(os.pread(source, min(count, _CHUNK), offset), now)
        return self._take(
            count, now, lambda: os.splice(source, self.fd, count, offset_src=offset, flags=os.SPLICE_F_NONBLOCK)
        )

    def close(self) -> None:
        """Release what was opened besides the descriptor itself."""
        if self._socket is not None:
            self._socket.close()
        elif self._reopened:
            os.close(self.fd)
        self.closed = True

    def _write(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, _socket.MSG_DONTWAIT)
        if self._poll is not None:
            return os.write(self.fd, data[: select.PIPE_BUF]) if self._poll.poll(0) else 0
        return os.write(self.fd, data)

    def _take(self, wanted: int, now: float, act: Callable[[], int]) -> int:
        if self.closed:
            return wanted
        self.blocked = False
        try:
            taken = act()
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EINTR}:
                self.blocked = error.errno == errno.EAGAIN
                return 0
            self.closed = True  # the reader is gone: output still goes to the file, where the agent reads it
            return wanted
        self.blocked = taken == 0
        if taken:
            self.progress = now
        return taken


class Stream:
    """One output file of one generation of a worker, and how much of it was passed on."""

    __slots__ = ("_fd", "_punchable", "_reserved", "_tail", "left_out", "passed", "path", "punched", "sink")

    def __init__(self, path: str, sink: Taker, *, anew: bool = True) -> None:
        """Make the file anew, or take the one that is there as it is; raises ``OSError``."""
        make = os.O_CREAT | os.O_TRUNC if anew else 0
        self._fd = os.open(path, os.O_RDWR | make | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._punchable = True
        self._reserved = 0
        self._tail = b""
        self.path = path
        self.sink = sink
        self.passed = 0
        self.punched = 0
        self.left_out = 0
        self._reserve(os.fstat(self._fd).st_size)

    def pump(self, now: float) -> int:
        """Pass on what is new, as far as it is taken, and return how many bytes moved."""
        size = os.fstat(self._fd).st_size
        if size < self.passed or (size > self.passed and self._rewritten()):
            # truncated by the program itself (`> /dev/stderr` in a shell does): begin again
            self.passed = self.punched = self._reserved = 0
            self._tail = b""
        self._reserve(size)
        start = self.passed
        if self.left_out and not self._say(now):
            self._leave_out(size, now)
            return 0
        while self.passed < size and self.passed - start < _PASS_MOST:
            taken = self.sink.copy(self._fd, self.passed, size - self.passed, now)
            self.passed += taken
            if not taken:
                self._leave_out(size, now)
                break
        if self.passed > start:
            known = min(self.passed, _TAIL)  # the program may have written more by now
            self._tail = os.pread(self._fd, known, self.passed - known)
        self._reclaim(KEEP, PUNCH_EVERY)
        return self.passed - start

    def _rewritten(self) -> bool:
        return os.pread(self._fd, len(self._tail), self.passed - len(self._tail)) != self._tail

    @property
    def behind(self) -> int:
        """Return how many bytes wait to be passed on."""
        return max(0, os.fstat(self._fd).st_size - self.passed)

    def close(self) -> None:
        """Release the descriptor; the file stays for whoever reads the last words."""
        os.close(self._fd)

    def remove(self) -> None:
        """Remove the file."""
        try:
            os.unlink(self.path)
        except OSError:
            pass

    def _leave_out(self, size: int, now: float) -> None:
        lag = size - self.passed
        if lag <= LAG_STUCK:
            return
        if now - self.sink.progress > STUCK_AFTER or lag > min(LAG_SLOW, self._free() // 2):
            self.left_out += lag - KEEP
            self.passed = size - KEEP

    def _free(self) -> int:
        found = os.fstatvfs(self._fd)
        return found.f_bavail * found.f_frsize

    def _say(self, now: float) -> bool:
        """Tell the reader, where the gap is, how much is missing; returns whether that was taken."""
        text = f"\nroadworthy: {self.left_out} bytes of output are left out here: they were not read in time\n".encode()
        if self.sink.write(text, now) != len(text):
            return False
        self.left_out = 0
        return True

    def _reserve(self, size: int) -> None:
        """Keep room beyond the file's end; while there is none, what was passed on makes some."""
        if self._reserved - size >= AHEAD // 2 or self._reserved < 0:
            return
        for count in (AHEAD, AHEAD, KEEP_LEAST // 2):
            try:
                reserve(self._fd, size, count)
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    self._reserved = -1  # a file system that cannot reserve: it can only be hoped for
                    return
                self._reclaim(KEEP_LEAST, 4096)
            else:
                self._reserved = size + count
                return

    def _reclaim(self, keep: int, least: int) -> None:
        """Give back what was passed on except the newest ``keep`` bytes, when that is at least ``least`` bytes."""
        end = (self.passed - keep) & ~4095
        if not self._punchable or end - self.punched < least:
            return
        try:
            punch_hole(self._fd, self.punched, end)
        except OSError:
            self._punchable = False  # a file system without holes: the file grows, the program is unharmed
        self.punched = end


def trim_log(path: str, most: int) -> None:
    """Keep an append-only log file bounded: above ``most`` bytes its content moves to ``<path>.1`` and it begins again.

    The writer may hold the file open (``O_APPEND``): what it writes between copying and truncating is lost.
    """
    try:
        source = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        size = os.fstat(source).st_size
        if size <= most:
            return
        copy = os.open(path + ".1", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            offset = 0
            while offset < size and (sent := os.sendfile(copy, source, offset, size - offset)):
                offset += sent
        finally:
            os.close(copy)
        os.ftruncate(source, 0)
    except OSError:
        pass
    finally:
        os.close(source)
