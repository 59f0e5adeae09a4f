"""Deadlines travel with the work; coroutines end in time, and only by whom they should."""

import asyncio
import contextlib
import contextvars
import gc
import threading

import pytest

from roadworthy import _clock
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.offload import Threads, run_in_thread
from roadworthy.resilience.rejected import BulkheadFull, DeadlineExceeded
from roadworthy.resilience.timeout import (
    HEADER,
    AdjustingTimeout,
    deadline,
    deadline_from_header,
    deadline_header,
    deadline_ns,
    deadline_remaining,
)
from roadworthy.resilience.timer import Timer

NS = 1_000_000_000
LONG = 30.0


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""

    class Clock:
        now_ns = 1000 * NS

        def move(self, seconds):
            self.now_ns += int(seconds * NS)

    made = Clock()
    monkeypatch.setattr(_clock, "monotonic_ns", lambda: made.now_ns)
    return made


# -------------------------------------------------------------------------------------------------------- deadline


def test_without_a_deadline_nothing_is_known():
    assert deadline_ns() is None
    assert deadline_remaining() is None
    assert deadline_header() is None


def test_the_time_that_is_left_shrinks_to_nothing(clock):
    with deadline(2):
        assert deadline_remaining() == 2.0
        clock.move(1.5)
        assert deadline_remaining() == 0.5
        assert deadline_header() == "500"
        clock.move(5)
        assert deadline_remaining() == 0
        assert deadline_header() == "0"
    assert deadline_remaining() is None


@pytest.mark.parametrize(("outer", "inner", "left"), [(5, 2, 2), (2, 5, 2), (2, 2, 2), (0, 5, 0)])
def test_the_sooner_of_two_deadlines_counts(clock, outer, inner, left):
    with deadline(outer):
        with deadline(inner):
            assert deadline_remaining() == left
        assert deadline_remaining() == outer


def test_a_deadline_ends_with_its_block_whatever_happens_there(clock):
    with pytest.raises(ZeroDivisionError), deadline(1):
        raise ZeroDivisionError
    assert deadline_ns() is None


def test_a_deadline_may_be_used_again(clock):
    limit = deadline(1)
    for _ in range(2):
        with limit:
            clock.move(0.5)
            assert deadline_remaining() == 0.5


def test_another_thread_has_none_unless_it_takes_the_context(clock):
    found = []
    with deadline(1):
        context = contextvars.copy_context()
        for work in (deadline_remaining, lambda: context.run(deadline_remaining)):
            thread = threading.Thread(target=lambda work=work: found.append(work()))
            thread.start()
            thread.join()
    assert found == [None, 1.0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1500", 1.5),
        (" 20 ", 0.02),
        ("0", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        ("soon", None),
        ("٣", None),
        ("9" * 12, None),
        ("9" * 5000, None),
    ],
)
def test_a_header_says_clearly_how_much_is_left_or_nothing(value, seconds):
    assert deadline_from_header(value) == seconds


def test_what_one_service_sends_the_next_one_understands(clock):
    assert HEADER == "X-Request-Deadline-Ms"
    with deadline(1.25):
        sent = deadline_header()
    with deadline(deadline_from_header(sent)):
        assert deadline_remaining() == 1.25


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), None, "1", True])
def test_an_impossible_deadline_is_refused(seconds):
    with pytest.raises(BadArgument, match="seconds must be"):
        deadline(seconds)


# -------------------------------------------------------------------------------------------------- async deadline


def test_a_block_of_coroutines_is_interrupted_at_its_deadline():
    async def main():
        with pytest.raises(DeadlineExceeded) as ended:
            async with deadline(0.01):
                await asyncio.sleep(LONG)
        assert isinstance(ended.value, TimeoutError)
        assert asyncio.current_task().cancelling() == 0
        assert deadline_ns() is None
        await asyncio.sleep(0)

    asyncio.run(main())


def test_the_outer_deadline_ends_the_outer_block():
    async def main():
        async with deadline(0.01), deadline(LONG):
            await asyncio.sleep(LONG)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(main())


def test_a_timeout_of_the_block_itself_is_not_taken_for_the_deadline():
    async def main():
        with pytest.raises(TimeoutError, match="mine") as ended:
            async with deadline(LONG):
                raise TimeoutError("mine")
        assert not isinstance(ended.value, DeadlineExceeded)

    asyncio.run(main())


def test_a_cancellation_from_outside_passes_a_deadline():
    async def work():
        async with deadline(LONG):
            await asyncio.sleep(LONG)

    asyncio.run(_cancelled(work))


async def _cancelled(work):
    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


def test_an_async_deadline_outside_a_task_is_refused_and_leaves_none_behind():
    async def block():
        async with deadline(1):
            pass

    coroutine = block()
    with pytest.raises(RuntimeError):
        coroutine.send(None)
    assert deadline_ns() is None


# ----------------------------------------------------------------------------------------------------------- timer


async def timed(timer, work, deadline_at=None):
    watch = timer.begin(_clock.monotonic_ns(), deadline_at)
    try:
        result = await work
    except BaseException as error:
        ended = timer.end(watch, error)
        if ended is None:
            raise
        try:
            raise ended from error
        finally:
            ended = None
    timer.end(watch)
    return result


async def returned(value):
    await asyncio.sleep(0)
    return value


def test_an_attempt_ends_when_its_time_is_up():
    async def main():
        timer = Timer(0.01)
        with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s") as ended:
            await timed(timer, asyncio.sleep(LONG))
        assert not isinstance(ended.value, DeadlineExceeded)
        assert asyncio.current_task().cancelling() == 0
        assert await timed(timer, returned(5)) == 5
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_deadline_that_is_sooner_ends_an_attempt_as_a_deadline():
    async def main():
        for seconds in (LONG, None):
            with pytest.raises(DeadlineExceeded) as ended:
                await timed(Timer(seconds, "db"), asyncio.sleep(LONG), _clock.monotonic_ns() + NS // 100)
            assert ended.value.policy == "db"
        with pytest.raises(DeadlineExceeded):
            await timed(Timer(LONG), asyncio.sleep(LONG), _clock.monotonic_ns() - NS)
        with pytest.raises(DeadlineExceeded):
            await timed(Timer(0.01, is_deadline=True), asyncio.sleep(LONG))

    asyncio.run(main())


def test_an_attempt_that_is_sooner_than_the_deadline_ends_as_an_attempt():
    async def main():
        with pytest.raises(TimeoutError) as ended:
            await timed(Timer(0.01), asyncio.sleep(LONG), _clock.monotonic_ns() + NS * 20)
        assert not isinstance(ended.value, DeadlineExceeded)

    asyncio.run(main())


def test_without_a_limit_nothing_is_watched():
    async def main():
        assert Timer(None).begin(_clock.monotonic_ns()) is None
        assert Timer(None).end(None) is None
        assert await timed(Timer(None), returned(1)) == 1

    asyncio.run(main())


@pytest.mark.parametrize("deadline_at", [None, LONG / 2])
def test_a_cancellation_from_outside_passes_an_attempt(deadline_at):
    timer = Timer(LONG)

    async def work():
        at = None if deadline_at is None else _clock.monotonic_ns() + int(NS * deadline_at)
        await timed(timer, asyncio.sleep(LONG), at)

    asyncio.run(_cancelled(work))


def test_a_cancellation_from_outside_in_the_same_moment_is_not_swallowed():
    async def main():
        timer = Timer(0.01)
        task = asyncio.ensure_future(timed(timer, asyncio.sleep(LONG)))
        await asyncio.sleep(0)
        watch = next(iter(timer._here.line.watched.values()))
        task.cancel()  # ours ...
        timer._here.line.watched.clear()
        watch[0] = True  # ... and the timer's, before either was seen
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_an_exception_of_the_call_passes_and_a_late_one_too():
    async def late():
        try:
            await asyncio.sleep(LONG)
        finally:
            raise ValueError("while cleaning up")

    async def main():
        with pytest.raises(ZeroDivisionError):
            await timed(Timer(LONG), _raise(ZeroDivisionError()))
        with pytest.raises(ValueError, match="while cleaning up"):
            await timed(Timer(0.01), late())
        assert asyncio.current_task().cancelling() == 0

    asyncio.run(main())


async def _raise(error):
    raise error


def test_a_call_that_swallows_its_cancellation_keeps_its_result():
    async def stubborn():
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            return "done anyway"

    async def main():
        assert await timed(Timer(0.01), stubborn()) == "done anyway"
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    asyncio.run(main())


def test_many_calls_end_each_in_its_turn_by_one_timer_of_the_loop(clock):
    async def main():
        timer = Timer(0.05)
        armed = []
        asyncio.get_running_loop().call_later = lambda seconds, look: armed.append((seconds, look))
        tasks = []
        for _ in range(10):
            tasks.append(asyncio.ensure_future(timed(timer, asyncio.Event().wait())))
            await asyncio.sleep(0)
            clock.move(0.001)
        clock.move(-0.01)
        for number, task in enumerate(tasks):
            ((seconds, look),) = armed
            assert seconds == pytest.approx(0.001 if number else 0.05)
            armed.clear()
            clock.move(seconds)
            look()
            with pytest.raises(TimeoutError):
                await task
            assert [one.done() for one in tasks] == [n <= number for n in range(10)]
        assert armed == []
        assert not timer._here.line.watched
        assert not timer._here.line.armed

    asyncio.run(main())


def test_calls_that_end_in_time_leave_nothing_watched():
    async def main():
        timer = Timer(LONG)
        await asyncio.gather(*(timed(timer, returned(n)) for n in range(50)))
        assert not timer._here.line.watched

    asyncio.run(main())


def test_one_policy_serves_loop_after_loop():
    timer = Timer(0.01)

    async def main():
        with pytest.raises(TimeoutError):
            await timed(timer, asyncio.sleep(LONG))

    asyncio.run(main())
    asyncio.run(main())


def test_one_policy_serves_loops_in_several_threads():
    timer = Timer(0.01)
    ended = []

    async def main():
        for _ in range(3):
            try:
                await timed(timer, asyncio.sleep(LONG))
            except TimeoutError:
                ended.append(1)

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 9


def test_one_attempt_within_another_of_the_same_policy():
    async def main():
        timer = Timer(0.02)

        async def inner():
            try:
                await timed(timer, asyncio.sleep(LONG))
            except TimeoutError:
                return "inner ended"

        # Both are due at nearly the same time: whichever way they fall, nobody outside sees a cancellation.
        with contextlib.suppress(TimeoutError):
            assert await timed(timer, inner()) == "inner ended"
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    asyncio.run(main())


def test_an_attempt_timeout_works_in_a_task_only():
    for timer, at in ((Timer(1), None), (Timer(None), 0)):
        loop = asyncio.new_event_loop()
        found = []

        def callback(timer=timer, at=at, found=found, loop=loop):
            try:
                timer.begin(_clock.monotonic_ns(), at)
            except RuntimeError as error:
                found.append(str(error))
            loop.stop()

        loop.call_soon(callback)
        loop.run_forever()
        loop.close()
        assert found == ["an attempt timeout works in a task only"]


def test_timeouts_leave_no_garbage():
    async def main():
        timer = Timer(0.001)
        for _ in range(5):
            with contextlib.suppress(TimeoutError):
                await timed(timer, asyncio.sleep(LONG))
        gc.collect()
        gc.disable()
        for _ in range(10):
            with contextlib.suppress(TimeoutError):
                await timed(timer, asyncio.sleep(LONG))
        found = gc.collect()
        gc.enable()
        return found

    assert asyncio.run(main()) == 0


# ------------------------------------------------------------------------------------------------ adjusting timeout


def test_the_timeout_follows_its_rule_within_its_bounds():
    rule = AdjustingTimeout(1, 5, 2, calm=3)
    assert rule.seconds == 1
    rule.timed_out()
    assert rule.seconds == 2
    rule.timed_out()
    rule.timed_out()
    assert rule.seconds == 5
    for _ in range(2):
        rule.answered(NS)
    rule.answered(4 * NS)  # this one needed the longer time
    assert rule.seconds == 5
    for _ in range(3):
        rule.answered(NS)
    assert rule.seconds == 2.5
    for _ in range(30):
        rule.answered(NS // 10)
    assert rule.seconds == 1


def test_an_attempt_has_as_long_as_the_rule_says_now():
    rule = AdjustingTimeout(0.01, 20)
    timer = Timer(rule)
    assert timer.seconds == 0.01

    async def main():
        with pytest.raises(TimeoutError, match=r"0\.01"):
            await timed(timer, asyncio.sleep(LONG))
        with pytest.raises(DeadlineExceeded):
            await timed(timer, asyncio.sleep(LONG), _clock.monotonic_ns())
        for _ in range(20):
            rule.timed_out()
        assert timer.seconds == 20
        assert await timed(timer, returned(1)) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((0, 1), "floor"),
        ((2, 1), "ceiling"),
        ((1, 2, 1), "factor"),
        ((1, 2, 0.5), "factor"),
        ((1, float("inf")), "ceiling"),
    ],
)
def test_an_impossible_rule_is_refused_by_name(arguments, field):
    with pytest.raises(BadArgument) as refused:
        AdjustingTimeout(*arguments)
    assert refused.value.field == field
    with pytest.raises(BadArgument, match="calm"):
        AdjustingTimeout(1, 2, calm=0)


def test_a_rule_describes_itself():
    assert AdjustingTimeout(1, 5).describe() == {"floor": 1, "ceiling": 5, "factor": 2, "calm": 20, "seconds": 1}
    assert repr(AdjustingTimeout(1, 5)) == "AdjustingTimeout(1, 5, 2, calm=20)"


# --------------------------------------------------------------------------------------------------------- offload


def test_a_function_in_a_thread_returns_raises_and_sees_the_context():
    assert run_in_thread(lambda: 5, 10) == 5
    with pytest.raises(ZeroDivisionError):
        run_in_thread(lambda: 1 / 0)
    with deadline(20):
        assert run_in_thread(deadline_remaining) > 0


def test_a_function_that_takes_too_long_is_left_behind_and_keeps_its_place():
    pool = Threads(1)
    go = threading.Event()
    with pytest.raises(TimeoutError, match="still runs"):
        pool.run(go.wait, 0.01)
    with pytest.raises(BulkheadFull):
        pool.run(lambda: 5, 1)
    assert pool.busy == 1
    go.set()
    assert _eventually(lambda: pool.busy == 0)
    assert pool.run(lambda: 5, 10) == 5


def _eventually(true, within=20):
    until = _clock.monotonic() + within
    while not true():
        if _clock.monotonic() > until:
            return False
        _clock.sleep(0.001)
    return True


def test_a_deadline_bounds_a_thread_too():
    pool = Threads(2)
    go = threading.Event()
    with deadline(0.01), pytest.raises(DeadlineExceeded):
        pool.run(go.wait, LONG)
    with deadline(0), pytest.raises(DeadlineExceeded):
        pool.run(pytest.fail)
    go.set()


def test_threads_are_used_again_and_do_not_hold_the_program():
    pool = Threads(4)
    names = set()
    for _ in range(20):
        names.add(pool.run(threading.get_ident))
        assert _eventually(lambda: pool.busy == 0)
    assert len(names) == 1
    assert pool.run(lambda: threading.current_thread().daemon) is True


def test_a_child_begins_with_a_pool_of_its_own():
    pool = Threads(1)
    pool.run(lambda: 1)
    pool._pid = -1  # as after a fork, where the threads are gone
    assert pool.run(lambda: 2, 10) == 2


def test_a_failure_in_a_thread_leaves_no_garbage():
    pool = Threads(1)

    def fail():
        raise ValueError

    def once():
        with contextlib.suppress(ValueError):
            pool.run(fail)
        assert _eventually(lambda: pool.busy == 0)

    once()
    gc.collect()
    gc.disable()
    try:
        once()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_impossible_pool_or_time_is_refused():
    with pytest.raises(BadArgument, match="limit"):
        Threads(0)
    with pytest.raises(BadArgument, match="seconds"):
        Threads(1).run(pytest.fail, 0)
