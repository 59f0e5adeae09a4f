"""ASGI applications: a thin layer around the outermost one. HTTP is timed until the last part is handed to the server.

A WebSocket counts as a request until it is accepted or refused; how long it then lasts is no duration of a request.
Lifespan passes.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy.app.inject import lame_duck
from roadworthy.app.inject.patch import MARK
from roadworthy.app.integrations import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SWITCHING = 101
FORBIDDEN = 403


class Measured:
    """An ASGI application that measures the one it holds; everything else about it is that one's."""

    def __init__(self, app: Any) -> None:
        self.app = app
        setattr(self, MARK, True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the application."""
        kind = scope["type"]
        if kind == "http":
            request = http.begin(scope.get("method", ""), scope.get("scheme", "http"))
        elif kind == "websocket":
            request = http.begin("GET", scope.get("scheme", "ws"))
        else:
            request = None
        if request is None:
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, (_http if kind == "http" else _websocket)(request, send))
        except BaseException as error:
            request.end(error)
            raise
        else:
            request.end()


def measure(app: Any) -> Any:
    """Return ``app`` measured; one that is already stays as it is."""
    return app if getattr(app, MARK, False) is True else Measured(app)


def _http(request: http.Request, send: Any) -> Any:
    def measured(
        message: Any,
    ) -> Any:  # no coroutine of its own around the server's: that would cost more than the rest
        kind = message["type"]
        if kind == "http.response.body":
            if not message.get("more_body"):
                request.end()
        elif kind == "http.response.start":
            request.status = message["status"]
            if lame_duck.active:
                kept = [pair for pair in message.get("headers", ()) if bytes(pair[0]).lower() != b"connection"]
                message = {**message, "headers": [*kept, (b"connection", b"close")]}
        return send(message)

    return measured


def _websocket(request: http.Request, send: Any) -> Any:
    def measured(message: Any) -> Any:
        kind = message["type"]
        if kind == "websocket.accept":
            request.status = SWITCHING
            request.end()
        elif kind == "websocket.http.response.start":
            request.status = message["status"]
        elif kind == "websocket.close" and not request.status:
            request.status = FORBIDDEN
        return send(message)

    return measured
