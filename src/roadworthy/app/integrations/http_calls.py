"""What a request to an outside service has in common over the clients: its duration, its bytes, its identifiers.

``http.client.request.duration`` is the time from the request (with the connection, where one is made) to the answer's
head, once for each attempt that goes out: what is redirected or tried again counts again. ``http.client.io`` are the
bytes of HTTP that were exchanged with a host: what is sent is the head and the body of each request; what is received
are bodies, as they came (still compressed, without the marks between chunks) and only as far as they came. What TLS,
TCP and proxies add, the heads of answers, and what follows a change of protocol (WebSocket) are not in it.

Identifiers that are bound are sent along, never over a header that the program has set; nothing where none are bound.
"""

# ruff: noqa: ANN401 - what is measured is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy._clock import monotonic_ns
from roadworthy.app import guard
from roadworthy.app.integrations import http, series
from roadworthy.log.correlation import NOTHING, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

FAILURE = 400
"""To a client, also what it did wrong itself is a failure."""

LONGEST_HOST = 80
DURATION = "http.client.request.duration"
BYTES = "http.client.io"


class Call:
    """One request on its way; ``counted`` is set where somebody counts what is sent of it already."""

    __slots__ = ("began", "counted", "host", "method", "place")

    def __init__(self, place: str, method: Any, host: Any) -> None:
        self.place = place
        self.method = method
        self.host = host
        self.counted = False
        self.began = monotonic_ns()

    def end(self, status: int, error: BaseException | None = None) -> None:
        """Record it: with the status of its answer, or with 0 and what came instead of one. Never raises."""
        try:
            labels = [
                ("http.request.method", self.method if self.method in http.METHODS else "_OTHER"),
                ("server.address", str(self.host)[:LONGEST_HOST]),
            ]
            if status:
                labels.append(("http.response.status_code", str(status)))
            kind = type(error).__name__ if error is not None else str(status) if status >= FAILURE else ""
            if kind:
                labels.append(("error.type", kind))
            duration = series.duration(DURATION, tuple(sorted(labels)), "Duration of HTTP client requests.")
            if duration is not None:
                duration.record(monotonic_ns() - self.began)
        except Exception as failure:
            if guard.failed(self.place, failure):
                raise


def sent(host: Any) -> Callable[[float], None] | None:
    """Return what counts bytes sent to ``host``, None without an arena."""
    return _adds("transmit", host)


def received(host: Any) -> Callable[[float], None] | None:
    """Return what counts bytes received from ``host``, None without an arena."""
    return _adds("receive", host)


def _adds(direction: str, host: Any) -> Callable[[float], None] | None:
    labels = (("network.io.direction", direction), ("server.address", str(host)[:LONGEST_HOST]))
    found = series.counter(BYTES, labels, "By", "Bytes exchanged with outside services over HTTP.")
    return None if found is None else found.add


def head_size(method: str, target: Any, headers: Iterable[tuple[Any, Any]]) -> int:
    """Return how long the head of an HTTP/1 request is: its request line and headers, each with its line's end."""
    return len(method) + len(target) + 14 + sum([len(name) + len(value) + 4 for name, value in headers])


def identifiers() -> list[tuple[str, str]]:
    """Return the headers for what is bound here; none when nothing is."""
    here = known()
    if here is NOTHING:
        return []
    from roadworthy.log.headers import to_headers

    return to_headers(here)


def need(owner: Any, *names: str) -> None:
    """Raise AttributeError when ``owner`` has not all of these: a version that we do not know is left alone."""
    for name in names:
        getattr(owner, name)
