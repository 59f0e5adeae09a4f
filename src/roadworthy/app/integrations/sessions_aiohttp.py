"""Sessions for aiohttp.web: the endpoint, the script and the guarded WebSocket, as routes of an application."""

# ruff: noqa: ANN401 - what is aiohttp's stays of whatever type it is

from __future__ import annotations

from roadworthy.app.sessions import channel, client, wire
from roadworthy.app.sessions.core import SessionRefused
from roadworthy.errors import Exhausted, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from roadworthy.app.sessions.core import Handler, Sessions


def install(app: Any, sessions: Sessions, handler: Handler, *, path: str, endpoint: str) -> Any:
    """Add the routes to the application and return it."""
    from aiohttp import web

    made = _Routes(web, sessions, handler)
    app.router.add_route("POST", endpoint, made.session)
    app.router.add_get(endpoint, made.session)  # HEAD too
    app.router.add_get(f"{endpoint}.js", made.script)
    app.router.add_get(path, made.websocket, allow_head=False)
    return app


class _Routes:
    def __init__(self, web: Any, sessions: Sessions, handler: Handler) -> None:
        self._web = web
        self._sessions = sessions
        self._handler = handler

    async def session(self, request: Any) -> Any:
        """Make a session (POST, GET), or say whether a token is good (HEAD: 204, else 401)."""
        if wire.foreign(request.headers.get("Origin", ""), self._sessions.origins):
            return self._answer(403, {"error": "this origin is not allowed"})
        try:
            if request.method == "HEAD":
                await self._sessions.verify(wire.bearer(request.headers.get("Authorization", "")))
                return self._web.Response(status=204, headers={"Cache-Control": wire.NO_STORE})
            made = await self._sessions.create()
        except SessionRefused as refused:
            return self._answer(401, {"error": refused.reason})
        except (Exhausted, Unavailable) as error:
            return self._answer(503, {"error": error.what}, **{"Retry-After": "60"})
        return self._answer(200, made.answer())

    async def script(self, _request: Any) -> Any:
        """Answer with the client's script."""
        headers = {"Cache-Control": "no-cache"}
        return self._web.Response(text=client.script(), content_type="text/javascript", headers=headers)

    async def websocket(self, request: Any) -> Any:
        """Open a session's connection; refuse before the handshake is answered where the token stands in it."""
        sessions = self._sessions
        offered = wire.offered(request.headers.get("Sec-WebSocket-Protocol", ""))
        if wire.foreign(request.headers.get("Origin", ""), sessions.origins):
            sessions.meters.refused("origin")
            raise self._web.HTTPForbidden(text="this origin is not allowed")
        authorization = request.headers.get("Authorization", "")
        token = wire.token_of(sessions.transports, offered, authorization, request.query_string)
        socket = self._web.WebSocketResponse(protocols=(channel.SUBPROTOCOL,))
        transport = _Transport(socket)
        first = not token and "message" in sessions.transports
        try:
            if first:
                await socket.prepare(request)
                token = await channel.first_token(transport)
            opened = await sessions.open(token)
        except (SessionRefused, Unavailable) as refused:
            code, reason = channel.refusal(refused)
            if not first:
                made = self._web.HTTPForbidden if code == channel.REFUSED else self._web.HTTPServiceUnavailable
                raise made(text=reason) from None
            await transport.close(code, reason)
            return socket
        if not first:
            await socket.prepare(request)
        await channel.serve(sessions, opened, transport, self._handler)
        return socket

    def _answer(self, status: int, body: dict[str, object], **headers: str) -> Any:
        headers["Cache-Control"] = wire.NO_STORE
        return self._web.json_response(body, status=status, headers=headers)


class _Transport:
    """See :class:`roadworthy.app.sessions.channel.Transport`."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.code = 0

    async def receive(self) -> str | None:
        from aiohttp import WSMsgType

        if self.code:
            return None
        message = await self._socket.receive()
        if message.type is WSMsgType.TEXT:
            return str(message.data)
        if message.type is WSMsgType.BINARY:
            return ""  # of which nothing here is made
        self.code = int(self._socket.close_code or 1006)
        return None

    async def send(self, text: str) -> None:
        if not self.code:
            try:
                await self._socket.send_str(text)
            except (OSError, RuntimeError):
                self.code = 1006

    async def close(self, code: int, reason: str) -> None:
        if not self.code:
            self.code = code
            await self._socket.close(code=code, message=reason.encode())
