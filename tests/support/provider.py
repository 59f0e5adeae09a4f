"""An emulated language-model provider over real HTTP: Anthropic's Messages and OpenAI's Chat Completions, streamed.

It answers on a free loopback port from a thread of its own, and behaves as ``mode`` says: ok, busy (429, with a
Retry-After), broken (500), cut (the connection goes after two pieces), or down (nobody listens).
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    from types import TracebackType

PIECES = ("The lamp ", "is out, ", "and I ", "put it out.")
ANSWER = "".join(PIECES)


class Provider:
    """Use it as a block. ``asked`` lists (path, key, model, text) of each request, ``keys`` are those it accepts."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.mode = "ok"
        self.busy = 0
        self.retry_after = "0.1"
        self.asked: list[tuple[str, str, str, str]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def env(self) -> dict[str, str]:
        """Return the variables that make the actors ask it."""
        return {"ACTORS_ANTHROPIC_BASE_URL": self.url, "ACTORS_OPENAI_BASE_URL": f"{self.url}/v1"}

    def up(self) -> None:
        """Listen."""
        self._do(self._start())

    def down(self) -> None:
        """Listen no more, and end what is connected."""
        self._do(self._stop())

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def _do(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(20)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/messages", self._anthropic)
        app.router.add_post("/v1/chat/completions", self._openai)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        def framed(kind: str, **more: object) -> bytes:
            return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()

        body = await request.json()
        usage = {"input_tokens": 9, "output_tokens": 1}
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": body["model"],
            "stop_reason": None, "stop_sequence": None, "usage": usage,
        }  # fmt: skip
        block = {"type": "text", "text": ""}
        frames = [
            framed("message_start", message=message),
            framed("content_block_start", index=0, content_block=block),
            *(framed("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}) for piece in PIECES),
            framed("content_block_stop", index=0),
            framed("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage),
            framed("message_stop"),
        ]
        key = request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await self._answer(request, key, body["model"], body["messages"][-1]["content"], frames, 4)

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        def framed(delta: dict[str, object], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            event = {
                "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"],
                "choices": [choice],
            }  # fmt: skip
            return f"data: {json.dumps(event)}\n\n".encode()

        body = await request.json()
        frames = [
            framed({"role": "assistant", "content": ""}),
            *(framed({"content": piece}) for piece in PIECES),
            framed({}, "stop"),
            b"data: [DONE]\n\n",
        ]
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await self._answer(request, key, body["model"], body["messages"][-1]["content"], frames, 3)

    async def _answer(
        self, request: web.Request, key: str, model: str, text: str, frames: list[bytes], cut_at: int
    ) -> web.StreamResponse:
        self.asked.append((request.path, key, model, text))
        if key not in self.keys:
            return web.json_response(_error("authentication_error", "invalid x-api-key"), status=401)
        if self.mode == "broken":
            return web.json_response(_error("api_error", "Internal server error"), status=500)
        if self.mode == "busy" or self.busy > 0:
            self.busy -= 1
            headers = {"Retry-After": self.retry_after}
            return web.json_response(_error("rate_limit_error", "Too many requests"), status=429, headers=headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for at, frame in enumerate(frames):
            if self.mode == "cut" and at == cut_at:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(frame)
        await response.write_eof()
        return response


def _error(kind: str, message: str) -> dict[str, object]:
    return {"type": "error", "error": {"type": kind, "message": message}}
