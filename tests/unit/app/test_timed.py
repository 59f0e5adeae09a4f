"""@timed: the function stays what it was, and every call is counted."""

import asyncio
import functools
import gc
import inspect
import sys
import types
import typing

import pytest

import roadworthy as rw
from roadworthy.app import sampling


class Clock:
    """The clock of the wrappers, which this test moves."""

    def __init__(self):
        self.ns = sampling._now()

    def __call__(self):
        return self.ns

    def move(self, ns):
        self.ns += ns


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(sampling, "_now", made)
    return made


def test_a_call_is_counted_and_its_result_comes_back(seen):
    @rw.timed("timed.plain")
    def add(a, b):
        return a + b

    assert add(1, b=2) == 3
    assert add(3, 4) == 7
    assert seen.count("timed.plain") == 2


def test_the_signature_and_all_that_describes_a_function_stay():
    def original(a, b: int = 2, /, c="three", *rest, d, e: str = "five", **others) -> str:
        """Text."""

    original.mark = "kept"
    wrapped = rw.timed("timed.signature")(original)
    assert wrapped is not original
    assert inspect.signature(wrapped) == inspect.signature(original)
    assert wrapped.__name__ == "original"
    assert wrapped.__qualname__ == original.__qualname__
    assert wrapped.__module__ == __name__
    assert wrapped.__doc__ == "Text."
    assert wrapped.__annotations__ == original.__annotations__
    assert wrapped.__defaults__ == original.__defaults__
    assert wrapped.__kwdefaults__ == original.__kwdefaults__
    assert wrapped.__code__.co_name == "original"
    assert wrapped.mark == "kept"
    assert wrapped.__wrapped__ is original
    assert typing.get_type_hints(wrapped) == {"b": int, "e": str, "return": str}


SHAPES = [
    (lambda: 0, (), {}),
    (lambda a, /: a, (1,), {}),
    (lambda a, b=2: (a, b), (1,), {}),
    (lambda *a: a, (1, 2, 3), {}),
    (lambda *, k=1: k, (), {"k": 5}),
    (lambda *, k, j=3: (k, j), (), {"k": 5}),
    (lambda **kw: kw, (), {"a": 1, "self": 2}),
    (lambda a, b=2, /, c=3, *d, e, f=6, **g: (a, b, c, d, e, f, g), (1, 2, 3, 4), {"e": 5, "z": 26}),
    (lambda _tick=1, _now=2, _sampled=3: (_tick, _now, _sampled), (), {"_tick": 9}),
    (lambda _rw_t: _rw_t, (1,), {}),
]


@pytest.mark.parametrize(("function", "arguments", "keywords"), SHAPES)
def test_arguments_of_every_shape_arrive(function, arguments, keywords):
    wrapped = rw.timed("timed.shapes")(function)
    assert wrapped(*arguments, **keywords) == function(*arguments, **keywords)


def test_a_wrong_call_fails_as_it_did_before():
    @rw.timed("timed.wrong")
    def needs(a, *, b):
        return a, b

    with pytest.raises(TypeError, match=r"needs\(\) missing 1 required keyword-only argument: 'b'"):
        needs(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
        needs(1, b=2, c=3)


def test_an_exception_is_counted_by_type_and_passes_unchanged(seen):
    error = KeyError("x")

    @rw.timed("timed.error")
    def fail():
        raise error

    with pytest.raises(KeyError) as caught:
        fail()
    assert caught.value is error
    assert seen.count("timed.error", error__type="KeyError") == 1
    assert seen.count("timed.error") == 1


def test_methods_of_every_kind_stay_methods(seen):
    class Thing:
        @rw.timed("timed.method")
        def method(self, x):
            return self, x

        @rw.timed("timed.method")
        @staticmethod
        def static(x):
            return x

        @classmethod
        @rw.timed("timed.method")
        def klass(cls, x):
            return cls, x

        @rw.timed("timed.method")
        @classmethod
        def outside(cls):
            return cls

        @rw.timed("timed.method")
        def __private(self, *, __x=1):
            return __x

        def call_private(self):
            return self.__private()

    thing = Thing()
    assert thing.method(1) == (thing, 1)
    assert Thing.static(2) == 2
    assert thing.klass(3) == (Thing, 3)
    assert Thing.outside() is Thing
    assert thing.call_private() == 1
    assert seen.count("timed.method") == 5


def test_a_coroutine_is_timed_over_its_awaits(seen, clock):
    @rw.timed("timed.coroutine")
    async def work(n):
        asyncio.get_running_loop().call_soon(clock.move, 20_000_000)
        await asyncio.sleep(0)
        return n

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(work(5)) == 5
    assert seen.count("timed.coroutine") == 1
    (series,) = [found for found in seen._series() if found.name == "timed.coroutine"]
    assert series.sum / series.scale == 0.02


def test_a_generator_is_timed_over_its_whole_life_and_delegates(seen):
    @rw.timed("timed.generator")
    def echo():
        got = []
        try:
            while True:
                try:
                    got.append((yield len(got)))
                except ValueError:
                    got.append("thrown")
        finally:
            got.append("closed")
            echo.got = got

    assert inspect.isgeneratorfunction(echo)
    running = echo()
    assert next(running) == 0
    assert running.send("a") == 1
    assert running.throw(ValueError()) == 2
    assert seen.count("timed.generator") == 0
    running.close()
    assert echo.got == ["a", "thrown", "closed"]
    assert seen.count("timed.generator") == 1
    assert seen.count("timed.generator", error__type="GeneratorExit") == 0


def test_a_generator_returns_its_value(seen):
    @rw.timed("timed.returns")
    def items():
        yield 1
        return "done"

    def outer():
        return (yield from items())

    running = outer()
    next(running)
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == "done"
    assert seen.count("timed.returns") == 1


def test_an_async_generator_delegates_values_exceptions_and_its_end(seen):
    log = []

    @rw.timed("timed.async_generator")
    async def echo():
        try:
            got = None
            while got != "stop":
                try:
                    got = yield got
                except ValueError as error:
                    got = str(error)
        finally:
            log.append("closed")

    assert inspect.isasyncgenfunction(echo)

    async def main():
        running = echo()
        assert await running.__anext__() is None
        assert await running.asend("a") == "a"
        assert await running.athrow(ValueError("b")) == "b"
        with pytest.raises(StopAsyncIteration):
            await running.asend("stop")
        assert log == ["closed"]
        other = echo()
        await other.__anext__()
        await other.aclose()
        assert log == ["closed", "closed"]
        abandoned = echo()
        await abandoned.__anext__()
        with pytest.raises(KeyError):
            await abandoned.athrow(KeyError())
        return [value async for value in limited()]

    @rw.timed("timed.async_generator")
    async def limited():
        for value in range(3):
            yield value
            await asyncio.sleep(0)

    assert asyncio.run(main()) == [0, 1, 2]
    assert seen.count("timed.async_generator") == 4
    assert seen.count("timed.async_generator", error__type="KeyError") == 1


def test_an_abandoned_generator_is_counted_when_it_is_collected(seen):
    @rw.timed("timed.abandoned")
    def items():
        yield 1

    next(items())
    gc.collect()
    assert seen.count("timed.abandoned") == 1


def test_a_generator_based_coroutine_stays_awaitable(seen):
    @rw.timed("timed.coroutine.old")
    @types.coroutine
    def old():
        yield from asyncio.sleep(0).__await__()
        return 7

    async def main():
        return await old()

    assert asyncio.run(main()) == 7
    assert seen.count("timed.coroutine.old") == 1


def test_partials_builtins_and_callable_objects_are_timed(seen):
    class Adder:
        def __call__(self, x):
            return x + 1

    async def later(x):
        return x

    assert rw.timed("timed.callables")(functools.partial(pow, 2))(3) == 8
    assert rw.timed("timed.callables")(len)([1, 2]) == 2
    assert rw.timed("timed.callables")(Adder())(1) == 2
    wrapped = rw.timed("timed.callables")(functools.partial(later, 4))
    assert inspect.iscoroutinefunction(wrapped)
    assert asyncio.run(wrapped()) == 4
    assert seen.count("timed.callables") == 4


def test_recursion_reaches_nearly_as_deep_as_without():
    @rw.timed("timed.recursion")
    def down(n):
        return down(n - 1) if n else 0

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        assert down(9_000) == 0
    finally:
        sys.setrecursionlimit(before)
    with pytest.raises(RecursionError):
        down(10_000)


def test_two_functions_under_one_name_add_up(seen):
    first = rw.timed("timed.shared")(lambda: 1)
    second = rw.timed("timed.shared")(lambda: 2)
    for _ in range(10):
        first()
        second()
    assert seen.count("timed.shared") == 20


def test_what_cannot_be_wrapped_comes_back_itself():
    assert rw.timed("timed.nothing")(None) is None or callable(rw.timed("timed.nothing")(None))
    name = rw.timed(None)(lambda: 3)
    assert name() == 3


def test_sum_and_maximum_are_those_of_the_calls(seen, clock):
    work = rw.timed("timed.sum")(clock.move)
    for took in (2_000, 3_000, 10_000_000, 2_000):
        work(took)
    (series,) = [found for found in seen._series() if found.name == "timed.sum"]
    assert (series.sum, series.max) == (10_007_000, 10_000_000)


@pytest.fixture
def tuned():
    yield sampling.tune
    sampling.tune({})


@pytest.mark.parametrize(("rate", "expected"), [(0.1, 1900), (0.5, 1900), (1.0, 1900), (0.0, 0)])
def test_sampled_calls_estimate_the_whole_and_failures_are_never_sampled(seen, tuned, rate, expected):
    @rw.timed(f"timed.sampled.{rate}")
    def call(number):
        if number % 20 == 0:
            raise KeyError
        return number

    tuned({"sampling": {"performance": rate}})
    returned = 0
    for number in range(1, 2001):
        try:
            returned += call(number) == number
        except KeyError:
            continue
    assert returned == 1900
    failed = seen.count(f"timed.sampled.{rate}", error__type="KeyError")
    assert failed == 100
    # One in twenty of 200 drawn runs fails and does not count here: a standard deviation of 31, weighted by ten.
    assert seen.count(f"timed.sampled.{rate}") - failed == pytest.approx(expected, abs=250)


@pytest.mark.parametrize("every", [2, 10])
def test_what_takes_turns_is_sampled_alike(seen, tuned, every):
    @rw.timed("timed.tick")
    def one():
        pass

    @rw.timed("timed.tock")
    def other():
        pass

    tuned({"sampling": {"performance": 1 / every}})
    for _ in range(2000):
        one()
        other()
    for name in ("timed.tick", "timed.tock"):
        assert seen.count(name) == pytest.approx(2000, abs=every)


def test_names_that_run_once_are_not_all_seen_or_all_passed_over(seen, tuned):
    tuned({"sampling": {"performance": 0.1}})
    for number in range(400):
        with rw.operation(f"timed.once.{number % 200}"):
            pass
    runs = [seen.count("operation.duration", operation=f"timed.once.{number}") for number in range(200)]
    # 40 of 400 are expected to be drawn, with a standard deviation of about 6.
    assert 5 < sum(runs) / 10 < 100


@pytest.mark.parametrize("kind", ["timed", "operation"])
def test_a_program_of_which_nothing_is_measured_still_hears_that_it_is_to_be(seen, tuned, monkeypatch, kind):
    @rw.timed("timed.heard")
    def call():
        pass

    def operation():
        with rw.operation("timed.heard"):
            pass

    act = call if kind == "timed" else operation
    act()
    tuned({"sampling": {"performance": 0.0}})
    monkeypatch.setattr(sampling, "next_poll", 0)
    looked = []
    monkeypatch.setattr(sampling, "look", looked.append)
    act()
    assert len(looked) == 1
