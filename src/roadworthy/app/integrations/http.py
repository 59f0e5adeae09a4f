"""A request that a server of any kind answers: its duration and outcome, its place in the in-flight table, its route.

Names and labels are OpenTelemetry's (``http.server.request.duration``). A status of 500 or more, or an exception, is a failure.
The route is the template the framework matched, ``other`` where there is none; never the path, of which there may be endlessly many.
A request belongs to its context: what runs inside it finds it here, and an inner layer that begins it once more counts nothing.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

from roadworthy._clock import NS, monotonic_ns
from roadworthy.app import guard, start
from roadworthy.app.inject import lame_duck
from roadworthy.app.integrations import errors, series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.arena import hot

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"})
NAME = "http.server.request.duration"
OTHER = "other"
FAILURE = 500
LONGEST_ROUTE = 120
EVENTS_A_SECOND = 20

_current: ContextVar[Request | None] = ContextVar("roadworthy_request", default=None)
_active: dict[tuple[str, str], hot.Gauge] = {}
_durations: dict[tuple[str, str, int, str, str], hot.Histogram] = {}
_told = [0, 0]


class Request:
    """One request under way. ``status`` 0: no answer has begun."""

    __slots__ = ("began", "done", "gauge", "handle", "method", "route", "scheme", "status", "token")

    def __init__(self, method: str, scheme: str) -> None:
        self.method = method if method in METHODS else "_OTHER"
        self.scheme = scheme
        self.route = ""
        self.status = 0
        self.done = False
        self.handle = -1
        self.gauge: hot.Gauge | None = None
        self.token: Token[Request | None] | None = None
        self.began = monotonic_ns()

    def end(self, error: BaseException | None = None) -> None:
        """Record the request, once; ``error`` is what came out of the application."""
        if self.done:
            return
        self.done = True
        try:
            took = monotonic_ns() - self.began
            self._release()
            if error is not None and not self.status and isinstance(error, Exception):
                self.status = FAILURE
            self._record(took, error)
        except Exception as failure:
            if guard.failed("http request", failure):
                raise

    def _release(self) -> None:
        arena = start.current()
        if arena is not None:
            arena.inflight.leave(self.handle)
        if self.gauge is not None:
            self.gauge.add(-1)
        if self.token is not None:
            try:
                _current.reset(self.token)
            except ValueError:
                pass  # the answer ended in another context, as streamed ones do; that one ends by itself

    def _record(self, took: int, error: BaseException | None) -> None:
        kind = type(error).__name__ if error is not None else str(self.status) if self.status >= FAILURE else ""
        key = self.method, self.route or OTHER, self.status, self.scheme, kind
        duration = _durations.get(key) or _duration(key)
        if duration is not None:
            duration.record(took)
        if self.status >= FAILURE or error is not None:
            name = f"{self.method} {self.route or OTHER}"
            if error is not None and isinstance(error, Exception):
                errors.record(error, operation=name)
            if _may_tell():
                series.event("operation", 40, name, f"{name} {self.status or 'unanswered'} after {took / NS:.3f} s {kind}".rstrip())


def begin(method: str, scheme: str = "http") -> Request | None:
    """Begin a request; None when an outer layer of the same server has begun it, or nothing is recorded here."""
    try:
        outer = _current.get()
        if outer is not None and not outer.done:
            return None
        arena = start.current()
        if arena is None:
            return None
        lame_duck.look()
        request = Request(method, scheme)
        gauge = _active.get((request.method, scheme)) or _gauge(request.method, scheme)
        if gauge is not None:
            request.gauge = gauge
            gauge.add(1)
            request.handle = arena.inflight.enter(gauge.number, 0, b"http.request.method=" + request.method.encode(), request.began)
        request.token = _current.set(request)
        return request
    except Exception as error:
        if guard.failed("http request", error):
            raise
        return None


def route(template: str) -> None:
    """Note which route the request of this context matched; the outermost framework that knows has the word."""
    request = _current.get()
    if request is not None and not request.done and template:
        request.route = template[:LONGEST_ROUTE]


def prefix(template: str) -> None:
    """Note a part of the route that an outer router has matched; the inner route comes after it."""
    request = _current.get()
    if request is not None and not request.done:
        request.route = (request.route + template)[:LONGEST_ROUTE]


def current() -> Request | None:
    """Return the request of this context, None outside one."""
    return _current.get()


def _gauge(method: str, scheme: str) -> hot.Gauge | None:
    labels = (("http.request.method", method), ("url.scheme", scheme))
    made = series.gauge("http.server.active_requests", labels, "{request}", "Requests being answered now.", merge="sum")
    if made is not None:
        _active[method, scheme] = made
    return made


def _duration(key: tuple[str, str, int, str, str]) -> hot.Histogram | None:
    method, template, status, scheme, kind = key
    labels = [("http.request.method", method), ("http.route", template), ("url.scheme", scheme)]
    if status:
        labels.append(("http.response.status_code", str(status)))
    if kind:
        labels.append(("error.type", kind))
    made = series.duration(NAME, tuple(sorted(labels)), "Duration of HTTP server requests.")
    if made is not None and len(_durations) < series.MOST:
        _durations[key] = made
    return made


def _may_tell() -> bool:
    second = monotonic_ns() // NS
    if _told[0] != second:
        _told[:] = [second, 0]
    _told[1] += 1
    return _told[1] <= EVENTS_A_SECOND


def forget() -> None:
    """Forget all instruments; for tests."""
    _active.clear()
    _durations.clear()
