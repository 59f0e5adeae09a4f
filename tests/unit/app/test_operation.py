"""Operations: what they count, whom they belong to, and that nothing of them reaches the program."""

import asyncio
import contextvars
import dis
import functools
import gc
import itertools
import signal
import sys
import threading

import pytest

import roadworthy as rw
from roadworthy.app import entries, guard, operation, recorder, sampling
from roadworthy.arena import hot
from roadworthy.arena.layout import bucket_of

NAME = "operation.duration"


def count(seen, name, outcome="success"):
    return seen.count(NAME, operation=name, outcome=outcome)


def test_a_block_that_ends_is_one_success(seen):
    with rw.operation("op.success"):
        pass
    assert count(seen, "op.success") == 1
    assert count(seen, "op.success", "failure") == 0


def test_an_exception_is_one_failure_and_passes_unchanged(seen):
    error = ValueError("no such rom")
    with pytest.raises(ValueError, match="no such rom") as caught, rw.operation("op.failure"):
        raise error
    assert caught.value is error
    assert count(seen, "op.failure", "failure") == 1
    assert count(seen, "op.failure") == 0
    assert seen.count("errors", operation="op.failure", type="ValueError") == 1


def test_every_short_duration_falls_into_the_bucket_of_the_format():
    wrong = [n for n, bucket in enumerate(recorder.BUCKET) if bucket != bucket_of(n)]
    assert wrong == []
    assert len(recorder.BUCKET) == recorder.SHORT


def test_many_runs_are_all_counted(seen):
    for _ in range(1000):
        with rw.operation("op.many"):
            pass
    assert count(seen, "op.many") == 1000


def test_four_threads_lose_nothing(seen):
    def work():
        for _ in range(2000):
            with rw.operation("op.threads"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(seen, "op.threads") == 8000
    assert seen.in_flight() == []


def test_while_it_runs_it_is_in_flight_with_its_parent_and_thread(seen):
    with rw.operation("op.outer"), rw.operation("op.inner"):
        found = {entry.name: entry for entry in seen.in_flight()}
    assert found["op.inner"].parent == "op.outer"
    assert found["op.outer"].parent == ""
    assert found["op.inner"].thread == threading.get_ident()
    assert seen.in_flight() == []


def test_an_entry_that_had_a_parent_has_none_when_it_is_used_again(seen):
    for _ in range(3):
        with rw.operation("op.parent"), rw.operation("op.child"):
            pass
        with rw.operation("op.child"):
            assert [entry.parent for entry in seen.in_flight()] == [""]


def test_context_is_shown_without_its_secrets(seen):
    with rw.operation("op.context", rom="game.sfc", password="hunter2", size=3):
        (entry,) = seen.in_flight()
    assert "rom=game.sfc" in entry.context
    assert "size=3" in entry.context
    assert "hunter2" not in entry.context


def test_context_of_any_size_and_shape_is_bounded(seen):
    class Hostile:
        def __str__(self):
            raise RuntimeError("no")

    with rw.operation("op.hostile", big="x" * 100_000, odd=Hostile(), n=10**10_000, **{f"k{n}": n for n in range(100)}):
        (entry,) = seen.in_flight()
    assert len(entry.context.encode()) <= 224
    assert count(seen, "op.hostile") == 1


def test_concurrent_tasks_have_their_own_parents(seen):
    async def child(name):
        async with rw.operation(f"op.task.{name}"):
            await asyncio.sleep(0)
            with rw.operation("op.leaf"):
                await asyncio.sleep(0)
                return {entry.parent for entry in seen.in_flight() if entry.name == "op.leaf"}

    async def main():
        return await asyncio.gather(child("a"), child("b"))

    parents = asyncio.run(main())
    assert set().union(*parents) == {"op.task.a", "op.task.b"}
    assert seen.in_flight() == []


def test_a_task_takes_its_parent_along(seen):
    async def child():
        with rw.operation("op.spawned"):
            return [entry.parent for entry in seen.in_flight() if entry.name == "op.spawned"]

    async def main():
        with rw.operation("op.spawner"):
            return await asyncio.create_task(child())

    assert asyncio.run(main()) == ["op.spawner"]


def test_a_cancelled_operation_is_neither_success_nor_error(seen):
    async def main():
        async def work():
            with rw.operation("op.cancelled"):
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert count(seen, "op.cancelled", "cancelled") == 1
    assert count(seen, "op.cancelled") == 0
    assert seen.errors() == []


def test_an_abandoned_generator_ends_its_operation(seen):
    def items():
        with rw.operation("op.generator"):
            yield 1
            yield 2

    for _ in items():
        break
    gc.collect()
    assert count(seen, "op.generator") == 1
    assert seen.in_flight() == []


def test_generators_that_interleave_keep_their_own_times(seen):
    def items(name):
        with rw.operation(name):
            yield 1

    first, second = items("op.first"), items("op.second")
    next(first)
    next(second)
    assert list(first) == []
    assert list(second) == []
    assert count(seen, "op.first") == count(seen, "op.second") == 1
    assert seen.in_flight() == []


def test_ending_in_another_context_than_it_began_in_is_no_error(seen):
    block = rw.operation("op.contexts")
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert count(seen, "op.contexts") == 1


def test_one_object_may_be_entered_again_and_within_itself(seen):
    block = rw.operation("op.again")
    with block, block, block:
        assert len(seen.in_flight()) == 3
    with block:
        pass
    assert count(seen, "op.again") == 4
    assert seen.in_flight() == []


def test_a_context_that_is_entered_again_is_shown_again(seen):
    block = rw.operation("op.context.again", rom="a")
    for _ in range(2):
        with block:
            assert [entry.context for entry in seen.in_flight()] == ["rom=a"]


def test_an_end_without_a_beginning_is_ignored(seen):
    rw.operation("op.unentered").__exit__(None, None, None)
    assert count(seen, "op.unentered") == 0


def test_a_signal_handler_may_measure_in_the_midst_of_a_measurement(seen):
    def handler(number, frame):
        with rw.operation("op.handler"):
            pass

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for _ in range(20_000):
            with rw.operation("op.interrupted"):
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count(seen, "op.interrupted") == 20_000
    assert count(seen, "op.handler") > 0
    assert seen.in_flight() == []


def test_what_a_signal_handler_raises_reaches_the_program(program):
    # Not under coverage: what is raised inside its tracer leaves the tracer's lock held, and the program stands still.
    done = program(
        """
        import signal
        import roadworthy as rw

        class Alarm(Exception):
            pass

        def handler(number, frame):
            raise Alarm

        rw.start()
        with rw.operation("op.alarm"):
            pass  # what raises while Python imports a module is swallowed by Python's own import lock
        signal.signal(signal.SIGALRM, handler)
        reached = 0
        for _ in range(100):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                while True:
                    with rw.operation("op.alarm", rom="a"):
                        pass
                    with rw.operation("op.alarm"):
                        pass
            except Alarm:
                reached += 1
        print(reached)
        """,
        measured=False,
    )
    assert done.stdout == "100\n"
    assert done.stderr == ""


def test_a_gc_callback_may_measure(seen):
    def callback(phase, info):
        with rw.operation("op.gc"):
            pass

    gc.callbacks.append(callback)
    try:
        with rw.operation("op.around.gc"):
            gc.collect()
    finally:
        gc.callbacks.remove(callback)
    assert count(seen, "op.gc") >= 2


def test_more_operations_at_once_than_the_table_holds_are_all_counted(seen):
    blocks = [rw.operation(f"op.full.{n % 7}") for n in range(400)]
    for block in blocks:
        block.__enter__()
    assert len(seen.in_flight()) <= 256
    for block in reversed(blocks):
        block.__exit__(None, None, None)
    assert sum(count(seen, f"op.full.{n}") for n in range(7)) == 400
    assert seen.in_flight() == []


def test_names_of_any_kind_are_taken(seen):
    for name in ("", None, 7, ["list"], "x" * 1000, "line\nbreak", "token=hunter2"):
        with rw.operation(name):
            pass
    with rw.operation("x" * 1000):
        pass
    assert not any("hunter2" in str(series.labels) for series in seen._series())


def test_memory_change_is_measured_when_asked(seen):
    with rw.operation("op.memory", memory=True):
        kept = bytearray(40_000_000)
    assert seen.gauge("operation.memory.change", operation="op.memory") >= 20_000_000
    assert seen.count("operation.memory.growth", operation="op.memory") == 1
    del kept
    with rw.operation("op.no.memory"):
        pass
    assert seen.gauge("operation.memory.change", operation="op.no.memory") is None


@pytest.fixture
def tuned():
    yield sampling.tune
    sampling.tune({})


def test_a_slow_operation_is_an_event_with_its_context(seen, tuned):
    tuned({"settings": {"slow_operation": 0.000001}})
    with rw.operation("op.slow", rom="a"):
        sum(range(1000))
    (event,) = seen.events("operation")
    assert event.source == "op.slow"
    assert event.fields["rom"] == "a"
    assert event.fields["outcome"] == "success"
    assert float(event.fields["duration"]) > 0


@pytest.mark.parametrize(("rate", "expected"), [(0.1, 1000), (0.5, 1000), (1.0, 1000), (0.0, 0)])
def test_sampled_counts_estimate_the_whole(seen, tuned, rate, expected):
    tuned({"sampling": {"performance": rate}})
    for _ in range(1000):
        with rw.operation(f"op.sampled.{rate}"):
            pass
    assert count(seen, f"op.sampled.{rate}") == pytest.approx(expected, abs=10)
    assert seen.in_flight() == []


def test_failures_are_never_sampled(seen, tuned):
    tuned({"sampling": {"performance": 0.01}})
    for _ in range(50):
        with pytest.raises(KeyError), rw.operation("op.sampled.failure"):
            raise KeyError
    assert count(seen, "op.sampled.failure", "failure") == 50


def test_the_name_of_the_operation_around_is_known():
    assert operation.current_name() == ""
    with rw.operation("op.around"):
        assert operation.current_name() == "op.around"
    assert operation.current_name() == ""


class Interrupted(Exception):
    """What a signal handler of the program raises."""


@functools.cache
def handlers_run_after(code):
    """Return the offsets of the instructions after which CPython runs signal handlers."""
    return {
        found.offset
        for found in dis.get_instructions(code)
        if found.opname in {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}
    }


def interrupted(step, work):
    """Run ``work``, raising at the ``step``-th place of ours where a signal handler could; return whether there is one.

    Such places are the beginnings of functions, backward jumps, and the ends of calls except those of plain functions,
    to which CPython returns without looking. Left out is the beginning of ``__exit__``, where we have no say.
    """
    places, last, returned = 0, {}, None

    def trace(frame, event, arg):
        nonlocal places, returned
        if frame.f_code.co_filename not in {operation.__file__, entries.__file__, hot.__file__}:
            return None
        frame.f_trace_opcodes = True
        before = last.get(frame)
        if event == "return":
            last.pop(frame, None)
            returned = frame.f_back if frame.f_code.co_name != "__init__" else None
        elif event == "opcode":
            last[frame] = frame.f_lasti
        here = (event == "call" and frame.f_code.co_name != "__exit__") or (
            event == "opcode" and before in handlers_run_after(frame.f_code) and returned is not frame
        )
        if event != "return":
            returned = None
        if here:
            places += 1
            if places == step:
                sys.settrace(None)
                raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Interrupted:
        pass
    finally:
        sys.settrace(before)
    return places >= step


NEW = {"new", "another's"}
"""Operations that have kept no entry yet, and take one that is free or one that another operation has kept."""


def entries_there():
    return len(entries.inflight._free) + sum(len(one.free) for one in entries.recorders.values())


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "within itself"])
@pytest.mark.parametrize("kind", ["plain", "with context", "with memory", "new", "another's"])
def test_wherever_a_signal_handler_raises_no_entry_is_lost(seen, kind, nested, monkeypatch):
    monkeypatch.setattr(guard, "from_signal_handler", lambda error: isinstance(error, Interrupted))
    context = {"with context": {"rom": "a"}, "with memory": {"memory": True}}.get(kind, {})
    new = itertools.count()
    if kind == "another's":
        monkeypatch.setattr(entries, "HOARD", 0)

    def work():
        block = rw.operation(f"op.windows.{kind}.{nested}.{next(new) if kind in NEW else 0}", **context)
        with block:
            if nested:
                with block:
                    pass

    work()
    there, step, lost = entries_there(), 1, []
    while interrupted(step, work):
        if entries_there() != there:
            lost.append((step, entries_there() - there))
            there = entries_there()
        step += 1
    assert step > 10, "there are as many places"
    assert lost == []
    assert seen.in_flight() == []
    assert operation.current_name() == ""
