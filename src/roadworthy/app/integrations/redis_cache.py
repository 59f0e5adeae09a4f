"""The entries of a cache in Redis or Valkey, shared by all processes that use its name.

A value is kept as JSON or, where it is bytes, as it is; nothing is ever unpickled. What JSON would give back as
something else (a tuple, a dict with keys that are no text) is not kept, and told once. One sorted set per cache holds
its keys by the time they end: so the size is bounded and known, and what is soonest over gives way.

Whatever Redis does, nothing is raised: a failure is a miss. After three in a row it is left alone for one to five
seconds, by a breaker that is shown as the policy ``cache.<name>``.
"""

# ruff: noqa: ANN401 - values are the program's own

from __future__ import annotations

import json

from roadworthy import _clock
from roadworthy.app import checks, guard, start
from roadworthy.app.cache import MISSING
from roadworthy.app.integrations.redis_client import Clients
from roadworthy.resilience.breaker import CircuitBreaker
from roadworthy.resilience.policy import Policy
from roadworthy.resilience.rejected import Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from roadworthy.app.cache import Cache

DEFAULT_TTL = 300.0
CHECKED_EVERY = 30.0
_JSON, _BYTES = b"j", b"b"

_SET = """
local now = redis.call('TIME')[1] * 1000
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], KEYS[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2 + 60000)
local over = redis.call('ZCARD', KEYS[1]) - ARGV[3]
if over <= 0 then return 0 end
local gone = redis.call('ZPOPMIN', KEYS[1], over)
for i = 1, #gone, 2 do redis.call('DEL', gone[i]) end
return over
"""
_CLEAR = """
local all = redis.call('ZRANGE', KEYS[1], 0, -1)
for i = 1, #all do redis.call('DEL', all[i]) end
redis.call('DEL', KEYS[1])
"""


class Shared:
    """The entries of one cache; see :class:`roadworthy.app.cache.Store`."""

    def __init__(self, url: str, owner: Cache) -> None:
        self._owner = owner
        self._clients = Clients(url, f"cache {owner.name!r}")
        # Braces: the keys of one cache lie on one node of a cluster, as the scripts need them.
        self._index = f"roadworthy:cache:{{{owner.name}}}"
        self._policy = Policy(f"cache.{owner.name}", breaker=CircuitBreaker(consecutive=3, open_for=(1, 5), probes=1))
        self._size: int | None = None
        if start.enabled():
            checks.informational(f"cache {owner.name}", self.healthy, every=CHECKED_EVERY)

    def get(self, key: str) -> Any:
        """Return the value; MISSING when there is none or Redis does not answer."""
        return self._read(self._ask(lambda: self._clients.plain().get(self._key(key))))

    def set(self, key: str, value: Any, ttl: float | None) -> int:
        """Keep a value and return how many others gave way."""
        made = self._written(value)
        if made is None:
            return 0
        return int(self._ask(lambda: self._clients.plain().eval(_SET, 2, *self._given(key, made, ttl))) or 0)

    def delete(self, key: str) -> bool:
        """Forget a key; returns whether it was there, False also when Redis does not answer."""
        name = self._key(key)
        gone = self._ask(lambda: self._clients.plain().delete(name))
        self._ask(lambda: self._clients.plain().zrem(self._index, name))
        return bool(gone)

    def clear(self) -> None:
        """Forget everything under this cache's name."""
        self._ask(lambda: self._clients.plain().eval(_CLEAR, 1, self._index))

    async def aget(self, key: str) -> Any:
        """Return the value; MISSING when there is none or Redis does not answer."""
        return self._read(await self._aask(lambda: self._clients.here().get(self._key(key))))

    async def aset(self, key: str, value: Any, ttl: float | None) -> int:
        """Keep a value and return how many others gave way."""
        made = self._written(value)
        if made is None:
            return 0
        done = await self._aask(lambda: self._clients.here().eval(_SET, 2, *self._given(key, made, ttl)))
        return int(done or 0)

    async def adelete(self, key: str) -> bool:
        """Forget a key; returns whether it was there, False also when Redis does not answer."""
        name = self._key(key)
        gone = await self._aask(lambda: self._clients.here().delete(name))
        await self._aask(lambda: self._clients.here().zrem(self._index, name))
        return bool(gone)

    async def aclear(self) -> None:
        """Forget everything under this cache's name."""
        await self._aask(lambda: self._clients.here().eval(_CLEAR, 1, self._index))

    def size(self) -> int | None:
        """Return how many entries are kept by all processes together; None when Redis does not answer."""
        now = int(_clock.wall() * 1000)
        found = self._ask(lambda: self._clients.plain().zcount(self._index, now, "+inf"))
        return None if found is None else int(found)

    def close(self) -> None:
        """Close the connections of plain calls."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._clients.aclose()

    def healthy(self) -> tuple[bool, str]:
        """Ask Redis, past the breaker: what the check ``cache <name>`` says. It makes no program unready."""
        self._clients.plain().ping()
        size = self.size()
        return True, "answers" if size is None else f"answers, {size} of {self._owner.max_size} entries"

    def _key(self, key: str) -> str:
        return f"{self._index}:{key}"

    def _given(self, key: str, made: bytes, ttl: float | None) -> tuple[object, ...]:
        milliseconds = max(1, int((DEFAULT_TTL if ttl is None else ttl) * 1000))
        return (self._index, self._key(key), made, milliseconds, self._owner.max_size)

    def _ask(self, call: Any) -> Any:
        try:
            return self._policy.call(call)
        except Exception as error:
            if self._failed(error):
                self._clients.drop_idle()
            return None

    async def _aask(self, call: Any) -> Any:
        async def asked() -> Any:
            return await call()

        try:
            return await self._policy.acall(asked)
        except Exception as error:
            if self._failed(error):
                await self._clients.adrop_idle()
            return None

    def _failed(self, error: Exception) -> bool:
        """Count and, once, tell a failure; returns whether Redis was asked at all."""
        if guard.from_signal_handler(error):
            raise error
        self._owner.failed()
        if isinstance(error, Rejected):
            return False
        what = f"cache {self._owner.name!r} is passed over: Redis did not answer ({type(error).__name__})"
        guard.report(f"cache.{self._owner.name}", what)
        return True

    def _written(self, value: Any) -> bytes | None:
        if type(value) is bytes:
            return _BYTES + value
        if plain(value):
            try:
                return _JSON + json.dumps(value, separators=(",", ":")).encode()
            except (ValueError, RecursionError):
                pass  # inf and nan, and what holds itself
        self._owner.failed()
        what = f"cache {self._owner.name!r} does not keep a {type(value).__name__}: what is in Redis is JSON or bytes"
        guard.report(f"cache.{self._owner.name}.{type(value).__name__}", what)
        return None

    def _read(self, found: Any) -> Any:
        if found is None:
            return MISSING
        try:
            if found[:1] == _BYTES:
                return found[1:]
            if found[:1] == _JSON:
                return json.loads(found[1:])
        except ValueError:
            pass  # somebody else wrote there
        self._owner.failed()
        return MISSING


def plain(value: object) -> bool:
    """Return whether JSON gives back the very same value."""
    todo = [value]
    for _ in range(1_000_000):
        if not todo:
            return True
        one = todo.pop()
        if type(one) is dict:
            if any(type(key) is not str for key in one):
                return False
            todo += one.values()
        elif type(one) is list:
            todo += one
        elif type(one) is float:
            if one - one != 0:
                return False
        elif one is not None and type(one) not in {str, int, bool}:
            return False
    return False  # larger than anything one puts into a cache, or it holds itself
