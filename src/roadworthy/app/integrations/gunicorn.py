"""gunicorn: its WSGI and ASGI workers' applications, and the lame duck.

uvicorn's worker class hands its application to uvicorn, where it is measured.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

from roadworthy.app import guard
from roadworthy.app.inject import lame_duck
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import asgi, wsgi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_LAME = "_roadworthy_lame"
_WSGI_WORKERS = frozenset({"SyncWorker", "ThreadWorker", "AsyncWorker"})


def install(module: ModuleType) -> None:
    """Measure what the workers load, and look at the control page as often as they tell the arbiter that they live."""

    def make_load(original: Any) -> Any:
        def load_wsgi(self: Any) -> Any:
            result = original(self)
            if _is(self, _WSGI_WORKERS) and getattr(self, "wsgi", None) is not None:
                self.wsgi = wsgi.measure(self.wsgi)
            return result

        return load_wsgi

    def make_notify(original: Any) -> Any:
        def notify(self: Any) -> Any:
            _look(self)
            return original(self)

        return notify

    wrap(module.Worker, "load_wsgi", make_load)
    wrap(module.Worker, "notify", make_notify)


def install_asgi(module: ModuleType) -> None:
    """Measure what gunicorn's own ASGI worker loads."""

    def make(original: Any) -> Any:
        def load_wsgi(self: Any) -> Any:
            result = original(self)
            if getattr(self, "asgi", None) is not None:
                self.asgi = asgi.measure(self.asgi)
            return result

        return load_wsgi

    wrap(module.ASGIWorker, "load_wsgi", make)


def install_response(module: ModuleType) -> None:
    """Have a lame duck's answers close their connection.

    gunicorn asks twice: for the header, and again once the answer is out. What the header said must stand: a connection
    that is closed after ``keep-alive`` was promised fails the client's next request.
    """

    def make(original: Any) -> Any:
        def should_close(self: Any) -> Any:
            if lame_duck.active and not self.headers_sent:
                self.force_close()
            return original(self)

        return should_close

    wrap(module.Response, "should_close", make)


def _look(worker: Any) -> None:
    if _LAME in worker.__dict__ or not lame_duck.look():
        return
    worker.__dict__[_LAME] = True
    try:
        if _is(worker, {"ThreadWorker"}):
            worker.set_accept_enabled(False)  # what the worker itself does when it stops
            worker.set_accept_enabled = _stay
        elif _is(worker, {"SyncWorker"}):
            for listener in worker.sockets:
                lame_duck.hush(listener.sock if hasattr(listener, "sock") else listener)
    except Exception as error:
        if guard.failed("lame duck", error):
            raise


def _stay(_enabled: bool) -> None:  # noqa: FBT001 - gunicorn's signature
    """Accept no more, whatever is asked."""


def _is(worker: Any, names: frozenset[str] | set[str]) -> bool:
    return any(kind.__name__ in names for kind in type(worker).__mro__)
