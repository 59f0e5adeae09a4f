"""A Starlette application as users write it: routes, mounts, a stream, a WebSocket, a view that fails."""

import asyncio
import logging
import os
import sys
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

log = logging.getLogger("shop.orders")


async def index(request):
    return PlainTextResponse("hello")


async def item(request):
    log.warning("item %d asked for", request.path_params["number"])
    return JSONResponse({"item": request.path_params["number"]})


async def broken(request):
    raise ValueError("this view is broken")


async def who(request):
    await asyncio.sleep(0.01)
    return PlainTextResponse(str(os.getpid()))


async def stream(request):
    async def parts():
        for n in range(5):
            await asyncio.sleep(0.02)
            yield f"{n}\n"

    return StreamingResponse(parts())


async def echo(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@asynccontextmanager
async def lifespan(app):
    yield
    # uvicorn ends by the signal that ended it: a run that is measured would leave nothing of what it has measured.
    if (coverage := sys.modules.get("coverage")) and (measured := coverage.Coverage.current()):
        measured.save()


items = [Route("/{number:int}", item)]
app = Starlette(
    routes=[
        Route("/", index),
        Route("/broken", broken),
        Route("/who", who),
        Route("/stream", stream),
        Mount("/item", routes=items),
        Mount("/api", routes=[Mount("/item", routes=items)]),
        WebSocketRoute("/echo", echo),
    ],
    lifespan=lifespan,
)
