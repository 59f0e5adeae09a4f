"""The operations API's server: one listening socket in the agent's event loop, and a second one for probes when asked.

A port that was given is that port or an error; otherwise it is 9900 or the next free one. A client that sends its
request too slowly, opens too many connections or does not read its answer is let go.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from roadworthy.agent.connection import MOST_CONNECTIONS, Quiet, config
from roadworthy.agent.gate import PROBLEM_TYPE, App, Gate, Rules, document, is_loopback
from roadworthy.errors import Exhausted, PortInUse, Refused, Unavailable, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

FIRST_PORT = 9900
PORTS_TRIED = 100
PROBE_PATHS = frozenset({"/health", "/livez", "/readyz", "/startupz"})

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,128}\Z")
_HINTS = {404: "See /api/openapi.json for what there is.", 405: "See /api/openapi.json for how it is asked."}
_CODES = {404: "not-found", 405: "wrong-method", 400: "bad-request", 500: "internal-error"}


class Server:
    """Serves ``routes`` on ``host:port`` until :meth:`stop`; ``probe_bind`` adds a listener that answers only probes.

    ``public`` are the paths that need no login wherever the server listens; ``refused`` is told of who was refused.
    """

    def __init__(  # noqa: PLR0913 - keywords: what a server is told once
        self,
        routes: Sequence[BaseRoute],
        *,
        token: str,
        host: str = "127.0.0.1",
        port: int = FIRST_PORT,
        port_given: bool = False,
        allowed_hosts: Sequence[str] = (),
        probe_bind: str = "",
        public: frozenset[str] = PROBE_PATHS,
        refused: Callable[[str, str, str], object] | None = None,
    ) -> None:
        if not token:
            raise Refused(
                "the operations API has no token",
                why="Without one anybody could restart the program.",
                hint="Make one with new_token().",
            )
        self.host = host
        self.port = port
        self._port_given = port_given
        self._probe_bind = probe_bind
        self._rules = Rules(token, is_loopback(host), frozenset(name.lower() for name in allowed_hosts), public)
        self.app: App = Gate(application(routes), self._rules, refused)
        everybody = Rules(token, loopback=False, hosts=frozenset({"*"}), public=PROBE_PATHS)
        probes = [route for route in routes if isinstance(route, Route) and route.path in PROBE_PATHS]
        self.probe_app: App = Gate(application(probes), everybody)
        self._listening: list[socket.socket] = []
        self._servers: list[Quiet] = []
        self._stopping = False

    @property
    def url(self) -> str:
        """Return the address for people on this machine; ``port`` is right only after :meth:`bind`."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def csrf(self) -> str:
        """Return the value that pages send back with a change."""
        return self._rules.csrf

    def bind(self) -> None:
        """Open the sockets; raises :class:`PortInUse`, :class:`Unavailable`, or :class:`UsageError` for no address."""
        probe = _parse_bind(self._probe_bind) if self._probe_bind else None
        tried = 1 if self._port_given or self.port == 0 else PORTS_TRIED
        try:
            main = _listen_first(self.host, self.port, tried)
            self._listening.append(main)
            self.port = main.getsockname()[1]
            if probe is not None:
                self._listening.append(_listen_first(*probe, 1))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the sockets that :meth:`bind` opened."""
        for one in self._listening:
            one.close()
        self._listening.clear()

    async def serve(self) -> None:
        """Serve until :meth:`stop`; binds first when that was not done. Raises as :meth:`bind`."""
        if not self._listening:
            self.bind()
        apps = [self.app, self.probe_app][: len(self._listening)]
        self._servers = [Quiet(config(app)) for app in apps]
        if self._stopping:
            self.stop()
        try:
            async with asyncio.TaskGroup() as group:
                for server, listening in zip(self._servers, self._listening, strict=True):
                    group.create_task(server.serve(sockets=[listening]))
        finally:
            self.close()

    def stop(self) -> None:
        """Ask :meth:`serve` to end; answers under way get half a second, event streams too."""
        self._stopping = True
        for server in self._servers:
            server.quit()


def new_token(path: Path) -> str:
    """Return the token in ``path``, made and written with mode 0600 when there is none.

    Raises :class:`Refused` when somebody else could have put it there, :class:`Exhausted` when the disk is full and
    :class:`Unavailable` when it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        refusal = Refused if error.errno == errno.ELOOP else Unavailable
        raise refusal(
            "cannot use the token file", why=f"{error.strerror} ({path.name}).", hint="Remove it and start again."
        ) from error
    try:
        return _token_in(descriptor)
    except OSError as error:
        kind = Exhausted if error.errno in {errno.ENOSPC, errno.EDQUOT} else Unavailable
        raise kind(
            "cannot write the token file", why=f"{error.strerror} ({path.name}).", hint="Free some space there."
        ) from error


def _token_in(descriptor: int) -> str:
    with os.fdopen(descriptor, "r+", encoding="ascii", errors="replace") as file:
        found = os.fstat(descriptor)
        if found.st_uid != os.getuid() or found.st_nlink != 1:
            raise Refused(
                "the token file is not ours alone",
                why="Somebody else could know the token.",
                hint="Remove it and start again.",
            )
        os.fchmod(descriptor, 0o600)
        token = file.read(256).strip()
        if not _TOKEN.match(token):
            token = secrets.token_urlsafe(32)
            file.seek(0)
            file.truncate()
            file.write(token + "\n")
    return token


def application(routes: Sequence[BaseRoute]) -> Starlette:
    """Return the ASGI application of these routes: compressed, and every error a problem document."""
    app = Starlette(
        routes=list(routes),
        middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)],
        exception_handlers={HTTPException: _http_error, Exception: _own_error},
    )
    app.router.redirect_slashes = False
    return app


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for that
    code = getattr(error, "code", "") or _CODES.get(error.status_code, "refused")
    hint = getattr(error, "hint", "") or _HINTS.get(error.status_code, "")
    detail = _DETAILS.get(error.status_code, error.detail) if not getattr(error, "code", "") else error.detail
    return _problem(error.status_code, code, detail, hint, dict(error.headers or {}))


_DETAILS = {404: "There is nothing at this path.", 405: "This path is asked in another way."}


async def _own_error(_request: Request, _error: Exception) -> Response:
    """Starlette raises the error again afterwards, so that it is logged; the client is told nothing of its inside."""
    return _problem(
        500,
        "internal-error",
        "The agent failed to answer; the program is not concerned.",
        "The agent's log says why.",
        {},
    )


def _problem(status: int, code: str, detail: str, hint: str, headers: dict[str, str]) -> Response:
    return Response(document(status, code, detail, hint), status, headers, media_type=PROBLEM_TYPE.decode())


# -- sockets


def _parse_bind(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65535:  # noqa: PLR2004 - what a port may be
        raise UsageError(
            f"{text!r} is no address to listen on",
            why="It came from --probe-bind.",
            hint="For example: --probe-bind 0.0.0.0:9901",
        )
    return host.strip("[]") or "127.0.0.1", int(port)


def _listen_first(host: str, port: int, tried: int) -> socket.socket:
    for candidate in range(port, min(port + tried, 65536)):
        try:
            return _listen(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Unavailable(
                    f"cannot listen on {host}:{candidate}",
                    why=f"{error.strerror} (errno {error.errno}).",
                    hint="Choose another address, for example: --ops-port 9910",
                ) from error
    which = f"port {port} of {host} is" if tried == 1 else f"ports {port} to {port + tried - 1} of {host} are"
    raise PortInUse(
        f"{which} in use",
        why="Another program listens there.",
        hint=f"End it, or choose another port: --ops-port {port + tried}",
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(MOST_CONNECTIONS)
        opened.setblocking(False)  # noqa: FBT003 - the standard library has it by position only
    except BaseException:
        opened.close()
        raise
    return opened
