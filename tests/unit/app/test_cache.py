"""The cache of this process: bounded, each entry for its time, computed once."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roadworthy as rw
from roadworthy.app import guard
from roadworthy.app.cache import MISSING, Near
from roadworthy.app.keys import Unkeyable, key_of
from roadworthy.errors import ConfigurationError
from roadworthy.resilience import BadArgument


class Clock:
    def __init__(self):
        self.now = 10**9

    def monotonic_ns(self):
        return self.now

    def move(self, seconds):
        self.now += round(seconds * 10**9)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("roadworthy.app.cache._clock", made)
    return made


@pytest.fixture
def told(monkeypatch):
    said = []
    monkeypatch.setattr(guard, "report", lambda place, what: said.append(what))
    return said


def test_what_was_set_is_got_until_it_is_deleted_or_cleared():
    cache = rw.cache("t.basic")
    assert cache.get("a") is None
    assert cache.get("a", 7) == 7
    value = {"x": [1]}
    cache.set("a", value)
    cache.set(("b", 2), 2)
    assert cache.get("a") is value
    assert cache.get(("b", 2)) == 2
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    cache.clear()
    assert cache.get(("b", 2)) is None
    cache.close()


def test_the_least_recently_used_gives_way_and_size_evictions_and_hit_rate_are_told(seen):
    cache = rw.cache("t.lru", max_size=2)
    assert cache.hit_rate is None
    cache.set("a", 1)
    cache.set("b", 2)
    assert cache.get("a") == 1
    cache.set("c", 3)
    assert cache.get("b") is None
    assert cache.get("a") == 1
    assert (cache.hits, cache.misses, cache.evictions, cache.hit_rate) == (2, 1, 1, 2 / 3)
    assert seen.value("cache.hits", cache="t.lru") == 2
    assert seen.value("cache.misses", cache="t.lru") == 1
    assert seen.value("cache.evictions", cache="t.lru") == 1
    assert seen.gauge("cache.size", cache="t.lru") == 2
    assert cache.describe()["size"] == 2
    assert cache.describe()["kind"] == "process"


def test_an_entry_is_gone_when_its_time_is_over(clock):
    cache = rw.cache("t.ttl", ttl="10s")
    cache.set("a", 1)
    cache.set("b", 2, ttl=20)
    clock.move(9.9)
    assert cache.get("a") == 1
    clock.move(0.2)
    assert cache.get("a") is None
    assert cache.get("b") == 2
    assert cache.describe()["size"] == 1


def test_the_same_query_is_answered_from_the_cache_the_second_time():
    asked = []

    @rw.cache("t.query")
    def find(query, *, limit=10):
        """Find."""
        asked.append(query)
        return [query] * limit

    assert find("owls") == find("owls")
    assert asked == ["owls"]
    find("owls", limit=2)
    find("foxes")
    assert asked == ["owls", "owls", "foxes"]
    assert (find.__name__, find.__doc__) == ("find", "Find.")
    assert find.cache.hits == 1
    find.cache.delete(find.cache.key(find, "owls"))
    find("owls")
    assert len(asked) == 4


def test_the_key_of_a_call_is_an_md5_hash_of_function_and_arguments():
    cache = rw.cache("t.md5")
    made = cache.key(date, "x")
    assert len(made) == 32
    assert int(made, 16) >= 0
    assert made == cache.key(date, "x") != cache.key(Decimal, "x")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True), (1, 1.0), ("1", 1), (b"a", "a"), (None, "None"), ((1, 2), [1, 2]), (("a", "b"), ("ab",)), ("", b""),
        ({"a": 1}, {"a": 2}), ((1, (2,)), ((1, 2),)), (frozenset({1}), {1}), (0.0, -0.0), ([], ()), ({}, set()),
        (date(2026, 1, 1), date(2026, 1, 2)), (Decimal("1.0"), Decimal("1.00")),
    ],
)  # fmt: skip
def test_what_is_not_the_same_value_of_the_same_type_has_another_key(one, other):
    assert key_of(one) != key_of(other)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@given(plain, plain)
@settings(max_examples=200)
def test_keys_are_equal_exactly_when_the_values_are(one, other):
    assert (key_of(one) == key_of(other)) == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value):
    if isinstance(value, dict):
        return sorted((key, repr(_sorted(inner))) for key, inner in value.items()), "dict"
    if isinstance(value, list | tuple):
        return type(value)(_sorted(one) for one in value)
    return value


def test_arguments_without_a_value_of_their_own_are_computed_each_time_and_it_is_told(told):
    asked = []

    @rw.cache("t.unkeyable")
    def find(thing):
        asked.append(thing)

    @rw.cache("t.unkeyable")
    async def search(thing):
        asked.append(thing)

    find(object())
    find(object())
    asyncio.run(search(object()))
    assert len(asked) == 3
    assert "a object" in told[0]
    assert "key=" in told[0]
    deep = []
    for _ in range(50):
        deep = [deep]
    with pytest.raises(Unkeyable, match="nested"):
        key_of(deep)
    with pytest.raises(TypeError):
        rw.cache("t.unkeyable").get(object())


def test_a_key_function_makes_the_key_text_as_it_is_and_values_hashed():
    cache = rw.cache("t.key", key=lambda query: query.strip().lower())

    @cache
    def find(query):
        return object()

    assert find("Owls ") is find("owls")
    assert cache.get("owls") is find("owls")
    pairs = rw.cache("t.key2", key=lambda a, b: (a, b))
    pairs.set((1, 2), "kept")
    assert pairs(lambda a, b: "computed")(1, 2) == "kept"


def test_none_is_a_result_and_may_have_a_time_of_its_own(clock):
    asked = []

    @rw.cache("t.negative", ttl=100, negative_ttl=5)
    def find(query):
        asked.append(query)

    find("x")
    find("x")
    assert asked == ["x"]
    clock.move(6)
    find("x")
    assert asked == ["x", "x"]
    never = rw.cache("t.negative0", negative_ttl=0)
    never.set("a", None)
    assert never.get("a", MISSING) is MISSING


def test_what_a_function_raises_is_not_kept_and_leaves_no_garbage():
    calls = []

    @rw.cache("t.raises")
    def find(query):
        calls.append(query)
        raise LookupError(query)

    gc.collect()
    for _ in range(3):
        with pytest.raises(LookupError):
            find("x")
    assert len(calls) == 3
    assert gc.collect() < 50


def test_threads_that_miss_at_once_compute_once():
    asked, begun, go_on = [], threading.Event(), threading.Event()
    cache = rw.cache("t.flight")

    @cache
    def find(query):
        asked.append(query)
        begun.set()
        assert go_on.wait(30)
        return object()

    got = []
    threads = [threading.Thread(target=lambda: got.append(find("x"))) for _ in range(5)]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    assert len(set(map(id, got))) == 1
    assert cache._flights._flights == {}


def test_tasks_that_miss_at_once_compute_once_and_share_what_it_raises():
    asked = []

    async def main():
        go_on = asyncio.Event()

        @rw.cache("t.aflight")
        async def find(query):
            asked.append(query)
            await go_on.wait()
            if query == "bad":
                raise LookupError(query)
            return object()

        good = [asyncio.create_task(find("good")) for _ in range(4)]
        bad = [asyncio.create_task(find("bad")) for _ in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go_on.set()
        got = await asyncio.gather(*good)
        raised = await asyncio.gather(*bad, return_exceptions=True)
        assert inspect.iscoroutinefunction(find)
        assert await find("good") is got[0]
        return got, raised

    got, raised = asyncio.run(main())
    assert asked == ["good", "bad"]
    assert len(set(map(id, got))) == 1
    assert [type(one) for one in raised] == [LookupError] * 4


def test_when_the_one_who_computes_is_cancelled_another_computes():
    asked = []

    async def main():
        go_on = asyncio.Event()

        @rw.cache("t.cancelled")
        async def find(query):
            asked.append(query)
            await go_on.wait()
            return len(asked)

        first = asyncio.create_task(find("x"))
        await asyncio.sleep(0)
        others = [asyncio.create_task(find("x")) for _ in range(2)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(*others)

    assert asyncio.run(main()) == [2, 2]
    assert len(asked) == 2


def test_a_computation_that_asks_for_its_own_key_does_not_wait_for_itself():
    deep = []

    @rw.cache("t.self")
    def find(query):
        deep.append(query)
        return find(query) if len(deep) == 1 else "found"

    assert find("x") == "found"

    async def main():
        @rw.cache("t.aself")
        async def search(query):
            deep.append(query)
            return await search(query) if len(deep) == 3 else "found"

        return await search("x")

    assert asyncio.run(main()) == "found"
    assert len(deep) == 4


def test_a_signal_handler_that_wants_what_it_interrupted_does_not_wait_for_it():
    cache, inner = rw.cache("t.signal"), []

    class Interrupted(dict):
        def setdefault(self, key, flight):
            first = super().setdefault(key, flight)
            if not inner:
                inner.append(None)
                inner.append(find("x"))
            return first

    @cache
    def find(query):
        return query

    cache._flights._flights = Interrupted()
    assert find("x") == "x"
    assert inner == [None, "x"]


@pytest.mark.parametrize("act", ["delete", "clear", "set"])
def test_what_was_changed_meanwhile_is_not_overwritten_by_what_was_computed_before(act):
    cache = rw.cache("t.drop")

    @cache
    def find(query):
        if act == "delete":
            cache.delete(cache.key(find, query))
        elif act == "clear":
            cache.clear()
        else:
            cache.set(cache.key(find, query), "new")
        return "old"

    assert find("x") == "old"
    assert cache.get(cache.key(find, "x")) == ("new" if act == "set" else None)


def test_coroutines_use_it_by_the_same_names_with_an_a():
    async def main():
        cache = rw.cache("t.async")
        await cache.aset("a", 1)
        assert await cache.aget("a") == 1
        assert await cache.adelete("a") is True
        await cache.aset("b", 1)
        await cache.aclear()
        assert await cache.aget("b", "none") == "none"
        await cache.aclose()

    asyncio.run(main())


def test_under_another_librarys_event_loop_each_caller_computes():
    @rw.cache("t.foreign")
    async def find(query):
        return [query]

    def driven(coroutine):
        with pytest.raises(StopIteration) as over:
            coroutine.send(None)
        return over.value.value

    assert driven(find("x")) is driven(find("x"))


def test_an_entry_that_another_thread_takes_meanwhile_hurts_nobody():
    near = Near(1)

    class Vanishing(type(near._kept)):
        def move_to_end(self, key, last=True):  # noqa: FBT002 - as in OrderedDict
            self.pop(key, None)
            super().move_to_end(key, last)

    near._kept = Vanishing()
    assert near.set("a", 1, None) == 0
    near._kept["a"] = (1, 0)
    assert near.get("a") == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"max_size": 0}, "max_size"), ({"max_size": 1.5}, "max_size"), ({"ttl": 0}, "ttl"), ({"ttl": "x"}, "ttl"),
        ({"negative_ttl": -1}, "negative_ttl"), ({"key": 3}, "key"), ({"name": ""}, "name"), ({"name": 3}, "name"),
        ({"name": "x" * 65}, "name"),
    ],
)  # fmt: skip
def test_an_impossible_setting_is_named(wrong, field):
    with pytest.raises(BadArgument, match=field):
        rw.cache(**({"name": "t.bad"} | wrong))


def test_generators_are_refused():
    def items():
        yield 1

    with pytest.raises(BadArgument, match="generator"):
        rw.cache("t.generator")(items)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://u:hunter22@x/", "http://…"), ("localhost", "without a scheme"), (3, "without a scheme"),
        ("redis://:hunter22@x:port/", "cannot be used"),
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_its_password(url, said):
    with pytest.raises(ConfigurationError) as refused:
        rw.cache("t.url", url=url)
    assert said in str(refused.value)
    assert "hunter22" not in str(refused.value)


def test_a_missing_client_is_named_with_the_extra(program):
    done = program("""
    import sys
    sys.modules["redis"] = None
    import roadworthy as rw
    from roadworthy.errors import ConfigurationError
    rw.cache("fine").set("a", 1)
    try:
        rw.cache("x", url="redis://127.0.0.1/0")
    except ConfigurationError as error:
        print(error)
    """)
    assert "pip install 'roadworthy[redis]'" in done.stdout


def test_switched_off_it_caches_as_before(program, tmp_path):
    done = program(
        """
    import sys, roadworthy as rw
    cache = rw.cache("x", max_size=1)
    f = cache(lambda n: object())
    assert f(1) is f(1) and f(2) is not f(1)
    print(cache.hits, cache.misses, cache.evictions, "roadworthy.app.metrics" in sys.modules)
    """,
        ROADWORTHY_ENABLED="0",
    )
    assert done.stdout == "1 3 2 False\n"
    assert not (tmp_path / "home").exists()
