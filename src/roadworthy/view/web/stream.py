"""Server-sent events: the newest state once a second, and what happens, each with an id to go on from.

``snapshot`` events carry the compact snapshot; ``events`` events carry a list of flight-recorder records, and their
``id`` is the running id of the last of them, so a client that comes back with ``Last-Event-ID`` misses nothing that is
still kept. A client that is too slow is given the newest state, not a queue of old ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from roadworthy.view.snapshot import dumps, plain
from roadworthy.view.web.endpoint import Problem

if TYPE_CHECKING:
    from roadworthy.types import Event, Snapshot, SnapshotSource

MOST_STREAMS = 16
HEARTBEAT = 15.0
"""Seconds after which a quiet stream says that it is alive."""
FIRST_EVENTS = 200
"""How many of the kept events a new client is given."""
BATCH = 500
MOST_KEPT = 1 << 20
"""More than any source keeps: all that is new."""


class Streams:
    """The event streams of one source; subscribed only while somebody listens."""

    def __init__(self, source: SnapshotSource, *, most: int = MOST_STREAMS, heartbeat: float = HEARTBEAT) -> None:
        self._source = source
        self._most = most
        self._heartbeat = heartbeat
        self._waiting: set[asyncio.Event] = set()
        self._end: Callable[[], None] | None = None
        self._text: tuple[Snapshot, bytes] | None = None

    def admit(self) -> asyncio.Event:
        """Return what wakes a new stream; raises :class:`Problem` (503) when there are too many."""
        if len(self._waiting) >= self._most:
            raise Problem(
                503,
                "too-many-streams",
                f"{self._most} event streams are open already.",
                "Close a page that shows the dashboard, or poll /api/snapshot.",
                {"Retry-After": "5"},
            )
        wake = asyncio.Event()
        self._waiting.add(wake)
        if self._end is None:
            self._end = self._source.subscribe(self._wake)
        return wake

    async def stream(self, wake: asyncio.Event, after: int | None) -> AsyncIterator[bytes]:
        """Yield the stream's bytes until the client goes; ``after`` is the last event id that it has seen."""
        try:
            yield b"retry: 2000\n\n"
            yield self._snapshot()
            seen = 0 if after is None else after
            kept = list(self._source.recent_events(seen, MOST_KEPT))
            if after is None:
                kept = kept[-FIRST_EVENTS:]
            if kept:
                seen = kept[-1][0]
                yield _events(kept)
            while True:
                try:
                    await asyncio.wait_for(wake.wait(), self._heartbeat)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                wake.clear()
                yield self._snapshot()
                fresh = list(self._source.recent_events(seen, MOST_KEPT))
                for first in range(0, len(fresh), BATCH):
                    batch = fresh[first : first + BATCH]
                    seen = batch[-1][0]
                    yield _events(batch)
        finally:
            self.leave(wake)

    def leave(self, wake: asyncio.Event) -> None:
        """Forget a stream; the last one ends the subscription."""
        self._waiting.discard(wake)
        if not self._waiting and self._end is not None:
            self._end()
            self._end = None
            self._text = None

    def _wake(self, _snapshot: Snapshot) -> None:
        for wake in self._waiting:
            wake.set()

    def _snapshot(self) -> bytes:
        """Return the newest snapshot as an event, rendered once for all streams."""
        snapshot = self._source.latest()
        if snapshot is None:
            return b": nothing was measured yet\n\n"
        if self._text is None or self._text[0] is not snapshot:
            self._text = (snapshot, f"event: snapshot\ndata: {dumps(snapshot, compact=True)}\n\n".encode())
        return self._text[1]


def event_items(batch: list[tuple[int, Event]]) -> list[dict[str, Any]]:
    """Return events as JSON values, each with its running id."""
    return [{"id": number, **plain(event)} for number, event in batch]


def _events(batch: list[tuple[int, Event]]) -> bytes:
    text = json.dumps(event_items(batch), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"event: events\nid: {batch[-1][0]}\ndata: {text}\n\n".encode()
