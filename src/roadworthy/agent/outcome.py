"""What a check answers: a status and a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.types import Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look found."""

    status: Status
    detail: str


Probe = Callable[[], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class InThread:
    """A probe that blocks, in a thread; it cannot be cancelled, so it is left to end and not started a second time."""

    act: Callable[[Path], Outcome]
    path: Path

    async def __call__(self) -> Outcome:
        """Run it in a thread of the default executor."""
        return await asyncio.to_thread(self.act, self.path)
