"""ASGI applications: a thin layer around the outermost one. HTTP is timed until the last part is handed to the server.

A WebSocket counts as a request until it is accepted or refused; how long it then lasts is no duration of a request.
Lifespan passes.

What every HTTP request goes through (:class:`HttpRequest`, ``Measured.__call__``) is written out by hand with the views
that :mod:`roadworthy.arena.hot` uses: in a server each call costs several times what it costs in a loop of its own.
"""

# ruff: noqa: ANN401, SLF001 - what is wrapped is somebody else's; the hot path is one with roadworthy.app.integrations.http

from __future__ import annotations

from _operator import itemgetter
from _thread import get_ident

from roadworthy._clock import monotonic_ns
from roadworthy.app import guard
from roadworthy.app.inject import lame_duck
from roadworthy.app.inject.patch import MARK
from roadworthy.app.integrations import http
from roadworthy.log.correlation import unbind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SWITCHING = 101
FORBIDDEN = 403
FAILURE = http.FAILURE
_OURS = frozenset({b"x-request-id", b"traceparent"})
_without_ours = _OURS.isdisjoint
_name = itemgetter(0)

_current = http._current
_entries = http._entries
_inside = http._inside
_look_due = http._look_due


class HttpRequest(http.Request):
    """A request and what hands its answer to the server."""

    __slots__ = ("send",)

    send: Any
    token: Any

    def sent(self, message: Any) -> Any:  # noqa: C901 - one pass on the hot path: each call saved counts
        """Learn from a part of the answer; no coroutine around the server's: it would cost more than all the rest."""
        kind = message["type"]
        if kind == "http.response.body":
            if ("more_body" not in message or not message["more_body"]) and not self.done:
                status = self.status
                if status >= FAILURE:
                    self.end()
                    return self.send(message)
                try:  # Request.end written out
                    self.done = True
                    took = monotonic_ns() - self.began
                    place = self.place
                    if handle := self._handle:
                        entry = place.entry
                        self._handle = entry.cell.q[handle] = 0
                        entry.free.append(handle)
                    records = place.records
                    (records[status] if status in records else http.record_of(place, status))(took)
                    # uvicorn goes on reading in this context: what stays in it would live until the next request.
                    _current.reset(self.token)
                    if self.outer is not None:
                        self.outer[0].reset(self.outer[1])
                    if self.tied is not None:
                        unbind(self.tied)
                except (ValueError, RuntimeError):
                    pass  # the answer ended in another context, as streamed ones do; that one ends by itself
                except Exception as error:
                    if guard.failed("http request", error):
                        raise
        elif kind == "http.response.start":
            self.status = message["status"]
            if lame_duck.active:
                kept = [pair for pair in message.get("headers", ()) if bytes(pair[0]).lower() != b"connection"]
                message = {**message, "headers": [*kept, (b"connection", b"close")]}
            if self.bound is not None:
                message = _identified(self, message)
        return self.send(message)


def _begin(scope: Any, send: Any) -> HttpRequest | None:
    """Begin a request as :func:`http.begin` does; not in the coroutine, whose frame would be twice as large."""
    try:
        outer = _current.get()
        if outer is not None and not outer.done:
            return None
        method = scope["method"]
        scheme = scope["scheme"] if "scheme" in scope else "http"  # noqa: SIM401 - cheaper than a call
        entry = _entries[method, scheme] if (method, scheme) in _entries else http.entry_of(method, scheme)
        if entry is None:
            return None
        made = HttpRequest()
        made.send = send
        made.place = entry.nowhere
        made.status = 0
        made.done = False
        made.outer = made.bound = made.tied = None
        made.began = now = monotonic_ns()
        if entry.free:
            made._handle = handle = entry.free.pop()  # InFlight.enter written out
            q = entry.cell.q
            q[handle + 1] = entry.number
            q[handle + 2] = 0
            q[handle + 3] = get_ident()
            q[handle] = now
        else:
            made._handle = max(0, entry.inflight.enter(entry.number, 0, b"", now))  # counts that there is no room
        if now >= _look_due[0]:
            http.look(now)
        made.token = _current.set(made)
        if _inside:
            made.outer = (_inside[0], _inside[0].set(made))
        if "headers" in scope:
            headers = scope["headers"]
            if headers.__class__ is list and not _without_ours(map(_name, headers)):  # in C: most requests bring none
                http.tie_pairs(made, [pair for pair in headers if pair[0] in _OURS])
        return made
    except Exception as error:
        if guard.failed("http request", error):
            raise
        return None


class Measured:
    """An ASGI application that measures the one it holds; everything else about it is that one's."""

    def __init__(self, app: Any) -> None:
        self.app = app
        setattr(self, MARK, True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the application."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        request = _begin(scope, send)
        if request is None:
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, request.sent)
        except BaseException as error:
            request.end(error)
            raise
        else:
            if not request.done:
                request.end()

    async def _other(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the application with what is no plain request."""
        request = http.begin("GET", scope.get("scheme", "ws")) if scope["type"] == "websocket" else None
        if request is None:
            await self.app(scope, receive, send)
            return
        # A WebSocket goes on when its request is over: its identifiers are those of this call.
        token = http.lasting([pair for pair in scope.get("headers", ()) if pair[0] in _OURS])
        try:
            await self.app(scope, receive, _upgrading(request, send))
        except BaseException as error:
            request.end(error)
            raise
        else:
            request.end()
        finally:
            unbind(token)


def _identified(request: HttpRequest, message: Any) -> Any:
    """Return the head of an answer with the request's identifiers, those that the application has not set itself."""
    try:
        headers = list(message.get("headers", ()))
        there = {bytes(pair[0]).lower() for pair in headers}
        for name, value in http.answer_headers(request):
            encoded = name.lower().encode("ascii")
            if encoded not in there:
                headers.append((encoded, value.encode("ascii", "replace")))
        return {**message, "headers": headers}
    except Exception as error:
        if guard.failed("http headers", error):
            raise
        return message


def measure(app: Any) -> Any:
    """Return ``app`` measured; one that is already stays as it is."""
    return app if getattr(app, MARK, False) is True else Measured(app)


def _upgrading(request: http.Request, send: Any) -> Any:
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
