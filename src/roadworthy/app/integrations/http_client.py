"""``http.client``, and with it ``urllib.request``, requests and urllib3: from request line to the answer's head."""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy._clock import monotonic_ns
from roadworthy.app import guard
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import http, series
from roadworthy.log.correlation import NOTHING, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

FAILURE = 400
"""To a client, also what it did wrong itself is a failure."""

_STATE = "_roadworthy_call"


def install(module: ModuleType) -> None:
    """Measure requests made through ``HTTPConnection`` and what derives from it."""
    connection = module.HTTPConnection

    def make_put(original: Any) -> Any:
        def putrequest(self: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
            self.__dict__[_STATE] = (method, monotonic_ns())
            return original(self, method, *args, **kwargs)

        return putrequest

    def make_send(original: Any) -> Any:
        def endheaders(self: Any, *args: Any, **kwargs: Any) -> Any:
            _identify(self)
            try:
                return original(self, *args, **kwargs)
            except BaseException as error:
                _record(self, 0, error)
                raise

        return endheaders

    def make_get(original: Any) -> Any:
        def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                response = original(self, *args, **kwargs)
            except BaseException as error:
                _record(self, 0, error)
                raise
            _record(self, getattr(response, "status", 0), None)
            return response

        return getresponse

    wrap(connection, "putrequest", make_put)
    wrap(connection, "endheaders", make_send)
    wrap(connection, "getresponse", make_get)


def _identify(connection: Any) -> None:
    """Send the identifiers that are bound here along, those for which the program has set no header of its own."""
    here = known()
    if here is NOTHING:
        return
    try:
        from roadworthy.log.headers import to_headers

        sent = [bytes(line).lower() for line in getattr(connection, "_buffer", ())]
        for name, value in to_headers(here):
            start = f"{name.lower()}:".encode("ascii")
            if not any(line.startswith(start) for line in sent):
                connection.putheader(name, value.encode("ascii", "ignore"))
    except Exception as failure:
        if guard.failed("http.client headers", failure):
            raise


def _record(connection: Any, status: int, error: BaseException | None) -> None:
    try:
        call = connection.__dict__.pop(_STATE, None)
        if call is None:
            return
        method, began = call
        labels = [
            ("http.request.method", method if method in http.METHODS else "_OTHER"),
            ("server.address", str(connection.host)[:80]),
        ]
        if status:
            labels.append(("http.response.status_code", str(status)))
        kind = type(error).__name__ if error is not None else str(status) if status >= FAILURE else ""
        if kind:
            labels.append(("error.type", kind))
        duration = series.duration(
            "http.client.request.duration", tuple(sorted(labels)), "Duration of HTTP client requests."
        )
        if duration is not None:
            duration.record(monotonic_ns() - began)
    except Exception as failure:
        if guard.failed("http.client", failure):
            raise
