"""An aiohttp application as users write it: it knows nothing of roadworthy."""

import asyncio
import logging
import os
import sys

from aiohttp import web

log = logging.getLogger("shop.orders")


async def index(request):
    return web.Response(text="hello")


async def item(request):
    log.warning("item %s asked for", request.match_info["number"])
    return web.json_response({"item": request.match_info["number"]})


async def broken(request):
    raise ValueError("this view is broken")


async def who(request):
    await asyncio.sleep(0.01)
    return web.Response(text=str(os.getpid()))


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for n in range(5):
        await asyncio.sleep(0.02)
        await response.write(f"{n}\n".encode())
    return response


async def echo(request):
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        await websocket.send_str(message.data)
    return websocket


app = web.Application()
app.add_routes(
    [
        web.get("/", index),
        web.get("/item/{number}", item),
        web.get("/broken", broken),
        web.get("/who", who),
        web.get("/stream", stream),
        web.get("/echo", echo),
    ]
)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1] if len(sys.argv) > 1 else os.environ["PORT"]), print=None)
