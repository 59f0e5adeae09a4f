"""A closed-loop HTTP client that counts: what it asked and what it was answered is what a server's figures must say.

A few threads, each with one kept-alive connection: ask, read the answer to its end, ask again. Bounded by a number of
requests (:func:`ask`) or by the end of a block (:class:`Asking`). Nothing is asked twice and nothing is passed over: an
answer that did not come is in :attr:`Counts.failures`. The one exception is HTTP's own (RFC 9112, 9.3.1): a kept
connection that the server closed before the first byte of an answer says nothing about the request; it is asked again
on a new connection, once, and counted in :attr:`Counts.again`.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"
PATIENCE = 20.0
"""Seconds that an answer may take."""


SHORT = 16
"""Bytes of a body from which it is only read, not kept."""


@dataclass
class Counts:
    """What one load got: answers by path and status, failures in words, latencies in seconds, short bodies by path."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    again: int = 0
    connections: int = 0
    latencies: list[float] = field(default_factory=list)
    bodies: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        """Return how many requests were answered."""
        return self.answers.total()

    def status(self, status: int) -> int:
        """Return how many answers had this status."""
        return sum(count for (_, found), count in self.answers.items() if found == status)

    def path(self, path: str) -> int:
        """Return how many answers came from this path."""
        return sum(count for (found, _), count in self.answers.items() if found == path)

    def add(self, other: Counts) -> None:
        """Take another client's counts into this one's."""
        self.answers += other.answers
        self.failures += other.failures
        self.again += other.again
        self.connections += other.connections
        self.latencies += other.latencies
        self.bodies += other.bodies
        self.seconds = max(self.seconds, other.seconds)

    def __str__(self) -> str:
        """Return the figures in one line."""
        slow = max(self.latencies, default=0.0)
        p99 = sorted(self.latencies)[int(len(self.latencies) * 0.99)] if self.latencies else 0.0
        return (
            f"{self.requests} answers in {self.seconds:.2f} s ({self.requests / max(self.seconds, 1e-9):.0f}/s), "
            f"{len(self.failures)} failed, {self.again} asked again, {self.connections} connections, "
            f"p99 {p99 * 1000:.1f} ms, slowest {slow * 1000:.1f} ms"
        )


class Client:
    """One connection at a time; :meth:`ask` counts what it gets in :attr:`counts`."""

    def __init__(self, port: int, *, keep: bool = True) -> None:
        self.counts = Counts()
        self._port = port
        self._keep = keep
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, path: str) -> int | None:
        """Ask for one path; returns the status, None when there was no answer (it is in the failures)."""
        began = time.monotonic()
        kept = self._connection is not None
        try:
            status = self._once(path)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not (kept and isinstance(error, ConnectionError)):
                self.counts.failures.append(f"{path}: {error!r}")
                return None
            self.counts.again += 1
            try:
                status = self._once(path)
            except (OSError, http.client.HTTPException) as second:
                self.close()
                self.counts.failures.append(f"{path}: {second!r}, after {error!r}")
                return None
        self.counts.latencies.append(time.monotonic() - began)
        self.counts.answers[path, status] += 1
        return status

    def _once(self, path: str) -> int:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(HOST, self._port, timeout=PATIENCE)
            self.counts.connections += 1
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read(SHORT)
        if len(body) < SHORT:
            self.counts.bodies[path, body.decode("utf-8", "replace")] += 1
        while answer.read(65536):
            pass
        if not self._keep or answer.will_close:
            self.close()
        return answer.status

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Asking:
    """Clients that ask round and round until the block ends; :attr:`counts` is complete then."""

    def __init__(self, port: int, paths: Sequence[str] = ("/",), *, clients: int = 4, keep: bool = True) -> None:
        self.counts = Counts()
        self._paths = tuple(paths)
        self._clients = [Client(port, keep=keep) for _ in range(clients)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(one, n)) for n, one in enumerate(self._clients)]

    @property
    def so_far(self) -> int:
        """Return how many requests were answered up to now."""
        return sum(len(one.counts.latencies) for one in self._clients)

    def _loop(self, client: Client, number: int) -> None:
        began = time.monotonic()
        for path in itertools.islice(itertools.cycle(self._paths), number, None):
            if self._stop.is_set():
                break
            client.ask(path)
        client.close()
        client.counts.seconds = time.monotonic() - began

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            self.counts.add(client.counts)


def ask(port: int, paths: Sequence[str], *, clients: int = 4, keep: bool = True) -> Counts:
    """Ask for each path once, by some clients that share the work; returns when all were answered or have failed."""
    counts = Counts()
    work: Iterator[str] = iter(paths)
    lock = threading.Lock()
    workers = [Client(port, keep=keep) for _ in range(clients)]

    def loop(client: Client) -> None:
        while True:
            with lock:
                path = next(work, None)
            if path is None:
                return client.close()
            client.ask(path)

    began = time.monotonic()
    threads = [threading.Thread(target=loop, args=(one,)) for one in workers]
    for thread in threads:
        thread.start()
    for thread, client in zip(threads, workers, strict=True):
        thread.join()
        counts.add(client.counts)
    counts.seconds = time.monotonic() - began
    return counts
