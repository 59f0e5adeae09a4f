"""The upstream: another company's service that says what a euro costs. It knows nothing of its own health.

uvicorn reports.rates:app
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import sin
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

BASE = {"USD": 1.08, "GBP": 0.86, "CHF": 0.95, "JPY": 168.0, "SEK": 11.4}


def rates_of(day: int) -> dict[str, float]:
    """Return the day's price of a euro in each currency: the base, which swings by two per cent over some weeks."""
    return {name: round(base * (1 + 0.02 * sin((day + at * 5) / 6)), 4) for at, (name, base) in enumerate(BASE.items())}


async def rates(_: Request) -> JSONResponse:
    """Answer with today's rates."""
    today = datetime.now(UTC).date()
    return JSONResponse({"base": "EUR", "day": today.isoformat(), "rates": rates_of(today.toordinal())})


app = Starlette(routes=[Route("/rates", rates)])
