"""httpx clients whose every request goes through a policy.

::

    from roadworthy.resilience.transports.httpx import AsyncTransport, Transport

    client = httpx.Client(transport=Transport(policy))
    client = httpx.AsyncClient(transport=AsyncTransport(policy, httpx.AsyncHTTPTransport(http2=True)))
"""

from __future__ import annotations

from roadworthy.resilience.terms import Terms
from roadworthy.resilience.timeout import deadline_remaining
from roadworthy.resilience.transports import IDEMPOTENT, DeadlineHeader, methods_of, missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any, Self

    from httpx import AsyncBaseTransport, BaseTransport, Request, Response

    from roadworthy.resilience.policy import Policy
else:
    # httpx asks a transport for its methods only, so that this module needs no httpx to be imported.
    BaseTransport = AsyncBaseTransport = object

_SHORTEST = 0.001


class Transport(BaseTransport):
    """Send each request of an ``httpx.Client`` through ``policy``, then through ``inner`` (default: HTTPTransport).

    Requests with a method in ``methods``, and a body that can be sent twice, may be repeated. Raises
    :class:`~roadworthy.errors.Unavailable` when httpx is not installed, and
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    def __init__(
        self, policy: Policy, inner: BaseTransport | None = None, *, methods: Iterable[str] = IDEMPOTENT
    ) -> None:
        self.policy = policy
        self._methods = methods_of(methods)
        if inner is None:
            try:
                from httpx import HTTPTransport
            except ImportError as error:
                raise missing("httpx") from error
            inner = HTTPTransport()
        self._inner = inner

    def handle_request(self, request: Request) -> Response:
        """Return the answer; raises what httpx or the policy raises."""
        sending = _Sending(request)

        def send(request: Request) -> Response:
            sending.prepare(request)
            return self._inner.handle_request(request)

        with Terms(repeatable=_repeatable(request, self._methods), dropped=_close):
            return self.policy.call(send, request)

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(kind, error, traceback)


class AsyncTransport(AsyncBaseTransport):
    """Send each request of an ``httpx.AsyncClient`` through ``policy``; otherwise as :class:`Transport`."""

    def __init__(
        self, policy: Policy, inner: AsyncBaseTransport | None = None, *, methods: Iterable[str] = IDEMPOTENT
    ) -> None:
        self.policy = policy
        self._methods = methods_of(methods)
        if inner is None:
            try:
                from httpx import AsyncHTTPTransport
            except ImportError as error:
                raise missing("httpx") from error
            inner = AsyncHTTPTransport()
        self._inner = inner

    async def handle_async_request(self, request: Request) -> Response:
        """Return the answer; raises what httpx or the policy raises."""
        sending = _Sending(request)

        async def send(request: Request) -> Response:
            sending.prepare(request)
            return await self._inner.handle_async_request(request)

        with Terms(repeatable=_repeatable(request, self._methods), dropped=_aclose):
            return await self.policy.acall(send, request)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)


class _Sending:
    """One request with all its attempts: what is written into it for each."""

    __slots__ = ("_header", "_timeouts")

    def __init__(self, request: Request) -> None:
        self._header = DeadlineHeader(request.headers)
        self._timeouts: dict[str, float | None] = dict(request.extensions.get("timeout") or {})

    def prepare(self, request: Request) -> None:
        """Tell the other side and httpx's own timeouts how much is left."""
        self._header.write(request.headers)
        left = deadline_remaining()
        if left is None:
            return
        left = max(left, _SHORTEST)
        timeouts = {name: self._timeouts.get(name) for name in ("connect", "read", "write", "pool")}
        shorter = {name: left if seconds is None else min(seconds, left) for name, seconds in timeouts.items()}
        request.extensions = {**request.extensions, "timeout": shorter}


def _repeatable(request: Request, methods: frozenset[str]) -> bool:
    """Return whether method and body may be sent again: httpx holds in memory what is not a stream."""
    from httpx import RequestNotRead

    try:
        request.content  # noqa: B018 - raises for a stream
    except RequestNotRead:
        return False
    return request.method.upper() in methods


def _close(response: object) -> None:
    response.close()  # type: ignore[attr-defined] # a Response; whatever else a policy's function returns is not dropped


_closing: set[asyncio.Task[Any]] = set()


def _aclose(response: object) -> None:
    import asyncio

    # Not awaited here: whoever drops an answer is about to make the next attempt. The set keeps the task alive.
    task = asyncio.ensure_future(response.aclose())  # type: ignore[attr-defined] # as above
    _closing.add(task)
    task.add_done_callback(_closed)


def _closed(task: asyncio.Task[Any]) -> None:
    _closing.discard(task)
    if not task.cancelled():
        task.exception()  # a connection that cannot be closed properly is closed all the same
