"""What answers when a call has failed, and how one sees that it did."""

import asyncio
import threading

import pytest

from roadworthy import _clock
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.fallback import Fallback, is_degraded
from roadworthy.resilience.rejected import BreakerOpen

NS = 1_000_000_000


@pytest.fixture
def clock(monkeypatch):
    now = [1000 * NS]
    monkeypatch.setattr(_clock, "monotonic_ns", lambda: now[0])

    def move(seconds):
        now[0] += int(seconds * NS)

    return move


@pytest.fixture(autouse=True)
def fresh_context():
    Fallback(print).good((), {}, None)
    yield
    Fallback(print).good((), {}, None)


def test_a_function_answers_with_the_arguments_of_the_call():
    fallback = Fallback(lambda a, *, b: (a, b))
    assert fallback.answer(ConnectionError(), (1,), {"b": 2}) == (1, 2)


def test_a_coroutine_function_answers_with_an_awaitable():
    async def answer(a):
        return a

    async def main():
        return await Fallback(answer).answer(ConnectionError(), (5,), {})

    assert asyncio.run(main()) == 5


def test_a_value_answers_as_it_is():
    value = {"reports": []}
    assert Fallback.value(value).answer(BreakerOpen("no"), (), {}) is value
    assert Fallback.value(None).answer(BreakerOpen("no"), (), {}) is None


@pytest.mark.parametrize("fallback", [Fallback(lambda: 5), Fallback.value(5), Fallback.last_good(otherwise=lambda: 5)])
@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError()],
    ids=lambda e: type(e).__name__,
)
def test_what_is_no_exception_passes(fallback, error):
    with pytest.raises(type(error)):
        fallback.answer(error, (), {})
    assert not is_degraded()


def test_only_the_named_exceptions_are_answered():
    fallback = Fallback.value(5, on=(ConnectionError, BreakerOpen))
    assert fallback.answer(ConnectionResetError(), (), {}) == 5
    assert fallback.answer(BreakerOpen("no"), (), {}) == 5
    with pytest.raises(ValueError, match="mine"):
        fallback.answer(ValueError("mine"), (), {})


def test_what_the_function_raises_passes():
    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Fallback(broken).answer(ConnectionError(), (), {})
    assert not is_degraded()


def test_an_answer_marks_its_context_until_the_next_good_one():
    fallback = Fallback.value(5)
    assert not is_degraded()
    fallback.answer(ConnectionError(), (), {})
    assert is_degraded()
    fallback.good((), {}, 1)
    assert not is_degraded()


def test_other_contexts_are_not_marked():
    fallback = Fallback.value(5)

    async def bad():
        fallback.answer(ConnectionError(), (), {})
        await asyncio.sleep(0)
        return is_degraded()

    async def good():
        await asyncio.sleep(0)
        return is_degraded()

    async def main():
        return await asyncio.gather(bad(), good())

    assert asyncio.run(main()) == [True, False]
    found = []
    fallback.answer(ConnectionError(), (), {})
    thread = threading.Thread(target=lambda: found.append(is_degraded()))
    thread.start()
    thread.join()
    assert found == [False]


# -------------------------------------------------------------------------------------------------- last good result


def last(fallback, *args, **kwargs):
    return fallback.answer(ConnectionError("down"), args, kwargs)


def test_the_last_good_result_of_the_same_arguments_answers(clock):
    fallback = Fallback.last_good()
    fallback.good((1,), {}, "old")
    fallback.good((1,), {}, "one")
    fallback.good((2,), {"x": 3}, "two")
    assert last(fallback, 1) == "one"
    assert last(fallback, 2, x=3) == "two"
    with pytest.raises(ConnectionError, match="down"):
        last(fallback, 3)


@pytest.mark.parametrize(("age", "fresh"), [(0, True), (299, True), (300, True), (300.1, False), (10**6, False)])
def test_a_result_is_good_for_its_time(clock, age, fresh):
    fallback = Fallback.last_good(ttl=300)
    fallback.good((), {}, "kept")
    clock(age)
    if fresh:
        assert last(fallback) == "kept"
    else:
        with pytest.raises(ConnectionError, match="down"):
            last(fallback)
        assert fallback.describe()["kept"] == 0


def test_a_result_that_is_none_is_a_result(clock):
    fallback = Fallback.last_good()
    fallback.good((), {}, None)
    assert last(fallback) is None
    assert is_degraded()


def test_a_key_says_which_calls_are_the_same(clock):
    fallback = Fallback.last_good(key=lambda user, **_: user["id"])
    fallback.good(({"id": 1},), {"page": 2}, "one")
    assert last(fallback, {"id": 1}, page=7) == "one"


def test_arguments_that_cannot_be_a_key_are_not_kept(clock):
    fallback = Fallback.last_good()
    fallback.good(([1],), {}, "kept?")
    assert fallback.describe()["kept"] == 0
    with pytest.raises(ConnectionError, match="down"):
        last(fallback, [1])


def test_a_broken_key_costs_no_good_answer(clock):
    fallback = Fallback.last_good(key=lambda: 1 / 0)
    fallback.good((), {}, "good")
    with pytest.raises(ConnectionError, match="down"):
        last(fallback)


def test_only_the_newest_keys_are_kept(clock):
    fallback = Fallback.last_good(most=3)
    for number in (1, 2, 3, 1, 4):
        fallback.good((number,), {}, number)
    assert fallback.describe()["kept"] == 3
    assert [last(fallback, number) for number in (1, 3, 4)] == [1, 3, 4]
    with pytest.raises(ConnectionError):
        last(fallback, 2)


def test_another_function_answers_where_nothing_good_is_left(clock):
    fallback = Fallback.last_good(ttl=300, otherwise=lambda a: f"otherwise {a}")
    assert last(fallback, 1) == "otherwise 1"
    fallback.good((1,), {}, "good")
    assert last(fallback, 1) == "good"
    clock(301)
    assert last(fallback, 1) == "otherwise 1"


def test_threads_may_keep_results_at_the_same_time():
    fallback = Fallback.last_good(most=5)
    threads = [
        threading.Thread(target=lambda: [fallback.good((number % 20,), {}, number) for number in range(3000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fallback.good((1,), {}, 1)
    assert fallback.describe()["kept"] <= 5


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Fallback(5), "fallback"),
        (lambda: Fallback(print, on=BaseException), "on"),
        (lambda: Fallback.value(1, on="OSError"), "on"),
        (lambda: Fallback.last_good(ttl=0), "ttl"),
        (lambda: Fallback.last_good(ttl="old"), "ttl"),
        (lambda: Fallback.last_good(key=5), "key"),
        (lambda: Fallback.last_good(most=0), "most"),
        (lambda: Fallback.last_good(otherwise=5), "otherwise"),
    ],
)
def test_an_impossible_argument_is_refused_by_name(make, field):
    with pytest.raises(BadArgument) as refused:
        make()
    assert refused.value.field == field


def test_it_describes_itself():
    def stale(): ...

    assert Fallback(stale).describe()["kind"] == "function"
    assert Fallback.value([1]).describe() == {"kind": "value", "value": "[1]"}
    assert Fallback.last_good("5m").describe() == {"kind": "last_good", "ttl": 300, "most": 1000, "kept": 0}
