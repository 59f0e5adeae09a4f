"""aiohttp's client: each attempt of a ``ClientSession``, from its connection to the answer's head; its bytes.

A redirect, a retry of aiohttp's own and one by a middleware are attempts of their own, as they are to the server. Sent
is what was written to the connection (request line, headers, body after compression, the marks between chunks); of a
request without a body the head's size is computed. Received is what came of a body, also what the program did not
read, still compressed; a version of aiohttp that does not tell how much that was leaves compressed ones out. Nothing
is read or kept that would not be. WebSockets are requests that are answered with 101; their messages do not count.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy.app import guard
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import http_calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

PLACE = "aiohttp client"
UPGRADED = 101
_STATE = "_roadworthy_call"


def install(module: ModuleType) -> None:
    """Measure requests; raises AttributeError when a part of aiohttp is not where it should be, and touches nothing."""
    http_calls.need(module.BaseConnector, "connect")
    http_calls.need(module.ClientRequest, "send", "write_bytes")
    http_calls.need(module.ClientResponse, "start")
    wrap(module.BaseConnector, "connect", _connecting)
    wrap(module.ClientRequest, "send", _sending)
    wrap(module.ClientRequest, "write_bytes", _writing)
    wrap(module.ClientResponse, "start", _starting)


def _connecting(original: Any) -> Any:
    async def connect(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        call = _begin(req)
        try:
            return await original(self, req, *args, **kwargs)
        except BaseException as error:
            if call is not None:
                call.end(0, error)
            raise

    return connect


def _sending(original: Any) -> Any:
    async def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self, _STATE, None)
        if call is None:
            return await original(self, *args, **kwargs)
        try:
            response = await original(self, *args, **kwargs)
        except BaseException as error:
            call.end(0, error)
            raise
        _sent(self, call, response)
        return response

    return send


def _writing(original: Any) -> Any:
    def write_bytes(self: Any, writer: Any, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self, _STATE, None)
        if call is None:
            return original(self, writer, *args, **kwargs)
        call.counted = True
        return _written(call, writer, original(self, writer, *args, **kwargs))

    return write_bytes


def _starting(original: Any) -> Any:
    async def start(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self, _STATE, None)
        if call is None:
            return await original(self, *args, **kwargs)
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as error:
            call.end(0, error)
            raise
        call.end(getattr(self, "status", 0))
        _follow(self, call)
        return result

    return start


def _begin(request: Any) -> http_calls.Call | None:
    """Begin an attempt, and have the identifiers that are bound here sent along."""
    try:
        for name, value in http_calls.identifiers():
            if name not in request.headers:
                request.headers[name] = value
        call = http_calls.Call(PLACE, request.method, request.url.host)
        setattr(request, _STATE, call)
    except Exception as failure:
        if guard.failed(PLACE, failure):
            raise
        return None
    return call


def _sent(request: Any, call: http_calls.Call, response: Any) -> None:
    """Hand the attempt on to its response, and count the head of a request that has nothing else."""
    try:
        setattr(response, _STATE, call)
        add = None if call.counted else http_calls.sent(call.host)
        if add is not None:
            add(http_calls.head_size(request.method, request.url.raw_path_qs, request.headers.items()))
    except Exception as failure:
        if guard.failed("aiohttp client bytes", failure):
            raise


async def _written(call: http_calls.Call, writer: Any, writing: Any) -> Any:
    """Write a request's body, and count what was written of it in the end, its head included."""
    try:
        return await writing
    finally:
        try:
            add = http_calls.sent(call.host)
            if add is not None:
                add(writer.output_size)
        except Exception as failure:
            if guard.failed("aiohttp client bytes", failure):
                raise


def _follow(response: Any, call: http_calls.Call) -> None:
    """Count the answer's body when it is over, in whichever way."""
    try:
        add = http_calls.received(call.host)
        if add is not None and response.status != UPGRADED:
            compressed = "Content-Encoding" in response.headers
            response.content.on_eof(_Body(add, response.content, compressed=compressed).over)
    except Exception as failure:
        if guard.failed("aiohttp client bytes", failure):
            raise


class _Body:
    """A body on its way. The stream holds it until it is whole, closed or forgotten: then it counts what came."""

    __slots__ = ("add", "compressed", "content")

    def __init__(self, add: Callable[[float], None], content: Any, *, compressed: bool) -> None:
        self.add = add
        self.content = content
        self.compressed = compressed

    def over(self) -> None:
        """Count what came; the second time, nothing."""
        content, self.content = self.content, None
        if content is None:
            return
        try:
            size = getattr(content, "total_raw_bytes", None)
            if size is None and not self.compressed:
                size = getattr(content, "total_bytes", None)
            if size:
                self.add(size)
        except Exception as failure:
            if guard.failed("aiohttp client bytes", failure):
                raise

    def __del__(self) -> None:
        self.over()
