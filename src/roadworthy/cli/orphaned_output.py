"""The output of a program whose keeper has died: the agent bounds its files, which nobody else does any more.

The same ring as the keeper's. What the agent has read, or passed over and counted, stands for what was passed on: only
that is given back to the file system, and the newest mebibyte of it stays. While a flood comes the agent reads as often
as that needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from roadworthy import _clock
from roadworthy.keeper.output import Stream

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.agent.crew import Member
    from roadworthy.agent.loop import Agent
    from roadworthy.agent.output import Offset

QUIET: Final = 0.05
BUSY: Final = 0.01
"""Seconds between two looks, while nothing comes and while a flood does."""

UNREAD_MOST: Final = 1 << 19
"""Bytes that may be unread before the agent reads at once instead of with its next tick."""


class OrphanedOutput:
    """Bounds the output files of the living workers below ``directory``; :meth:`close` releases them."""

    def __init__(
        self,
        directory: Path,
        members: Callable[[], Iterable[Member]],
        offsets: Callable[[], Mapping[str, Offset]],
        read: Callable[[], Mapping[str, Offset]],
    ) -> None:
        """Take ``offsets`` for how far each file was read, and ``read`` to have them read now."""
        self._directory = directory
        self._members = members
        self._offsets = offsets
        self._read = read
        self._streams: dict[str, tuple[Stream, _Reader]] = {}

    @classmethod
    def of(cls, agent: Agent, directory: Path) -> OrphanedOutput:
        """Return the one whose files the agent reads."""
        return cls(directory, agent.members, agent.output_read, agent.read_output)

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                busy = self.look(_clock.monotonic())
                await asyncio.sleep(BUSY if busy else QUIET)
        finally:
            self.close()

    def look(self, now: float) -> bool:
        """Give back what was read; returns whether so much came that it was read for that."""
        self._adopt()
        self._pump(self._offsets(), now)
        if all(stream.behind <= UNREAD_MOST for stream, _ in self._streams.values()):
            return False
        self._pump(self._read(), now)
        return True

    def _adopt(self) -> None:
        names = [
            f"{prefix}-{one.slot}-{one.generation}"
            for one in self._members()
            if one.pid is not None
            for prefix in ("out", "err")
        ]
        for name in self._streams.keys() - set(names):
            self._streams.pop(name)[0].close()
        for name in names:
            if name not in self._streams:
                reader = _Reader()
                try:
                    self._streams[name] = (Stream(str(self._directory / name), reader, anew=False), reader)
                except OSError:
                    continue  # it has none, or it was removed: there is nothing to bound

    def _pump(self, read: Mapping[str, Offset], now: float) -> None:
        for name, (stream, reader) in self._streams.items():
            reader.read_to = read.get(name, (0, 0))[1]
            stream.pump(now)

    def close(self) -> None:
        """Release the files; they stay as they are."""
        for stream, _ in self._streams.values():
            stream.close()
        self._streams.clear()


class _Reader:
    """Takes what the agent has read of a file, by itself."""

    def __init__(self) -> None:
        self.closed = False
        self.blocked = False
        self.progress = 0.0
        self.fd = -1
        self.read_to = 0

    def write(self, data: bytes, now: float) -> int:
        """Take nothing anywhere: the agent counts itself what it has passed over."""
        del now
        return len(data)

    def copy(self, source: int, offset: int, count: int, now: float) -> int:
        """Take what was read beyond ``offset``."""
        del source
        taken = max(0, min(count, self.read_to - offset))
        if taken or not count:
            self.progress = now
        return taken
