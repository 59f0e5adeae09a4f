"""One connection to the operations API, bounded: a client that is too slow, or one too many, is let go.

uvicorn does the HTTP; here it leaves signals to the agent and learns to lose patience.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from roadworthy.agent.gate import MOST_HEADER_BYTES, PROBLEM_TYPE, document
from roadworthy.agent.lean import Config, H11Protocol, RequestResponseCycle, Server

if TYPE_CHECKING:
    from roadworthy.agent.gate import App

REQUEST_TIMEOUT = 10.0
SEND_TIMEOUT = 30.0
KEEP_ALIVE = 20
STOP_GRACE = 2
LAST_WORDS = 0.5
MOST_CONNECTIONS = 128


def config(app: App) -> Config:
    """Return uvicorn's settings for this application: no signals, no log of its own, no name, small limits."""
    return Config(
        app,
        http=Bounded,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=STOP_GRACE,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
    )


class Quiet(Server):
    """A server that leaves signals to the agent, and the processor to others while nobody asks."""

    def __init__(self, settings: Config) -> None:
        super().__init__(settings)
        self._quit = asyncio.Event()

    def quit(self) -> None:
        """End soon."""
        self.should_exit = True
        self._quit.set()

    async def main_loop(self) -> None:
        """Set the date of answers once a second until told to end; the base class wakes up ten times as often."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quit.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal: they are the agent's."""
        yield


class Bounded(H11Protocol):
    """A connection that must bring its request in time; too many of them are closed at once."""

    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Expect the request soon, and refuse a connection too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._say(503, "too-many-connections", "This server has too many connections open.")
            return
        self._late = self.loop.call_later(REQUEST_TIMEOUT, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Take what came; the rest of an unfinished request is expected soon."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # the base class leaves it None until the first request
        if cycle is not None and not cycle.response_complete:
            self._in_time()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_TIMEOUT, self._too_late)

    def pause_writing(self) -> None:
        """Give a client that does not read its answer so long and no longer."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(SEND_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with a client that reads again."""
        self._read_on()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Let an idle connection go; what its client still has not read by then is dropped."""
        super().timeout_keep_alive_handler()
        self._unread = self._unread or self.loop.call_later(SEND_TIMEOUT, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers of a connection that has ended."""
        self._in_time()
        self._read_on()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End soon also what would stream for ever."""
        super().shutdown()
        self.loop.call_later(LAST_WORDS, self.transport.close)

    def send_400_response(self, _message: str) -> None:
        """Refuse what is no HTTP."""
        self._say(400, "bad-request", "This is no valid HTTP request, or its headers are too large.")

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _read_on(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _too_late(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self._say(408, "request-too-slow", f"The request did not arrive within {REQUEST_TIMEOUT:.0f} s.")

    def _say(self, status: int, code: str, detail: str) -> None:
        """Answer below HTTP's state machine, which a broken request has left in no state to answer."""
        body = document(status, code, detail)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {PROBLEM_TYPE.decode()}",
            f"content-length: {len(body)}",
            "connection: close",
        )
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        self.transport.close()
