"""A request that a server of any kind answers: its duration and outcome, its place in the in-flight table, its route.

Names and labels are OpenTelemetry's (``http.server.request.duration``). A status of 500 or more, or an exception, is
a failure. The route is the template the framework matched, ``other`` where there is none; never the path, of which
there may be endlessly many. A request belongs to its context: what runs inside it finds it here, and an inner layer
that begins it once more counts nothing.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar

from roadworthy._clock import NS, monotonic_ns
from roadworthy.app import guard, start
from roadworthy.app.inject import lame_duck
from roadworthy.app.integrations import errors, series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Token
    from typing import Any

    from roadworthy.arena import hot

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"})
NAME = "http.server.request.duration"
OTHER = "other"
FAILURE = 500
LONGEST_ROUTE = 120
EVENTS_A_SECOND = 20

LOOK_NS = 250_000_000

_current: ContextVar[Request | None] = ContextVar("roadworthy_request", default=None)
_entries: dict[tuple[str, str], Entry] = {}
_contexts: dict[tuple[str, str], bytes] = {}
_told = [0, 0]
_look_due = [0]


class Entry:
    """What requests of one method and scheme share: the series that stands for them among the operations under way.

    That series (``http.server.active_requests``) is never set: how many there are is what the in-flight table says.
    """

    __slots__ = ("durations", "inflight", "method", "number", "scheme")

    def __init__(self, method: str, scheme: str, number: int, inflight: hot.InFlight) -> None:
        self.method = method
        self.scheme = scheme
        self.number = number
        self.inflight = inflight
        self.durations: dict[tuple[str, int], hot.Histogram] = {}


class Request:
    """One request under way. ``status`` 0: no answer has begun."""

    __slots__ = ("_handle", "began", "done", "entry", "method", "outer", "route", "status", "token")

    outer: tuple[Any, Token[Any]] | None
    token: Token[Request | None] | None

    def __init__(self, entry: Entry, began: int) -> None:
        self.entry = entry
        self.method = entry.method
        self.route = ""
        self.status = 0
        self.done = False
        self.outer = self.token = None
        self.began = began
        self._handle = entry.inflight.enter(entry.number, 0, b"", began)

    @property
    def name(self) -> str:
        """What the request is called among the operations: method and route."""
        return f"{self.method} {self.route or OTHER}"

    @property
    def _recorder(self) -> Request:
        return self  # what roadworthy.app.operation asks the operation around it for: its name and its handle

    def end(self, error: BaseException | None = None) -> None:
        """Record the request, once; ``error`` is what came out of the application."""
        if self.done:
            return
        self.done = True
        try:
            took = monotonic_ns() - self.began
            self.entry.inflight.leave(self._handle)
            self._handle = 0
            status = self.status
            if error is not None or status >= FAILURE:
                self._failed(took, error)
            else:
                duration = self.entry.durations.get((self.route, status)) or self._success()
                if duration is not None:
                    duration.record(took)
            try:
                if self.token is not None:
                    _current.reset(self.token)
                if self.outer is not None:
                    self.outer[0].reset(self.outer[1])
            except (ValueError, RuntimeError):
                return  # the answer ended in another context, as streamed ones do; that one ends by itself
        except Exception as failure:
            if guard.failed("http request", failure):
                raise

    def _success(self) -> hot.Histogram | None:
        entry = self.entry
        found = _duration((entry.method, self.route, self.status, entry.scheme, ""))
        if found is not None and len(entry.durations) < series.MOST:
            entry.durations[self.route, self.status] = found
        return found

    def _failed(self, took: int, error: BaseException | None) -> None:
        if not self.status and isinstance(error, Exception):
            self.status = FAILURE
        kind = str(self.status) if error is None else type(error).__name__
        key = self.method, self.route, self.status, self.entry.scheme, kind
        duration = _duration(key)
        if duration is not None:
            duration.record(took)
        if isinstance(error, Exception):
            errors.record(error, operation=self.name)
        if _may_tell():
            what = f"{self.name} {self.status or 'unanswered'} after {took / NS:.3f} s"
            series.event("operation", 40, self.name, f"{what} {kind}" if error is not None else what)


def begin(method: str, scheme: str = "http") -> Request | None:
    """Begin a request; None when an outer layer of the same server has begun it, or nothing is recorded here."""
    try:
        outer = _current.get()
        if outer is not None and not outer.done:
            return None
        entry = _entries.get((method, scheme)) or _entry(method, scheme)
        if entry is None:
            return None
        now = monotonic_ns()
        if now >= _look_due[0]:
            _look_due[0] = now + LOOK_NS
            lame_duck.look()
        request = Request(entry, now)
        request.token = _current.set(request)
        operations = sys.modules.get("roadworthy.app.operation")
        if operations is not None:
            # The program's own operations in here are part of this request.
            request.outer = (operations._current, operations._current.set(request))  # noqa: SLF001 - ours
        return request
    except Exception as error:
        if guard.failed("http request", error):
            raise
        return None


def rename(request: Request, method: str) -> None:
    """Give a request its method, for servers that know it only later."""
    entry = _entries.get((method, request.entry.scheme)) or _entry(method, request.entry.scheme)
    if entry is not None:
        request.entry, request.method = entry, entry.method
        _show(request)


def route(template: str) -> None:
    """Note which route the request of this context matched; the last framework that knows has the word."""
    request = _current.get()
    if request is not None and not request.done and template:
        request.route = template[:LONGEST_ROUTE]
        _show(request)


def prefix(template: str) -> None:
    """Note a part of the route that an outer router has matched; the inner route comes after it."""
    request = _current.get()
    if request is not None and not request.done:
        request.route = (request.route + template)[:LONGEST_ROUTE]
        _show(request)


def _show(request: Request) -> None:
    """Write the route into the request's place among the operations under way; the method is its series' label."""
    try:
        handle = request._handle  # noqa: SLF001 - ours
        if handle <= 0:
            return
        context = _contexts.get((request.method, request.route))
        if context is None:
            place = f"\x1fhttp.route={request.route}" if request.route else ""
            context = f"http.request.method={request.method}{place}".encode("utf-8", "replace")
            if len(_contexts) < series.MOST:
                _contexts[request.method, request.route] = context
        entry = request.entry
        cell = entry.inflight._cell  # noqa: SLF001 - FORMAT.md, in-flight table: what InFlight.enter writes
        at = (handle << 3) + 32
        cell.b[at : at + len(context)] = context
        cell.q[handle + 1] = entry.number | len(context) << 32
    except Exception as error:
        if guard.failed("http request", error):
            raise


def current() -> Request | None:
    """Return the request of this context, None outside one."""
    return _current.get()


def _entry(method: str, scheme: str) -> Entry | None:
    arena = start.current()
    if arena is None:
        return None
    known = method if method in METHODS else "_OTHER"
    labels = (("http.request.method", known), ("url.scheme", scheme))
    gauge = series.gauge("http.server.active_requests", labels, "{request}", "Requests being answered now.")
    if gauge is None:
        return None
    made = Entry(known, scheme, gauge.number, arena.inflight)
    if len(_entries) < series.MOST:
        _entries[method, scheme] = made
    return made


def _duration(key: tuple[str, str, int, str, str]) -> hot.Histogram | None:
    method, template, status, scheme, kind = key
    labels = [("http.request.method", method), ("http.route", template or OTHER), ("url.scheme", scheme)]
    if status:
        labels.append(("http.response.status_code", str(status)))
    if kind:
        labels.append(("error.type", kind))
    return series.duration(NAME, tuple(sorted(labels)), "Duration of HTTP server requests.")


def _may_tell() -> bool:
    second = monotonic_ns() // NS
    if _told[0] != second:
        _told[:] = [second, 0]
    _told[1] += 1
    return _told[1] <= EVENTS_A_SECOND


def forget() -> None:
    """Forget all instruments; for tests."""
    _entries.clear()
    _contexts.clear()
    _look_due[0] = 0
