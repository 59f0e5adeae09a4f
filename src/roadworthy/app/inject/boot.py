"""What happens at the start of an injected program: the runtime comes up, and everything else waits for its module.

Nothing is imported here that the program may not need: an integration is loaded when the program has loaded what it
is for.
"""

from __future__ import annotations

import os
import sys

from roadworthy.app import guard, start
from roadworthy.app.inject import hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

FLAG_INJECTED = 1

TABLE: tuple[tuple[str, str, str], ...] = (
    ("logging", "integrations.logs", "install"),
    ("threading", "integrations.errors", "install_threading"),
    ("threading", "integrations.identifiers", "install_threads"),
    ("concurrent.futures.thread", "integrations.identifiers", "install_pools"),
    ("warnings", "integrations.python_warnings", "install"),
    ("asyncio.base_events", "integrations.errors", "install_asyncio"),
    ("asyncio.base_events", "integrations.event_loop", "install"),
    ("asyncio.base_events", "integrations.asyncio_servers", "install"),
    ("uvloop", "integrations.event_loop", "install_uvloop"),
    ("uvloop", "inject.sockets", "install_uvloop"),
    ("http.server", "integrations.http_server", "install"),
    ("socketserver", "integrations.http_server", "install_socketserver"),
    ("wsgiref.handlers", "integrations.wsgi", "install_wsgiref"),
    ("waitress.server", "integrations.wsgi", "install_waitress"),
    ("flask.app", "integrations.wsgi", "install_flask"),
    ("django.core.handlers.base", "integrations.wsgi", "install_django"),
    ("gunicorn.workers.base", "integrations.gunicorn", "install"),
    ("gunicorn.workers.gasgi", "integrations.gunicorn", "install_asgi"),
    ("gunicorn.http.wsgi", "integrations.gunicorn", "install_response"),
    ("uvicorn.config", "integrations.uvicorn", "install"),
    ("uvicorn.server", "integrations.asyncio_servers", "install_uvicorn"),
    ("starlette.routing", "integrations.uvicorn", "install_starlette"),
    ("fastapi.routing", "integrations.uvicorn", "install_fastapi"),
    ("aiohttp.web_protocol", "integrations.aiohttp", "install_protocol"),
    ("aiohttp.web_response", "integrations.aiohttp", "install_response"),
    ("aiohttp.web_ws", "integrations.aiohttp", "install_websocket"),
    ("sqlite3.dbapi2", "integrations.sqlite", "install"),
    ("http.client", "integrations.http_client", "install"),
    ("httpx", "integrations.httpx_client", "install"),
    ("httpx2", "integrations.httpx_client", "install"),
    ("aiohttp", "integrations.aiohttp_client", "install"),
    ("socket", "inject.sockets", "install"),
    ("subprocess", "inject.sockets", "install_subprocess"),
)
"""A module of the program's, and the module and function of ours that instrument it."""


def boot() -> None:
    """Bring the runtime up and let integrations wait for their modules; does nothing when it is switched off."""
    if not start.enabled():
        return
    start.set_flags(FLAG_INJECTED)
    start.start()
    arena = start.current()
    if arena is None:
        return
    guard.guarded("output")(buffer_by_line)()
    os.register_at_fork(after_in_child=_after_fork)
    from roadworthy.app.integrations import errors, gc_pauses

    guard.guarded("excepthook")(errors.install_hooks)()
    guard.guarded("gc")(gc_pauses.install)(arena)
    if os.environ.get("ROADWORTHY_LISTEN"):
        from roadworthy.app.inject import sockets

        guard.guarded("closerange")(sockets.protect)()
    for name, place, function in TABLE:
        hooks.when_imported(name, _integration(name, place, function))
    hooks.install()


def buffer_by_line() -> None:
    """Write each printed line at once where the keeper collects output: a killed program keeps what it has printed."""
    folder = os.environ.get("ROADWORTHY_ARENA_DIR", "")
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None and hasattr(stream, "reconfigure") and _goes_to(folder, descriptor):
            stream.reconfigure(line_buffering=True)


def _goes_to(folder: str, descriptor: int) -> bool:
    try:
        return os.path.dirname(os.readlink(f"/proc/self/fd/{descriptor}")) == os.path.realpath(folder)
    except OSError:
        return False


def _integration(name: str, place: str, function: str) -> Callable[[ModuleType], None]:
    def hook(module: ModuleType) -> None:
        owner = f"roadworthy.app.{place}"
        __import__(owner)  # as importlib.import_module, without importlib
        getattr(sys.modules[owner], function)(module)
        start.instrumented(name)

    return hook


def _after_fork() -> None:
    """In a forked child: loops and servers of the parent are not there."""
    for name in ("inject.lame_duck", "integrations.event_loop", "integrations.asyncio_servers"):
        module = sys.modules.get(f"roadworthy.app.{name}")
        if module is not None:
            module.after_fork()
