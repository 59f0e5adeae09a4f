"""The service: ask for a report of a month's sales, look how far it is, read it.

GET  /reports        the newest ones
POST /reports        {"month": "2026-03"}: queues one
GET  /reports/{id}   its status, and the figures when it is done

Reports are made one after the other by the worker's own task; what a killed worker left half-done is made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import roadworthy as rw
from reports import guarded, spool, store
from roadworthy.resilience import Rejected, degradation_manager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
PAUSE = 0.5
"""Seconds between two looks whether a report is waiting."""

HOLD = 3.0
"""Seconds that the database must be well before the service answers in full again."""

DOWN: tuple[type[Exception], ...] = (*store.TRANSIENT, Rejected)

NOT_NOW: tuple[type[Exception], ...] = (*DOWN, httpx.HTTPError)

degradation_manager.register_degradation_rule(
    "reports",
    {
        "degraded_responses": {
            "list": {"reports": [], "message": "Report service degraded"},
            "generate": {"status": "queued", "message": "Generation queued"},
        }
    },
)


async def listed(_: Request) -> JSONResponse:
    """Answer with the newest reports."""
    answer = degraded("list")
    if answer is None:
        try:
            found = await guarded.ask(guarded.tables.newest)
        except DOWN as error:
            answer = degraded("list", error)
        else:
            return JSONResponse(
                {"reports": [{"id": one.id, "month": one.month, "status": one.status} for one in found]}
            )
    return JSONResponse(answer)


async def asked(request: Request) -> JSONResponse:
    """Queue a report, now or when the database is back; 202 either way."""
    try:
        month = str((await request.json())["month"])
    except (ValueError, KeyError, TypeError):
        month = ""
    if not MONTH.fullmatch(month):
        return JSONResponse({"error": 'send {"month": "YYYY-MM"}'}, status_code=422)
    report = uuid.uuid4().hex
    answer = degraded("generate")
    if answer is None:
        try:
            await guarded.ask(guarded.tables.ask, report, month, time.time())
            answer = {"status": "queued"}
        except DOWN as error:
            answer = degraded("generate", error)
            await asyncio.to_thread(spool.keep, guarded.SPOOL, report, month, time.time())
    else:
        await asyncio.to_thread(spool.keep, guarded.SPOOL, report, month, time.time())
    return JSONResponse({**(answer or {}), "id": report}, status_code=202)


async def shown(request: Request) -> JSONResponse:
    """Answer with one report: from the cache, else from the database."""
    report = request.path_params["report"]
    near = await guarded.remembered(report)
    if near is not None:
        return JSONResponse(near)
    try:
        found = await guarded.ask(guarded.tables.report, report)
        if found is None:
            if await asyncio.to_thread(spool.holds, guarded.SPOOL, report):
                return JSONResponse({"id": report, "status": "queued", "report": None})
            # What was kept may have been queued between the two looks.
            found = await guarded.ask(guarded.tables.report, report)
    except DOWN as error:
        after = getattr(error, "retry_after", None) or 1
        headers = {"Retry-After": str(max(1, round(after)))}
        return JSONResponse({"error": "the database does not answer"}, status_code=503, headers=headers)
    if found is None:
        return JSONResponse({"error": f"there is no report {report}"}, status_code=404)
    answer = {"id": found.id, "month": found.month, "status": found.status, "report": found.body}
    if found.status == "done":
        await guarded.remember(report, answer)
    return JSONResponse(answer)


def degraded(operation: str, error: Exception | None = None) -> dict[str, Any] | None:
    """Return the answer that stands in while the service is degraded, else None; an error degrades it."""
    if error is not None:
        reason = f"database: {type(error).__name__}"
        degradation_manager.activate_degradation("reports", reason, while_=guarded.database_is_down, hold=HOLD)
    found: dict[str, Any] | None = degradation_manager.response("reports", operation)
    return found


async def make(report: store.Report) -> None:
    """Make one report and keep it."""
    with rw.operation("report", month=report.month):
        totals = await guarded.ask(guarded.tables.totals, report.month)
        prices = {"EUR": 1.0, **await guarded.rates()}
        regions: list[dict[str, Any]] = [
            {"region": region, "currency": currency, "sales": amount, "euro": round(amount / prices[currency], 2)}
            for region, currency, amount in totals
        ]
        body = {"regions": regions, "total_euro": round(sum(one["euro"] for one in regions), 2)}
        await guarded.ask(guarded.tables.finish, report.id, body)
    rw.counter("reports.made").add()


async def work() -> None:
    """Queue what was kept while the database was away and make what is waiting, one after the other, for ever."""
    beat = rw.heartbeat("report maker")
    while True:
        beat.beat()
        try:
            for path, report, month, when in await asyncio.to_thread(spool.waiting, guarded.SPOOL):
                with contextlib.suppress(*store.TWICE):  # queued already, by whom a kill met before the next line
                    await guarded.ask(guarded.tables.ask, report, month, when)
                path.unlink(missing_ok=True)
            found = await guarded.ask(guarded.tables.waiting)
            if found is not None:
                await make(found)
                continue
        except Rejected:
            pass  # the policy has told it already, once and not twice a second
        except NOT_NOW as error:
            rw.error(error, operation="report maker")
        await asyncio.sleep(PAUSE)


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Prepare the tables, make reports while the service runs."""
    await guarded.ask(guarded.tables.prepare)
    rw.startup.ready()
    worker = asyncio.create_task(work())
    yield
    worker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await worker
    await guarded.client.aclose()


app = Starlette(
    routes=[
        Route("/reports", listed),
        Route("/reports", asked, methods=["POST"]),
        Route("/reports/{report}", shown),
    ],
    lifespan=lifespan,
)
