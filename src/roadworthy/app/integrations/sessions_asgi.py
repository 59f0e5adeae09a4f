"""Sessions for ASGI applications (Starlette, FastAPI, or a bare one): the endpoint, the script, the guarded WebSocket.

A WebSocket without a good token is refused before it is accepted: the server answers 403, and close code 4401 where the
token is the first message. The application behind it sees nothing of it.
"""

# ruff: noqa: ANN401 - scopes and messages are the server's

from __future__ import annotations

import json

from roadworthy.app.sessions import channel, client, wire
from roadworthy.app.sessions.core import SessionRefused
from roadworthy.errors import Exhausted, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from roadworthy.app.sessions.core import Handler, Session, Sessions


class Guard:
    """An ASGI application in front of another one."""

    def __init__(self, app: Any, sessions: Sessions, handler: Handler | None, *, path: str, endpoint: str) -> None:
        self.app = app
        self.sessions = sessions
        self._handler = handler
        self._path = path
        self._endpoint = endpoint
        self._script = f"{endpoint}.js"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer what is ours, hand on everything else."""
        kind, path = scope["type"], scope.get("path", "")
        if kind == "http" and path == self._endpoint:
            await self._session(scope, send)
        elif kind == "http" and path == self._script and scope["method"] in {"GET", "HEAD"}:
            await _answer(send, 200, client.script().encode(), "text/javascript; charset=utf-8", cache="no-cache")
        elif kind == "websocket" and path == self._path:
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _session(self, scope: Any, send: Any) -> None:
        """Make a session (POST, GET), or say whether a token is good (HEAD: 204, else 401)."""
        headers = _headers(scope)
        if scope["method"] not in {"POST", "GET", "HEAD"}:
            await _answer(send, 405, b"", "text/plain", extra=[(b"allow", wire.METHODS.encode())])
        elif wire.foreign(headers.get("origin", ""), self.sessions.origins):
            await _answer(send, 403, b'{"error":"this origin is not allowed"}')
        else:
            await self._made_or_judged(scope["method"], headers, send)

    async def _made_or_judged(self, method: str, headers: dict[str, str], send: Any) -> None:
        try:
            if method == "HEAD":
                await self.sessions.verify(wire.bearer(headers.get("authorization", "")))
                await _answer(send, 204, b"")
                return
            made = await self.sessions.create()
        except SessionRefused:
            await _answer(send, 401, b"")
        except (Exhausted, Unavailable) as error:
            body = json.dumps({"error": error.what}).encode()
            await _answer(send, 503, b"" if method == "HEAD" else body, extra=[(b"retry-after", b"60")])
        else:
            await _answer(send, 200, json.dumps(made.answer()).encode())

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        sessions, headers = self.sessions, _headers(scope)
        offered = list(scope.get("subprotocols") or wire.offered(headers.get("sec-websocket-protocol", "")))
        await receive()  # websocket.connect
        transport = _Transport(receive, send)
        if wire.foreign(headers.get("origin", ""), sessions.origins):
            sessions.meters.refused("origin")
            await transport.close(channel.REFUSED, "origin")
            return
        query = scope.get("query_string", b"").decode("latin-1")
        token = wire.token_of(sessions.transports, offered, headers.get("authorization", ""), query)
        first = not token and "message" in sessions.transports
        accept = {"type": "websocket.accept", "subprotocol": wire.chosen(offered)}
        try:
            if first:
                await send(accept)
                token = await channel.first_token(transport)
            if self._handler is None and not first:
                scope = {**scope, "roadworthy.session": await sessions.verify(token)}
                await self.app(scope, _again(receive), send)
                return
            session: Session = await sessions.open(token)
        except (SessionRefused, Unavailable) as refused:
            code, reason = channel.refusal(refused)
            await transport.close(code, reason)
            return
        if not first:
            await send(accept)
        await channel.serve(sessions, session, transport, self._handler or _idle)


class _Transport:
    """See :class:`roadworthy.app.sessions.channel.Transport`."""

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send
        self.code = 0

    async def receive(self) -> str | None:
        while not self.code:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self.code = int(message.get("code") or 1005)
            elif message.get("text") is not None:
                return str(message["text"])
            else:
                return ""  # bytes, of which nothing here is made
        return None

    async def send(self, text: str) -> None:
        await self._out({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        if not self.code:
            await self._out({"type": "websocket.close", "code": code, "reason": reason})
            self.code = code

    async def _out(self, message: Any) -> None:
        if self.code:
            return
        try:
            await self._send(message)
        except (OSError, RuntimeError):
            self.code = 1006  # the server says so when the connection went meanwhile


async def _idle(opened: channel.Channel) -> None:
    async for _ in opened:
        pass


def _again(receive: Any) -> Any:
    """Return ``receive`` with the message that was taken from it in front."""
    taken = [{"type": "websocket.connect"}]

    async def receiving() -> Any:
        return taken.pop() if taken else await receive()

    return receiving


def _headers(scope: Any) -> dict[str, str]:
    return {bytes(key).lower().decode("latin-1"): bytes(value).decode("latin-1") for key, value in scope["headers"]}


async def _answer(
    send: Any, status: int, body: bytes, kind: str = "application/json", *, cache: str = wire.NO_STORE, extra: Any = ()
) -> None:
    headers = [(b"content-type", kind.encode()), (b"cache-control", cache.encode()), *extra]
    if status != 204:  # noqa: PLR2004 - No Content
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
