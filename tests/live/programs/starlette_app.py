"""A Starlette application as users write it: routes, a mount, a stream, a WebSocket, a view that fails."""

import asyncio
import logging

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

log = logging.getLogger("shop.orders")


async def index(request):
    return PlainTextResponse("hello")


async def item(request):
    log.warning("item %s asked for", request.path_params["number"])
    return JSONResponse({"item": request.path_params["number"]})


async def broken(request):
    raise ValueError("this view is broken")


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


app = Starlette(
    routes=[
        Route("/", index),
        Route("/broken", broken),
        Route("/stream", stream),
        Mount("/api", routes=[Route("/item/{number:int}", item)]),
        WebSocketRoute("/echo", echo),
    ]
)
