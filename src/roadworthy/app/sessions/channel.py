"""One connection of a session: what is said on the wire, and what the program sees of it.

All messages are JSON texts with a ``type``::

    server                                                    client
    {"type": "welcome", "session_id", "token",
     "expires_in", "resumed", "ping"}                      →
                                                           ←  {"type": "ready", "last": 17}
    {"type": "message", "id": 18, "data": …}               →
                                                           ←  {"type": "ack", "id": 18}
                                                           ←  {"type": "message", "id": 5, "data": …}
    {"type": "ack", "id": 5}                               →
    {"type": "ping"}                                       →
                                                           ←  {"type": "pong"}
    {"type": "lost", "messages": 3}                        →

``ready`` says that the client holds the new token, and the last message it has; what came after is sent again. Each
side keeps its messages until the other has acknowledged them, and passes over what it has seen already. Messages are
numbered by the store, so they may come from anywhere: another task, another instance. A client's message counts as
taken once it waits for the handler: a server that is killed then has lost it.
"""

from __future__ import annotations

import asyncio
import json

from roadworthy import _clock
from roadworthy.app.sessions.core import SessionRefused, told
from roadworthy.errors import Unavailable
from roadworthy.log.correlation import CorrelationContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any, Protocol

    from roadworthy.app.sessions.core import Handler, Session, Sessions

    class Transport(Protocol):
        """A WebSocket that is open; ``code`` is with what it was closed."""

        code: int

        async def receive(self) -> str | None:
            """Return the next text; None when the connection is over."""

        async def send(self, text: str) -> None:
            """Send a text; raises nothing when the connection is over."""

        async def close(self, code: int, reason: str) -> None:
            """Close it; does nothing when it is."""


SUBPROTOCOL = "roadworthy.session"
CLEAN = frozenset({1000, 1001, 1012})
"""Codes of connections that were closed on purpose; 1012 is a restart of the server.

1005, a close without a code, is none of them: uvicorn says so of connections that were lost.
"""

NORMAL, NO_SENSE, TOO_LONG, TRY_AGAIN = 1000, 4400, 1009, 1013
REFUSED, REPLACED, ENDED = 4401, 4409, 4410
MOST_TEXT = 65_536
"""Characters of one message of a client's."""

MOST_WAITING = 64
"""Messages of a client's that wait for the program; beyond, the connection is read no further."""

FIRST_WORD = 20.0
"""Seconds that a client has to say its token, and that it is ready; how often it is pinged has no part in that."""

MISSED = 3
"""Pings that may go unanswered."""

LINGER = 10.0
"""Seconds that a handler may go on when its connection is over."""


class Channel:
    """What a handler gets: ``async for message in channel``, ``await channel.send(data)``."""

    def __init__(self, sessions: Sessions, session: Session, inbox: asyncio.Queue[tuple[int, Any] | None]) -> None:
        self.sessions = sessions
        self.session = session
        self.closing: tuple[int, str] | None = None
        self._inbox = inbox
        self._over = asyncio.Event()
        self._taken = asyncio.Event()

    @property
    def session_id(self) -> str:
        """Return the session's id: it may stand in logs."""
        return self.session.session_id

    @property
    def data(self) -> dict[str, Any]:
        """Return what the session was created with."""
        return self.session.data

    @property
    def resumed(self) -> bool:
        """Return whether the session had a connection before this one."""
        return self.session.resumed

    async def send(self, data: object) -> int:
        """Send ``data`` (JSON) and return its number, 0 when the session is gone.

        It is kept until the client has acknowledged it; without a connection it waits for the next one.
        """
        return await self.sessions.send(self.session_id, data)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection; the session stays and may be resumed."""
        self.closing = self.closing or (code, reason)
        self._over.set()

    async def room(self) -> None:
        """Wait until the handler has room for one more message."""
        while self._inbox.qsize() >= MOST_WAITING:
            self._taken.clear()
            await self._taken.wait()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            got = await self._inbox.get()
            if got is None:
                self._inbox.put_nowait(None)  # for whoever asks again
                return
            self._taken.set()
            yield got[1]


async def serve(sessions: Sessions, session: Session, transport: Transport, handler: Handler) -> None:
    """Serve one open connection until it is over.

    What the handler raises closes it with 1011 and passes. When the store cannot be asked, it is closed with 1013: the
    client comes back.
    """
    sessions.meters.opened(resumed=session.resumed)
    connection = _Connection(sessions, session, transport)
    try:
        await connection.run(handler)
    except Unavailable as error:
        told("websocket session", error)
        await transport.close(TRY_AGAIN, "try again")
    finally:
        sessions.meters.closed(clean=transport.code in CLEAN or transport.code >= REFUSED)


class _Connection:
    def __init__(self, sessions: Sessions, session: Session, transport: Transport) -> None:
        self._sessions = sessions
        self._store = sessions.store
        self._session = session
        self._transport = transport
        # One more, so that there is always room to say that it is over.
        self._inbox: asyncio.Queue[tuple[int, Any] | None] = asyncio.Queue(MOST_WAITING + 1)
        self._channel = Channel(sessions, session, self._inbox)
        # Pings, not seconds: while this process is busy or stopped it hears nobody, and nobody was asked.
        self._unanswered = 0
        self._held = False

    async def run(self, handler: Handler) -> None:
        """Say welcome, wait for ``ready``, then read, deliver and run the handler until one of them is over."""
        session, sessions = self._session, self._sessions
        await self._tell(
            type="welcome", session_id=session.session_id, token=session.token, expires_in=int(sessions.lifetime),
            resumed=session.resumed, ping=sessions.ping,
        )  # fmt: skip
        last = await self._ready()
        if last is None:
            return
        await sessions.confirm(session)
        handling = asyncio.create_task(_call(handler, self._channel))
        parts = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._deliver(last)),
            asyncio.create_task(self._channel._over.wait()),  # noqa: SLF001 - the two are one
        ]
        try:
            await asyncio.wait({handling, *parts}, return_when=asyncio.FIRST_COMPLETED)
            await self._close(handling, parts)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            await self._finish(handling)

    async def _close(self, handling: asyncio.Task[None], parts: list[asyncio.Task[Any]]) -> None:
        code, reason = self._channel.closing or (NORMAL, "")
        if handling.done() and not handling.cancelled() and (failed := handling.exception()) is not None:
            away = isinstance(failed, Unavailable)
            code, reason = (TRY_AGAIN, "try again") if away else (1011, "the handler failed")
        for part in parts:
            if part.done() and not part.cancelled() and (error := part.exception()) is not None:
                code, reason = TRY_AGAIN, "try again"
                told("websocket session", error) if isinstance(error, Exception) else None
        await self._transport.close(code, reason)

    async def _finish(self, handling: asyncio.Task[None]) -> None:
        """Let the handler see that it is over, and end it if it does not."""
        while self._inbox.full():
            self._inbox.get_nowait()
        self._inbox.put_nowait(None)
        if not handling.done():
            await asyncio.wait({handling}, timeout=LINGER)
        handling.cancel()
        await asyncio.gather(handling, return_exceptions=True)
        if not handling.cancelled() and (error := handling.exception()) is not None:
            raise error

    async def _ready(self) -> int | None:
        """Return the last message that the client has; None when it does not say so."""
        try:
            async with asyncio.timeout(FIRST_WORD):
                text = await self._transport.receive()
        except TimeoutError:
            await self._transport.close(NO_SENSE, "no ready")
            return None
        if text is None:
            return None
        said = parsed(text)
        if said is None or said.get("type") != "ready" or not _number(said.get("last")):
            await self._transport.close(NO_SENSE, "expected ready")
            return None
        return int(said["last"])

    async def _read(self) -> None:
        """Take what the client says, until it says nothing sensible or the connection is over."""
        while (text := await self._transport.receive()) is not None:
            self._unanswered = 0
            if len(text) > MOST_TEXT:
                await self._channel.close(TOO_LONG, "too long")
                return
            said = parsed(text)
            if said is None or not await self._understood(said):
                await self._channel.close(NO_SENSE, "not understood")
                return

    async def _understood(self, said: dict[str, Any]) -> bool:
        kind, given = said.get("type"), said.get("id")
        if kind == "pong":
            return True
        if not _number(given):
            return False
        number = int(given or 0)
        if kind == "ack":
            await self._store.acknowledge(self._session.session_id, number)
            return True
        if kind != "message" or "data" not in said:
            return False
        self._held = True  # not read any further: whatever the client says, it is not silent
        await self._channel.room()
        self._held, self._unanswered = False, 0
        if await self._store.take(self._session.session_id, number):
            self._inbox.put_nowait((number, said["data"]))
        await self._tell(type="ack", id=number)
        return True

    async def _deliver(self, last: int) -> None:
        """Send what the store holds for the client, as it comes; ping, renew, and see whether we still have it."""
        session_id, every = self._session.session_id, self._sessions.ping
        renew = min(every, self._sessions.lifetime / 3)
        pinged = renewed = _clock.monotonic()
        await self._store.enter(session_id)
        try:
            await self._store.acknowledge(session_id, last)
            while True:
                version, owner, messages = await self._store.after(session_id, last)
                if owner != self._session.owner:
                    await self._channel.close(*((REPLACED, "replaced") if owner else (ENDED, "ended")))
                    return
                for number, text in messages:
                    await self._pass_on(number, text, last)
                    last = number
                now = _clock.monotonic()
                if now - pinged >= every:
                    if self._unanswered >= MISSED and not self._held:
                        await self._channel.close(TRY_AGAIN, "silent")
                        return
                    pinged = now
                    self._unanswered += 1
                    await self._tell(type="ping")
                if now - renewed >= renew:
                    renewed = now
                    await self._store.touch(session_id, self._sessions.lifetime)
                await self._store.wait(session_id, version, max(0.01, min(pinged + every, renewed + renew) - now))
        finally:
            await self._store.leave(session_id)

    async def _pass_on(self, number: int, text: str, last: int) -> None:
        if number > last + 1:
            self._sessions.meters.lost.add(number - last - 1)
            await self._tell(type="lost", messages=number - last - 1)
        await self._transport.send(f'{{"type":"message","id":{number},"data":{text}}}')

    async def _tell(self, **message: object) -> None:
        await self._transport.send(json.dumps(message, separators=(",", ":")))


async def _call(handler: Handler, channel: Channel) -> None:
    with CorrelationContext(session_id=channel.session_id):
        await handler(channel)


async def first_token(transport: Transport) -> str:
    """Return the token that the first message presents (``{"token": …}``), empty when it comes late or has none."""
    try:
        async with asyncio.timeout(FIRST_WORD):
            said = parsed(await transport.receive() or "") or {}
    except TimeoutError:
        return ""
    token = said.get("token")
    return token if isinstance(token, str) else ""


def refusal(error: Exception) -> tuple[int, str]:
    """Return the close code and reason for a connection that is not opened."""
    return (REFUSED, error.reason) if isinstance(error, SessionRefused) else (TRY_AGAIN, "try again")


def parsed(text: str) -> dict[str, Any] | None:
    """Return the object that a message is, None when it is none."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
