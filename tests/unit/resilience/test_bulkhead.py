"""A bulkhead bounds what is under way, is fair, and loses no permit, whoever interrupts it."""

import asyncio
import random
import threading

import pytest

from roadworthy import _clock
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.bulkhead import Bulkhead, _wake
from roadworthy.resilience.rejected import BulkheadFull

NS = 1_000_000_000
LONG = 60


def eventually(true, within=30):
    until = _clock.monotonic() + within
    while not true():
        assert _clock.monotonic() < until, "it did not come true"
        _clock.sleep(0.001)


def in_thread(fn, *args):
    thread = threading.Thread(target=fn, args=args, daemon=True)
    thread.start()
    return thread


def test_no_more_than_the_limit_are_let_in():
    rooms = Bulkhead(2)
    rooms.enter()
    rooms.enter()
    assert rooms.in_use == 2
    with pytest.raises(BulkheadFull, match="2 calls are under way already"):
        rooms.enter()
    rooms.leave()
    rooms.enter()
    assert rooms.in_use == 2


def test_tasks_and_threads_share_the_permits():
    rooms = Bulkhead(1)
    rooms.enter()

    async def main():
        with pytest.raises(BulkheadFull):
            await rooms.aenter()
        rooms.leave()
        await rooms.aenter()

    asyncio.run(main())
    with pytest.raises(BulkheadFull):
        rooms.enter()


def test_who_waits_is_let_in_when_another_leaves():
    rooms = Bulkhead(1, wait=LONG)
    rooms.enter()
    waiter = in_thread(rooms.enter)
    eventually(lambda: rooms.waiting == 1)
    rooms.leave()
    waiter.join(LONG)
    assert not waiter.is_alive()
    assert (rooms.in_use, rooms.waiting) == (1, 0)


def test_waiting_ends_after_its_time_or_at_the_deadline():
    rooms = Bulkhead(1, wait=0.01)
    rooms.enter()
    with pytest.raises(BulkheadFull):
        rooms.enter()
    patient = Bulkhead(1, wait=LONG)
    patient.enter()
    for left in (-1, 0, 0.01):
        with pytest.raises(BulkheadFull):
            patient.enter(_clock.monotonic_ns() + int(left * NS))
    assert patient.waiting == 0

    async def main():
        with pytest.raises(BulkheadFull):
            await rooms.aenter()
        for left in (-1, 0, 0.01):
            with pytest.raises(BulkheadFull):
                await patient.aenter(_clock.monotonic_ns() + int(left * NS))

    asyncio.run(main())
    assert (patient.waiting, patient.in_use) == (0, 1)


def test_less_than_a_second_is_time_to_wait_too():
    rooms = Bulkhead(1, wait=0.5)
    assert rooms._patience(None) == 0.5
    assert 0 < rooms._patience(_clock.monotonic_ns() + NS // 4) <= 0.25
    assert rooms._patience(_clock.monotonic_ns() + LONG * NS) == 0.5


def test_threads_are_served_in_the_order_in_which_they_came():
    rooms = Bulkhead(1, wait=LONG)
    rooms.enter()
    order = []

    def work(number):
        rooms.enter()
        order.append(number)
        rooms.leave()

    threads = []
    for number in range(6):
        threads.append(in_thread(work, number))
        eventually(lambda number=number: rooms.waiting == number + 1)
    rooms.leave()
    for thread in threads:
        thread.join(LONG)
    assert order == list(range(6))
    assert rooms.in_use == 0


def test_tasks_are_served_in_the_order_in_which_they_came():
    async def main():
        rooms = Bulkhead(2, wait=LONG)
        order = []

        async def work(number):
            await rooms.aenter()
            order.append(number)
            await asyncio.sleep(0)
            rooms.leave()

        await asyncio.gather(*(work(number) for number in range(20)))
        assert order == list(range(20))
        assert (rooms.in_use, rooms.waiting) == (0, 0)

    asyncio.run(main())


def test_nobody_overtakes_those_who_wait():
    async def main():
        rooms = Bulkhead(1, wait=LONG)
        await rooms.aenter()
        first = asyncio.ensure_future(rooms.aenter())
        await asyncio.sleep(0)
        rooms.leave()
        second = asyncio.ensure_future(rooms.aenter())
        await first
        assert not second.done()
        rooms.leave()
        await second

    asyncio.run(main())


def test_a_permit_that_is_about_to_be_handed_over_goes_to_who_waits():
    rooms, served = Bulkhead(1, wait=0.01), []
    rooms._waiting.append([lambda: served.append("who waits")])  # as in the instant after a permit was given back
    with pytest.raises(BulkheadFull):
        rooms.enter()
    assert served == ["who waits"]
    rooms.leave()
    rooms._waiting.append([lambda: served.append("who waits")])

    async def main():
        with pytest.raises(BulkheadFull):
            await rooms.aenter()

    asyncio.run(main())
    assert served == ["who waits"] * 2
    assert (rooms.in_use, rooms.waiting) == (1, 0)


def test_a_waiter_that_is_gone_is_woken_without_a_word():
    async def main():
        woken = asyncio.get_running_loop().create_future()
        _wake(woken)
        assert woken.done()
        _wake(woken)
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        _wake(gone)
        assert gone.cancelled()

    asyncio.run(main())


def test_a_cancelled_waiter_loses_no_permit():
    async def main():
        rooms = Bulkhead(1, wait=LONG)
        await rooms.aenter()
        tasks = [asyncio.ensure_future(rooms.aenter()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        assert rooms.waiting == 2
        rooms.leave()  # granted to the second ...
        tasks[1].cancel()  # ... which is cancelled before it learns of it
        await asyncio.gather(*tasks[:2], return_exceptions=True)
        await tasks[2]
        assert (rooms.in_use, rooms.waiting) == (1, 0)
        assert all(task.cancelled() for task in tasks[:2])

    asyncio.run(main())


def test_cancelled_at_any_await_the_permits_balance():
    async def main():
        rooms = Bulkhead(3, wait=LONG)
        inside = most = 0
        rng = random.Random(7)  # noqa: S311 - a schedule, not a secret

        async def work():
            nonlocal inside, most
            await rooms.aenter()
            try:
                inside += 1
                most = max(most, inside)
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                inside -= 1
                rooms.leave()

        tasks = []
        for _ in range(600):
            tasks.append(asyncio.ensure_future(work()))
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= 3
        assert (inside, rooms.in_use, rooms.waiting) == (0, 0, 0)

    asyncio.run(main())


def test_an_exception_out_of_a_signal_handler_loses_no_permit():
    import signal

    rooms = Bulkhead(1, wait=LONG)
    rooms.enter()

    class Alarm(Exception):
        pass

    def handler(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Alarm):
            rooms.enter()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (rooms.in_use, rooms.waiting) == (1, 0)
    rooms.leave()
    rooms.enter()


def test_a_waiter_whose_loop_was_closed_is_passed_over():
    rooms = Bulkhead(1, wait=LONG)
    rooms.enter()
    loop = asyncio.new_event_loop()
    task = loop.create_task(rooms.aenter())
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert rooms.waiting == 1
    loop.close()
    rooms.leave()
    assert (rooms.in_use, rooms.waiting) == (0, 0)
    rooms.enter()
    coroutine = task.get_coro()
    task._log_destroy_pending = False
    coroutine.close()
    rooms.leave()
    assert rooms.waiting == 0


@pytest.mark.parametrize("limit", [1, 3])
def test_threads_and_loops_in_a_crowd_balance(limit):
    rooms = Bulkhead(limit, wait=LONG)
    free = threading.Semaphore(limit)
    broken = []

    def inside():
        if not free.acquire(blocking=False):
            broken.append("too many")
            return
        free.release()

    def threaded():
        for _ in range(150):
            rooms.enter()
            inside()
            rooms.leave()

    async def one():
        for _ in range(40):
            await rooms.aenter()
            inside()
            await asyncio.sleep(0)
            rooms.leave()

    async def tasks():
        await asyncio.gather(*(one() for _ in range(4)))

    threads = [in_thread(threaded) for _ in range(3)] + [in_thread(lambda: asyncio.run(tasks())) for _ in range(2)]
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)
    assert broken == []
    assert (rooms.in_use, rooms.waiting) == (0, 0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1_000_001}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": 2.0}, "limit"),
        ({"limit": 10**9}, "limit"),
        ({"wait": -0.1}, "wait"),
        ({"wait": "a while"}, "wait"),
    ],
)
def test_an_impossible_argument_is_refused_by_name(options, field):
    with pytest.raises(BadArgument) as refused:
        Bulkhead(**{"limit": 5, **options})
    assert refused.value.field == field


def test_it_describes_itself():
    assert Bulkhead(20).describe() == {"limit": 20, "wait": 0}
    assert Bulkhead(20, wait="100ms").describe() == {"limit": 20, "wait": 0.1}
    assert repr(Bulkhead(20, wait=0.1)) == "Bulkhead(20, wait=0.1)"
