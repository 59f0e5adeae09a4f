"""httpx: requests that its ``HTTPTransport`` and ``AsyncHTTPTransport`` send, and their bytes and identifiers.

A transport is asked once for each attempt, after authentication and before redirects, and transports that reach no
network (of WSGI and ASGI applications, of tests) are others. Sent is the body, as the connection takes it, and with
HTTP/1 the request's head, once there is an answer; HTTP/2 packs heads, and theirs are not counted. Received are
bodies, as the program takes them. Nothing is read or kept that would not be: streams are handed on part by part.

For the time of the call the request has the identifiers' headers; afterwards it is what the program has made of it.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy.app import guard
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import http_calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    Add = Callable[[float], None]

PLACE = "httpx"
HTTP_1 = frozenset({b"HTTP/1.1", b"HTTP/1.0"})


def install(module: ModuleType) -> None:
    """Measure requests of both kinds of client; raises AttributeError when a part of it is not where it should be."""
    http_calls.need(module, "SyncByteStream", "AsyncByteStream")
    http_calls.need(module.HTTPTransport, "handle_request")
    http_calls.need(module.AsyncHTTPTransport, "handle_async_request")
    stream, async_stream = _streams(module)

    def make(original: Any) -> Any:
        def handle_request(self: Any, request: Any) -> Any:
            attempt = _Attempt(request, stream)
            try:
                response = original(self, request)
            except BaseException as error:
                attempt.failed(error)
                raise
            attempt.answered(response)
            return response

        return handle_request

    def make_async(original: Any) -> Any:
        async def handle_async_request(self: Any, request: Any) -> Any:
            attempt = _Attempt(request, async_stream)
            try:
                response = await original(self, request)
            except BaseException as error:
                attempt.failed(error)
                raise
            attempt.answered(response)
            return response

        return handle_async_request

    wrap(module.HTTPTransport, "handle_request", make)
    wrap(module.AsyncHTTPTransport, "handle_async_request", make_async)


class _Attempt:
    """One request on its way through a transport. None of its methods raises."""

    __slots__ = ("call", "given", "head", "ours", "request", "stream")

    def __init__(self, request: Any, stream: Any) -> None:
        self.request = request
        self.stream = stream
        self.call: http_calls.Call | None = None
        self.given: Any = None
        self.head = 0
        self.ours: list[str] = []
        try:
            headers, url = request.headers, request.url
            for name, value in http_calls.identifiers():
                if name not in headers:
                    headers[name] = value
                    self.ours.append(name)
            self.call = http_calls.Call(PLACE, request.method, url.host)
            self.head = http_calls.head_size(request.method, url.raw_path, headers.raw)
            body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
            add = http_calls.sent(url.host) if body else None
            if add is not None and _countable(request.stream, stream):
                self.given = request.stream
                request.stream = stream(self.given, add)
        except Exception as failure:
            if guard.failed(PLACE, failure):
                raise

    def failed(self, error: BaseException) -> None:
        """Record that no answer came."""
        self._give_back()
        if self.call is not None:
            self.call.end(0, error)

    def answered(self, response: Any) -> None:
        """Record the answer's head, and count its body while the program reads it."""
        self._give_back()
        if self.call is None:
            return
        self.call.end(getattr(response, "status_code", 0))
        try:
            host = self.call.host
            add = http_calls.sent(host)
            if add is not None and response.extensions.get("http_version") in HTTP_1:
                add(self.head)
            add = http_calls.received(host)
            if add is not None and _countable(response.stream, self.stream):
                response.stream = self.stream(response.stream, add)
        except Exception as failure:
            if guard.failed("httpx bytes", failure):
                raise

    def _give_back(self) -> None:
        try:
            if self.given is not None:
                self.request.stream = self.given
            for name in self.ours:
                self.request.headers.pop(name, None)
        except Exception as failure:
            if guard.failed(PLACE, failure):
                raise


def _countable(given: Any, stream: Any) -> bool:
    """Return whether the library takes ``given`` for a stream, and it is not one of ours already."""
    return isinstance(given, stream.__base__) and not isinstance(given, stream)


def _streams(module: ModuleType) -> tuple[Any, Any]:
    """Return a stream and an asynchronous one that hand another's parts on and count them."""
    base: Any = module.SyncByteStream
    async_base: Any = module.AsyncByteStream

    class CountedStream(base):  # type: ignore[misc]  # the class is the program's library's
        def __init__(self, inner: Any, add: Add) -> None:
            self._inner = inner
            self._add = add

        def __iter__(self) -> Iterator[Any]:
            return map(_counting(self._add), self._inner)

        def close(self) -> None:
            self._inner.close()

    class CountedAsyncStream(async_base):  # type: ignore[misc]  # as above
        def __init__(self, inner: Any, add: Add) -> None:
            self._inner = inner
            self._add = add

        def __aiter__(self) -> _Parts:
            return _Parts(self._inner.__aiter__(), _counting(self._add))

        async def aclose(self) -> None:
            await self._inner.aclose()

    return CountedStream, CountedAsyncStream


class _Parts:
    """The parts of an asynchronous stream, counted; no generator, which would have an end of its own."""

    def __init__(self, parts: Any, count: Callable[[Any], Any]) -> None:
        self._parts = parts
        self._count = count

    def __aiter__(self) -> _Parts:
        return self

    async def __anext__(self) -> Any:
        return self._count(await self._parts.__anext__())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parts, name)


def _counting(add: Add) -> Callable[[Any], Any]:
    def count(part: Any) -> Any:
        try:
            add(len(part))
        except Exception as failure:
            if guard.failed("httpx bytes", failure):
                raise
        return part

    return count
