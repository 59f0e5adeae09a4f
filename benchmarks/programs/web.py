"""A small Starlette application as many people run one: a path parameter, a query, JSON; and a page that does nothing.

uvicorn benchmarks.programs.web:app
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

ROWS = 1_000
database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price REAL, stock INTEGER)")
database.executemany(
    "INSERT INTO items VALUES (?, ?, ?, ?)",
    ((number, f"item {number}", number * 1.25, number % 7) for number in range(ROWS)),
)


async def item(request: Request) -> JSONResponse:
    """Answer with an item and the twenty after it."""
    number = int(request.path_params["number"])
    query = "SELECT id, name, price, stock FROM items WHERE id BETWEEN ? AND ? ORDER BY id"
    names = ("id", "name", "price", "stock")
    found = [dict(zip(names, row, strict=True)) for row in database.execute(query, (number, number + 20))]
    return JSONResponse({"items": found, "count": len(found)}, status_code=200 if found else 404)


async def nothing(_: Request) -> PlainTextResponse:
    """Answer with two letters."""
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/", nothing), Route("/items/{number:int}", item)])
