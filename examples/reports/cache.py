"""Finished reports close at hand: in Redis by URL, else in this process."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Protocol

TRANSIENT: tuple[type[Exception], ...] = (ConnectionError, TimeoutError)
try:
    import redis.asyncio
    import redis.exceptions
except ImportError:  # only a Redis URL needs it
    INSTALLED = False
else:
    INSTALLED = True
    TRANSIENT = (*TRANSIENT, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)

KEPT = 500
SECONDS = 600


class Cache(Protocol):
    """What the service asks of a cache; both may raise what is in `TRANSIENT`."""

    async def get(self, key: str) -> dict[str, Any] | None:
        """Return what was put there, None when there is nothing (any more)."""

    async def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value for SECONDS."""


class Near:
    """A cache in this process, of the KEPT values that were put last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()

    async def get(self, key: str) -> dict[str, Any] | None:
        """Return what was put there."""
        return self._kept.get(key)

    async def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value, and drop the oldest when there are too many."""
        self._kept[key] = value
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


class Redis:
    """A cache in Redis or Valkey."""

    def __init__(self, url: str) -> None:
        """Remember where; nothing is connected yet. Raises ValueError when the client is not installed."""
        if not INSTALLED:
            message = f"cache URL {url!r} needs redis: pip install redis"
            raise ValueError(message)
        # No retries of the client's own: the policy around it decides.
        self._client = redis.asyncio.Redis.from_url(
            url, socket_connect_timeout=1, socket_timeout=1, retry=None, single_connection_client=False
        )

    async def get(self, key: str) -> dict[str, Any] | None:
        """Return what was put there."""
        found = await self._client.get(f"reports:{key}")
        value: dict[str, Any] | None = None if found is None else json.loads(found)
        return value

    async def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value for SECONDS."""
        await self._client.set(f"reports:{key}", json.dumps(value), ex=SECONDS)


def cache(url: str) -> Cache:
    """Return the cache at the URL; without one, a cache in this process."""
    return Redis(url) if url else Near()
