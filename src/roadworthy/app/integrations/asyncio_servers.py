"""asyncio's own servers, and uvicorn's: what a lame duck does with them."""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import weakref

from roadworthy.app import guard, pulse
from roadworthy.app.inject import lame_duck
from roadworthy.app.inject.patch import wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_servers: weakref.WeakSet[Any] = weakref.WeakSet()
_uvicorns: weakref.WeakSet[Any] = weakref.WeakSet()


def install(module: ModuleType) -> None:
    """Remember servers that accept."""

    def make(original: Any) -> Any:
        def _start_serving(self: Any) -> Any:
            _servers.add(self)
            _watch()
            return original(self)

        return _start_serving

    wrap(module.Server, "_start_serving", make)


def install_uvicorn(module: ModuleType) -> None:
    """Remember uvicorn's servers."""

    def make(original: Any) -> Any:
        def startup(self: Any, *args: Any, **kwargs: Any) -> Any:
            _uvicorns.add(self)
            _watch()
            return original(self, *args, **kwargs)

        return startup

    wrap(module.Server, "startup", make)


def _watch() -> None:
    pulse.every("lame duck", lame_duck.watch)
    if _stop_accepting not in lame_duck.duties():
        lame_duck.when_lame(_stop_accepting)


def _stop_accepting() -> None:
    """Have every loop stop accepting in its own thread; connections that are there stay."""
    for server in tuple(_servers):
        loop = server.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_guarded, _silence, server)
    for server in tuple(_uvicorns):
        loop = next((made.get_loop() for made in getattr(server, "servers", ())), None)
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(_guarded, _release, server)


def _silence(server: Any) -> None:
    """Take a server's sockets out of the selector. Closing it would end a program that waits in ``serve_forever()``."""
    loop = server.get_loop()
    for listener in server.sockets or ():
        if hasattr(loop, "_remove_reader"):
            loop._remove_reader(listener.fileno())  # noqa: SLF001 - remove_reader refuses sockets that a server holds


def _release(server: Any) -> None:
    """Stop uvicorn accepting (on uvloop only it can) and close its WebSockets with 1012, service restart."""
    for made in server.servers:
        if "asyncio" not in type(made).__module__:
            made.close()
    for connection in tuple(server.server_state.connections):
        if "websockets" in type(connection).__module__:
            connection.shutdown()


def close_websockets(sockets: weakref.WeakSet[Any]) -> None:
    """Close aiohttp's WebSockets with 1012 in the loops that they belong to."""
    for websocket in tuple(sockets):
        loop = getattr(websocket, "_loop", None)
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(_guarded, _close_websocket, websocket)


def _close_websocket(websocket: Any) -> None:
    if not websocket.closed:
        loop = websocket._loop  # noqa: SLF001 - the one that it lives in
        task = loop.create_task(websocket.close(code=1012, message=b"service restart"))
        _closing.add(task)
        task.add_done_callback(_closing.discard)


_closing: set[Any] = set()


def _guarded(act: Callable[[Any], None], subject: Any) -> None:
    try:
        act(subject)
    except Exception as error:
        if guard.failed("lame duck", error):
            raise


def after_fork() -> None:
    """Forget the parent's servers."""
    _servers.clear()
    _uvicorns.clear()
