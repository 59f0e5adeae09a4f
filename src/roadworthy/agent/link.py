"""The agent's end of the keeper's socket, and watching a process that has no keeper."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from roadworthy import _clock

VARIABLE: Final = "ROADWORTHY_KEEPER_FD"
"""Names the descriptor that the keeper handed to us."""

_MESSAGE_MOST: Final = 1 << 20
_QUEUE_MOST: Final = 10_000


class KeeperLink:
    """Messages to and from the keeper, on the running event loop.

    ``on_message`` is called with each; ``on_lost`` once, when the keeper has gone. What cannot be sent now is sent as
    soon as it can, in order.
    """

    def __init__(self, fd: int, on_message: Callable[[dict[str, Any]], None], on_lost: Callable[[], None]) -> None:
        self._end = socket.socket(fileno=fd)
        self._end.setblocking(False)  # noqa: FBT003 - the function has no keyword
        os.set_inheritable(fd, False)  # noqa: FBT003 - the function has no keyword
        self._on_message = on_message
        self._on_lost = on_lost
        self._queue: deque[bytes] = deque(maxlen=_QUEUE_MOST)
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._loop.add_reader(self._end, self._readable)

    @classmethod
    def from_environment(
        cls, on_message: Callable[[dict[str, Any]], None], on_lost: Callable[[], None]
    ) -> KeeperLink | None:
        """Return the link that the keeper's variable names, or None without one; takes the variable away."""
        fd = os.environ.pop(VARIABLE, "")
        return cls(int(fd), on_message, on_lost) if fd.isdigit() else None

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the keeper to do something; without effect when it has gone, which ``on_lost`` told."""
        if not self._open:
            return
        self._queue.append(json.dumps(dict(message)).encode())
        self._flush()

    def _flush(self) -> None:
        while self._queue and self._open:
            try:
                self._end.send(self._queue[0])
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._end, self._flush)
                return
            except OSError:
                self._lose()
                return
            self._queue.popleft()
        if self._open:
            self._loop.remove_writer(self._end)

    def _readable(self) -> None:
        while self._open:
            try:
                data = self._end.recv(_MESSAGE_MOST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._lose()
                return
            self._on_message(json.loads(data))

    def _lose(self) -> None:
        self.close()
        self._on_lost()

    def close(self) -> None:
        """Close the socket; ``on_lost`` is not called."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._end)
            self._loop.remove_writer(self._end)
            self._end.close()


class PidfdWatch:
    """Tells when a process ends that is not our child; how it ended cannot be known."""

    def __init__(self, pid: int, start_ticks: int, on_end: Callable[[int, int], None]) -> None:
        """Call ``on_end(pid, monotonic ns)`` once it ends; at once (on the loop) when it is gone or another process."""
        self.pid = pid
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        try:
            self._fd = os.pidfd_open(pid)
        except OSError:
            self._loop.call_soon(self._ended)
            return
        if _ticks(pid) != start_ticks:
            self._loop.call_soon(self._ended)
            return
        self._loop.add_reader(self._fd, self._ended)

    def _ended(self) -> None:
        self.close()
        self._on_end(self.pid, _clock.monotonic_ns())

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def _ticks(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - /proc
            return int(file.read().rpartition(b") ")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
