"""An HTTP client that does little else than wait: closed loop for saturation, open loop at a constant rate for latency.

In the open loop a request has a time at which it is due, whatever the server does, and its latency counts from there: a
server that stands still for a moment delays all that were due meanwhile (no coordinated omission). All is bounded
by time, by the number of connections and so by the number of requests. Loopback only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from roadworthy._clock import monotonic

HOST = "127.0.0.1"
DRAIN = 5.0


class Connection(asyncio.Protocol):
    """A kept-alive connection with at most one request under way; ``done`` is called when its response is complete."""

    def __init__(self, request: bytes, done: Callable[[Connection], None]) -> None:
        """Remember the request; it is the same every time."""
        self._request = request
        self._done = done
        self._received = b""
        self._missing = -1
        self.due = 0.0
        self.ok = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker: TCP always makes one
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell the request under way, if any, that it failed."""
        self.lost = True
        self.ok = False
        self._done(self)

    def ask(self, due: float) -> None:
        """Send the request that was due at ``due``."""
        self.due = due
        self._received = b""
        self._missing = -1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Collect the response by its Content-Length."""
        self._received = data = self._received + data if self._received else data
        if self._missing < 0:
            head, blank, _ = data.partition(b"\r\n\r\n")
            if not blank:
                return
            self.ok = head.startswith(b"HTTP/1.1 200")
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._missing = len(head) + 4 + length
        if len(data) >= self._missing:
            self._done(self)

    def close(self) -> None:
        """End the connection."""
        self._transport.abort()


class Load:
    """A set of connections and what came back over them."""

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self.latencies: list[float] = []
        self.errors = 0
        self.idle: deque[Connection] = deque()
        self._again: Callable[[Connection], None] = self.idle.append
        self._all: list[Connection] = []

    async def connect(self, port: int, path: str, connections: int) -> None:
        """Open the connections; raises OSError when nobody listens."""
        request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nAccept: */*\r\n\r\n".encode()
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, made = await loop.create_connection(lambda: Connection(request, self._answered), HOST, port)
            self._all.append(made)
            self.idle.append(made)

    def _answered(self, connection: Connection) -> None:
        if connection.ok:
            self.latencies.append(monotonic() - connection.due)
        else:
            self.errors += 1
        if not connection.lost:
            self._again(connection)

    async def closed(self, seconds: float) -> float:
        """Ask again as soon as an answer is there; return the answers per second."""
        self.latencies, began = [], monotonic()
        self._again = lambda connection: connection.ask(monotonic())
        while self.idle:
            self.idle.popleft().ask(began)
        await asyncio.sleep(seconds)
        answered, took = len(self.latencies), monotonic() - began
        self._again = self.idle.append
        await self._drain()
        return answered / took

    async def open(self, rate: float, seconds: float) -> list[float]:
        """Ask ``rate`` times a second, evenly; return the latencies in seconds, each from when its request was due.

        A server that cannot follow leaves requests that were due and never sent: as late as they were at the end.
        """
        self.latencies, began = [], monotonic()
        self._again = self.idle.append
        asked, most = 0, int(rate * seconds)
        while asked < most and monotonic() - began < seconds + DRAIN:
            now = monotonic()
            while self.idle and asked < most and began + asked / rate <= now:
                self.idle.popleft().ask(began + asked / rate)
                asked += 1
            await asyncio.sleep(0)  # looks at the sockets and comes back at once: a timer of the loop is 1 ms coarse
        await self._drain()
        now = monotonic()
        never = [now - (began + number / rate) for number in range(asked, most)]
        return self.latencies + never

    async def _drain(self) -> None:
        deadline = monotonic() + DRAIN
        while len(self.idle) < sum(not one.lost for one in self._all) and monotonic() < deadline:  # noqa: ASYNC110 - bounded
            await asyncio.sleep(0.001)

    def close(self) -> None:
        """End all connections."""
        for one in self._all:
            one.close()
