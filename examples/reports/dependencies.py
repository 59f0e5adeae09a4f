"""What the report service depends on, in one process: the upstream itself, and a proxy before each dependency.

    python -m reports.dependencies [--cache redis://…] [--database postgresql://…] [--sqlite PATH]

Prints one line of JSON with the URLs that the service is to use, and its own. `POST /NAME?mode=slow` there switches a
dependency; `GET /` says how they are. It ends when its standard input closes, so it never outlives who started it.
A SQLite file has no port: it is made slow, dead or flapping by holding its write lock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

if not __package__:  # run as a script: the folder that holds the package is not on the path
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from reports import rates
from reports.proxy import FLAP, MODES, Mode, Proxy

if TYPE_CHECKING:
    from starlette.requests import Request

HOST = "127.0.0.1"
PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379}
HELD = {"dead": 1.0, "frozen": 1.0, "slow": 0.5, "flapping": 0.5}
"""Which share of each 2 x FLAP seconds the lock of a SQLite file is held."""


class Dependency(Protocol):
    """What can be switched."""

    name: str
    mode: Mode

    async def switch(self, mode: Mode) -> None:
        """Behave so from now on."""

    async def close(self) -> None:
        """Let go of everything."""


class LockedFile:
    """A SQLite file whose write lock is held by us, always or in turns."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.mode: Mode = "ok"
        self._path = path
        self._task: asyncio.Task[None] | None = None

    async def switch(self, mode: Mode) -> None:
        """Hold the lock as the mode has it."""
        await self.close()
        self.mode = mode
        if mode != "ok":
            self._task = asyncio.create_task(self._hold(HELD[mode]))

    async def close(self) -> None:
        """Let go of the lock."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _hold(self, share: float) -> None:
        while True:
            with contextlib.closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                try:
                    await asyncio.sleep(2 * FLAP * share)
                finally:
                    connection.execute("ROLLBACK")
            await asyncio.sleep(2 * FLAP * (1 - share))


def through(url: str, proxy: Proxy) -> str:
    """Return the URL with the proxy's port in place of the server's."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{HOST}:{proxy.port}" if login else f"{HOST}:{proxy.port}"))


def proxied(name: str, url: str) -> Proxy:
    """Return a proxy before the server at the URL."""
    parts = urlsplit(url)
    return Proxy(name, (parts.hostname or HOST, parts.port or PORTS[parts.scheme]))


def control(found: dict[str, Dependency]) -> Starlette:
    """Return the switchboard."""

    async def state(_: Request) -> JSONResponse:
        return JSONResponse({name: one.mode for name, one in found.items()})

    async def switch(request: Request) -> JSONResponse:
        name, mode = request.path_params["name"], request.query_params.get("mode", "")
        if name not in found or mode not in MODES:
            known = f"dependencies are {', '.join(found)}; modes are {', '.join(MODES)}"
            return JSONResponse({"error": f"{name} {mode!r}: {known}"}, status_code=404)
        await found[name].switch(mode)
        return await state(request)

    return Starlette(routes=[Route("/", state), Route("/{name}", switch, methods=["POST"])])


def listener() -> socket.socket:
    """Return a socket that listens on a free loopback port."""
    made = socket.socket()
    made.bind((HOST, 0))
    made.listen(128)
    return made


async def serve(options: argparse.Namespace) -> None:
    """Run everything until standard input closes."""
    upstream, switchboard = listener(), listener()
    found: dict[str, Dependency] = {}
    found["upstream"] = before_rates = Proxy("upstream", upstream.getsockname())
    said = {
        "upstream": f"http://{HOST}:{before_rates.port}",
        "control": f"http://{HOST}:{switchboard.getsockname()[1]}",
        "cache": "",
        "database": f"sqlite:///{options.sqlite}",
    }
    if options.cache:
        found["cache"] = before_cache = proxied("cache", options.cache)
        said["cache"] = through(options.cache, before_cache)
    if options.database:
        found["database"] = before_database = proxied("database", options.database)
        said["database"] = through(options.database, before_database)
    else:
        found["database"] = LockedFile("database", options.sqlite)
    for one in found.values():
        await one.switch("ok")
    servers = [
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        for app in (rates.app, control(found))
    ]
    places = ([upstream], [switchboard])
    tasks = [asyncio.create_task(one.serve(sockets=at)) for one, at in zip(servers, places, strict=True)]
    print(json.dumps(said), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.should_exit = server.force_exit = True
    for one in found.values():
        await one.close()
    await asyncio.wait(tasks, timeout=2)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description="What the report service depends on.")
    parser.add_argument(
        "--cache", default="", metavar="URL", help="redis://…; default: none, the service keeps its own"
    )
    parser.add_argument("--database", default="", metavar="URL", help="postgresql://…; default: the SQLite file")
    parser.add_argument("--sqlite", default="reports.db", metavar="PATH")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
