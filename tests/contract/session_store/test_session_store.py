"""What every store of sessions promises, asked of that of a process and of one in a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time

import pytest

from roadworthy.app.integrations.redis_sessions import RedisStore
from roadworthy.app.sessions.store import MOST_SPENT, ProcessStore
from roadworthy.errors import Unavailable
from support.servers import Redis, free_port

pytestmark = pytest.mark.anyio
WHEN = (60.0, 3600.0, 100)


@pytest.fixture(scope="module")
def server(service):
    with Redis(service("redis-server"), password="hunter22-of-sessions") as running:
        yield running


@pytest.fixture(params=["process", pytest.param("redis", marks=pytest.mark.service("redis-server"))])
async def store(request):
    if request.param == "process":
        made = ProcessStore()
    else:
        made = RedisStore(secrets.token_hex(4), request.getfixturevalue("server").url)
    yield made
    await made.aclose()


async def test_a_token_says_which_session_it_would_open(store):
    assert await store.create("s1", "t1", '{"a": 1}', *WHEN) is True
    assert await store.look("t1") == ("good", "s1", '{"a": 1}', False)
    assert await store.look("t1") == ("good", "s1", '{"a": 1}', False)
    assert await store.look("t2") == ("unknown", "", "", False)
    assert await store.count() == 1


async def test_a_token_that_was_followed_and_confirmed_is_replayed(store):
    await store.create("s1", "t1", "{}", *WHEN)
    assert await store.claim("t1", "t2", "o1", 60) == ("good", "s1", "{}", False)
    await store.confirm("s1", "t2")
    assert (await store.look("t1"))[:2] == ("replayed", "s1")
    assert (await store.claim("t1", "t9", "o9", 60))[0] == "replayed"
    assert (await store.look("t9"))[0] == "unknown"
    assert await store.claim("t2", "t3", "o2", 60) == ("good", "s1", "{}", True)


async def test_until_it_is_confirmed_either_token_opens(store):
    await store.create("s1", "t1", "{}", *WHEN)
    await store.claim("t1", "t2", "o1", 60)
    await store.confirm("s1", "nonsense")
    assert (await store.claim("t1", "t3", "o2", 60))[0] == "good"
    assert (await store.look("t2"))[0] == "replayed"
    assert (await store.claim("t3", "t4", "o3", 60))[0] == "good"
    assert (await store.look("t1"))[0] == "replayed"
    assert (await store.look("t4"))[0] == "good"


async def test_of_many_that_present_a_spent_token_at_once_none_gets_in(store):
    await store.create("s1", "t1", "{}", *WHEN)
    await store.claim("t1", "t2", "o", 60)
    await store.confirm("s1", "t2")
    got = await asyncio.gather(*(store.claim("t1", f"x{n}", f"o{n}", 60) for n in range(5)))
    assert [one[0] for one in got] == ["replayed"] * 5


async def test_a_session_ends_with_its_time_and_is_told_from_one_that_never_was(store):
    await store.create("s1", "t1", "{}", 0.05, 3600, 100)
    deadline = time.monotonic() + 30
    while (await store.look("t1"))[0] == "good":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert (await store.look("t1"))[:2] == ("expired", "s1")
    assert (await store.claim("t1", "t2", "o", 60))[0] == "expired"
    assert await store.append("s1", '"x"', 10, 1000) == 0
    assert await store.touch("s1", 60) == ""
    assert (await store.after("s1", 0))[1:] == ("", [])
    assert await store.take("s1", 1) in (True, False)
    assert await store.count() == 0


async def test_no_session_is_older_than_the_longest(store):
    await store.create("s1", "t1", "{}", 60, 0.05, 100)
    await store.claim("t1", "t2", "o", 60)
    await asyncio.sleep(0.1)
    assert (await store.look("t2"))[0] in ("expired", "unknown")


async def test_sessions_are_bounded_and_an_expired_one_makes_room(store):
    assert await store.create("s1", "t1", "{}", 0.05, 60, 2)
    assert await store.create("s2", "t2", "{}", 60, 60, 2)
    deadline = time.monotonic() + 30
    while not await store.create("s3", "t3", "{}", 60, 60, 2):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert await store.create("s4", "t4", "{}", 60, 60, 2) is False
    assert await store.count() == 2


async def test_messages_are_numbered_kept_until_acknowledged_and_bounded(store):
    await store.create("s1", "t1", "{}", *WHEN)
    await store.claim("t1", "t2", "owner", 60)
    for n in range(1, 6):
        assert await store.append("s1", f'"{n}"', 4, 1000) == n
    _, owner, got = await store.after("s1", 0)
    assert owner == "owner"
    assert got == [(2, '"2"'), (3, '"3"'), (4, '"4"'), (5, '"5"')]
    assert (await store.after("s1", 4))[2] == [(5, '"5"')]
    await store.acknowledge("s1", 3)
    assert (await store.after("s1", 0))[2] == [(4, '"4"'), (5, '"5"')]
    await store.acknowledge("s1", 99)
    await store.acknowledge("s1", 99)
    assert await store.append("s1", '"6"', 4, 1000) == 6
    assert (await store.after("s1", 5))[2] == [(6, '"6"')]
    assert await store.append("s1", '"' + "x" * 20 + '"', 4, 10) == 7
    assert [number for number, _ in (await store.after("s1", 0))[2]] == [7]
    assert await store.append("none", '"x"', 4, 1000) == 0
    await store.acknowledge("none", 1)


async def test_a_message_of_the_client_is_taken_once(store):
    await store.create("s1", "t1", "{}", *WHEN)
    assert [await store.take("s1", n) for n in (1, 1, 2, 1, 5, 4)] == [True, False, True, False, True, False]
    assert await store.take("none", 1) is False


async def test_who_waits_is_woken_by_a_message_a_new_owner_and_the_end(store):
    await store.create("s1", "t1", "{}", *WHEN)
    await store.enter("s1")
    for act in (
        lambda: store.append("s1", '"x"', 10, 1000),
        lambda: store.claim("t1", "t2", "o", 60),
        lambda: store.end("s1"),
    ):
        version, _, _ = await store.after("s1", 0)
        waiting = asyncio.create_task(store.wait("s1", version, 60))
        await asyncio.sleep(0.05)
        await act()
        await asyncio.wait_for(waiting, 30)
    await store.leave("s1")
    await store.leave("s1")


async def test_a_change_between_looking_and_waiting_is_not_missed(store):
    await store.create("s1", "t1", "{}", *WHEN)
    await store.enter("s1")
    version, _, _ = await store.after("s1", 0)
    await store.append("s1", '"x"', 10, 1000)
    await asyncio.wait_for(store.wait("s1", version, 60), 30)
    version, _, _ = await store.after("s1", 1)
    await store.wait("s1", version, 0.01)
    await store.leave("s1")
    await store.wait("gone", 0, 60)


async def test_an_ended_session_is_unknown(store):
    await store.create("s1", "t1", "{}", *WHEN)
    await store.append("s1", '"x"', 10, 1000)
    await store.end("s1")
    await store.end("s1")
    assert (await store.look("t1"))[0] == "unknown"
    assert (await store.after("s1", 0))[1:] == ("", [])
    assert await store.count() == 0


async def test_a_connection_renews_its_session_and_learns_who_holds_it(store):
    await store.create("s1", "t1", "{}", *WHEN)
    assert await store.touch("s1", 60) == ""
    await store.claim("t1", "t2", "o1", 60)
    assert await store.touch("s1", 60) == "o1"


async def test_spent_tokens_are_remembered_within_bounds(store):
    await store.create("s1", "t0", "{}", *WHEN)
    for n in range(MOST_SPENT + 5):
        await store.claim(f"t{n}", f"t{n + 1}", "o", 60)
        await store.confirm("s1", f"t{n + 1}")
    assert (await store.look("t0"))[0] in ("unknown", "replayed")
    assert (await store.look(f"t{MOST_SPENT + 4}"))[0] == "replayed"
    assert (await store.look(f"t{MOST_SPENT + 5}"))[0] == "good"


@pytest.mark.service("redis-server")
async def test_instances_share_sessions_wake_each_other_and_outlive_a_restart_of_the_subscription(server):
    one, other = RedisStore("shared", server.url), RedisStore("shared", server.url)
    await one.create("s1", "t1", "{}", *WHEN)
    await one.claim("t1", "t2", "o1", 60)
    await one.enter("s1")
    await asyncio.sleep(0.1)
    version, _, _ = await one.after("s1", 0)
    assert await other.append("s1", '"from elsewhere"', 10, 1000) == 1
    await asyncio.wait_for(one.wait("s1", version, 60), 30)
    assert (await one.after("s1", 0))[2] == [(1, '"from elsewhere"')]
    await one.enter("s2")
    await one.leave("s2")
    await one.leave("s1")
    await one.aclose()
    await other.aclose()


@pytest.mark.service("redis-server")
async def test_nothing_in_redis_opens_a_session(server):
    import redis

    from roadworthy.app.sessions import Sessions

    sessions = Sessions("hashes", url=server.url)
    made = await sessions.create()
    opened = await sessions.open(made.token)
    await sessions.aclose()
    with redis.Redis.from_url(server.url) as client:
        keys = client.keys("*hashes*")
        everything = b" ".join(keys) + b" ".join(
            value for key in keys if client.type(key) == b"hash" for value in client.hgetall(key).values()
        )
    assert made.session_id.encode() in everything
    assert made.token.encode() not in everything
    assert opened.token.encode() not in everything


async def test_a_redis_that_is_away_is_unavailable():
    store = RedisStore("away", f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable, match="does not answer"):
        await store.count()
    await store.enter("s1")
    await asyncio.sleep(0.05)
    await store.leave("s1")
    with contextlib.suppress(asyncio.CancelledError):
        await store.aclose()
