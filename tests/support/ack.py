"""Truth told to another process: what a program under test has really done, however it ends.

As a program (``python ack.py SOCKET``) four threads count and append events without end; each says over a stream socket
*begun* before a step and *done* after it. What was sent before a ``kill -9`` is in the kernel and arrives. So for each
thread ``done <= counted <= begun`` must hold for what roadworthy shows, and every done event must be there.

As a module, :class:`Truth` is the other end of that socket.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

THREADS = 4
HELLO, BEGUN, DONE = b"h", b"b", b"d"
MESSAGE = struct.Struct("<cqq")


# ------------------------------------------------------------------------------------------- in the program under test
def work(path: str, pause: float) -> None:
    """Count and append in four threads until killed; the main thread is in an operation and beats."""
    import logging
    import os

    import roadworthy as rw

    log = logging.getLogger("truth")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    together = rw.counter("truth.together", help="steps of all threads")
    apart = rw.counter("truth.apart", labels=("thread",), help="steps of a thread")
    took = rw.histogram("truth.took", unit="s", help="what a step took")

    def run(thread: int) -> None:
        mine = apart.labels(thread=str(thread))
        random = __import__("random").Random(os.getpid() * THREADS + thread)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
            end.connect(path)
            end.sendall(MESSAGE.pack(HELLO, os.getpid(), thread))
            step = 0
            while True:
                step += 1
                end.sendall(MESSAGE.pack(BEGUN, step, time.monotonic_ns()))
                with rw.operation("truth.step", thread=thread):
                    mine.add()
                    together.add()
                    took.record(random.random())
                    rw.event(f"{os.getpid()}/{thread}/{step}", source="step")
                end.sendall(MESSAGE.pack(DONE, step, time.monotonic_ns()))
                time.sleep(random.random() * 2 * pause)

    beat = rw.heartbeat("truth", every=1.0)
    for number in range(THREADS):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    print("the truth is being told", flush=True)
    with rw.operation("truth.whole", purpose="being under way"):
        second = 0
        while True:
            beat.beat()
            log.info("second %d", second)
            second += 1
            time.sleep(0.5)


# ----------------------------------------------------------------------------------------------------------- in a test
@dataclass(slots=True)
class Told:
    """What one thread of one process has said."""

    pid: int
    thread: int
    begun: int = 0
    done: int = 0
    first_ns: int = 0
    open: bool = True


class Truth:
    """Listens for what programs say; :meth:`of` tells it, :meth:`bounds` what must have been counted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: dict[tuple[int, int], Told] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def program(self) -> list[str]:
        """Return the command that tells its truth here."""
        return self.command()

    def command(self, pause: float = 0.01) -> list[str]:
        """Return the command, whose threads pause so many seconds on average after each step."""
        return [sys.executable, __file__, str(self.path), str(pause)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.send(b".")
        self._thread.join(10)
        for one in (self._listener, self._stop, self._stopped):
            one.close()

    def _listen(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ, None)
            ready.register(self._stopped, selectors.EVENT_READ, None)
            ends: dict[int, tuple[socket.socket, bytearray, list[Told]]] = {}
            while True:
                for key, _ in ready.select():
                    if key.fileobj is self._stopped:
                        for end, *_ in ends.values():
                            end.close()
                        return
                    if key.fileobj is self._listener:
                        end = self._listener.accept()[0]
                        ends[end.fileno()] = (end, bytearray(), [])
                        ready.register(end, selectors.EVENT_READ, None)
                        continue
                    end, rest, who = ends[key.fd]
                    data = b""
                    with contextlib.suppress(ConnectionResetError):
                        data = end.recv(1 << 16)
                    if data:
                        rest += data
                        self._take(rest, who)
                        continue
                    if who:
                        who[0].open = False
                    ready.unregister(end)
                    end.close()
                    del ends[key.fd]

    def _take(self, rest: bytearray, who: list[Told]) -> None:
        whole = len(rest) // MESSAGE.size * MESSAGE.size
        for kind, first, second in MESSAGE.iter_unpack(bytes(rest[:whole])):
            if kind == HELLO:
                who.append(Told(first, second))
                self._told[first, second] = who[0]
            elif kind == BEGUN:
                who[0].begun = first
                who[0].first_ns = who[0].first_ns or second
            else:
                who[0].done = first
        del rest[:whole]

    def of(self, pid: int) -> list[Told]:
        """Return what the threads of a process have said so far."""
        return [one for (one_pid, _), one in sorted(self._told.items()) if one_pid == pid]

    def running(self, pid: int, steps: int = 1) -> bool:
        """Return whether all threads of a process have done so many steps."""
        told = self.of(pid)
        return len(told) == THREADS and all(one.done >= steps for one in told)

    def ended(self, pid: int) -> bool:
        """Return whether everything that a dead process has said is in."""
        return bool(told := self.of(pid)) and not any(one.open for one in told)

    def bounds(self) -> dict[str, tuple[int, int]]:
        """Return the least and the most that each counter must have come to: by thread, and ``together``."""
        found = {"together": (0, 0)}
        for one in list(self._told.values()):
            for key in (str(one.thread), "together"):
                least, most = found.get(key, (0, 0))
                found[key] = (least + one.done, most + one.begun)
        return found


def counted(snapshot: dict[str, Any]) -> dict[str, int]:
    """Return what a snapshot says that was counted: by thread, together, and in histogram and operation."""
    found: dict[str, int] = {}
    for series in snapshot["series"]:
        if series["name"] == "truth.apart":
            found[dict(series["labels"])["thread"]] = int(series["value"])
        elif series["name"] == "truth.together":
            found["together"] = int(series["value"])
        elif series["name"] == "truth.took":
            found["took"] = sum(int(count) for count in dict(series["histogram"]["buckets"]).values())
    found["operation"] = next((int(one["count"]) for one in snapshot["operations"] if one["name"] == "truth.step"), 0)
    return found


if __name__ == "__main__":
    work(sys.argv[1], float(sys.argv[2]))
