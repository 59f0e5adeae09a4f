"""A request that a server of any kind answers: its duration and outcome, its place in the in-flight table, its route.

Names and labels are OpenTelemetry's (``http.server.request.duration``). A status of 500 or more, or an exception, is
a failure. The route is the template the framework matched, ``other`` where there is none; never the path, of which
there may be endlessly many. A request belongs to its context: what runs inside it finds it here, and an inner layer
that begins it once more counts nothing.

Identifiers that come in headers (``X-Request-ID``, ``traceparent``) are bound while the request lasts and go back with
the answer. A request that brings none is given one when something in it is logged or fails, which costs the others
nothing.
"""

# ruff: noqa: SLF001 - the hot path writes the in-flight table itself, as FORMAT.md and hot.InFlight have it

from __future__ import annotations

import sys
from contextvars import ContextVar

from roadworthy._clock import NS, monotonic_ns
from roadworthy.app import guard, start
from roadworthy.app.inject import lame_duck
from roadworthy.app.integrations import errors, series
from roadworthy.arena.hot import cut
from roadworthy.arena.layout import INFLIGHT_CONTEXT
from roadworthy.log import correlation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from typing import Any

    from roadworthy.arena import hot
    from roadworthy.log.correlation import Bound

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"})
NAME = "http.server.request.duration"
OTHER = "other"
FAILURE = 500
LONGEST_ROUTE = 120
MOST_STATUSES = 64
EVENTS_A_SECOND = 20

LOOK_NS = 250_000_000

_current: ContextVar[Request | None] = ContextVar("roadworthy_request", default=None)
_entries: dict[tuple[str, str], Entry] = {}
_places = [0]
_inside: list[ContextVar[Any]] = []
_told = [0, 0]
_look_due = [0]


class Entry:
    """What requests of one method and scheme share: the series that stands for them among the operations under way.

    That series (``http.server.active_requests``) is never set: how many there are is what the in-flight table says.
    """

    __slots__ = ("cell", "free", "inflight", "method", "nowhere", "number", "scheme")

    def __init__(self, method: str, scheme: str, number: int, inflight: hot.InFlight) -> None:
        self.method = method
        self.scheme = scheme
        self.number = number
        self.inflight = inflight
        self.cell = inflight._cell
        self.free = inflight._free
        self.nowhere = Place(self, "")


class Place:
    """What requests of one entry and route share, so that a request that goes well formats and looks up little."""

    __slots__ = ("context", "entry", "inner", "length", "records", "route", "word")

    def __init__(self, entry: Entry, route: str) -> None:
        self.entry = entry
        self.route = route
        shown = f"\x1fhttp.route={route}" if route else ""
        self.context = cut(f"http.request.method={entry.method}{shown}".encode("utf-8", "replace"), INFLIGHT_CONTEXT)
        self.length = len(self.context)
        self.word = entry.number | self.length << 32
        self.records: dict[int, Callable[[int], None]] = {}
        self.inner: dict[str, Place] = {}


class Request:
    """One request under way, made by :func:`begin`. ``status`` 0: no answer has begun."""

    __slots__ = ("_handle", "began", "bound", "done", "outer", "place", "status", "tied", "token")

    place: Place
    outer: tuple[Any, Token[Any]] | None
    token: Token[Request | None] | None
    bound: Bound | None
    tied: Token[Bound] | None
    status: int
    done: bool
    began: int
    _handle: int

    @property
    def method(self) -> str:
        """The method, ``_OTHER`` when it is none that HTTP knows."""
        return self.place.entry.method

    @property
    def route(self) -> str:
        """The route that was matched so far, empty when none was."""
        return self.place.route

    @property
    def name(self) -> str:
        """What the request is called among the operations: method and route."""
        return f"{self.method} {self.route or OTHER}"

    @property
    def ended(self) -> bool:
        """Whether it is over; what an operation around some code is asked too."""
        return self.done

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
            place = self.place
            if handle := self._handle:
                self._handle = place.entry.cell.q[handle] = 0  # InFlight.leave written out
                place.entry.free.append(handle)
            status = self.status
            if error is None and status < FAILURE:
                (place.records.get(status) or record_of(place, status))(took)
            else:
                self._failed(took, error)
            try:
                if self.token is not None:
                    _current.reset(self.token)
                if self.outer is not None:
                    self.outer[0].reset(self.outer[1])
                if self.tied is not None:
                    correlation.unbind(self.tied)
            except (ValueError, RuntimeError):
                return  # the answer ended in another context, as streamed ones do; that one ends by itself
        except Exception as failure:
            if guard.failed("http request", failure):
                raise

    def _failed(self, took: int, error: BaseException | None) -> None:
        if not self.status and isinstance(error, Exception):
            self.status = FAILURE
        kind = str(self.status) if error is None else type(error).__name__
        duration = _duration(self.place, self.status, kind)
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
        entry = _entries.get((method, scheme)) or entry_of(method, scheme)
        if entry is None:
            return None
        request = Request()
        request.place = entry.nowhere
        request.status = 0
        request.done = False
        request.outer = request.bound = request.tied = None
        request.began = now = monotonic_ns()
        request._handle = max(0, entry.inflight.enter(entry.number, 0, b"", now))
        if now >= _look_due[0]:
            look(now)
        request.token = _current.set(request)
        if _inside:
            # The program's own operations in here are part of this request.
            request.outer = (_inside[0], _inside[0].set(request))
        return request
    except Exception as error:
        if guard.failed("http request", error):
            raise
        return None


def tie(request: Request, request_id: str, traceparent: str) -> None:
    """Bind what a request's headers brought, until it ends; what is not valid is passed over."""
    try:
        from roadworthy.log.headers import from_headers

        made = from_headers(request_id, traceparent)
        if made is not None:
            request.bound = made
            request.tied = correlation.bind_all(made)
    except Exception as error:
        if guard.failed("http headers", error):
            raise


def tie_pairs(request: Request, pairs: list[Any]) -> None:
    """Bind what these pairs of header and value, both bytes, bring: those of them that are ours."""
    tie(request, *_texts(pairs))


def lasting(pairs: list[Any]) -> Token[Bound]:
    """Bind identifiers until the result is handed to ``correlation.unbind``: what headers bring, else a new one."""
    made = None
    try:
        from roadworthy.log.headers import from_headers

        made = from_headers(*_texts(pairs))
    except Exception as error:
        if guard.failed("http headers", error):
            raise
    return correlation.bind_all(made or correlation.Bound(correlation.new()))


def _texts(pairs: list[Any]) -> tuple[str, str]:
    found = {bytes(name): bytes(value).decode("latin-1") for name, value in pairs}
    return found.get(b"x-request-id", ""), found.get(b"traceparent", "")


def answer_headers(request: Request) -> list[tuple[str, str]]:
    """Return the headers that take a request's identifiers back to who asked; none when it has none."""
    try:
        if request.bound is None:
            return []
        from roadworthy.log.headers import to_headers

        return to_headers(request.bound)
    except Exception as error:
        if guard.failed("http headers", error):
            raise
        return []


def _identifiers() -> Bound | None:
    """Return the identifiers of this context's request, made when they are first asked for."""
    request = _current.get()
    if request is None:
        return None
    if request.bound is None:
        request.bound = correlation.Bound(correlation.new())
    return request.bound


correlation.ask(_identifiers)


def look(now: int) -> None:
    """Look whether this process is a lame duck by now; done four times a second, with a request."""
    _look_due[0] = now + LOOK_NS
    lame_duck.look()


def rename(request: Request, method: str) -> None:
    """Give a request its method, for servers that know it only later."""
    scheme = request.place.entry.scheme
    entry = _entries.get((method, scheme)) or entry_of(method, scheme)
    if entry is not None:
        _put(request, inner(entry.nowhere, request.route) if request.route else entry.nowhere)


def learn(request: Request, template: str) -> None:
    """Note which route a request matched."""
    nowhere = request.place.entry.nowhere
    _put(request, nowhere.inner.get(template) or inner(nowhere, template))


def route(template: str) -> None:
    """Note which route the request of this context matched; the last framework that knows has the word."""
    request = _current.get()
    if request is not None and not request.done and template:
        learn(request, template)


def prefix(template: str) -> None:
    """Note a part of the route that an outer router has matched; the inner route comes after it."""
    request = _current.get()
    if request is not None and not request.done:
        place = request.place
        _put(request, place.inner.get(template) or inner(place, template))


def _put(request: Request, place: Place) -> None:
    """Take a place, and write it into the table of operations under way as ``InFlight.enter`` would."""
    try:
        request.place = place
        if handle := request._handle:
            cell = place.entry.cell
            at = (handle << 3) + 32
            cell.b[at : at + place.length] = place.context
            cell.q[handle + 1] = place.word
    except Exception as error:
        if guard.failed("http request", error):
            raise


def inner(place: Place, template: str) -> Place:
    """Return the place below ``place``, remembered while there are not too many."""
    made = Place(place.entry, (place.route + template)[:LONGEST_ROUTE])
    if _places[0] < series.MOST:
        _places[0] += 1
        made = place.inner.setdefault(template, made)
    return made


def enclose(operation: ContextVar[Any]) -> None:
    """Name requests in the variable, too, in which the program's own operations find the one around them."""
    _inside[:] = [operation]


def current() -> Request | None:
    """Return the request of this context that is under way, None outside one."""
    found = _current.get()
    return None if found is None or found.done else found


def entry_of(method: str, scheme: str) -> Entry | None:
    """Return what requests of this method and scheme share; remembered for the next one, None without an arena."""
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


def record_of(place: Place, status: int) -> Callable[[int], None]:
    """Return what records a success of this place and status."""
    found = _duration(place, status, "")
    if found is None:
        return _nowhere
    if len(place.records) < MOST_STATUSES:
        place.records[status] = found.record
    return found.record


def _nowhere(_took: int) -> None:
    """Stand in for a histogram where there is no arena."""


def _duration(place: Place, status: int, kind: str) -> hot.Histogram | None:
    entry = place.entry
    labels = [
        ("http.request.method", entry.method),
        ("http.route", place.route or OTHER),
        ("url.scheme", entry.scheme),
    ]
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
    _places[0] = 0
    _look_due[0] = 0


if (_operation := sys.modules.get("roadworthy.app.operation")) is not None:
    enclose(_operation._current)
