"""Small answers for orchestrators, proxies and uptime services, and what every answer of the API is made with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from roadworthy import _clock
from roadworthy.view import health
from roadworthy.view.web.endpoint import Endpoint, Parameter

if TYPE_CHECKING:
    from starlette.requests import Request

    from roadworthy.types import SnapshotSource

PROBES = frozenset({"/health", "/healthz", "/livez", "/readyz", "/startupz"})
_VERBOSE = Parameter("verbose", "flag", "Say what was looked at and how each did.")
_EXCLUDE = Parameter("exclude", "list", "Leave one thing out; may be repeated.", most=64)
_PROBE_ANSWERS = ((200, "Yes."), (503, "No, or not known; the body names what failed."))


def probe_routes(source: SnapshotSource, *, now_ns: Callable[[], int] = _clock.monotonic_ns) -> list[Route]:
    """Return only what orchestrators and proxies ask, for ``--probe-bind``."""
    return mount([endpoint for endpoint in Probes(source, now_ns).endpoints() if endpoint.path in PROBES])


def mount(endpoints: list[Endpoint]) -> list[Route]:
    """Return a route for each endpoint; a program's own names (of policies, services, features) may have slashes."""
    routes = []
    for one in endpoints:
        path = one.path.replace("{name}", "{name:path}").replace("{service}", "{service:path}")
        route = Route(path, one.__call__, methods=[one.method], name=f"{one.method} {one.path}")
        route.path = one.path  # as it is documented; requests are matched by what was compiled of the other
        routes.append(route)
    return routes


class Probes:
    """Small answers for orchestrators, proxies and uptime services."""

    def __init__(self, source: SnapshotSource, now_ns: Callable[[], int]) -> None:
        self._source = source
        self._now_ns = now_ns

    def endpoints(self) -> list[Endpoint]:
        """Return the table."""
        text, asked = ("text/plain",), (_VERBOSE, _EXCLUDE)
        statuses = ((200, "ok or degraded."), (503, "unhealthy, or not known."))
        return [
            Endpoint("/health", self.basic, "How it is, in one word.", "health", answers=statuses),
            Endpoint(
                "/livez", self.livez, "Is it alive?", "health", parameters=asked, answers=_PROBE_ANSWERS, media=text
            ),
            Endpoint(
                "/readyz",
                self.readyz,
                "Can it do its work?",
                "health",
                parameters=asked,
                answers=_PROBE_ANSWERS,
                media=text,
            ),
            Endpoint(
                "/healthz",
                self.readyz,
                "The older name of /readyz.",
                "health",
                parameters=asked,
                answers=_PROBE_ANSWERS,
                media=text,
            ),
            Endpoint(
                "/startupz",
                self.startupz,
                "Is its start over?",
                "health",
                parameters=asked,
                answers=_PROBE_ANSWERS,
                media=text,
            ),
        ]

    async def basic(self, _request: Request, _asked: Mapping[str, Any]) -> Response:
        """Answer C-02's one word."""
        code, body = health.basic(self._source.latest(), self._now_ns())
        return Response(json.dumps(body), code, media_type="application/json")

    async def livez(self, request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer whether the program lives."""
        return self._probe("livez", health.alive(self._source.latest(), self._now_ns()), request, asked)

    async def readyz(self, request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer whether the program can do its work."""
        name = request.url.path.strip("/")
        return self._probe(name, health.ready(self._source.latest(), self._now_ns(), asked["exclude"]), request, asked)

    async def startupz(self, request: Request, asked: Mapping[str, Any]) -> Response:
        """Answer whether the start is over."""
        return self._probe("startupz", health.started(self._source.latest(), self._now_ns()), request, asked)

    def _probe(self, name: str, items: list[health.ProbeItem], request: Request, asked: Mapping[str, Any]) -> Response:
        verbose = asked["verbose"] and may_read(request)
        code, text = health.probe_text(name, items, asked["exclude"], verbose=verbose)
        return PlainTextResponse(text, code)


def answer(content: Any, status: int = 200) -> Response:  # noqa: ANN401 - any JSON value
    """Return a JSON answer; raises ``ValueError`` where a figure is no number, which must not have come this far."""
    return Response(
        json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        status,
        media_type="application/json",
    )


def may_read(request: Request) -> bool:
    """Return whether this request may see data, as the server decided."""
    return bool(request.scope.get("roadworthy.reader", True))
