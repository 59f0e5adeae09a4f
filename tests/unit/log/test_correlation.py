"""The identifiers belong to their context, go with tasks, and into threads where that is asked for."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

from roadworthy.log import correlation, threads
from roadworthy.log.correlation import CorrelationContext


def test_it_is_empty_until_it_is_bound_and_as_before_afterwards():
    assert correlation.current() == ""
    token = correlation.bind("abc")
    assert correlation.current() == "abc"
    correlation.unbind(token)
    assert correlation.current() == ""


def test_it_is_one_short_line():
    token = correlation.bind("a\nb" + "x" * 1000)
    assert correlation.current().startswith("a\\nb")
    assert len(correlation.current()) <= 70
    correlation.unbind(token)


def test_tasks_have_their_own():
    async def work(identifier):
        correlation.bind(identifier)
        await asyncio.sleep(0)
        return correlation.current()

    async def main():
        return await asyncio.gather(work("one"), work("two"))

    assert asyncio.run(main()) == ["one", "two"]
    assert correlation.current() == ""


def test_unbinding_in_another_context_does_nothing():
    token = contextvars.copy_context().run(correlation.bind, "elsewhere")
    correlation.unbind(token)
    assert correlation.current() == ""


def test_unbinding_twice_does_nothing():
    token = correlation.bind("one")
    correlation.unbind(token)
    correlation.unbind(token)
    assert correlation.current() == ""


def test_a_block_creates_yields_and_removes_an_identifier():
    with CorrelationContext() as made:
        assert len(made) == 32
        assert correlation.current() == made
    assert correlation.current() == ""


def test_a_block_in_a_block_restores_what_was_there():
    with CorrelationContext("outer", session_id="s1") as outer:
        with CorrelationContext() as inner:
            assert correlation.current() == inner != outer
            assert correlation.bound().session == "s1"
        assert correlation.current() == outer


def test_the_identifier_is_the_traces_where_there_is_one():
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with CorrelationContext(trace_id=trace, span_id="00f067aa0ba902b7") as made:
        assert made == trace
        assert correlation.found().fields() == {
            "correlation_id": trace,
            "trace_id": trace,
            "span_id": "00f067aa0ba902b7",
        }


def test_an_async_block_does_the_same():
    async def main():
        async with CorrelationContext("job-7") as made:
            await asyncio.sleep(0)
            return made, correlation.current()

    assert asyncio.run(main()) == ("job-7", "job-7")


def test_outside_of_any_block_it_is_the_processs():
    first = correlation.found()
    assert first.correlation.startswith("process-")
    assert correlation.found() is first
    token = correlation.bind_session("s1")
    assert correlation.found().fields() == {"correlation_id": first.correlation, "session_id": "s1"}
    correlation.unbind(token)


def test_threads_and_pools_have_that_of_who_starts_them(monkeypatch):
    import concurrent.futures.thread as pools

    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", ThreadPoolExecutor.submit)
    threads.carry_threads(threading)
    threads.carry_pools(pools)
    threads.carry_pools(pools)
    seen = []
    with ThreadPoolExecutor(1) as pool:
        for name in ("one", "two"):
            with CorrelationContext(name):
                thread = threading.Thread(target=lambda: seen.append(correlation.current()))
                thread.start()
                thread.join()
                seen.append(pool.submit(correlation.current).result())
        seen.append(pool.submit(correlation.current).result())
    thread = threading.Thread(target=lambda: seen.append(correlation.current()))
    thread.start()
    thread.join()
    assert seen == ["one", "one", "two", "two", "", ""]


def test_a_pool_that_is_imported_later_is_met_when_it_is_asked_for(monkeypatch):
    import concurrent.futures

    met = []
    monkeypatch.setattr(threads, "carry_pools", met.append)
    monkeypatch.setattr(concurrent.futures, "__getattr__", lambda name: name, raising=False)
    threads._await_pools()
    threads._await_pools()
    assert concurrent.futures.__getattr__("ThreadPoolExecutor") == "ThreadPoolExecutor"
    assert len(met) == 1
