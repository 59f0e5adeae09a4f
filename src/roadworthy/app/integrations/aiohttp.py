"""aiohttp.web: requests from their handler to the end of their answer, routes, ``Connection: close``, WebSockets."""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import weakref

from roadworthy.app import guard
from roadworthy.app.inject import lame_duck
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import asyncio_servers, http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_websockets: weakref.WeakSet[Any] = weakref.WeakSet()


def install_protocol(module: ModuleType) -> None:
    """Measure requests."""

    def make(original: Any) -> Any:
        async def _handle_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            measured = http.begin(getattr(request, "method", ""), getattr(request, "scheme", "http"))
            if measured is None:
                return await original(self, request, *args, **kwargs)
            _tie(measured, request)
            try:
                result = await original(self, request, *args, **kwargs)
            except BaseException as error:
                measured.end(error)
                raise
            _learn(measured, request, result)
            measured.end()
            return result

        return _handle_request

    wrap(module.RequestHandler, "_handle_request", make)


def install_response(module: ModuleType) -> None:
    """Have a lame duck's answers close their connection.

    aiohttp prepares a streamed answer again when it is over; its header is out by then and what it said must stand.
    """

    def make(original: Any) -> Any:
        def prepare(self: Any, request: Any) -> Any:
            if lame_duck.active and not self.prepared:
                self.force_close()
            measured = http.current()
            if measured is not None and measured.bound is not None and not self.prepared:
                _identify(self, measured)
            return original(self, request)

        return prepare

    wrap(module.StreamResponse, "prepare", make)


def install_websocket(module: ModuleType) -> None:
    """Remember WebSockets; a request that became one ends when it did."""

    def make(original: Any) -> Any:
        async def prepare(self: Any, request: Any) -> Any:
            result = await original(self, request)
            _websockets.add(self)
            if _close not in lame_duck.duties():
                lame_duck.when_lame(_close)
            measured = http.current()
            if measured is not None:
                _learn(measured, request, None)
                measured.status = 101
                measured.end()
            return result

        return prepare

    wrap(module.WebSocketResponse, "prepare", make)


def _tie(measured: http.Request, request: Any) -> None:
    """Bind the identifiers that a request's headers bring."""
    headers = getattr(request, "headers", None)
    if headers is not None and ("X-Request-ID" in headers or "traceparent" in headers):
        http.tie(measured, headers.get("X-Request-ID", ""), headers.get("traceparent", ""))


def _identify(response: Any, measured: http.Request) -> None:
    """Set the request's identifiers in the answer, where the application has not."""
    try:
        for name, value in http.answer_headers(measured):
            response.headers.setdefault(name, value)
    except Exception as error:
        if guard.failed("http headers", error):
            raise


def _close() -> None:
    asyncio_servers.close_websockets(_websockets)


def _learn(measured: http.Request, request: Any, result: Any) -> None:
    try:
        response = result[0] if isinstance(result, tuple) else result
        if response is not None:
            measured.status = int(response.status)
        match = getattr(request, "match_info", None)
        resource = getattr(getattr(match, "route", None), "resource", None)
        template = getattr(resource, "canonical", None)
        if isinstance(template, str):
            http.learn(measured, template)
    except Exception as error:
        if guard.failed("aiohttp", error):
            raise
