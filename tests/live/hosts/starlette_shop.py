"""A Starlette application as users write it: it knows nothing of roadworthy."""

import asyncio
import logging
import os

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

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


app = Starlette(
    routes=[
        Route("/", index),
        Route("/broken", broken),
        Route("/who", who),
        Mount("/item", routes=[Route("/{number:int}", item)]),
    ]
)
