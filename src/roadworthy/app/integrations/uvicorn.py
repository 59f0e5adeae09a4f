"""uvicorn and hypercorn: the application that they serve is measured once it is loaded."""

# ruff: noqa: ANN401, SLF001 - what is wrapped is somebody else's; the hot path is one with integrations.http

from __future__ import annotations

from roadworthy.app import guard
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import asgi, http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def install(module: ModuleType) -> None:
    """Measure the application of every uvicorn configuration; WSGI and ASGI 2 applications come here as ASGI 3."""

    def make(original: Any) -> Any:
        def load(self: Any) -> Any:
            result = original(self)
            self.loaded_app = asgi.measure(self.loaded_app)
            return result

        return load

    wrap(module.Config, "load", make)


def install_starlette(module: ModuleType) -> None:
    """Learn the route that Starlette, or FastAPI, matched; what is mounted comes after where it is mounted."""
    for name, outer in (("Route", False), ("WebSocketRoute", False), ("Mount", True)):
        wrap(getattr(module, name, None), "handle", _noting(outer))


def install_fastapi(module: ModuleType) -> None:
    """Learn the route of what FastAPI includes from another router: it passes Starlette's ``handle`` by."""
    context_of = getattr(module, "_get_scope_effective_route_context", None)
    if context_of is None:
        return

    def make(original: Any) -> Any:
        def handle(self: Any, scope: Any, receive: Any, send: Any) -> Any:
            try:
                context = context_of(scope)
                if context is not None and context.original_route is self:
                    http.prefix(str(context.path_format))
            except Exception as error:
                if guard.failed("fastapi", error):
                    raise
            return original(self, scope, receive, send)

        return handle

    wrap(module.APIRoute, "handle", make)


def _noting(outer: bool) -> Any:  # noqa: FBT001 - two kinds of route
    current = http._current.get
    when_empty = "" if outer else "/"

    def make(original: Any) -> Any:
        def handle(self: Any, scope: Any, receive: Any, send: Any) -> Any:
            request = current()
            if request is not None:
                try:  # http.prefix written out
                    path = self.path or when_empty
                    place = request.place
                    request.place = place = place.inner[path] if path in place.inner else http.inner(place, path)
                    if handle := request._handle:
                        cell = place.entry.cell
                        at = (handle << 3) + 32
                        cell.b[at : at + place.length] = place.context
                        cell.q[handle + 1] = place.word
                except Exception as error:
                    if guard.failed("starlette", error):
                        raise
            return original(self, scope, receive, send)

        return handle

    return make
