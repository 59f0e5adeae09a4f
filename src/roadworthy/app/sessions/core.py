"""Sessions and their tokens: made, verified, opened once each, ended.

A token is a secret of 256 bits (``secrets.token_urlsafe``); only its SHA-256 hash is kept, so whoever reads the store,
or a log with session ids in it, can open nothing. (A slow or keyed hash would add nothing: there is no dictionary of
256-bit secrets.) Each token opens one connection. With the connection comes the next one, and when the client has shown
that it holds that, the former is spent; presented again, it is refused as replayed. So a connection that was cut before
the new token arrived comes back with the old one, and a stolen token is good for nothing once its owner has used it.
"""

# ruff: noqa: ANN401 - applications and instruments are not ours, or made late

from __future__ import annotations

import asyncio
import json

from roadworthy.app import guard, start
from roadworthy.app.sessions.store import GOOD, REPLAYED, ProcessStore
from roadworthy.errors import Exhausted, Refused
from roadworthy.resilience.arguments import BadArgument, duration, number, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Any

    from roadworthy.app.sessions.channel import Channel
    from roadworthy.app.sessions.store import Store

    Handler = Callable[[Channel], Awaitable[None]]

TRANSPORTS = ("subprotocol", "header", "message", "query")
MOST_DATA = 4096
"""Characters of JSON that a session may carry of the program's own."""

MOST_AUDITED = 1000
"""Sessions of one process whose replayed tokens are security events, each once: nobody may fill the trail with them."""

_LONGEST_TOKEN = 256


class SessionRefused(Refused):
    """A token opens nothing; ``reason`` is missing, unknown, expired or replayed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the session is refused: its token is {reason}", hint="ask for a new session")
        self.reason = reason


class Created:
    """A new session, as the endpoint answers it; the token is told this once."""

    __slots__ = ("expires_in", "session_id", "token")

    def __init__(self, session_id: str, token: str, expires_in: int) -> None:
        self.session_id = session_id
        self.token = token
        self.expires_in = expires_in

    def __repr__(self) -> str:
        return f"Created({self.session_id!r})"

    def answer(self) -> dict[str, object]:
        """Return what is sent to the client."""
        return {"session_id": self.session_id, "token": self.token, "expires_in": self.expires_in}


class Session:
    """A session whose token was good: ``session_id`` for logs and look-ups, and the ``data`` it was created with."""

    __slots__ = ("data", "owner", "resumed", "session_id", "token")

    def __init__(self, session_id: str, data: dict[str, Any], *, token: str, owner: str, resumed: bool) -> None:
        self.session_id = session_id
        self.data = data
        self.token = token
        self.owner = owner
        self.resumed = resumed

    def __repr__(self) -> str:
        return f"Session({self.session_id!r})"


class Sessions:
    """The sessions of one service: ``Sessions()``, or ``Sessions(url="redis://…")`` where several instances serve.

    - ``lifetime``: how long a token is good for, and how long a cut session waits; every connection renews it. The
      default of two hours is longer than any platform keeps a WebSocket (Cloud Run: 60 minutes). ``longest``: no
      session is older.
    - ``buffer``, ``buffer_bytes``: messages that the client has not acknowledged and that are kept for it; when there
      are more, the oldest go, and the client is told how many.
    - ``most``: sessions at once; beyond, :meth:`create` raises :class:`~roadworthy.errors.Exhausted`.
    - ``ping``: seconds between two pings, below every proxy's idle timeout. Three without an answer end a connection.
    - ``transports``: where a token may stand: ``subprotocol``, ``header`` (``Authorization: Bearer``), ``message`` (the
      first one; the connection is then accepted before its token is known), ``query`` (which lands in logs).
    - ``origins``: the only origins that browsers may come from, if given.

    Raises :class:`~roadworthy.resilience.arguments.BadArgument`, and
    :class:`~roadworthy.errors.ConfigurationError` for a URL that cannot be used.
    """

    def __init__(  # noqa: PLR0913 - what sessions are, each by its name
        self,
        name: str = "sessions",
        *,
        url: str | None = None,
        lifetime: float | str = "2h",
        longest: float | str = "24h",
        buffer: int = 256,
        buffer_bytes: int = 262_144,
        most: int = 10_000,
        ping: float = 20.0,
        transports: Iterable[str] = ("subprotocol", "header"),
        origins: Iterable[str] = (),
    ) -> None:
        self.name = _name(name)
        self.lifetime = duration("lifetime", lifetime)
        self.longest = duration("longest", longest)
        self.buffer = whole("buffer", buffer, most=100_000)
        self.buffer_bytes = whole("buffer_bytes", buffer_bytes)
        self.most = whole("most", most)
        self.ping = number("ping", ping, most=3600, above=True)
        self.transports = tuple(transports)
        for one in self.transports:
            if one not in TRANSPORTS:
                raise BadArgument("transports", self.transports, f"some of {', '.join(TRANSPORTS)}")
        self.origins = frozenset(origins)
        self.store = _store(name, url)
        self.meters = Meters(name)

    async def create(self, **data: object) -> Created:
        """Make a session that carries ``data`` (JSON) and return it with its token, which is kept nowhere.

        Raises Exhausted when there are ``most`` sessions, and BadArgument for data that is not JSON or too long.
        """
        import secrets

        try:
            text = json.dumps(data, allow_nan=False)
        except (TypeError, ValueError):
            raise BadArgument("data", data, "what JSON can say") from None
        if len(text) > MOST_DATA:
            raise BadArgument("data", text, f"at most {MOST_DATA} characters of JSON")
        session_id, token = secrets.token_hex(8), secrets.token_urlsafe(32)
        if not await self.store.create(session_id, hashed(token), text, self.lifetime, self.longest, self.most):
            self.meters.refused("full")
            raise Exhausted("no session is free", why=f"There are {self.most}.", hint="Try again in a minute.")
        self.meters.active.set(await self.store.count())
        return Created(session_id, token, int(self.lifetime))

    async def verify(self, token: str) -> Session:
        """Return the session that ``token`` would open now, and leave both as they are; raises SessionRefused."""
        outcome, session_id, data, resumed = await self.store.look(self._hash(token))
        if outcome != GOOD:
            raise self._refusal(outcome, session_id)
        return Session(session_id, json.loads(data), token="", owner="", resumed=resumed)

    async def open(self, token: str) -> Session:
        """Open a connection with ``token`` and return its session with the next token; raises SessionRefused.

        Whoever held the session's connection until now has lost it.
        """
        import secrets

        given = self._hash(token)
        following, owner = secrets.token_urlsafe(32), secrets.token_hex(8)
        outcome, session_id, data, resumed = await self.store.claim(given, hashed(following), owner, self.lifetime)
        if outcome != GOOD:
            raise self._refusal(outcome, session_id)
        return Session(session_id, json.loads(data), token=following, owner=owner, resumed=resumed)

    async def confirm(self, session: Session) -> None:
        """Note that the client holds the session's next token: the former one is spent."""
        await self.store.confirm(session.session_id, hashed(session.token))

    async def send(self, session_id: str, data: object) -> int:
        """Send ``data`` (JSON) to a session, now or when it resumes; returns the message's number, 0 when it is gone.

        It is kept until the client has acknowledged it, within the bounds of ``buffer``. Raises TypeError or ValueError
        for what JSON cannot say.
        """
        text = json.dumps(data, allow_nan=False)
        return await self.store.append(session_id, text, self.buffer, self.buffer_bytes)

    async def end(self, session_id: str) -> None:
        """End a session: its tokens open nothing any more, what was kept for it is gone, its connection is closed."""
        await self.store.end(session_id)
        self.meters.active.set(await self.store.count())

    async def alive(self, session_id: str) -> bool:
        """Return whether a session that was opened once is still there, connected or waiting to resume."""
        return bool((await self.store.after(session_id, 1 << 52))[1])

    async def active(self) -> int:
        """Return how many sessions there are, connected or waiting to resume."""
        return await self.store.count()

    async def aclose(self) -> None:
        """Close what is open to Redis."""
        await self.store.aclose()

    def asgi(
        self, app: Any, handler: Handler | None = None, *, path: str = "/ws", endpoint: str = "/api/session"
    ) -> Any:
        """Return an ASGI application: ``app`` with the endpoint, the client's script, and the guarded WebSocket.

        ``handler`` gets a :class:`~roadworthy.app.sessions.channel.Channel` for each connection; without one, ``app``
        itself gets the WebSocket once its token was found good, with the :class:`Session` as
        ``scope["roadworthy.session"]``, and the token stays as it is.
        """
        from roadworthy.app.integrations.sessions_asgi import Guard

        return Guard(app, self, handler, path=path, endpoint=endpoint)

    def aiohttp(self, app: Any, handler: Handler, *, path: str = "/ws", endpoint: str = "/api/session") -> Any:
        """Add the endpoint, the client's script and the guarded WebSocket to an aiohttp application; returns it."""
        from roadworthy.app.integrations.sessions_aiohttp import install

        return install(app, self, handler, path=path, endpoint=endpoint)

    def _hash(self, token: object) -> str:
        if not token or not isinstance(token, str) or len(token) > _LONGEST_TOKEN:
            raise self._refusal("unknown" if token else "missing", "")
        return hashed(token)

    def _refusal(self, reason: str, session_id: str) -> SessionRefused:
        self.meters.refused(reason, session_id)
        return SessionRefused(reason)


def hashed(token: str) -> str:
    """Return what is kept of a token."""
    from hashlib import sha256

    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Meters:
    """What sessions tell (WSS-06); each has the label ``sessions``."""

    def __init__(self, name: str) -> None:
        from roadworthy.app import off

        metrics: Any = off
        self._event: Any = off.event
        if start.enabled():
            import roadworthy
            from roadworthy.app import metrics

            self._event = roadworthy.event
        self._name = name
        self._audited = start.enabled()
        self._replayed: set[str] = set()

        def counted(what: str, told: str, *labels: str) -> Any:
            return metrics.counter(f"websocket.{what}", help=told, labels=("sessions", *labels))

        self.connections = counted("connections", "connections that were opened").labels(sessions=name)
        self.resumes = counted("resumes", "connections that took up a session again").labels(sessions=name)
        self.lost = counted("messages.lost", "messages that a client came back too late for").labels(sessions=name)
        self._disconnections = counted("disconnections", "connections that ended, clean or abnormal", "how")
        self._refused = counted("refused", "connections that were refused, by reason", "reason")
        self.connected = metrics.gauge("websocket.active", help="open connections", merge="sum", labels=("sessions",))
        self.connected = self.connected.labels(sessions=name)
        self.active = metrics.gauge("sessions.active", help="sessions, connected or not", labels=("sessions",))
        self.active = self.active.labels(sessions=name)
        self._open = 0

    def opened(self, *, resumed: bool) -> None:
        """Count a connection."""
        self.connections.add()
        if resumed:
            self.resumes.add()
        self._open += 1
        self.connected.set(self._open)

    def closed(self, *, clean: bool) -> None:
        """Count the end of a connection."""
        self._disconnections.labels(sessions=self._name, how="clean" if clean else "abnormal").add()
        self._open -= 1
        self.connected.set(self._open)

    def refused(self, reason: str, session_id: str = "") -> None:
        """Count a refusal, and put it into the flight recorder."""
        self._refused.labels(sessions=self._name, reason=reason).add()
        known = {"session_id": session_id} if session_id else {}
        self._event("session refused", kind="warning", level="warning", source=self._name, reason=reason, **known)
        if reason == REPLAYED and self._audited and session_id not in self._replayed:
            self._replayed.add(session_id)
            self._audited = len(self._replayed) < MOST_AUDITED
            _ = asyncio.get_running_loop().run_in_executor(
                None, _audit, self._name, session_id
            )  # it writes to the disk


def _name(given: object) -> str:
    if isinstance(given, str) and given.replace("-", "").replace("_", "").replace(".", "").isalnum():
        return given
    raise BadArgument("name", given, "letters, digits, '.', '-' and '_'")


def _audit(name: str, session_id: str) -> None:
    from roadworthy.log.security import log_security_event

    told = {"sessions": name, "session": session_id}
    log_security_event("session_token_replayed", "a token that was spent was presented again", additional_data=told)


def _store(name: str, url: str | None) -> Store:
    if not url:
        return ProcessStore()
    from roadworthy.app.integrations.redis_sessions import RedisStore

    return RedisStore(name, url)


def told(place: str, error: Exception) -> None:
    """Tell a failure of ours that ended a connection; raises what is not ours."""
    if guard.failed(place, error):
        raise error
