"""The operations API: everything that is known about one program, over HTTP, read from the newest Snapshot.

:func:`routes` is what the agent's server mounts. Who may ask is the server's matter (``agent/gate.py``); it tells by
the scope keys ``roadworthy.reader`` (this request may see data) and ``roadworthy.csrf`` (the value for the page). Here
requests are checked, snapshots turned into documents, and nothing is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.background import BackgroundTask
from starlette.responses import HTMLResponse, Response, StreamingResponse

from roadworthy import _clock
from roadworthy.errors import RoadworthyError
from roadworthy.view import health, performance
from roadworthy.view.openapi import document
from roadworthy.view.prometheus import OPENMETRICS_TYPE, TEXT_TYPE, Renderer
from roadworthy.view.snapshot import dumps, plain
from roadworthy.view.web.accept import preferred
from roadworthy.view.web.config import ConfigViews
from roadworthy.view.web.endpoint import Endpoint, Parameter, Problem
from roadworthy.view.web.pages import dashboard
from roadworthy.view.web.past import Baselines, PastViews, beside, not_measured
from roadworthy.view.web.probes import PROBES, Probes, answer, may_read, mount, probe_routes
from roadworthy.view.web.resilience import ResilienceViews, actor
from roadworthy.view.web.stream import Streams
from roadworthy.watch.operations import worst_first

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from roadworthy.types import History, Snapshot, SnapshotSource

__all__ = ["PROBES", "PUBLIC", "Control", "Views", "preferred", "probe_routes", "routes"]

Control = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Asks for something to be done (``slot`` when it is for one worker) and tells what was begun."""

PUBLIC = PROBES | {"/", "/health/dashboard/html"}
"""Paths that answer without login wherever the server listens; the page is then without data."""

WEEK = 7 * 24 * 3600.0
MOST_POINTS = 2000
MOST_NAMES = 50

_INCIDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_EVENT_ID = re.compile(r"[0-9]{1,18}\Z")


def routes(
    source: SnapshotSource,
    history: History,
    *,
    controls: Mapping[str, Control] | None = None,
    now_ns: Callable[[], int] = _clock.monotonic_ns,
    prefix: str = "",
    frequency: performance.Frequency | None = None,
    baselines: Baselines | None = None,
) -> list[Route]:
    """Return the routes of the operations API.

    ``controls`` maps ``restart``, ``reload`` and each act of ``web/resilience.py`` to what does it; what is missing
    answers 501. ``prefix`` goes before
    every Prometheus name. ``frequency`` tells the errors a minute of a fingerprint, ``baselines`` keeps the baseline.
    """
    past = PastViews(source, history, baselines, frequency)
    return mount(Views(source, history, controls or {}, now_ns, prefix, past, frequency).endpoints())


class Views(Probes):
    """Everything else: documents, metrics, the stream, the page and the controls."""

    def __init__(
        self,
        source: SnapshotSource,
        history: History,
        controls: Mapping[str, Control],
        now_ns: Callable[[], int],
        prefix: str,
        past: PastViews,
        frequency: performance.Frequency | None,
    ) -> None:
        super().__init__(source, now_ns)
        self._history = history
        self._controls = controls
        self._streams = Streams(source)
        self._renderers = {
            media: Renderer(openmetrics=media is OPENMETRICS_TYPE, prefix=prefix)
            for media in (TEXT_TYPE, OPENMETRICS_TYPE)
        }
        self._openapi = b""
        self._told = past
        self._frequency = frequency

    def endpoints(self) -> list[Endpoint]:
        """Return the table."""
        told = (*self._health(), *self._api(), *self._performance(), *self._told.endpoints(), *self._changes())
        resilience = ResilienceViews(self._source, self._controls).endpoints()
        return [*super().endpoints(), *told, *resilience, *ConfigViews(self._controls).endpoints()]

    def _health(self) -> list[Endpoint]:
        metrics = ("text/plain", "application/openmetrics-text")
        page, html = "The dashboard.", ("text/html",)
        return [
            Endpoint("/health/detailed", self.detailed, "How everything is, and what the verdict rests on.", "health"),
            Endpoint("/health/services", self.services, "How each worker and each check is.", "health"),
            Endpoint(
                "/health/dashboard", self.snapshot, "What the dashboard shows, as JSON.", "health", schema="Snapshot"
            ),
            Endpoint("/health/dashboard/html", self.page, page, "page", media=html),
            Endpoint("/", self.page, page, "page", media=html),
            Endpoint("/metrics", self.metrics, "Metrics for Prometheus.", "metrics", media=metrics),
            Endpoint("/health/metrics", self.metrics, "Metrics for Prometheus, the same.", "metrics", media=metrics),
        ]

    def _api(self) -> list[Endpoint]:
        names = Parameter(
            "names", "list", "Which figures; without it, every figure that the snapshot names now.", most=MOST_NAMES
        )
        seconds = Parameter("seconds", "number", "How far back.", 3600.0, 1, 5 * 366 * 24 * 3600)
        points = Parameter("points", "integer", "At most so many points a figure.", 300, 2, MOST_POINTS)
        limit = Parameter("limit", "integer", "At most so many.", 50, 1, 1000)
        missing = ((200, "As asked."), (404, "There is no such incident."))
        wanted = (names, seconds, points)
        name = Parameter("name", "string", "Only series whose name begins so.")
        stream = ("text/event-stream",)
        return [
            Endpoint("/api/snapshot", self.snapshot, "Everything that is known now.", "api", schema="Snapshot"),
            Endpoint(
                "/api/events",
                self.events,
                "The snapshot each second and every event, as they come.",
                "api",
                media=stream,
            ),
            Endpoint("/api/history", self.history, "Figures over time; a gap is null.", "api", parameters=wanted),
            Endpoint("/api/incidents", self.incidents, "Incidents, newest first.", "api", parameters=(limit,)),
            Endpoint("/api/incidents/{id}", self.incident, "One incident with its last words.", "api", answers=missing),
            Endpoint("/api/series", self.series, "The program's metrics.", "api", parameters=(name,)),
            Endpoint(
                "/api/signals",
                self.signals,
                "Which signals were really received, and which declared ones never came.",
                "api",
            ),
            Endpoint("/api/operations", self.operations, "Operations, worst first, and those under way.", "api"),
            Endpoint("/api/openapi.json", self.openapi, "This document.", "api"),
        ]

    def _performance(self) -> list[Endpoint]:
        base = "/api/performance"
        return [
            Endpoint(f"{base}/resources/current", self.resources, "Resource use now.", "performance"),
            Endpoint(
                f"{base}/startup/stats",
                self._of(performance.startup_stats),
                "How long starts took, and where.",
                "performance",
            ),
            Endpoint(
                f"{base}/overview",
                self._of(lambda snapshot: performance.overview(snapshot, self._frequency)),
                "Everything for a diagnosis.",
                "performance",
            ),
            Endpoint(
                f"{base}/errors/summary",
                self._of(lambda snapshot: performance.errors_summary(snapshot, self._frequency)),
                "Errors by group, type and operation.",
                "performance",
            ),
        ]

    def _changes(self) -> list[Endpoint]:
        slot = Parameter("slot", "integer", "Only this worker.", None, 0, 4095)
        begun = ((202, "It was begun."), (403, "CSRF value or origin is wrong."), (501, "This agent cannot do it."))
        return [
            Endpoint(
                "/api/restart", self._control("restart"), "Restart the workers.", "control", "POST", (slot,), begun
            ),
            Endpoint(
                "/api/reload",
                self._control("reload"),
                "Reload without dropping a request.",
                "control",
                "POST",
                (),
                begun,
            ),
        ]

    # -- documents

    async def detailed(self, _request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer the complete state; the HTTP status is that of ``/health``."""
        snapshot, now = self._source.latest(), self._now_ns()
        return answer(health.health_status(snapshot, now), health.basic(snapshot, now)[0])

    async def services(self, _request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer the state of each service."""
        return answer(health.services(self._source.latest(), self._now_ns()))

    async def snapshot(self, _request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer the snapshot."""
        return Response(dumps(self._now()), media_type="application/json")

    async def series(self, _request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer the program's series."""
        begin = asked["name"] or ""
        return answer({"series": plain([one for one in self._now().series if one.name.startswith(begin)])})

    async def signals(self, _request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer signals and beats."""
        snapshot = self._now()
        return answer({"signals": plain(snapshot.signals), "beats": plain(snapshot.beats)})

    async def operations(self, _request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer operations and what is in flight."""
        snapshot = self._now()
        ordered = sorted(snapshot.operations, key=worst_first)
        return answer({"operations": plain(ordered), "in_flight": plain(snapshot.in_flight)})

    async def resources(self, _request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer resource use now."""
        return answer(performance.resources_now(self._now()))

    async def history(self, _request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer figures over time."""
        snapshot = self._now()
        names = asked["names"] or sorted(snapshot.gauges)[:MOST_NAMES]
        found = await beside(self._history.query, names, snapshot.at - asked["seconds"], snapshot.at, asked["points"])
        return answer(
            {
                "start": snapshot.at - asked["seconds"],
                "end": snapshot.at,
                "series": {name: _points(found.get(name, ())) for name in names},
            }
        )

    async def incidents(self, _request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer the list of incidents."""
        return answer({"incidents": plain(list(await beside(self._history.incidents, asked["limit"])))})

    async def incident(self, request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer one incident's bundle."""
        wanted = request.path_params["id"]
        bundle = await beside(self._history.incident, wanted) if _INCIDENT.match(wanted) else None
        if bundle is None:
            raise Problem(
                404,
                "no-such-incident",
                f"There is no incident {wanted[:80]!r}.",
                "See /api/incidents for those that are kept.",
            )
        return answer(bundle)

    async def openapi(self, _request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer the OpenAPI document."""
        if not self._openapi:
            self._openapi = json.dumps(document(self.endpoints(), PUBLIC)).encode()
        return Response(self._openapi, media_type="application/json")

    # -- metrics, stream, page

    async def metrics(self, request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer the exposition in the format that the client prefers."""
        renderer = self._renderers[preferred(request.headers.get("accept", ""))]
        return Response(renderer.render(self._now()), headers={"Content-Type": renderer.content_type, "Vary": "Accept"})

    async def events(self, request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer the stream."""
        given = request.headers.get("last-event-id", "").strip()
        if given and not _EVENT_ID.match(given):
            raise Problem(
                400,
                "bad-event-id",
                f"Last-Event-ID cannot be {given[:80]!r}.",
                "It is the id of the last event that you received.",
            )
        wake = self._streams.admit()
        stream = self._streams.stream(wake, int(given) if given not in {"", "0"} else None)
        leave = BackgroundTask(self._streams.leave, wake)
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}, background=leave
        )

    async def page(self, request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer the dashboard; who may not read gets it without data, and it asks for them with the token."""
        snapshot = self._source.latest()
        content = dumps(snapshot, compact=True) if snapshot is not None and may_read(request) else "null"
        app = snapshot.app if snapshot is not None and may_read(request) else "roadworthy"
        verdict = snapshot.verdict if snapshot is not None and may_read(request) else None
        html = dashboard.render(content, app=app, csrf=request.scope.get("roadworthy.csrf", ""), verdict=verdict)
        return HTMLResponse(html, headers={"Content-Security-Policy": dashboard.content_security_policy()})

    # -- changes

    def _control(self, name: str) -> Callable[[Request, Mapping[str, Any]], Awaitable[Response]]:
        async def act(request: Request, asked: Mapping[str, Any]) -> Response:
            control = self._controls.get(name)
            if control is None:
                raise Problem(
                    501,
                    "cannot-do",
                    f"This agent cannot {name} the program.",
                    "It was attached and has no keeper to ask.",
                )
            try:
                given = {key: value for key, value in asked.items() if value is not None}
                done = await control({**given, "actor": actor(request)})
            except RoadworthyError as error:
                raise Problem(409, "refused", error.what, error.hint) from error
            return answer(done, HTTPStatus.ACCEPTED)

        return act

    def _now(self) -> Snapshot:
        snapshot = self._source.latest()
        if snapshot is None:
            raise not_measured()
        return snapshot

    def _of(
        self, build: Callable[[Snapshot], dict[str, Any]]
    ) -> Callable[[Request, Mapping[str, Any]], Awaitable[Response]]:
        async def act(_request: Request, _asked: Mapping[str, Any]) -> Response:
            return answer(build(self._now()))

        return act


def _points(points: Any) -> list[list[float | None]]:  # noqa: ANN401 - as the history gives them
    return [[at, value if value is None or value - value == 0 else None] for at, value in points]
