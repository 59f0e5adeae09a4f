"""Clients of Redis or Valkey by URL: made when asked for, refused in clear words that never hold the password."""

# ruff: noqa: ANN401 - the client is somebody else's

from __future__ import annotations

import weakref
from urllib.parse import unquote, urlsplit

from roadworthy import _known
from roadworthy.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")
PATIENCE = 0.5
"""Seconds that a connection, and an answer, may take."""


class Clients:
    """The plain client of one URL, and one client for each event loop that asked for it."""

    def __init__(self, url: str, what: str) -> None:
        """Judge the URL; nothing is connected. Raises ConfigurationError, which ``what`` begins."""
        self._url = _judged(url, what)
        self._plain: Any = None
        self._by_loop: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def plain(self) -> Any:
        """Return the client for plain calls; any thread may use it, and it connects anew after a fork."""
        if self._plain is None:
            import redis

            self._plain = redis.Redis.from_url(self._url, **_options(), retry=_no_retry())
        return self._plain

    def here(self) -> Any:
        """Return the client of the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None:
            import redis.asyncio
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            made = redis.asyncio.Redis.from_url(self._url, **_options(), retry=Retry(NoBackoff(), 0))
            found = self._by_loop[loop] = made
        return found

    def drop_idle(self) -> None:
        """Close idle connections of plain calls: after a restart of Redis each would fail once more."""
        if self._plain is not None:
            self._plain.connection_pool.disconnect(inuse_connections=False)

    async def adrop_idle(self) -> None:
        """Close idle connections of the running event loop, as :meth:`drop_idle`."""
        await self.here().connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close the plain client's connections."""
        made, self._plain = self._plain, None
        if made is not None:
            made.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        import asyncio

        made = self._by_loop.pop(asyncio.get_running_loop(), None)
        if made is not None:
            await made.aclose()


def _options() -> dict[str, Any]:
    return {"socket_connect_timeout": PATIENCE, "socket_timeout": PATIENCE}


def _no_retry() -> Any:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Retry(NoBackoff(), 0)  # who asks has a breaker around it


def _judged(url: str, what: str) -> str:
    parts = urlsplit(str(url))
    if parts.password:
        _known.add(unquote(parts.password))
    if parts.scheme not in SCHEMES:
        shown = f"{parts.scheme}://…" if parts.scheme else "one without a scheme"
        raise ConfigurationError(
            f"{what}: the URL of the store must begin with redis:// or rediss://, this is {shown}",
            hint="give redis://HOST:PORT/0, or none to keep it in this process",
        )
    try:
        import redis
    except ImportError as error:
        raise ConfigurationError(
            f"{what}: the client of Redis is not installed",
            why=f"A URL {parts.scheme}://… was given, and {error}.",
            hint="pip install 'roadworthy[redis]'",
        ) from error
    if parts.scheme.startswith("valkey"):
        url = "redis" + url[len("valkey") :]
    try:
        redis.ConnectionPool.from_url(url)
    except ValueError as error:
        raise ConfigurationError(
            f"{what}: the URL of the store cannot be used",
            why=f"The client says: {_known_out(str(error), parts.password)}.",
            hint="give redis://HOST:PORT/0",
        ) from None
    return url


def _known_out(text: str, password: str | None) -> str:
    return text.replace(password, _known.REDACTED) if password else text
