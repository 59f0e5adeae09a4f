"""aiohttp sessions whose every request goes through a policy (aiohttp 3.12 or newer, which has client middlewares).

::

    from roadworthy.resilience.transports.aiohttp import middleware

    session = aiohttp.ClientSession(middlewares=(middleware(policy),))
"""

from __future__ import annotations

from roadworthy.errors import Unavailable
from roadworthy.resilience.terms import Terms
from roadworthy.resilience.transports import IDEMPOTENT, DeadlineHeader, methods_of, missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aiohttp import ClientRequest, ClientResponse

    from roadworthy.resilience.policy import Policy

    Handler = Callable[[ClientRequest], Awaitable[ClientResponse]]


def middleware(
    policy: Policy, *, methods: Iterable[str] = IDEMPOTENT
) -> Callable[[ClientRequest, Handler], Awaitable[ClientResponse]]:
    """Return a client middleware that sends each request of a session through ``policy``.

    Requests with a method in ``methods``, and a body that is held in memory, may be repeated. The session's own total
    timeout spans all attempts; an ``attempt_timeout`` or deadline of the policy interrupts each. Raises
    :class:`~roadworthy.errors.Unavailable` when aiohttp is not installed or older than 3.12, and
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """
    known = methods_of(methods)
    try:
        import aiohttp
        from aiohttp.payload import BytesPayload
    except ImportError as error:
        raise missing("aiohttp") from error
    if not hasattr(aiohttp, "ClientMiddlewareType"):
        raise Unavailable(
            f"aiohttp {aiohttp.__version__} has no client middlewares",
            why="they came with aiohttp 3.12",
            hint="pip install --upgrade aiohttp",
        )

    async def through_policy(request: ClientRequest, handler: Handler) -> ClientResponse:
        header = DeadlineHeader(request.headers)

        async def send(request: ClientRequest) -> ClientResponse:
            header.write(request.headers)
            return await handler(request)

        body = request.body
        repeatable = request.method.upper() in known and (body == b"" or isinstance(body, BytesPayload))
        with Terms(repeatable=repeatable, dropped=_close):
            return await policy.acall(send, request)

    return through_policy


def _close(response: object) -> None:
    response.close()  # type: ignore[attr-defined] # a ClientResponse; nothing else is dropped from in here
