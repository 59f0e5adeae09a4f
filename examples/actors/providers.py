"""Who writes what a character says: Anthropic, OpenAI, or a small generator in this process that needs no key.

All have one method: `stream(request)` gives the answer in pieces. The clients of the two companies are imported when
there is a key; they make no attempts of their own, the policy around them does.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from actors import reading
from actors.cast import CAST
from roadworthy.types import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST_TOKENS = 300
PATIENCE = 20.0
PIECE = re.compile(r"\S+\s*")
PACE = 0.03
"""Seconds between two pieces of the local generator: it need not hurry, and shows what streaming looks like."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a provider."""

    character: str
    system: str
    said: str
    recalled: tuple[str, ...] = ()
    trust: int = 3


class Provider(Protocol):
    """Somebody who answers."""

    model: str

    def stream(self, request: Request) -> AsyncIterator[str]:
        """Give the answer in pieces; raises what the company's client raises."""

    async def close(self) -> None:
        """Give back connections."""


class Anthropic:
    """Anthropic's Messages API."""

    def __init__(self, key: Secret, model: str, base_url: str = "") -> None:
        import anthropic

        self.model = model
        self._client = anthropic.AsyncAnthropic(
            api_key=key.reveal(), base_url=base_url or None, max_retries=0, timeout=PATIENCE
        )

    async def stream(self, request: Request) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        async with self._client.messages.stream(
            model=self.model, max_tokens=MOST_TOKENS, system=request.system,
            messages=[{"role": "user", "content": request.said}],
        ) as answer:  # fmt: skip
            async for piece in answer.text_stream:
                yield piece

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()


class OpenAI:
    """OpenAI's Chat Completions API, and what speaks it."""

    def __init__(self, key: Secret, model: str, base_url: str = "") -> None:
        import openai

        self.model = model
        self._client = openai.AsyncOpenAI(
            api_key=key.reveal(), base_url=base_url or None, max_retries=0, timeout=PATIENCE
        )

    async def stream(self, request: Request) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        answer = await self._client.chat.completions.create(
            model=self.model, max_completion_tokens=MOST_TOKENS, stream=True,
            messages=[{"role": "system", "content": request.system}, {"role": "user", "content": request.said}],
        )  # fmt: skip
        async with answer:
            async for event in answer:
                if event.choices and (piece := event.choices[0].delta.content):
                    yield piece

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()


class Local:
    """Written lines, chosen by what is asked and remembered: the same question gives the same answer."""

    model = "local generator"

    def __init__(self, pace: float = PACE) -> None:
        self._pace = pace

    def text(self, request: Request) -> str:
        """Return the answer."""
        who = CAST[request.character]
        wanted = reading.words(request.said)
        topics = [topic for topic in who.topics if topic in wanted or f"{topic}s" in wanted]
        lines = [line for topic in topics for line in who.topics[topic]]
        said = [_pick(lines or who.otherwise, reading.plain(request.said))]
        if reading.band(request.trust) == "much":
            said.insert(0, _pick(who.warm, request.said))
        if request.recalled:
            said.append(f"You spoke of it before: “{request.recalled[0].strip()}” I have not forgotten.")
        elif not lines:
            said.append(f"Ask me about the {_pick(list(who.topics), request.said)}.")
        return " ".join(said)

    async def stream(self, request: Request) -> AsyncIterator[str]:
        """Give the answer in pieces."""
        for piece in PIECE.findall(self.text(request)):
            await asyncio.sleep(self._pace)
            yield piece

    async def close(self) -> None:
        """Do nothing."""


Make = Callable[[Secret, str, str], Provider]
KINDS: dict[str, tuple[str, str, Make]] = {
    "anthropic": ("ANTHROPIC_API_KEY", "claude-haiku-4-5", Anthropic),
    "openai": ("OPENAI_API_KEY", "gpt-5.4-mini", OpenAI),
}
"""Each company's name for its key, a quick and cheap model of its, and its client."""


def transient(error: Exception) -> bool:
    """Tell whether asking again may help: too many requests, overloaded, broken, not reachable; no refused key."""
    status = getattr(error, "status_code", None)
    if status is not None:
        return status in {408, 409, 429} or status >= 500
    return type(error).__name__ in {"APIConnectionError", "APITimeoutError"} or isinstance(error, OSError)


def why(error: BaseException) -> str:
    """Return in a few words, for the player, why a company's model does not answer."""
    name, status = type(error).__name__, getattr(error, "status_code", None)
    words = {401: "the API key is refused", 403: "the API key is refused", 429: "the provider asks for a pause"}
    if status is not None:
        return words.get(status, "the provider is down" if status >= 500 else f"the provider answered {status}")
    known = {
        "BreakerOpen": "the provider is down",
        "BulkheadFull": "too many are talking",
        "DeadlineExceeded": "the provider is too slow",
        "APITimeoutError": "the provider is too slow",
        "APIConnectionError": "the provider is not reachable",
    }
    return known.get(name, f"the provider failed ({name})")


def _pick(lines: list[str], by: str) -> str:
    return lines[hashlib.md5(by.encode(), usedforsecurity=False).digest()[0] % len(lines)]
