"""Sessions in Redis or Valkey: any instance opens and resumes any of them, without affinity.

Every step is one script, so that two instances that are asked the same at once do not both say yes. What waits for a
change is woken by a message of Redis: one subscribing connection for all sessions of an instance. A token is looked up
by its hash, and hashes are compared: how long that takes says nothing about the token.

When Redis does not answer, :class:`~roadworthy.errors.Unavailable` is raised: no session is made or opened then.
"""

# ruff: noqa: ANN401 - the client is somebody else's

from __future__ import annotations

import asyncio

from roadworthy.app.integrations.redis_client import Clients
from roadworthy.app.sessions.store import GRACE
from roadworthy.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from roadworthy.app.sessions.store import Found

LISTEN = 30.0
PAUSE = 1.0
"""Seconds until the subscription is tried again."""

_HEAD = """
local P = KEYS[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local grace = %d
local function found(token)
  local id = redis.call('GET', P .. 't:' .. token)
  if not id then return {'unknown', '', '', '0'} end
  local v = redis.call('HMGET', P .. 's:' .. id, 'ends', 'current', 'following', 'owner', 'data')
  if not v[1] then return {'unknown', '', '', '0'} end
  if now >= tonumber(v[1]) then return {'expired', id, '', '0'} end
  if token ~= v[2] and token ~= v[3] then return {'replayed', id, '', '0'} end
  return {'good', id, v[5], v[4] ~= '' and '1' or '0', v[2], v[3]}
end
local function alive(id)
  local ends = redis.call('HGET', P .. 's:' .. id, 'ends')
  return ends and now < tonumber(ends)
end
local function renew(id, life)
  local ends = math.min(now + life, tonumber(redis.call('HGET', P .. 's:' .. id, 'limit')))
  redis.call('HSET', P .. 's:' .. id, 'ends', ends)
  redis.call('PEXPIRE', P .. 's:' .. id, ends - now + grace)
  redis.call('PEXPIRE', P .. 'm:' .. id, ends - now + grace)
  redis.call('ZADD', P .. 'live', ends, id)
  for _, which in ipairs({'current', 'following'}) do
    local token = redis.call('HGET', P .. 's:' .. id, which)
    if token ~= '' then redis.call('SET', P .. 't:' .. token, id, 'PX', ends - now + grace) end
  end
end
local function shift(id, n)
  for i = 1, n do
    local gone = redis.call('LPOP', P .. 'm:' .. id)
    if not gone then return end
    redis.call('HINCRBY', P .. 's:' .. id, 'bytes', -#gone)
    redis.call('HINCRBY', P .. 's:' .. id, 'first', 1)
  end
end
local function wake(id) redis.call('PUBLISH', P .. 'n:' .. id, '1') end
""" % int(GRACE * 1000)  # noqa: UP031 - braces are Lua's here

_SCRIPTS = {
    "create": """
redis.call('ZREMRANGEBYSCORE', P .. 'live', '-inf', now)
if redis.call('ZCARD', P .. 'live') >= tonumber(ARGV[6]) then return 0 end
redis.call('HSET', P .. 's:' .. ARGV[1], 'current', ARGV[2], 'following', '', 'owner', '', 'data', ARGV[3],
  'limit', now + ARGV[5], 'first', 1, 'bytes', 0, 'number', 0, 'taken', 0)
renew(ARGV[1], tonumber(ARGV[4]))
return 1
""",
    "look": "return found(ARGV[1])",
    "claim": """
local f = found(ARGV[1])
if f[1] ~= 'good' then return f end
local current = f[5]
if ARGV[1] == f[6] then current = f[6] end
redis.call('HSET', P .. 's:' .. f[2], 'current', current, 'following', ARGV[2], 'owner', ARGV[3])
renew(f[2], tonumber(ARGV[4]))
wake(f[2])
return f
""",
    "confirm": """
if redis.call('HGET', P .. 's:' .. ARGV[1], 'following') == ARGV[2] then
  redis.call('HSET', P .. 's:' .. ARGV[1], 'current', ARGV[2], 'following', '')
end
""",
    "touch": """
if not alive(ARGV[1]) then return '' end
renew(ARGV[1], tonumber(ARGV[2]))
return redis.call('HGET', P .. 's:' .. ARGV[1], 'owner')
""",
    "append": """
local id = ARGV[1]
if not alive(id) then return 0 end
local number = redis.call('HINCRBY', P .. 's:' .. id, 'number', 1)
redis.call('RPUSH', P .. 'm:' .. id, ARGV[2])
redis.call('PEXPIRE', P .. 'm:' .. id, redis.call('PTTL', P .. 's:' .. id))
local bytes = redis.call('HINCRBY', P .. 's:' .. id, 'bytes', #ARGV[2])
local kept = redis.call('LLEN', P .. 'm:' .. id)
while kept > tonumber(ARGV[3]) or (bytes > tonumber(ARGV[4]) and kept > 1) do
  shift(id, 1)
  kept = kept - 1
  bytes = tonumber(redis.call('HGET', P .. 's:' .. id, 'bytes'))
end
wake(id)
return number
""",
    "after": """
local id = ARGV[1]
if not alive(id) then return {'', 1} end
local v = redis.call('HMGET', P .. 's:' .. id, 'owner', 'first')
local from = math.max(0, ARGV[2] - v[2] + 1)
local answer = redis.call('LRANGE', P .. 'm:' .. id, from, -1)
table.insert(answer, 1, tonumber(v[2]) + from)
table.insert(answer, 1, v[1])
return answer
""",
    "acknowledge": """
local first = redis.call('HGET', P .. 's:' .. ARGV[1], 'first')
if first then shift(ARGV[1], ARGV[2] - first + 1) end
""",
    "take": """
local id = ARGV[1]
if not alive(id) or tonumber(ARGV[2]) <= tonumber(redis.call('HGET', P .. 's:' .. id, 'taken')) then return 0 end
redis.call('HSET', P .. 's:' .. id, 'taken', ARGV[2])
return 1
""",
    "end": """
local v = redis.call('HMGET', P .. 's:' .. ARGV[1], 'current', 'following')
if not v[1] then return end
redis.call('DEL', P .. 't:' .. v[1], P .. 't:' .. v[2], P .. 's:' .. ARGV[1], P .. 'm:' .. ARGV[1])
redis.call('ZREM', P .. 'live', ARGV[1])
wake(ARGV[1])
""",
    "count": """
redis.call('ZREMRANGEBYSCORE', P .. 'live', '-inf', now)
return redis.call('ZCARD', P .. 'live')
""",
}


class RedisStore:
    """See :class:`roadworthy.app.sessions.store.Store`."""

    def __init__(self, name: str, url: str) -> None:
        self._clients = Clients(url, f"sessions {name!r}")
        self._prefix = f"roadworthy:{{sessions:{name}}}:"
        self._versions: dict[str, list[Any]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._heard: Any = None

    async def create(self, session_id: str, token: str, data: str, lifetime: float, longest: float, most: int) -> bool:
        """Keep a new session; False when there are ``most`` already."""
        times = (_ms(min(lifetime, longest)), _ms(longest))
        return bool(await self._run("create", session_id, token, data, *times, most))

    async def look(self, token: str) -> Found:
        """Say what the token would do."""
        return _found(await self._run("look", token))

    async def claim(self, token: str, following: str, owner: str, lifetime: float) -> Found:
        """Open a connection of ``owner`` with the token and hand out the following one, in one step."""
        return _found(await self._run("claim", token, following, owner, _ms(lifetime)))

    async def confirm(self, session_id: str, token: str) -> None:
        """Spend the present token: the client holds this one."""
        await self._run("confirm", session_id, token)

    async def touch(self, session_id: str, lifetime: float) -> str:
        """Renew a session that is connected; returns who holds its connection, empty when it is gone."""
        return bytes(await self._run("touch", session_id, _ms(lifetime))).decode()

    async def append(self, session_id: str, message: str, most: int, most_bytes: int) -> int:
        """Keep a message for the client and return its number; 0 when there is no such session."""
        return int(await self._run("append", session_id, message, most, most_bytes))

    async def after(self, session_id: str, last: int) -> tuple[int, str, list[tuple[int, str]]]:
        """Return a version for :meth:`wait`, who holds the connection, and the messages behind number ``last``."""
        version = await self._version(session_id)
        owner, first, *messages = await self._run("after", session_id, last)
        return version, owner.decode(), [(number, text.decode()) for number, text in enumerate(messages, int(first))]

    async def acknowledge(self, session_id: str, last: int) -> None:
        """Forget the messages up to number ``last``."""
        await self._run("acknowledge", session_id, last)

    async def take(self, session_id: str, number: int) -> bool:
        """Return whether the client's message of this number is a new one, and remember it."""
        return bool(await self._run("take", session_id, number))

    async def wait(self, session_id: str, version: int, seconds: float) -> None:
        """Return when something may have changed since ``version``, at latest after so many seconds."""
        kept = self._versions.get(session_id)
        if kept is not None and kept[0] == version:
            waiter = asyncio.get_running_loop().create_future()
            kept[1].add(waiter)
            try:
                await asyncio.wait({waiter}, timeout=seconds)
            finally:
                kept[1].discard(waiter)
                waiter.cancel()

    async def leave(self, session_id: str) -> None:
        """Listen to the session no more, when nobody else here does."""
        kept = self._versions.get(session_id)
        if kept is None:
            return
        kept[2] -= 1
        if kept[2] <= 0:
            del self._versions[session_id]
            if self._heard is not None:
                try:
                    await self._heard.unsubscribe(self._channel(session_id))
                except Exception as error:
                    if not isinstance(error, _failures()):
                        raise

    async def enter(self, session_id: str) -> None:
        """Listen to the session from now on."""
        kept = self._versions.setdefault(session_id, [0, set(), 0])
        kept[2] += 1
        if kept[2] == 1 and self._heard is not None:
            try:
                await self._heard.subscribe(self._channel(session_id))
            except Exception as error:
                if not isinstance(error, _failures()):
                    raise
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())

    async def end(self, session_id: str) -> None:
        """Forget a session; its tokens are unknown from now on."""
        await self._run("end", session_id)

    async def count(self) -> int:
        """Return how many sessions have not expired."""
        return int(await self._run("count"))

    async def aclose(self) -> None:
        """Stop listening, and close the connections of this event loop."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        await self._clients.aclose()

    async def _version(self, session_id: str) -> int:
        kept = self._versions.get(session_id)
        return 0 if kept is None else int(kept[0])

    async def _listen(self) -> None:
        """Hear of changes until cancelled; after a failure, subscribe anew and have everybody look."""
        while True:
            heard = self._clients.here().pubsub(ignore_subscribe_messages=True)
            try:
                names = [self._channel(one) for one in tuple(self._versions)]
                await heard.subscribe(f"{self._prefix}n:", *names)
                self._heard = heard
                for one in tuple(self._versions):
                    self._wake(one)
                while True:
                    message = await heard.get_message(timeout=LISTEN)
                    if message is not None:
                        self._wake(message["channel"].decode().rpartition(":")[2])
            except Exception as error:
                if not isinstance(error, _failures()):
                    raise
            finally:
                self._heard = None
                await heard.aclose()
            await asyncio.sleep(PAUSE)

    def _wake(self, session_id: str) -> None:
        kept = self._versions.get(session_id)
        if kept is not None:
            kept[0] += 1
            for waiter in tuple(kept[1]):
                if not waiter.done():
                    waiter.set_result(None)

    def _channel(self, session_id: str) -> str:
        return f"{self._prefix}n:{session_id}"

    async def _run(self, script: str, *given: object) -> Any:
        client = self._clients.here()
        try:
            return await client.register_script(_HEAD + _SCRIPTS[script])(keys=[self._prefix], args=given)
        except Exception as error:
            if not isinstance(error, _failures()):
                raise
            await self._clients.adrop_idle()
            raise Unavailable(
                "the store of the sessions does not answer",
                why=f"{type(error).__name__} from Redis.",
                hint="see that it runs, and that the address and password of the URL are right",
            ) from error


def _failures() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return (RedisError, OSError, TimeoutError)


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _found(answer: Any) -> Found:
    outcome, session_id, data, opened = (bytes(one).decode() for one in answer[:4])
    return outcome, session_id, data, opened == "1"
