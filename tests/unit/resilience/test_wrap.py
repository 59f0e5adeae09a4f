"""Whatever goes through a policy stays what it was: signature, kind, arguments, errors."""

import asyncio
import functools
import gc
import inspect
import sys
import types
import typing

import pytest

from roadworthy.resilience import (
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Policy,
    RateLimiter,
    Retry,
    is_degraded,
)
from roadworthy.resilience.arguments import BadArgument

POLICIES = {
    "nothing": dict,
    "breaker": lambda: {"breaker": CircuitBreaker()},
    "time window": lambda: {"breaker": CircuitBreaker(window="30s", slow_after=5)},
    "host": lambda: {"breaker": CircuitBreaker(scope="host")},
    "retry": lambda: {"retry": Retry(3, on=OSError, backoff=(0, 0))},
    "total": lambda: {"retry": Retry(3, on=OSError, backoff=(0, 0), total=60)},
    "the long way": lambda: {
        "breaker": CircuitBreaker(window=1000, min_calls=1000, failure_if=bool_of_nothing),
        "retry": Retry(3, on=OSError, backoff=(0, 0)),
        "rate_limit": RateLimiter(10_000),
        "bulkhead": Bulkhead(10),
        "deadline": 60,
        "attempt_timeout": 60,
        "fallback": Fallback.last_good(),
    },
}


def bool_of_nothing(_result):
    return False


@pytest.fixture(params=POLICIES, ids=list(POLICIES))
def policy(request):
    return Policy("wrapped", **POLICIES[request.param]())


def calls(policy):
    return {key: n for key, n in policy.snapshot()["calls"].items() if n}


def test_the_signature_and_all_that_describes_a_function_stay(policy):
    def original(a, b: int = 2, /, c="three", *rest, d, e: str = "five", **others) -> str:
        """Text."""

    original.mark = "kept"
    wrapped = policy(original)
    assert wrapped is not original
    assert inspect.signature(wrapped) == inspect.signature(original)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__defaults__"):
        assert getattr(wrapped, attribute) == getattr(original, attribute)
    assert wrapped.__kwdefaults__ == original.__kwdefaults__
    assert wrapped.__code__.co_name == "original"
    assert wrapped.mark == "kept"
    assert wrapped.__wrapped__ is original
    assert typing.get_type_hints(wrapped) == {"b": int, "e": str, "return": str}


SHAPES = [
    (lambda: 0, (), {}),
    (lambda a, /: a, (1,), {}),
    (lambda a, b=2: (a, b), (1,), {}),
    (lambda a, b=2: (a, b), (), {"b": 4, "a": 3}),
    (lambda *a: a, (1, 2, 3), {}),
    (lambda *, k=1: k, (), {"k": 5}),
    (lambda *, k, j=3: (k, j), (), {"k": 5}),
    (lambda **kw: kw, (), {"a": 1, "self": 2, "policy": 3, "function": 4}),
    (lambda a, b=2, /, c=3, *d, e, f=6, **g: (a, b, c, d, e, f, g), (1, 2, 3, 4), {"e": 5, "z": 26}),
    (lambda Exception=1: Exception, (), {"Exception": 9}),  # noqa: A006, N803 - a name that wrappers use
    (lambda _rw_e: _rw_e, (1,), {}),
]


@pytest.mark.parametrize("at", range(len(SHAPES)))
def test_arguments_of_every_shape_arrive(policy, at):
    function, arguments, keywords = SHAPES[at]
    assert policy(function)(*arguments, **keywords) == function(*arguments, **keywords)
    assert calls(policy) == {"success": 1}


@pytest.mark.parametrize("at", range(len(SHAPES)))
def test_arguments_of_every_shape_arrive_again_with_another_attempt(at):
    function, arguments, keywords = SHAPES[at]
    failures = [OSError(), ConnectionError()]

    @functools.wraps(function)
    def flaky(*args, **kwargs):
        if failures:
            raise failures.pop()
        return function(*args, **kwargs)

    policy = Policy("again", retry=Retry(3, on=OSError, backoff=(0, 0)), breaker=CircuitBreaker())
    wrapped = policy(flaky)
    assert wrapped(*arguments, **keywords) == function(*arguments, **keywords)
    assert calls(policy) == {"success": 1, "failure": 2}


def test_a_wrong_call_fails_as_it_did_before(policy):
    @policy
    def needs(a, *, b):
        return a, b

    with pytest.raises(TypeError, match=r"needs\(\) missing 1 required keyword-only argument: 'b'"):
        needs(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
        needs(1, b=2, c=3)
    assert calls(policy) == {}


def test_methods_of_every_kind_stay_methods(policy):
    class Thing:
        @policy
        def method(self, x):
            return self, x

        @policy
        @staticmethod
        def static(x):
            return x

        @classmethod
        @policy
        def klass(cls, x):
            return cls, x

        @policy
        @classmethod
        def outside(cls):
            return cls

        @policy
        async def later(self):
            return self

        @policy
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
    assert asyncio.run(thing.later()) is thing
    assert calls(policy) == {"success": 6}


def test_kinds_of_functions_stay_what_they_are(policy):
    def plain():
        return 1

    async def coroutine():
        return 1

    def generator():
        yield 1

    async def async_generator():
        yield 1

    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    for function in (plain, coroutine, generator, async_generator):
        assert [kind(policy(function)) for kind in kinds] == [kind(function) for kind in kinds]


class Callable:
    def __call__(self, a, b=2):
        return a, b


class AsyncCallable:
    async def __call__(self, a):
        return a


def test_callable_objects_partials_and_builtins_go_through(policy):
    async def later(a, b):
        return a, b

    partial = functools.partial(later, 1)
    assert inspect.iscoroutinefunction(policy(partial))
    assert asyncio.run(policy(partial)(2)) == (1, 2)
    assert policy(Callable())(1, b=3) == (1, 3)
    assert inspect.signature(policy(Callable())) == inspect.signature(Callable())
    assert inspect.iscoroutinefunction(policy(AsyncCallable()))
    assert asyncio.run(policy(AsyncCallable())(4)) == 4
    assert policy(functools.partial(max, 3))(5) == 5
    assert policy("a-b".split)("-") == ["a", "b"]
    assert policy(len)([1, 2]) == 2
    assert calls(policy) == {"success": 6}


def test_a_generator_delegates_and_counts_once_at_its_end(policy):
    log = []

    @policy
    def echo():
        try:
            got = yield 0
            while got != "stop":
                try:
                    got = yield got
                except ValueError:
                    got = yield "thrown"
        finally:
            log.append("closed")
        return "value"

    def outer(found):
        found.append((yield from echo()))

    found = []
    running = outer(found)
    assert next(running) == 0
    assert running.send("a") == "a"
    assert running.throw(ValueError()) == "thrown"
    assert calls(policy) == {}
    with pytest.raises(StopIteration):
        running.send("stop")
    assert (found, log) == (["value"], ["closed"])
    assert calls(policy) == {"success": 1}


def test_an_async_generator_delegates_and_is_closed_with_its_wrapper(policy):
    log = []

    @policy
    async def echo():
        try:
            got = yield 0
            while got != "stop":
                try:
                    got = yield got
                except ValueError:
                    got = yield "thrown"
        finally:
            log.append("closed")

    async def use():
        running = echo()
        assert await running.__anext__() == 0
        assert await running.asend("a") == "a"
        assert await running.athrow(ValueError()) == "thrown"
        with pytest.raises(StopAsyncIteration):
            await running.asend("stop")
        left = echo()
        await left.__anext__()
        await left.aclose()
        return [one async for one in policy(empty)()]

    async def empty():
        return
        yield

    assert asyncio.run(use()) == []
    assert log == ["closed", "closed"]
    assert calls(policy) == {"success": 2, "neutral": 1}


def test_what_may_be_awaited_by_yielding_stays_awaitable(policy):
    @policy
    @types.coroutine
    def old(a):
        yield from asyncio.sleep(0).__await__()
        return a

    async def use():
        return await old(3)

    assert asyncio.run(use()) == 3


@pytest.mark.parametrize("what", [5, None, "text"])
def test_what_cannot_be_called_is_refused(policy, what):
    with pytest.raises(BadArgument):
        policy(what)


def test_a_function_may_call_itself_deeply_through_its_policy():
    policy = Policy("deep", retry=Retry(2, on=OSError), breaker=CircuitBreaker())

    @policy
    def down(n):
        return n and down(n - 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        assert down(4000) == 0
    finally:
        sys.setrecursionlimit(limit)
    assert calls(policy) == {"success": 4001}


async def _async(function):
    return function()


def broken():
    raise OSError("no")


async def abroken():
    raise OSError("no")


def gbroken():
    yield 1
    raise OSError("no")


def in_loop(policy):
    for attempt in policy:
        with attempt:
            raise OSError("no")


def in_guard(policy):
    with policy.guard():
        raise OSError("no")


async def in_async_loop(policy):
    async for attempt in policy:
        async with attempt:
            raise OSError("no")


FORMS = {
    "function": lambda policy: policy(broken),
    "call": lambda policy: lambda: policy.call(broken),
    "coroutine": lambda policy: policy(abroken),
    "acall": lambda policy: lambda: policy.acall(abroken),
    "generator": lambda policy: lambda: list(policy(gbroken)()),
    "guard": lambda policy: lambda: in_guard(policy),
    "loop": lambda policy: lambda: in_loop(policy),
    "async loop": lambda policy: lambda: in_async_loop(policy),
}


@pytest.mark.parametrize("form", FORMS)
def test_failures_of_every_form_leave_no_garbage_and_raise_the_error_itself(policy, form):
    use = FORMS[form](policy)
    seen = []

    async def all_of_it():
        for _ in range(5):
            try:
                made = use()
                if hasattr(made, "__await__"):
                    await made
            except OSError as error:
                seen.append((error.args, error.__context__, error.__cause__))

    async def twice():
        await all_of_it()
        gc.collect()
        gc.disable()
        try:
            await all_of_it()
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(twice()) == 0
    assert seen == [(("no",), None, None)] * 10


def test_a_coroutine_that_takes_too_long_leaves_no_garbage():
    policy = Policy("slow", attempt_timeout=0.001, retry=Retry(2, on=TimeoutError, backoff=(0, 0)))

    @policy
    async def hang():
        await asyncio.sleep(60)

    async def once():
        with pytest.raises(TimeoutError):
            await hang()

    async def main():
        await once()
        gc.collect()
        gc.disable()
        try:
            await once()
            await asyncio.sleep(0)
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(main()) == 0


def test_a_fallback_that_has_no_answer_raises_the_error_itself():
    policy = Policy("none", fallback=Fallback.last_good())
    contexts = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            try:
                policy.call(broken)
            except OSError as error:  # not pytest.raises: it keeps what it caught
                contexts.append(error.__context__)
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert contexts == [None] * 3
    assert not is_degraded()
