"""The first good answer counts, the others end, and nothing of them stays."""

import asyncio
import contextlib
import gc
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy import _clock
from roadworthy.resilience import hedge as module
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.hedge import Durations, Hedge
from roadworthy.resilience.offload import Threads
from roadworthy.resilience.rejected import BreakerOpen, BulkheadFull
from roadworthy.resilience.terms import Terms

NS = 1_000_000_000
LONG = 60


async def until(true):
    """Let the loop run until it is so."""
    end = _clock.monotonic() + LONG
    while not true():
        assert _clock.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.001)


class Backend:
    """Answers each attempt as the list says: a value, an exception, or an event to wait for."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.begun = 0
        self.cancelled = []

    async def start(self):
        number = self.begun
        self.begun += 1
        answer = self.answers[number]
        try:
            if isinstance(answer, asyncio.Event):
                await answer.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if isinstance(answer, BaseException):
            raise answer
        return answer


def run(hedge, *answers):
    async def main():
        backend = Backend(*answers)
        try:
            return await hedge.run(backend.start), backend
        except ValueError as error:
            return error, backend
        finally:
            assert len(asyncio.all_tasks()) == 1

    return asyncio.run(main())


def test_a_quick_answer_needs_no_second_attempt():
    result, backend = run(Hedge(LONG), 1)
    assert (result, backend.begun) == (1, 1)


def test_a_slow_attempt_is_joined_by_another_and_the_first_answer_counts():
    result, backend = run(Hedge(0.005), asyncio.Event(), 2)
    assert (result, backend.begun, backend.cancelled) == (2, 2, [0])


def test_no_more_are_started_than_allowed():
    async def main():
        backend = Backend(*(asyncio.Event() for _ in range(5)))
        hedge = Hedge(0.001, most=3)
        task = asyncio.ensure_future(hedge.run(backend.start))
        await until(lambda: backend.begun == 4)
        await asyncio.sleep(0.02)
        assert backend.begun == 4
        backend.answers[2].set()
        assert await task is backend.answers[2]
        assert sorted(backend.cancelled) == [0, 1, 3]
        assert next(hedge.started.__self__) == 3

    asyncio.run(main())


def test_a_failure_before_the_hedge_ends_the_call():
    result, backend = run(Hedge(LONG), ValueError("broken"), 2)
    assert isinstance(result, ValueError)
    assert backend.begun == 1


def test_while_one_attempt_runs_a_failure_of_the_other_is_waited_out():
    async def main():
        slow = asyncio.Event()
        backend = Backend(slow, BulkheadFull("no room"))
        task = asyncio.ensure_future(Hedge(0.001).run(backend.start))
        await until(lambda: backend.begun == 2)
        await asyncio.sleep(0.005)
        assert not task.done()
        slow.set()
        assert await task is slow

    asyncio.run(main())


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (ConnectionError("first"), ConnectionError("second"), "first"),
        (BreakerOpen("refused"), ConnectionError("real"), "real"),
        (ConnectionError("real"), BulkheadFull("refused"), "real"),
        (BreakerOpen("refused first"), BulkheadFull("refused"), "refused first"),
    ],
)
def test_when_all_fail_the_exception_tells_of_the_other_side(first, second, told):
    class Later(Backend):
        async def start(self):
            number = self.begun
            self.begun += 1
            if number == 0:
                await until(lambda: self.begun == 2)
                raise first
            await asyncio.sleep(0.002)
            raise second

    async def main():
        backend = Later()
        with pytest.raises(Exception, match=told):
            await Hedge(0.001).run(backend.start)

    asyncio.run(main())


def test_a_cancellation_from_outside_ends_all_attempts():
    async def main():
        backend = Backend(asyncio.Event(), asyncio.Event())
        task = asyncio.ensure_future(Hedge(0.001).run(backend.start))
        await until(lambda: backend.begun == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(backend.cancelled) == [0, 1]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_an_attempt_that_cancels_itself_is_a_cancellation():
    async def main():
        with pytest.raises(asyncio.CancelledError):
            await Hedge(LONG).run(Backend(asyncio.CancelledError()).start)

    asyncio.run(main())


def test_a_loser_that_swallows_its_cancellation_is_left_behind(monkeypatch):
    monkeypatch.setattr(module, "_GRACE", 0.01)
    dropped = []

    async def main():
        release = asyncio.Event()
        begun = 0

        async def start():
            nonlocal begun
            begun += 1
            if begun == 2:
                return "second"
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                await release.wait()
            return "late"

        with Terms(repeatable=True, dropped=dropped.append):
            assert await Hedge(0.001).run(start) == "second"
        assert dropped == []
        release.set()
        await until(lambda: dropped)

    asyncio.run(main())
    assert dropped == ["late"]
    assert not module._left_behind


def test_an_answer_that_came_too_late_is_handed_over():
    dropped = []

    async def main():
        both = asyncio.Event()
        begun = 0

        async def start():
            nonlocal begun
            begun += 1
            number = begun
            if number == 2:
                both.set()
            await both.wait()
            return number

        with Terms(repeatable=True, dropped=dropped.append):
            return await Hedge(0.001).run(start)

    result = asyncio.run(main())
    assert sorted([result, *dropped]) in ([1], [1, 2], [2])
    assert result not in dropped


def test_a_call_that_must_not_be_repeated_is_not_hedged():
    async def main():
        backend = Backend(asyncio.Event(), 2)
        with Terms(repeatable=False):
            task = asyncio.ensure_future(Hedge(0.001).run(backend.start))
            await asyncio.sleep(0.02)
        assert backend.begun == 1
        backend.answers[0].set()
        await task

    asyncio.run(main())
    with Terms(repeatable=False):
        assert Hedge(0.001).call(threading.get_ident) == threading.get_ident()


def test_failures_leave_no_garbage():
    async def once():
        async def start():
            await asyncio.sleep(0.002)
            raise ValueError

        with contextlib.suppress(ValueError):
            await Hedge(0.001).run(start)

    async def main():
        await once()
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await once()
            await asyncio.sleep(0)
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(main()) == 0


# ------------------------------------------------------------------------------------------------- plain functions


@pytest.fixture
def pool(monkeypatch):
    made = Threads(4)
    monkeypatch.setattr("roadworthy.resilience.offload._shared", made)
    yield made
    until = _clock.monotonic() + 30
    while made.busy and _clock.monotonic() < until:
        _clock.sleep(0.001)
    assert made.busy == 0


def test_a_slow_function_is_joined_by_another(pool):
    go = threading.Event()
    numbers = iter((1, 2))
    lock = threading.Lock()
    dropped = []

    def fn():
        with lock:
            number = next(numbers)
        if number == 1:
            assert go.wait(LONG)
        return number

    hedge = Hedge(0.005)
    with Terms(repeatable=True, dropped=dropped.append):
        assert hedge.call(fn) == 2
    assert pool.busy >= 1
    go.set()
    until = _clock.monotonic() + 30
    while not dropped and _clock.monotonic() < until:
        _clock.sleep(0.001)
    assert dropped == [1]
    assert next(hedge.started.__self__) == 1


def test_a_function_that_fails_raises_in_the_caller(pool):
    def fail():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Hedge(LONG).call(fail)


def test_when_both_functions_fail_the_first_exception_is_raised(pool):
    both = threading.Barrier(2)
    numbers = iter(("first", "second"))
    lock = threading.Lock()

    def fail():
        with lock:
            name = next(numbers)
        both.wait(LONG)
        raise ConnectionError(name)

    with pytest.raises(ConnectionError, match="first"):
        Hedge(0.002).call(fail)


def test_without_a_free_thread_the_call_is_made_without_a_hedge(pool):
    pool._places.clear()
    try:
        assert Hedge(0.001).call(threading.get_ident) == threading.get_ident()
    finally:
        pool._places.extend([None] * pool.limit)


def test_without_a_second_thread_the_first_attempt_is_waited_for(pool):
    pool._places.clear()
    pool._places.append(None)
    go = threading.Event()
    threading.Timer(0.05, go.set).start()
    try:
        assert Hedge(0.001).call(lambda: go.wait(LONG)) is True
    finally:
        until = _clock.monotonic() + 30
        while len(pool._places) < 1 and _clock.monotonic() < until:
            _clock.sleep(0.001)
        pool._places.extend([None] * (pool.limit - 1))


def test_functions_that_fail_leave_no_garbage(pool):
    def fail():
        raise ValueError

    def once():
        with contextlib.suppress(ValueError):
            Hedge(LONG).call(fail)
        while pool.busy:
            _clock.sleep(0.001)

    once()
    gc.collect()
    gc.disable()
    try:
        once()
        assert gc.collect() == 0
    finally:
        gc.enable()


# ------------------------------------------------------------------------------------------------------- durations


def test_a_percentile_is_unknown_before_there_are_enough():
    hedge = Hedge("p95")
    assert hedge.delay() is None
    for _ in range(19):
        hedge.note(5_000_000)
    assert hedge.delay() is None
    hedge.note(5_000_000)
    assert hedge.delay() == 0.005


def test_nothing_is_hedged_while_the_percentile_is_unknown():
    result, backend = run(Hedge(), 1)
    assert (result, backend.begun) == (1, 1)
    assert Hedge().call(lambda: 5) == 5


def test_a_hedge_learns_from_good_answers_only():
    hedge = Hedge("p50")
    for _ in range(25):
        run(hedge, ValueError())
    assert hedge.delay() is None
    for _ in range(25):
        run(hedge, 1)
    assert hedge.delay() is not None


@given(st.lists(st.integers(0, 10**12), min_size=20, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_percentile_is_one_of_the_recent_durations_and_splits_them(values, share):
    durations = Durations(share)
    for value in values:
        durations.note(value)
    recent = sorted(values[-128:])
    found = durations.percentile()
    assert found in recent
    below = sum(value <= found for value in recent)
    assert below >= share * len(recent) - 1e-9


def test_old_durations_are_forgotten():
    durations = Durations(0.95)
    for _ in range(500):
        durations.note(10**9)
    assert durations.percentile() == 10**9
    for _ in range(128):
        durations.note(10**6)
    assert durations.percentile() == 10**6


def test_a_hedge_never_starts_within_a_millisecond():
    hedge = Hedge("p50")
    for _ in range(50):
        hedge.note(10)
    assert hedge.delay() == 0.001


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"after": 0}, "after"),
        ({"after": -1}, "after"),
        ({"after": "p"}, "after"),
        ({"after": "p49"}, "after"),
        ({"after": "p0"}, "after"),
        ({"after": "p1e3"}, "after"),
        ({"after": "p999999"}, "after"),
        ({"after": "soon"}, "after"),
        ({"most": 0}, "most"),
        ({"most": 11}, "most"),
    ],
)
def test_an_impossible_argument_is_refused_by_name(options, field):
    with pytest.raises(BadArgument) as refused:
        Hedge(**options)
    assert refused.value.field == field


def test_it_describes_itself():
    assert Hedge("100ms").describe() == {"after": "100ms", "most": 1, "delay": 0.1}
    assert Hedge().describe() == {"after": "p95", "most": 1, "delay": None}
    assert repr(Hedge()) == "Hedge(after='p95', most=1)"
