"""WSGI applications: measured from the call to the end of the answer, streamed ones to their ``close()``."""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import sys

from roadworthy.app import guard
from roadworthy.app.inject.patch import MARK, wrap
from roadworthy.app.integrations import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any


class Measured:
    """A WSGI application that measures the one it holds; everything else about it is that one's."""

    def __init__(self, app: Any) -> None:
        self.app = app
        setattr(self, MARK, True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Call the application."""
        request = http.begin(environ.get("REQUEST_METHOD", ""), environ.get("wsgi.url_scheme", "http"))
        if request is None:
            return self.app(environ, start_response)
        if "HTTP_X_REQUEST_ID" in environ or "HTTP_TRACEPARENT" in environ:
            http.tie(request, str(environ.get("HTTP_X_REQUEST_ID", "")), str(environ.get("HTTP_TRACEPARENT", "")))

        def answer(status: Any, headers: Any, *exc_info: Any) -> Any:
            code = str(status)[:3]
            request.status = int(code) if code.isdecimal() else 0
            if request.bound is not None:
                headers = _identified(request, headers)
            return start_response(status, headers, *exc_info)

        try:
            body = self.app(environ, answer)
        except BaseException as error:
            request.end(error)
            raise
        return _until_closed(request, body, environ)


class Body:
    """An answer's body that tells when it has been sent."""

    def __init__(self, request: http.Request, body: Any) -> None:
        self._request = request
        self._body = body
        self._next = iter(body).__next__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._next()
        except StopIteration:
            self._request.end()
            raise
        except BaseException as error:
            self._request.end(error)
            raise

    def __del__(self) -> None:
        self._request.end()  # a server that forgets close() must not make the next request look like part of this one

    def close(self) -> None:
        """Close the body as the server asks, and end the request."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._request.end(error)
            raise
        else:
            self._request.end()


class SizedBody(Body):
    """A body whose number of parts is known, which servers use to set Content-Length."""

    def __len__(self) -> int:
        return len(self._body)


def measure(app: Any) -> Any:
    """Return ``app`` measured; one that is already stays as it is."""
    return app if getattr(app, MARK, False) is True else Measured(app)


def _identified(request: http.Request, headers: Any) -> Any:
    """Return the answer's headers with the request's identifiers, those that the application has not set itself."""
    try:
        there = {str(pair[0]).lower() for pair in headers}
        return [*headers, *[pair for pair in http.answer_headers(request) if pair[0].lower() not in there]]
    except Exception as error:
        if guard.failed("http headers", error):
            raise
        return headers


def _until_closed(request: http.Request, body: Any, environ: Any) -> Any:
    try:
        if type(body) in {list, tuple} and (request.status or not body):
            request.end()  # it is all there
            return body
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper):
            _end_with(request, body)  # the server recognises its own class and sends the file by itself
            return body
        return SizedBody(request, body) if hasattr(body, "__len__") else Body(request, body)
    except Exception as error:
        if guard.failed("wsgi", error):
            raise
        request.end()
        return body


def _end_with(request: http.Request, body: Any) -> None:
    close = getattr(body, "close", None)

    def closed() -> None:
        try:
            if close is not None:
                close()
        finally:
            request.end()

    body.close = closed


def install_wsgiref(module: ModuleType) -> None:
    """Measure what ``wsgiref`` serves."""

    def make(original: Any) -> Any:
        def run(self: Any, application: Any) -> Any:
            return original(self, measure(application))

        return run

    wrap(module.BaseHandler, "run", make)


def install_waitress(module: ModuleType) -> None:
    """Measure what waitress serves."""

    def make(original: Any) -> Any:
        def __init__(self: Any, application: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it takes its place
            original(self, measure(application), *args, **kwargs)

        return __init__

    wrap(module.BaseWSGIServer, "__init__", make)


def install_flask(module: ModuleType) -> None:
    """Learn the route that Flask matched."""
    flask_globals = sys.modules.get("flask.globals")

    def make(original: Any) -> Any:
        def full_dispatch_request(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                context = args[0] if args else getattr(flask_globals, "request_ctx", None)
                rule = context.request.url_rule if context is not None else None
                if rule is not None:
                    http.route(rule.rule)
            except Exception as error:
                if guard.failed("flask", error):
                    raise
            return original(self, *args, **kwargs)

        return full_dispatch_request

    wrap(module.Flask, "full_dispatch_request", make)


def install_django(module: ModuleType) -> None:
    """Learn the route that Django matched."""

    def make(original: Any) -> Any:
        def resolve_request(self: Any, request: Any) -> Any:
            match = original(self, request)
            template = getattr(match, "route", None)
            if isinstance(template, str):
                http.route("/" + template.lstrip("/"))
            return match

        return resolve_request

    wrap(module.BaseHandler, "resolve_request", make)
