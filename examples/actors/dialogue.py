"""One answer after the other: from the cache, else from the provider, else from the local generator, in pieces.

The provider is asked below one policy: tried again while nothing was said yet (and not sooner than it asks for), cut
off while it is down. What answers instead always says so, and why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import roadworthy as rw
from actors.providers import PIECE, Local, Provider, Request, transient, why
from roadworthy.resilience import Budget, Bulkhead, CircuitBreaker, Policy, Retry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from actors.keys import Keys
    from roadworthy.app.cache import Cache

log = logging.getLogger("actors")


@dataclass(slots=True)
class Answer:
    """How an answer came about; filled while it is streamed."""

    model: str = ""
    label: str = ""
    cached: bool = False
    complete: bool = False
    text: str = ""
    llm_ms: float | None = None


def policy() -> Policy:
    """Return what a call of the provider may cost, and what happens when it fails."""
    return Policy(
        "llm",
        deadline=25,
        retry=Retry(3, on=transient, backoff=(0.2, 2), total=10, budget=Budget(ratio=0.2, minimum=5)),
        breaker=CircuitBreaker(consecutive=4, open_for=(2, 30), probes=1, failure_on=transient),
        bulkhead=Bulkhead(32, wait=1),
    )


async def asked(provider: Provider, request: Request) -> AsyncIterator[str]:
    """Give what the provider answers."""
    async for piece in provider.stream(request):
        yield piece


class Dialogue:
    """Makes answers."""

    def __init__(self, keys: Keys, cache: Cache, local: Local | None = None) -> None:
        self.policy = policy()
        self._keys = keys
        self._cache = cache
        self._local = local or Local()
        self._ask = self.policy(asked)

    def prepare(self) -> None:
        """Look for a key now, so that the first answer does not wait until a company's client is imported."""
        self._keys.provider()

    async def stream(self, request: Request, answer: Answer) -> AsyncGenerator[str]:
        """Give the answer in pieces and fill in `answer`. Raises nothing of the provider's."""
        provider, label, before = await asyncio.to_thread(self._keys.provider)
        if before is not None:
            await before.close()
        answer.model = provider.model if provider else self._local.model
        answer.label = label and f"local generator: {label}"
        key = self._cache.key(Dialogue.stream, answer.model, request.system, request.said.strip().lower())
        found = await self._cache.aget(key)
        if found is not None:
            answer.cached = answer.complete = True
            for piece in PIECE.findall(found):
                answer.text += piece
                yield piece
            return
        source = self._local.stream(request) if provider is None else self._asked(provider, request, answer)
        async for piece in source:
            answer.text += piece
            yield piece
        if answer.complete or provider is None:
            answer.complete = True
            if answer.model != self._local.model or provider is None:
                await self._cache.aset(key, answer.text)

    async def _asked(self, provider: Provider, request: Request, answer: Answer) -> AsyncIterator[str]:
        begun = time.monotonic()
        try:
            async for piece in self._ask(provider, request):
                if answer.llm_ms is None:
                    answer.llm_ms = (time.monotonic() - begun) * 1000
                    rw.timer("llm.first_piece").record(answer.llm_ms / 1000)
                yield piece
            answer.llm_ms = (time.monotonic() - begun) * 1000
            answer.complete = True
        except Exception as error:  # noqa: BLE001 - whatever the provider does, the character answers
            reason = why(error)
            fields = {"model": provider.model, "error_type": type(error).__name__, "reason": reason}
            log.warning("provider_failed", extra=fields)
            rw.counter("llm.failures", labels=["reason"]).labels(reason=reason).add()
            answer.label = f"local generator: {reason}"
            if answer.text:
                answer.label = f"cut off: {reason}"
                return
            answer.model = self._local.model
            async for piece in self._local.stream(request):
                yield piece
            answer.complete = True
