"""What the service asks of its dependencies, each behind a policy of its own: this is all that knows how they fail.

The database must answer for the service to do its work: retried, cut off when it is down. Without the cache everything
is only slower: a failure of it is a miss. Rates of the upstream that are a day old still do: the last good ones answer
when it does not.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

import roadworthy as rw
from reports import cache, store
from roadworthy.resilience import (
    Budget,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Policy,
    Rejected,
    Retry,
    deadline_remaining,
)

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

UPSTREAM = os.environ.get("REPORTS_UPSTREAM", "http://127.0.0.1:9999")
SPOOL = Path(os.environ.get("REPORTS_SPOOL", "reports-spool"))
PATIENCE = 2.0
"""Seconds that one attempt may take."""

tables = store.Store(os.environ.get("REPORTS_DATABASE", "sqlite:///reports.db"))
kept = cache.cache(os.environ.get("REPORTS_CACHE", ""))

database = Policy(
    "database",
    deadline=5,
    attempt_timeout=PATIENCE,
    retry=Retry(3, on=store.TRANSIENT, backoff=(0.05, 0.5), budget=Budget(ratio=0.2, minimum=3)),
    breaker=CircuitBreaker(window=20, failure_rate=0.5, min_calls=6, open_for=(1, 5), probes=1, scope="host"),
    bulkhead=Bulkhead(16, wait=0.5),
)
near = Policy(
    "cache", attempt_timeout=0.3, breaker=CircuitBreaker(consecutive=5, open_for=(1, 5), probes=1, scope="host")
)
upstream = Policy(
    "upstream",
    deadline=4,
    attempt_timeout=1,
    retry=Retry(2, on=(httpx.TransportError, TimeoutError), backoff=(0.1, 0.5), budget=Budget(ratio=0.1, minimum=3)),
    breaker=CircuitBreaker(consecutive=3, open_for=(1, 5), probes=1, scope="host"),
    fallback=Fallback.last_good(ttl=86_400, key=lambda: "rates"),
)
CACHE_AWAY: tuple[type[Exception], ...] = (*cache.TRANSIENT, Rejected)
client = httpx.AsyncClient(base_url=UPSTREAM, timeout=PATIENCE)


def database_is_down() -> bool:
    """Tell whether the database is cut off now, or only tried."""
    return database.breaker is not None and database.breaker.state not in {"closed", "disabled", "metrics_only"}


async def ask(function: Callable[..., T], *arguments: object) -> T:
    """Do something with the tables, in a thread, below the policy of the database."""
    return await database.acall(asyncio.to_thread, function, *arguments)


@upstream
async def rates() -> dict[str, float]:
    """Return what a euro costs in each currency; the last good answer when the upstream gives none."""
    left = deadline_remaining()
    answer = await client.get("/rates", timeout=PATIENCE if left is None else min(left, PATIENCE))
    answer.raise_for_status()
    found: dict[str, float] = answer.json()["rates"]
    return found


async def remembered(key: str) -> dict[str, Any] | None:
    """Return what the cache has; a cache that fails has nothing."""
    try:
        return await near.acall(kept.get, key)
    except CACHE_AWAY as error:
        rw.event("cache passed over", level="debug", reason=type(error).__name__)
        return None


async def remember(key: str, value: dict[str, Any]) -> None:
    """Put it into the cache if that works."""
    try:
        await near.acall(kept.put, key, value)
    except CACHE_AWAY as error:
        rw.event("cache passed over", level="debug", reason=type(error).__name__)
