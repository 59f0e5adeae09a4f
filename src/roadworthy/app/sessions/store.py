"""Where sessions are kept, and the store of this process; one contract suite holds for it and for the one in Redis.

What a store knows of a token is its hash. A session has up to two that open it: the present one and, until the client
has shown that it holds it, the one that was handed out last. Spent ones are remembered as long as the session, so that
who presents one is told from who presents nonsense.
"""

from __future__ import annotations

from _collections import deque  # type: ignore[import-not-found]  # as in collections

from roadworthy import _clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any, Protocol

    Found = tuple[str, str, str, bool]
    """Outcome, session id, its data as JSON, whether a connection was open before."""

    class Store(Protocol):
        """What :class:`ProcessStore` promises."""

        async def create(  # noqa: D102
            self, session_id: str, token: str, data: str, lifetime: float, longest: float, most: int
        ) -> bool: ...
        async def look(self, token: str) -> Found: ...  # noqa: D102
        async def claim(self, token: str, following: str, owner: str, lifetime: float) -> Found: ...  # noqa: D102
        async def confirm(self, session_id: str, token: str) -> None: ...  # noqa: D102
        async def touch(self, session_id: str, lifetime: float) -> str: ...  # noqa: D102
        async def append(self, session_id: str, message: str, most: int, most_bytes: int) -> int: ...  # noqa: D102
        async def enter(self, session_id: str) -> None: ...  # noqa: D102
        async def after(self, session_id: str, last: int) -> tuple[int, str, list[tuple[int, str]]]: ...  # noqa: D102
        async def acknowledge(self, session_id: str, last: int) -> None: ...  # noqa: D102
        async def take(self, session_id: str, number: int) -> bool: ...  # noqa: D102
        async def wait(self, session_id: str, version: int, seconds: float) -> None: ...  # noqa: D102
        async def leave(self, session_id: str) -> None: ...  # noqa: D102
        async def end(self, session_id: str) -> None: ...  # noqa: D102
        async def count(self) -> int: ...  # noqa: D102
        async def aclose(self) -> None: ...  # noqa: D102


GOOD, UNKNOWN, EXPIRED, REPLAYED = "good", "unknown", "expired", "replayed"
MOST_SPENT = 64
"""Spent tokens that are remembered of one session; older ones are unknown, and refused as well."""

GRACE = 3600.0
"""Seconds for which an expired session's tokens are told from unknown ones."""


class _Kept:
    """One session."""

    __slots__ = (
        "bytes", "current", "data", "ends", "first", "following", "last_taken", "limit", "messages", "owner", "spent",
        "version", "waiters",
    )  # fmt: skip

    def __init__(self, token: str, data: str, ends: float, limit: float) -> None:
        self.current = token
        self.following = ""
        self.spent: Any = deque()
        self.data = data
        self.ends = ends
        self.limit = limit
        self.owner = ""
        self.messages: Any = deque()
        self.first = 1
        self.bytes = 0
        self.last_taken = 0
        self.version = 0
        self.waiters: set[asyncio.Future[None]] = set()


class ProcessStore:
    """Sessions in the memory of this process, of one event loop."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Kept] = {}
        self._tokens: dict[str, str] = {}

    async def create(self, session_id: str, token: str, data: str, lifetime: float, longest: float, most: int) -> bool:
        """Keep a new session; False when there are ``most`` already."""
        now = _clock.monotonic()
        if len(self._sessions) >= most:
            self._sweep(now)
            if await self.count() >= most:
                return False
            self._make_room(most - 1)
        self._sessions[session_id] = _Kept(token, data, now + min(lifetime, longest), now + longest)
        self._tokens[token] = session_id
        return True

    async def look(self, token: str) -> Found:
        """Say what the token would do."""
        session_id = self._tokens.get(token, "")
        kept = self._sessions.get(session_id)
        if kept is None:
            return UNKNOWN, "", "", False
        if _clock.monotonic() >= kept.ends:
            return EXPIRED, session_id, "", False
        if not any(_same(token, one) for one in (kept.current, kept.following)):
            return REPLAYED, session_id, "", False
        return GOOD, session_id, kept.data, bool(kept.owner)

    async def claim(self, token: str, following: str, owner: str, lifetime: float) -> Found:
        """Open a connection of ``owner`` with the token and hand out the following one, in one step."""
        found = await self.look(token)
        kept = self._sessions.get(found[1])
        if found[0] != GOOD or kept is None:
            return found
        if kept.following:
            if _same(token, kept.following):
                self._spend(kept, kept.current)
                kept.current = kept.following
            else:
                self._spend(kept, kept.following)
        kept.following, kept.owner = following, owner
        kept.ends = min(_clock.monotonic() + lifetime, kept.limit)
        self._tokens[following] = found[1]
        self._wake(kept)
        return found

    async def confirm(self, session_id: str, token: str) -> None:
        """Spend the present token: the client holds this one."""
        kept = self._sessions.get(session_id)
        if kept is not None and kept.following and _same(token, kept.following):
            self._spend(kept, kept.current)
            kept.current, kept.following = kept.following, ""

    async def touch(self, session_id: str, lifetime: float) -> str:
        """Renew a session that is connected; returns who holds its connection, empty when it is gone."""
        kept = self._sessions.get(session_id)
        now = _clock.monotonic()
        if kept is None or now >= kept.ends:
            return ""
        kept.ends = min(now + lifetime, kept.limit)
        return kept.owner

    async def append(self, session_id: str, message: str, most: int, most_bytes: int) -> int:
        """Keep a message for the client and return its number; 0 when there is no such session."""
        kept = self._sessions.get(session_id)
        if kept is None or _clock.monotonic() >= kept.ends:
            return 0
        kept.messages.append(message)
        kept.bytes += len(message)
        number = kept.first + len(kept.messages) - 1
        while len(kept.messages) > most or (kept.bytes > most_bytes and len(kept.messages) > 1):
            self._shift(kept)
        self._wake(kept)
        return int(number)

    async def enter(self, session_id: str) -> None:
        """Do nothing: everything happens here."""

    async def after(self, session_id: str, last: int) -> tuple[int, str, list[tuple[int, str]]]:
        """Return a version for :meth:`wait`, who holds the connection, and the messages behind number ``last``.

        Nobody holds the connection of a session that is gone.
        """
        kept = self._sessions.get(session_id)
        if kept is None or _clock.monotonic() >= kept.ends:
            return 0, "", []
        found = [(number, text) for number, text in enumerate(kept.messages, kept.first) if number > last]
        return kept.version, kept.owner, found

    async def acknowledge(self, session_id: str, last: int) -> None:
        """Forget the messages up to number ``last``."""
        kept = self._sessions.get(session_id)
        while kept is not None and kept.messages and kept.first <= last:
            self._shift(kept)

    async def take(self, session_id: str, number: int) -> bool:
        """Return whether the client's message of this number is a new one, and remember it."""
        kept = self._sessions.get(session_id)
        if kept is None or number <= kept.last_taken:
            return False
        kept.last_taken = number
        return True

    async def wait(self, session_id: str, version: int, seconds: float) -> None:
        """Return when something may have changed since ``version``, at latest after so many seconds."""
        import asyncio

        kept = self._sessions.get(session_id)
        if kept is None or kept.version != version:
            return
        waiter = asyncio.get_running_loop().create_future()
        kept.waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=seconds)
        finally:
            kept.waiters.discard(waiter)
            waiter.cancel()

    async def leave(self, session_id: str) -> None:
        """Do nothing, as :meth:`enter`."""

    async def end(self, session_id: str) -> None:
        """Forget a session; its tokens are unknown from now on."""
        self._forget(session_id)

    async def count(self) -> int:
        """Return how many sessions have not expired."""
        now = _clock.monotonic()
        return sum(1 for kept in self._sessions.values() if now < kept.ends)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    def _spend(self, kept: _Kept, token: str) -> None:
        kept.spent.append(token)
        if len(kept.spent) > MOST_SPENT:
            self._tokens.pop(kept.spent.popleft(), None)

    def _shift(self, kept: _Kept) -> None:
        kept.bytes -= len(kept.messages.popleft())
        kept.first += 1

    def _wake(self, kept: _Kept) -> None:
        kept.version += 1
        for waiter in tuple(kept.waiters):
            if not waiter.done():
                waiter.set_result(None)

    def _sweep(self, now: float) -> None:
        for session_id in [one for one, kept in self._sessions.items() if now >= kept.ends + GRACE]:
            self._forget(session_id)

    def _make_room(self, most: int) -> None:
        """Forget expired sessions, the oldest first, which are only kept to be told from unknown ones."""
        now = _clock.monotonic()
        for session_id in [one for one, kept in self._sessions.items() if now >= kept.ends]:
            if len(self._sessions) <= most:
                return
            self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        kept = self._sessions.pop(session_id, None)
        if kept is not None:
            for token in (kept.current, kept.following, *kept.spent):
                self._tokens.pop(token, None)
            kept.ends = 0.0
            self._wake(kept)


def _same(one: str, other: str) -> bool:
    from hmac import compare_digest

    return compare_digest(one, other)
