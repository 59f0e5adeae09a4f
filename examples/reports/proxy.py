"""A TCP proxy that can make what is behind it slow, dead, frozen or flapping, while everything runs.

=========  ================================================================================
ok         bytes pass as they come
slow       every answer waits `delay` seconds
dead       nobody listens, and what was connected is reset
frozen     connections are taken, and nothing ever comes back (as of a process that SIGSTOP has halted)
flapping   ok and dead in turns, FLAP seconds each
=========  ================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Literal, get_args

Mode = Literal["ok", "slow", "dead", "frozen", "flapping"]
MODES: tuple[Mode, ...] = get_args(Mode)
FLAP = 3.0
CHUNK = 65_536


class Proxy:
    """One dependency behind a port of ours; `port` stays the same while it is dead."""

    def __init__(self, name: str, target: tuple[str, int], *, delay: float = 2.0) -> None:
        """Reserve a loopback port for the target; nothing listens before `switch`."""
        self.name = name
        self.target = target
        self.delay = delay
        self.mode: Mode = "ok"
        self._server: asyncio.Server | None = None
        self._flapping: asyncio.Task[None] | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._passes = asyncio.Event()
        with socket.socket() as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]

    async def switch(self, mode: Mode) -> None:
        """Behave so from now on, also on connections that are open."""
        if self._flapping is not None:
            self._flapping.cancel()
            self._flapping = None
        self.mode = mode
        if mode == "flapping":
            self._flapping = asyncio.create_task(self._flap())
        else:
            await self._become(mode)

    async def close(self) -> None:
        """Stop listening and end what is open."""
        await self.switch("dead")

    async def _flap(self) -> None:
        while True:
            for mode in ("dead", "ok"):
                await self._become(mode)
                await asyncio.sleep(FLAP)

    async def _become(self, mode: str) -> None:
        if mode == "frozen":
            self._passes.clear()
        else:
            self._passes.set()
        if mode == "dead":
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in list(self._open):
                writer.transport.abort()
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there_reader, there = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            self._open.discard(writer)
            return
        self._open.add(there)
        asked = asyncio.create_task(self._carry(reader, there, answers=False))
        answered = asyncio.create_task(self._carry(there_reader, writer, answers=True))
        await asyncio.wait({asked, answered}, return_when=asyncio.ALL_COMPLETED)
        for end in (writer, there):
            self._open.discard(end)
            end.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if answers and self.mode == "slow":
                    await asyncio.sleep(self.delay)
                await self._passes.wait()
                sink.write(data)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()
