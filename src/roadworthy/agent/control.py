"""The agent's socket (``agent.sock``): the program's own checks and collectors, and what the command line asks for.

JSON, one object a line. A client says hello first; only processes of our own user are heard. ``roadworthy.app.socket``
is the program's side, ``roadworthy.cli.socket`` the command line's.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _known
from roadworthy.agent.auditor import PEER
from roadworthy.agent.checks import Declared
from roadworthy.agent.outcome import Outcome
from roadworthy.agent.resilience import Declaration
from roadworthy.errors import RoadworthyError, Unavailable
from roadworthy.types import Status

if TYPE_CHECKING:
    from pathlib import Path

LINE_MOST: Final = 1 << 20
"""Bytes that one message may have; a client that sends more is hung up on."""

CLIENTS_MOST: Final = 1024
DECLARED_MOST: Final = 256
"""Checks, collectors, policies, services and features that are believed of one process, of each kind."""

PARTS: Final = ("policies", "services", "features")

Verb = Callable[[Mapping[str, Any]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


@dataclass(slots=True)
class Client:
    """A process of the program that is connected."""

    pid: int
    start_ticks: int
    slot: int | None
    writer: asyncio.StreamWriter
    checks: tuple[Declared, ...] = ()
    collectors: tuple[str, ...] = ()
    reload: bool = False
    parts: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)


class Control:
    """Serves the socket; ``verbs`` maps what the command line may ask for to what answers it.

    A verb learns under ``"peer"`` who asks; ``refused`` is told of processes of other users.
    """

    def __init__(
        self, path: Path, verbs: Mapping[str, Verb], *, refused: Callable[[str, str, str], object] | None = None
    ) -> None:
        self._path = path
        self._refused = refused
        self._verbs = dict(verbs)
        self._clients: dict[int, Client] = {}
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket that a dead agent left is replaced. Raises :class:`Unavailable`."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                end.bind(str(self._path))
            finally:
                os.umask(before)
            self._server = await asyncio.start_unix_server(self._serve, sock=end, limit=LINE_MOST)
        except OSError as error:
            end.close()
            raise Unavailable(
                f"cannot listen on {self._path}",
                why=f"{error.strerror or error}.",
                hint="The directory must be writable and its path short (107 bytes); ROADWORTHY_HOME moves it.",
            ) from error

    async def close(self) -> None:
        """Hang up on everybody and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._open):
            writer.close()
        self._path.unlink(missing_ok=True)
        self._server = None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    # ---------------------------------------------------------------------------------------------------- the program
    def declared_checks(self) -> list[Declared]:
        """Return the checks that connected processes have registered, each once a slot."""
        found = {(check.name, check.slot): check for client in self._clients.values() for check in client.checks}
        return list(found.values())

    async def run_check(self, name: str, slot: int | None, timeout: float) -> Outcome:  # noqa: ASYNC109 - it is told
        """Let a process of the slot run one of its checks; one that does not answer has failed."""
        for client in self._clients.values():
            if client.slot == slot and any(check.name == name for check in client.checks):
                break
        else:
            return Outcome(Status.UNKNOWN, "the process that registered it is not connected")
        try:
            answer = await self.check(client.pid, name, timeout)
        except Unavailable as error:
            return Outcome(Status.UNHEALTHY, error.what)
        return Outcome(Status.OK if answer.get("ok") is True else Status.UNHEALTHY, str(answer.get("detail", "")))

    def collectors(self) -> list[tuple[int, str]]:
        """Return pid and name of the collectors that connected processes have registered."""
        return [(client.pid, name) for client in self._clients.values() for name in client.collectors]

    async def check(self, pid: int, name: str, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 - it is told
        """Let a process run one of its checks and return ``{"ok", "detail", "took"}``; raises :class:`Unavailable`."""
        return await self._ask(pid, {"do": "check", "name": name}, timeout)

    async def collect(self, pid: int, name: str, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 - as above
        """Let a process run one of its collectors and return ``{"ok", "values"}``; raises :class:`Unavailable`."""
        return await self._ask(pid, {"do": "collect", "name": name}, timeout)

    def declared(self, kind: str) -> list[Declaration]:
        """Return what connected processes tell of their ``"policies"``, ``"services"`` or ``"features"``."""
        return [
            Declaration(client.pid, client.slot, told)
            for client in self._clients.values()
            for told in client.parts.get(kind, ())
        ]

    async def recover(self, pid: int, name: str, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 - as above
        """Let a process recover a service: ``{"ok", "detail", "took"}``; raises :class:`Unavailable`."""
        return await self._ask(pid, {"do": "recover", "name": name}, timeout)

    def reload(self, pid: int | None = None) -> int:
        """Tell one process, or all, to call its reload subscribers; returns how many were told."""
        told = [client for client in self._clients.values() if client.reload and pid in {None, client.pid}]
        for client in told:
            client.writer.write(_line({"do": "reload"}))
        return len(told)

    async def _ask(self, pid: int, message: dict[str, Any], timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 - it is told
        client = self._clients.get(pid)
        if client is None:
            raise Unavailable(
                f"process {pid} is not connected", why="It has ended or is busy connecting.", hint="Wait."
            )
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        client.waiting[number] = answer
        try:
            client.writer.write(_line({"id": number, **message}))
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise Unavailable(
                f"{message['do']} {message['name']} of process {pid} did not answer within {timeout:g} s",
                why="It still runs, or the process is stuck.",
                hint="Give it a longer timeout, or make it quicker.",
            ) from None
        finally:
            client.waiting.pop(number, None)

    # ------------------------------------------------------------------------------------------------------- serving
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: Client | None = None
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task
        self._tasks.add(task)
        self._open.add(writer)
        try:
            peer, uid = _peer(writer)
            if uid != os.getuid() and self._refused is not None:
                self._refused("foreign-user", self._path.name, f"uid {uid}, pid {peer}")
            if uid != os.getuid() or len(self._open) > CLIENTS_MOST:
                return
            hello = await _read(reader)
            if hello.get("hello") == "app":
                client = self._welcome(hello, peer, writer)
                while True:
                    self._heard(client, await _read(reader))
            elif hello.get("hello") == "cli":
                while True:
                    asked = {**await _read(reader), PEER: {"pid": peer, "uid": uid}}
                    writer.write(_line(await self._answer(asked)))
                    await writer.drain()
        except (OSError, ValueError, TypeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client has gone, or talks nonsense: either way the conversation is over
        finally:
            self._open.discard(writer)
            if client is not None:
                self._goodbye(client)
            writer.close()
            self._tasks.discard(task)

    def _welcome(self, hello: Mapping[str, Any], peer: int, writer: asyncio.StreamWriter) -> Client:
        slot = hello.get("slot")
        # The pid is the kernel's word, not the client's: it decides whose checks these are.
        client = Client(peer, int(hello.get("start_ticks") or 0), slot if isinstance(slot, int) else None, writer)
        self._declare(client, hello)
        self._clients[peer] = client
        return client

    def _goodbye(self, client: Client) -> None:
        if self._clients.get(client.pid) is client:
            del self._clients[client.pid]
        for answer in client.waiting.values():
            if not answer.done():
                answer.set_exception(
                    Unavailable(f"process {client.pid} hung up", why="It has ended.", hint="See its last words.")
                )

    @staticmethod
    def _declare(client: Client, raw: Mapping[str, Any]) -> None:
        checks = [one for one in _list(raw, "checks") if isinstance(one, dict) and one.get("name")]
        client.checks = tuple(
            Declared(
                str(one["name"]),
                str(one.get("kind", "readiness")),
                float(one.get("timeout") or 2.0),
                float(one.get("every") or 60.0),
                client.slot,
            )
            for one in checks
        )
        client.collectors = tuple(str(name) for name in _list(raw, "collectors"))
        client.reload = raw.get("reload") is True
        client.parts = {
            kind: tuple(one for one in _list(raw, kind) if isinstance(one, dict) and isinstance(one.get("name"), str))
            for kind in PARTS
        }

    def _heard(self, client: Client, message: Mapping[str, Any]) -> None:
        if isinstance(message.get("declare"), dict):
            self._declare(client, message["declare"])
            return
        if "known" in message:  # secret values of the program: in memory only, to be taken out of what it prints
            for value in _list(message, "known"):
                if isinstance(value, str):
                    _known.add(value)
            return
        number = message.get("id")
        answer = client.waiting.get(number) if isinstance(number, int) else None
        if answer is not None and not answer.done():
            answer.set_result(dict(message))

    async def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        what = str(message.get("do"))
        verb = self._verbs.get(what)
        if verb is None:
            return {
                "ok": False,
                "what": f"{what!r} is nothing that the agent can do",
                "why": f"It knows {', '.join(self._verbs)}.",
            }
        try:
            found = verb(message)
            return {"ok": True, **(await found if inspect.isawaitable(found) else found)}
        except RoadworthyError as error:
            kind = type(error).__name__
            return {"ok": False, "kind": kind, "what": error.what, "why": error.why, "hint": error.hint}


def supervisor_verbs(request: Callable[..., bool], ready: Callable[[], bool], app: str) -> dict[str, Verb]:
    """Return the verbs that the supervisor answers: ``ping``, ``restart``, ``reload`` and ``stop``.

    ``request`` is ``Supervisor.request``, ``ready`` tells whether the program is.
    """

    def verb(what: str) -> Verb:
        def act(message: Mapping[str, Any]) -> Mapping[str, Any]:
            slot = message.get("slot")
            if (slot is None or type(slot) is int) and request(what, slot):
                return {"what": f"{what} of {app} has begun"}
            raise Unavailable(
                f"{what} is not possible",
                why=f"There is no slot {str(slot)[:40]!r}." if slot is not None else "The program's keeper has died.",
                hint=f"roadworthy status {app} tells what is there.",
            )

        return act

    def ping(_message: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"what": "pong", "app": app, "pid": os.getpid(), "ready": ready()}

    return {"ping": ping, **{what: verb(what) for what in ("restart", "reload", "stop")}}


def _peer(writer: asyncio.StreamWriter) -> tuple[int, int]:
    end = writer.get_extra_info("socket")
    pid, uid, _gid = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid, uid


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    message = json.loads(await reader.readuntil(b"\n"))
    if not isinstance(message, dict):
        raise ValueError("a message is an object")  # noqa: TRY004 - what json raises for other nonsense
    return message


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(message)).encode() + b"\n"


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    found = raw.get(name)
    return found[:DECLARED_MOST] if isinstance(found, list) else []
