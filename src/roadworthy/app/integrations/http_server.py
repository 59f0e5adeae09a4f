"""``http.server`` and what is built on ``socketserver``: requests, and a lame duck that stops accepting."""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy.app import guard
from roadworthy.app.inject import lame_duck
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_AWAITED = "_roadworthy_request"


def install(module: ModuleType) -> None:
    """Measure requests from their parsed request line to the end of their handler, not the wait for the next one."""
    _measure(module.BaseHTTPRequestHandler)


def install_socketserver(module: ModuleType) -> None:
    """Look at the control page between requests, and stop accepting when it says so.

    ``python -m http.server`` runs that module as ``__main__`` without importing it: its handler class is met when it is
    derived from this module's.
    """

    def make(original: Any) -> Any:
        def service_actions(self: Any) -> Any:
            _look(self)
            return original(self)

        return service_actions

    wrap(module.BaseServer, "service_actions", make)
    base = module.StreamRequestHandler

    def __init_subclass__(cls: Any, /, **options: Any) -> None:  # noqa: N807 - it is set on the class below
        super(base, cls).__init_subclass__(**options)
        if cls.__name__ == "BaseHTTPRequestHandler" and cls.__module__ in {"http.server", "__main__"}:
            guard.guarded("http.server")(_measure)(cls)

    if "__init_subclass__" not in vars(base):
        base.__init_subclass__ = classmethod(__init_subclass__)


def _measure(handler: Any) -> None:
    wrap(handler, "handle_one_request", _make_handle)
    wrap(handler, "parse_request", _make_parse)
    wrap(handler, "send_response_only", _make_status)
    wrap(handler, "end_headers", _make_end_headers)


def _make_handle(original: Any) -> Any:
    def handle_one_request(self: Any) -> Any:
        state = self.__dict__
        state[_AWAITED] = None  # wsgiref parses too, but measures elsewhere
        try:
            result = original(self)
        except BaseException as error:
            _end(state.pop(_AWAITED, None), error)
            raise
        _end(state.pop(_AWAITED, None), None)
        return result

    return handle_one_request


def _make_parse(original: Any) -> Any:
    def parse_request(self: Any) -> Any:
        state = self.__dict__
        if _AWAITED not in state:
            return original(self)
        request = state[_AWAITED] = http.begin("")
        result = original(self)
        if request is not None:
            http.rename(request, str(getattr(self, "command", None) or ""))
            if result:
                _tie(request, getattr(self, "headers", None))
        return result

    return parse_request


def _make_status(original: Any) -> Any:
    def send_response_only(self: Any, code: Any, *args: Any, **kwargs: Any) -> Any:
        request = self.__dict__.get(_AWAITED)
        if request is not None and int(code) >= 200:  # noqa: PLR2004 - what comes before is no answer yet
            request.status = int(code)
        return original(self, code, *args, **kwargs)

    return send_response_only


def _make_end_headers(original: Any) -> Any:
    def end_headers(self: Any) -> Any:
        if lame_duck.active:
            _say_close(self)
        request = self.__dict__.get(_AWAITED)
        if request is not None and request.bound is not None:
            _identify(self, request)
        return original(self)

    return end_headers


def _look(server: Any) -> None:
    try:
        if "_roadworthy_lame" not in server.__dict__ and lame_duck.look() and hasattr(server, "socket"):
            server._roadworthy_lame = True  # noqa: SLF001 - our own mark
            lame_duck.hush(server.socket)
    except Exception as error:
        if guard.failed("lame duck", error):
            raise


def _say_close(handler: Any) -> None:
    try:
        buffer = getattr(handler, "_headers_buffer", None)
        if buffer is not None and not any(line.lower().startswith(b"connection:") for line in buffer):
            handler.send_header("Connection", "close")  # sets close_connection as well
    except Exception as error:
        if guard.failed("lame duck", error):
            raise


def _tie(request: http.Request, headers: Any) -> None:
    """Bind the identifiers that a request's headers bring."""
    try:
        given = headers.get("X-Request-ID", ""), headers.get("traceparent", "")
    except Exception as error:  # a handler of the program's with headers of its own kind
        if guard.failed("http headers", error):
            raise
        return
    if given[0] or given[1]:
        http.tie(request, str(given[0]), str(given[1]))


def _identify(handler: Any, request: http.Request) -> None:
    """Send the request's identifiers with the answer, those that the handler has not sent itself."""
    try:
        sent = [line.lower() for line in getattr(handler, "_headers_buffer", ())]
        for name, value in http.answer_headers(request):
            start = f"{name.lower()}:".encode("ascii")
            if sent and not any(line.startswith(start) for line in sent):
                handler.send_header(name, value)
    except Exception as error:
        if guard.failed("http headers", error):
            raise


def _end(request: http.Request | None, error: BaseException | None) -> None:
    if request is not None:
        request.end(error)
