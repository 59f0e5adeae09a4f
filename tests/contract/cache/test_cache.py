"""What every cache promises, asked of one of this process and of one in a real Redis."""

from __future__ import annotations

import asyncio
import time

import pytest

import roadworthy as rw
from roadworthy.app import guard
from roadworthy.app.checks import checks
from support.servers import Redis, free_port


@pytest.fixture(scope="module")
def server(service):
    with Redis(service("redis-server"), password="hunter22-of-the-cache") as running:
        yield running


@pytest.fixture(params=["process", pytest.param("redis", marks=pytest.mark.service("redis-server"))])
def make(request):
    made = []

    def build(name, **options):
        if request.param == "redis":
            options["url"] = request.getfixturevalue("server").url
        made.append(rw.cache(f"{name}.{request.param}", **options))
        return made[-1]

    yield build
    for one in made:
        one.clear()
        one.close()


@pytest.mark.parametrize("value", [1, 1.5, "ü\x00", b"\x00\xff", None, True, [], {"a": [1, {"b": None}]}])
def test_a_value_comes_back_as_it_was(make, value):
    cache = make("c.value")
    cache.set("k", value)
    found = cache.get("k", "nothing")
    assert found == value
    assert type(found) is type(value)


def test_the_size_is_bounded_and_evictions_are_counted(make):
    cache = make("c.size", max_size=3)
    for n in range(10):
        cache.set(f"k{n}", n)
    assert cache.describe()["size"] == 3
    assert cache.evictions == 7
    assert [cache.get(f"k{n}") for n in range(7, 10)] == [7, 8, 9]
    cache.clear()
    assert cache.describe()["size"] == 0


def test_entries_end_with_their_time(make):
    cache = make("c.ttl", ttl=0.05)
    cache.set("k", 1)
    deadline = time.monotonic() + 30
    while cache.get("k") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_deleting_says_whether_it_was_there(make):
    cache = make("c.delete")
    cache.set("k", 1)
    assert cache.delete("k") is True
    assert cache.delete("k") is False
    assert cache.describe()["size"] == 0


def test_decorated_functions_and_coroutines_ask_once(make):
    cache, asked = make("c.decorated"), []

    @cache
    def find(query):
        asked.append(query)
        return {"found": query}

    async def main():
        @cache
        async def search(query):
            asked.append(query)
            await asyncio.sleep(0)
            return [query]

        got = await asyncio.gather(*(search("b") for _ in range(4)))
        assert await search("b") == got[0] == ["b"]
        await cache.aset("x", 1)
        assert await cache.aget("x") == 1
        assert await cache.adelete("x") is True
        assert await cache.aget("x") is None
        await cache.aclear()
        await cache.aclose()

    assert find("a") == find("a") == {"found": "a"}
    asyncio.run(main())
    assert asked == ["a", "b"]
    assert cache.hits >= 2


def test_who_looked_before_another_had_computed_and_asks_after_it_does_not_compute_again(make):
    """An answer of the shared store may be read late: meanwhile the first has computed, kept and gone."""
    cache, asked = make("c.late"), []
    store = cache._store

    @cache
    def find(query):
        asked.append(query)
        return [query]

    @cache
    async def search(query):
        asked.append(query)
        return [query]

    def late(key):
        store.get = get
        found = get(key)
        assert find("a") == ["a"]  # the other one, from its beginning to its end
        return found

    async def alate(key):
        store.aget = aget
        found = await aget(key)
        assert await search("b") == ["b"]
        return found

    async def main():
        assert await search("b") == ["b"]
        await cache.aclose()

    get, aget = store.get, store.aget
    store.get = late
    assert find("a") == ["a"]
    store.aget = alate
    asyncio.run(main())
    assert asked == ["a", "b"]


@pytest.mark.service("redis-server")
def test_processes_share_what_is_in_redis_and_its_check_tells_how_full_it_is(server):
    one, other = (rw.cache("c.shared", url=server.url, max_size=5) for _ in range(2))
    one.set("k", "shared")
    assert other.get("k") == "shared"
    assert one.describe()["kind"] == "redis"
    assert "hunter22" not in str(one.describe())
    good, detail, _ = checks["cache c.shared"].run()
    assert (good, detail) == (True, "answers, 1 of 5 entries")
    assert checks["cache c.shared"].kind == "informational"
    one.close()
    other.close()


@pytest.mark.service("redis-server")
@pytest.mark.parametrize("value", [(1, 2), {1: 2}, object(), float("nan"), {"a": {1}}])
def test_what_json_would_change_is_not_kept_in_redis_and_told(server, monkeypatch, value):
    said = []
    monkeypatch.setattr(guard, "report", lambda place, what: said.append(what))
    cache = rw.cache("c.json", url=server.url)
    cache.set("k", value)

    async def main():
        await cache.aset("k", value)
        await cache.aclose()

    asyncio.run(main())
    assert cache.get("k") is None
    assert cache.errors == 2
    assert "JSON or bytes" in said[0]
    cache.close()


@pytest.mark.service("redis-server")
@pytest.mark.parametrize("foreign", [b"x123", b"j{", b"", b"\x80\x04K\x01."])
def test_what_somebody_else_wrote_there_is_a_miss(server, foreign):
    import redis

    cache = rw.cache("c.foreign", url=server.url)
    with redis.Redis.from_url(server.url) as client:
        client.set("roadworthy:cache:{c.foreign}:k", foreign)
    assert cache.get("k", "miss") == "miss"
    assert cache.errors == 1
    cache.close()


@pytest.mark.service("redis-server")
def test_after_a_restart_of_redis_the_first_failure_is_the_last(service):
    with Redis(service("redis-server")) as redis:
        cache = rw.cache("c.restart", url=redis.url)
        cache.set("k", 1)
        redis.stop()
        assert cache.get("k", "miss") == "miss"
        redis.start()
        cache.set("k", 2)
        assert cache.get("k") == 2
        assert cache.errors == 1
        cache.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_redis_that_is_away_is_a_miss_and_never_an_error(asynchronous):
    cache = rw.cache(f"c.away.{asynchronous}", url=f"redis://127.0.0.1:{free_port()}/0")
    asked = []

    def find(query):
        asked.append(query)
        return query

    async def search(query):
        return find(query)

    async def main():
        one = cache(search)
        got = [await one("x") for _ in range(5)]
        await cache.adelete("x")
        await cache.aclear()
        await cache.aclose()
        return got

    if asynchronous:
        assert asyncio.run(main()) == ["x"] * 5
    else:
        assert [cache(find)("x") for _ in range(5)] == ["x"] * 5
        cache.delete("x")
        cache.clear()
    assert len(asked) == 5
    assert cache.misses == 5
    assert cache.errors >= 10
    assert cache.describe()["size"] is None
    good, detail, _ = checks[f"cache {cache.name}"].run()
    assert not good
    assert "Connection" in detail
    cache.close()
